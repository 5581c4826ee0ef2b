"""The space of a frozen autoencoder: a vector for each patch, all of unit variance."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.distributed import mean_over_processes
from mmssl.tokens import Place, Tokens

MEASURED = 1024  # samples that the scale is measured on


class LatentSpace(nn.Module):
    """Latents of an autoencoder that stays as it is, (latent - mean) / deviation, of which both are one number for all
    features (Rombach et al. 2022, arXiv:2112.10752, appendix G, where only the deviation is).
    """

    is_measured = True
    mean: Tensor
    deviation: Tensor
    autoencoder: Any

    def __init__(self, autoencoder: nn.Module) -> None:
        super().__init__()
        self.autoencoder = autoencoder.requires_grad_(False)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    @torch.no_grad()
    def raw(self, tokens: Tokens) -> Float[Tensor, "B N Z"]:
        """What the autoencoder says, in its own units."""
        self.autoencoder.eval()
        return self.autoencoder.latents(tokens).float()

    def forward(self, tokens: Tokens) -> Tokens:
        return tokens._replace(value=(self.raw(tokens) - self.mean) / self.deviation)

    @torch.no_grad()
    def patches(self, value: Float[Tensor, "B M Z"], hidden: Place, seen: Tokens) -> Float[Tensor, "B M D"]:
        """The patches at the hidden places, decoded beside the latents of those that are seen."""
        parts = [value * self.deviation + self.mean]
        places = [hidden]
        if seen.value.shape[1]:
            parts.append(self.raw(seen))
            places.append(seen.place)
        position, document = (torch.cat([getattr(one, key) for one in places], 1) for key in ("position", "document"))
        whole = self.autoencoder.decoded(torch.cat(parts, 1), Place(position, document, hidden.grid))
        return whole[:, : value.shape[1]].float()

    @torch.no_grad()
    def measure(self, samples: Iterator[Tokens]) -> None:
        """Settle the scale on the first `MEASURED` samples of each process."""
        count, total, squares = torch.zeros(3, dtype=torch.float64, device=self.mean.device)
        seen = 0
        for tokens in samples:
            latent = self.raw(tokens)[tokens.place.valid].double()
            count, total, squares = count + latent.numel(), total + latent.sum(), squares + latent.square().sum()
            seen += len(tokens.value)
            if seen >= MEASURED:
                break
        count, total, squares = mean_over_processes(torch.stack([count, total, squares]))
        mean = total / count
        self.mean.copy_(mean)
        self.deviation.copy_((squares / count - mean.square()).sqrt())
