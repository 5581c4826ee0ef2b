"""What a latent variable is used for: whether the decoder has given it up, or it tells without a limit."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mmssl.batch import Batch
from mmssl.evaluate.codes import perplexity
from mmssl.objectives import Objective

LatentVerdict = Literal["healthy", "posterior_collapse", "unlimited"]

ACTIVE_VARIANCE = 0.01  # of a unit's posterior mean over samples (Burda et al. 2015, arXiv:1509.00519, section 5.1)
COLLAPSED_BITS = 0.05  # a z that tells less tells nothing
UNLIMITED_NATS = 0.5  # a unit: normals of variance 3.15 and 0.16 are so far from one of variance 1


def active_units(mean: Float[Tensor, "N Z"]) -> int:
    """Units of z whose posterior mean varies over samples."""
    return int((mean.double().var(0) > ACTIVE_VARIANCE).sum())


def prior_gap(drawn: Float[Tensor, "N Z"]) -> float:
    """KL(N(mean, variance) || N(0, 1)) of what the posteriors of N samples draw, in nats, the mean over units."""
    variance, mean = torch.var_mean(drawn.double(), 0, correction=0)
    return float(0.5 * (variance + mean.square() - 1 - variance.clamp(min=1e-12).log()).mean())


def verdict(bits: float, active: int | None, gap: float | None) -> LatentVerdict:
    """ "posterior_collapse": z tells less than 0.05 bits, or no unit of it varies. "unlimited": what the posteriors of
    all samples draw is more than half a nat a unit from the prior, whose draws the decoder then does not know: nothing
    holds z, as without a KL term. Else "healthy".
    """
    if bits < COLLAPSED_BITS or active == 0:
        return "posterior_collapse"
    return "unlimited" if gap is not None and gap > UNLIMITED_NATS else "healthy"


@torch.no_grad()
def latent_results(part: Objective, batches: Iterator[Batch]) -> dict[str, Any]:
    """The `latent.*` keys of an objective with a latent variable whose bits are known; none of any other."""
    if not (part.hides and part.has_latent):
        return {}
    part.eval()
    bits, latents, draws = [], [], []
    for batch in batches:
        tokens, seen, hidden = part.corrupted(batch)
        told = part.bits(seen, hidden, tokens)
        if told is None:
            return {}
        bits.append(told.float().cpu())
        latents.append(part.latents_of(seen, hidden, tokens))
        draws.append(part.drawn_latents(tokens, batch.draw))
    if not bits:
        return {}
    results: dict[str, Any] = {"latent.bits": float(torch.cat(bits).mean())}
    active = gap = None
    if all(one is not None for one in latents):
        z = torch.cat(latents).cpu()
        if z.is_floating_point() and len(z) > 1:
            results["latent.active_units"] = active = active_units(z.float())
            results["latent.units"] = z.shape[1]
        elif not z.is_floating_point():
            results["latent.perplexity"] = perplexity(z.flatten()[:, None])
    if all(one is not None for one in draws):
        results["latent.prior_gap"] = gap = prior_gap(torch.cat(draws).cpu())
    return {**results, "latent.verdict": verdict(results["latent.bits"], active, gap)}
