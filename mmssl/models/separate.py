"""Encoders of which the first layers are each modality's own: separate throughout, or joined behind them."""

from collections.abc import Callable

import torch
from torch import nn

from mmssl.modalities.grids import Cut, Words
from mmssl.models.transformer import TransformerEncoder
from mmssl.tokens import Tokens


class SeparateEncoder(TransformerEncoder):
    """Each modality through layers of its own, then through those of all: each alone, or `fused` (Gong et al. 2022,
    arXiv:2210.07839, figure 1c). `own` makes the layers of one modality, `stack` the shared ones and the last norm.

    There is no class token, as there. The shared layers have one set of norms, where theirs have others for each
    modality alone.
    """

    def __init__(
        self, cuts: dict[str, Cut | Words], *, own: Callable[[], nn.Module], stack: Callable[[], nn.Module], width: int,
        fused: bool,
    ) -> None:  # fmt: skip
        super().__init__(cuts, stack=stack, width=width, fused=fused, has_class_token=False)
        self.own = nn.ModuleDict({name: own() for name in cuts})
        for layers in self.own.values():
            layers.norm = nn.Identity()  # the shared layers go on from here

    def apart(self, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        return {
            name: tokens._replace(
                value=self.own[name](self.embedded(name, tokens), tokens.place.document, tokens.place.position)
            )
            for name, tokens in seen.items()
        }

    def joined(self, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        parts = list(seen.values())
        value = self.layers(
            torch.cat([part.value for part in parts], 1), torch.cat([part.place.document for part in parts], 1),
            torch.cat([part.place.position for part in parts], 1),
        )  # fmt: skip
        values = value.split([part.value.shape[1] for part in parts], 1)
        return {name: Tokens(one, seen[name].place) for name, one in zip(seen, values, strict=True)}
