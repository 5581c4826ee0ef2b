"""Product quantisation by Gumbel-softmax: an entry of each of several codebooks (Baevski et al. 2020, arXiv:2006.11477,
section 3.2).
"""

from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import one_hot

from mmssl.distributed import average
from mmssl.random import Draw

FALLS_UNTIL = 0.7  # of the run: then the temperature has fallen to its last value
NEVER_ZERO = 2.0**-25  # in place of a uniform number of 0, which has no logarithm


class Quantised(NamedTuple):
    """Entries of G codebooks at each place, and what they were drawn from."""

    value: Float[Tensor, "*B M C"]  # the entries side by side
    code: Int[Tensor, "*B M G"]
    probability: Float[Tensor, "*B M G K"]  # the softmax without noise; of chosen entries 1


class GumbelQuantiser(nn.Module):
    """G codebooks of K entries of `width` / G numbers; a linear layer gives the logits of each.

    With noise an entry is drawn, its gradient that of the softmax at a temperature (eq. 1), which falls from `first`
    to `last` in equal ratios; without, the most likely one is taken. Parameters are named as in the stock class.
    """

    temperature: Float[Tensor, ""]

    def __init__(
        self, features: int, *, num_groups: int, num_codes: int, width: int, first: float = 2.0, last: float = 0.5
    ) -> None:
        super().__init__()
        self.num_groups, self.num_codes, self.first, self.last = num_groups, num_codes, first, last
        self.codevectors = nn.Parameter(torch.rand(1, num_groups * num_codes, width // num_groups))
        self.weight_proj = nn.Linear(features, num_groups * num_codes)
        nn.init.normal_(self.weight_proj.weight)
        nn.init.zeros_(self.weight_proj.bias)
        self.register_buffer("temperature", torch.tensor(first))

    def forward(self, features: Float[Tensor, "*B M F"], noise: Float[Tensor, "*B M G K"] | None = None) -> Quantised:
        logits = rearrange(self.weight_proj(features).float(), "... (g k) -> ... g k", g=self.num_groups)
        if noise is None:
            code = logits.argmax(-1)
            chosen = probability = one_hot(code, self.num_codes).float()
        else:
            probability = logits.softmax(-1)
            soft = ((logits + noise) / self.temperature).softmax(-1)
            code = soft.argmax(-1)
            chosen = one_hot(code, self.num_codes) - soft.detach() + soft
        books = rearrange(self.codevectors.float(), "1 (g k) c -> g k c", g=self.num_groups)
        with torch.autocast(chosen.device.type, enabled=False):
            value = torch.einsum("...gk,gkc->...gc", chosen, books)
        return Quantised(value.flatten(-2), code, probability)

    def noise(self, draw: Draw, places: int) -> Float[Tensor, "B M G K"]:
        """Gumbel noise of the samples' own."""
        uniform = draw.uniform("gumbel", places, self.num_groups, self.num_codes)
        return -(-uniform.clamp(min=NEVER_ZERO).log()).log()  # added to the largest number below 1, it would make 1

    def settle(self, progress: float) -> None:
        """The temperature after a part of the run."""
        falling = min(1.0, progress / FALLS_UNTIL)
        self.temperature.fill_(self.first * (self.last / self.first) ** falling)


def perplexity(probability: Float[Tensor, "B M G K"], valid: Bool[Tensor, "B M"]) -> Float[Tensor, " G"]:
    """exp of the entropy of the mean probability of each codebook's entries over all valid places of all processes:
    how many are in use, were they used alike.
    """
    total = average((probability * valid[..., None, None]).sum((0, 1)))
    mean = total / average(valid.sum().float()).clamp(min=1 / valid.numel())
    return torch.special.entr(mean).sum(-1).exp()
