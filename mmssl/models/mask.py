"""What an encoder that reads whole pictures is given where something is hidden."""

from math import prod

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.tokens import Place, Tokens


def filled(seen: Tokens, hidden: Place, patch: Float[Tensor, " D"]) -> Tokens:
    """All tokens of the grid in order: what is seen, and `patch` where something is hidden; of a place in both what is
    seen, of a place in neither padding.
    """
    batch, cells, device = len(seen.value), prod(seen.place.grid), seen.value.device
    document = torch.full((batch, cells), -1, device=device)
    for place in (hidden, seen.place):
        document = document.scatter_reduce(1, place.position, place.document, "amax")
    value = repeat(patch.to(seen.value.dtype), "d -> b n d", b=batch, n=cells)
    value = value.scatter(1, seen.place.position[..., None].expand_as(seen.value), seen.value)
    return Tokens(value, Place(torch.arange(cells, device=device).expand(batch, cells), document, seen.place.grid))


def zeros(seen: Tokens, hidden: Place) -> Tokens:
    """All tokens of the grid, 0 where something is hidden: of normalised pictures a middle grey."""
    return filled(seen, hidden, seen.value.new_zeros(seen.value.shape[-1]))


class MaskPatch(nn.Module):
    """All tokens of the grid, one learnt patch where something is hidden.

    Bao et al. 2021 (arXiv:2106.08254) and Xie et al. 2021 (arXiv:2111.09886) learn an embedding in its place; a patch
    leaves the encoder, and what is exported of it, as it is. Where a patch has fewer numbers than the encoder is wide,
    its embedding is confined to as many directions.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.patch = nn.Parameter(0.02 * torch.randn(width))

    def forward(self, seen: Tokens, hidden: Place) -> Tokens:
        return filled(seen, hidden, self.patch)


class MaskFrame(nn.Module):
    """One learnt vector in the place of each frame that is hidden, where the layers read it (Baevski et al. 2020,
    arXiv:2006.11477, section 3.1). What is hidden is padding of what is seen.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.frame = nn.Parameter(torch.rand(width))  # as the authors begin

    def forward(self, seen: Tokens, hidden: Place) -> Tokens:
        value = torch.where(seen.place.valid[..., None], seen.value, self.frame.to(seen.value.dtype))
        document = seen.place.document.scatter_reduce(1, hidden.position, hidden.document, "amax")
        return Tokens(value, seen.place._replace(document=document))
