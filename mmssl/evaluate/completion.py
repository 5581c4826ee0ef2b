"""What a predictive model puts where something is hidden, as something to look at or to listen to."""

from typing import NamedTuple

import torch
from einops import repeat
from torch import Tensor

from mmssl.batch import Batch
from mmssl.modalities.grids import Cut
from mmssl.models.target import Data
from mmssl.objectives import Objective, Predictive
from mmssl.objectives.base import Noise
from mmssl.tokens import at


class Completed(NamedTuple):
    """One modality of a batch: the views as they were, where they were hidden, and filled in by the model."""

    cut: Cut
    original: Tensor  # a view, in the encoder's units
    is_hidden: Tensor  # of the same shape
    samples: list[Tensor]  # filled in, once for each sample asked for


def predictive(objective: Objective) -> Predictive | None:
    """The part of an objective that predicts patches, if it has one."""
    for part in objective.each().values():
        if isinstance(part, Predictive) and any(cut_of(part, name) for name in part.by_name):
            return part
    return None


def cut_of(part: Predictive, name: str) -> Cut | None:
    """How a modality is cut into patches; None where it is text."""
    found = getattr(part.encoder, "cuts", {}).get(name)
    return found if isinstance(found, Cut) else None


def noise_of(batch: Batch, sample: int) -> Noise:
    """The noise of the k-th sample: it belongs to the batch's samples, so it is the same each time."""
    return lambda width: batch.draw.normal(f"sample/{sample}", width)


@torch.no_grad()
def completed(objective: Objective, batch: Batch, *, samples: int) -> dict[str, Completed]:
    """Hide what the method hides in each modality and fill it in `samples` times; nothing where it cannot.

    With `samples` = 0 once, with the mean of the prior where there is a latent variable.
    """
    part = predictive(objective)
    if part is None or not isinstance(part.target, Data):
        return {}  # nobody can look at an embedding
    target = part.target
    objective.eval()
    tokens, seen, hidden = part.corrupted(batch)
    # without a latent variable there is one answer only
    several = any(stream.has_latent for stream in part.by_name.values())
    noises = [noise_of(batch, number) for number in range(samples if several else 0)] or [None]
    predictions = [part.predict(seen, hidden, noise) for noise in noises]
    found = {}
    for name, place in hidden.items():
        cut = cut_of(part, name)
        if cut is None:
            continue
        index = repeat(place.position, "b m -> b m d", d=cut.width)
        answer = at(tokens[name], place)
        values = [target.shown(one[name], answer) for one in predictions]
        whole = tokens[name].value.float()
        mask = torch.zeros_like(whole).scatter(1, index, 1.0)
        filled = [cut.paste(whole.scatter(1, index, value)) for value in values]
        found[name] = Completed(cut, cut.paste(whole), cut.paste(mask) > 0, filled)
    return found
