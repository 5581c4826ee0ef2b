"""Predictors: from the embeddings of what is seen, and the places of what is hidden, to what lies there."""

from collections.abc import Iterable
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.models.transformer import Layers, Positions, initialise, positions
from mmssl.tokens import Place, Tokens, at

Head = Literal["linear", "perceptron"]


class TransformerPredictor(nn.Module):
    """Mask tokens at the hidden places among the seen tokens, through layers of its own; never sees the answer.

    He et al. 2021, arXiv:2111.06377, section 3 (there called decoder). A class token is seen, too: it has no position
    and belongs to the first document. A latent z is added to every mask token, or one of its own to each. `names` are
    the modalities whose tokens get a vector that tells them from others: one alone needs none. What a linear `head`
    says lies in a space of `width` dimensions, however many the answer has; what a perceptron of one hidden layer says,
    in one of four times as many. `norms` are what is added to variances.
    """

    def __init__(
        self, encoder_width: int, answer_width: int, names: Iterable[str], *, layers: int, width: int, heads: int,
        latent_width: int = 0, positions: Positions = "grid", bias: bool = True, head: Head = "linear", **norms: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.width = width
        self.positions: Positions = positions
        self.project = nn.Linear(encoder_width, width, bias=bias)
        self.modality = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(width)) for name in names})
        self.mask = nn.Parameter(0.02 * torch.randn(width))
        self.latent = nn.Linear(latent_width, width) if latent_width else None
        self.layers = Layers(layers=layers, width=width, heads=heads, intermediate=4 * width, **norms)
        parts = [nn.Linear(width, 4 * width), nn.GELU()] if head == "perceptron" else []
        self.head = nn.Sequential(*parts)
        self.answer = nn.Linear(4 * width if parts else width, answer_width)
        initialise(self.project)
        initialise(self.head)
        # at first it says next to nothing, so that training begins at the base's own error
        nn.init.normal_(self.answer.weight, std=0.02)
        nn.init.zeros_(self.answer.bias)

    def forward(
        self, sx: dict[str, Tokens], place: Place, z: Float[Tensor, "B *M Z"] | None = None
    ) -> Float[Tensor, "B M A"]:
        asked = self.mask + positions(place, self.width, self.positions)
        if self.latent is not None:
            told = self.latent(z)
            asked = asked + (told if told.ndim == asked.ndim else told[:, None])
        parts, documents = [asked], [place.document]
        for name, tokens in sx.items():
            where = positions(tokens.place, self.width, self.positions)
            if name in self.modality:
                where = where + self.modality[name]
            parts.append(self.project(tokens.value) + where)
            documents.append(tokens.place.document)
            if tokens.summary is not None:
                parts.append(self.project(tokens.summary)[:, None])
                documents.append(tokens.place.document.new_zeros(len(tokens.summary), 1))
        value = self.layers(torch.cat(parts, 1), torch.cat(documents, 1))
        return self.answer(self.head(value[:, : asked.shape[1]]))


class TokenHead(nn.Module):
    """What lies at a hidden place, from the embedding of the token that an encoder of all places was shown there: one
    linear layer (Xie et al. 2021, arXiv:2111.09886, section 3.3), or with `layers` - 1 of the encoder's width and GELU
    before it.
    """

    def __init__(self, encoder_width: int, answer_width: int, name: str, *, layers: int = 1) -> None:
        super().__init__()
        self.name = name
        parts = [part for _ in range(layers - 1) for part in (nn.Linear(encoder_width, encoder_width), nn.GELU())]
        self.transform, self.answer = nn.Sequential(*parts), nn.Linear(encoder_width, answer_width)
        initialise(self.transform)
        nn.init.normal_(self.answer.weight, std=0.02)
        nn.init.zeros_(self.answer.bias)

    def forward(self, sx: dict[str, Tokens], place: Place) -> Float[Tensor, "B M A"]:
        return self.answer(self.transform(at(sx[self.name], place)))


class EachBlock(nn.Module):
    """Asks a predictor for each block of the hidden places by itself: what it says of one does not depend on which
    others are asked for (Assran et al. 2023, arXiv:2301.08243, section 3).
    """

    def __init__(self, predictor: nn.Module) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, sx: dict[str, Tokens], place: Place) -> Float[Tensor, "B M A"]:
        position, document = (
            rearrange(part, "b (t k) -> (t b) k", t=place.blocks) for part in (place.position, place.document)
        )
        seen = {name: tokens.times(place.blocks) for name, tokens in sx.items()}
        return rearrange(
            self.predictor(seen, Place(position, document, place.grid)), "(t b) k a -> b (t k) a", t=place.blocks
        )


class WordHead(nn.Module):
    """Scores of every word at the hidden places; the words' vectors are those of the encoder's table."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.transform = nn.Sequential(
            nn.Linear(table.embedding_dim, table.embedding_dim), nn.GELU(), nn.LayerNorm(table.embedding_dim)
        )
        self.table = table
        self.bias = nn.Parameter(torch.zeros(table.num_embeddings))

    def forward(self, sx: dict[str, Tokens], place: Place) -> Float[Tensor, "B M K"]:
        return self.transform(at(sx["text"], place)) @ self.table.weight.T.to(sx["text"].value.dtype) + self.bias
