"""z as entries of a codebook (van den Oord et al. 2017, arXiv:1711.00937): one for each place."""

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor, nn

from mmssl.models.codebook import Codebook
from mmssl.models.codes import Code, Coded, Cost
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens

SMALLEST = 1e-3  # frequency of a code that was never used, in that of the mean code


class VectorCode(Code):
    """The vector of the codebook nearest to each embedding, projected to its width; the vector's gradient is handed on
    to the embedding (eq. 3).

    cost = weight * mean squared distance of an embedding from its vector: the commitment loss, a mean over the vector's
    numbers as the error is one over a picture's. nats = -log of the codes' frequencies in training, summed over places.

    Of a part, the codes of what is seen are known. Those of the rest are drawn from these frequencies, each by itself
    (without noise: the mean vector), since no prior of codes is learnt here: BEiT is what predicts codes.
    """

    def __init__(self, encoder_width: int, code_width: int, num_codes: int, *, weight: float) -> None:
        super().__init__()
        self.width, self.num_codes, self.weight = code_width, num_codes, weight
        self.project = nn.Linear(encoder_width, code_width)
        self.codebook = Codebook(num_codes, code_width)

    def ids(self, sx: Tokens) -> Int[Tensor, "B N"]:
        """The number of the vector nearest to each embedding."""
        value = self.project(sx.value).float()
        return self.codebook.nearest(value.flatten(0, 1)).unflatten(0, value.shape[:2])

    def vectors(self, ids: Int[Tensor, "B N"]) -> Float[Tensor, "B N C"]:
        """The vectors of these numbers."""
        return self.codebook.centres[ids]

    def frequency(self) -> Float[Tensor, " K"]:
        """How often each code was used in training, of late; none is impossible."""
        size = self.codebook.size
        size = size + SMALLEST * size.mean().clamp(min=1e-12)
        return size / size.sum()

    def forward(self, sx: Tokens, patches: Tokens, draw: Draw | None) -> Coded:
        count = sx.value.shape[1]
        found = self.codebook(rearrange(self.project(sx.value), "b n c -> (b n) c"))
        value, index, distance = (
            rearrange(part, "(b n) ... -> b n ...", n=count) for part in (found.value, found.index, found.distance)
        )
        nats = -self.frequency().log()[index].sum(1)
        return Coded(Tokens(value, sx.place), self.weight * distance.mean(1), nats)

    def noise_width(self, place: Place) -> int:
        return place.position.shape[1]

    def inferred(
        self, sx: Tokens, patches: Tokens, place: Place, noise: Float[Tensor, "B N"] | None, error: Cost
    ) -> Tokens:
        frequency = self.frequency()
        if noise is None:
            rest = (frequency @ self.codebook.centres).expand(*place.position.shape, -1)
        else:
            uniform = torch.special.ndtr(noise.double())
            drawn = torch.searchsorted(frequency.double().cumsum(0), uniform, right=True)
            rest = self.vectors(drawn.clamp(max=self.num_codes - 1))
        index = repeat(sx.place.position, "b n -> b n c", c=self.width)
        return Tokens(rest.scatter(1, index, self.vectors(self.ids(sx))), place)

    def settle(self) -> None:
        self.codebook.settle()
