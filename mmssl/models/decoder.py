"""Decoders: from z alone to a picture's patches."""

from jaxtyping import Float
from torch import Tensor, nn

from mmssl.models.transformer import Layers, initialise, positions
from mmssl.tokens import Place, Tokens


class Decoder(nn.Module):
    """z, one for all places or one for each, becomes the token of a place, then a patch, through layers of its own.

    A mask token at each place beside the tokens of z would have to find its own z by attention first: of a grid of z
    it then paints the mean picture for the first thousands of steps.
    """

    def __init__(self, latent_width: int, answer_width: int, name: str, *, layers: int, width: int, heads: int) -> None:
        super().__init__()
        self.name, self.width = name, width
        self.project = nn.Linear(latent_width, width)
        self.layers = Layers(layers=layers, width=width, heads=heads, intermediate=4 * width)
        self.answer = nn.Linear(width, answer_width)
        initialise(self.project)
        # at first it says next to nothing
        nn.init.normal_(self.answer.weight, std=0.02)
        nn.init.zeros_(self.answer.bias)

    def forward(self, z: dict[str, Tokens], place: Place) -> Float[Tensor, "B M A"]:
        tokens = z[self.name]
        assert tokens.value.shape[1] in (1, place.position.shape[1]), "z is of other places"
        value = self.project(tokens.value) + positions(place, self.width)
        return self.answer(self.layers(value, place.document))
