"""What a predictive model puts where something is hidden, as something to look at or to listen to."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from einops import repeat
from jaxtyping import Bool
from torch import Tensor

from mmssl.batch import Batch
from mmssl.corruption import Corruption
from mmssl.modalities.grids import Cut
from mmssl.objectives import Objective, Predictive
from mmssl.objectives.base import Noise
from mmssl.tokens import Place, Tokens, at

Told = Callable[[Tokens, Place], Tensor]  # (seen, hidden) -> (B, M, D)
Decode = Mapping[str, Callable[[Tensor], Tensor]]  # of a modality (B, M, E) embeddings -> (B, M, D) patches

NO_DECODER: Decode = {}


class Completed(NamedTuple):
    """One modality of a batch: the views as they were, where they were hidden, and filled in by the model."""

    cut: Cut
    original: Tensor  # a view, in the encoder's units
    seen: Tensor  # what is seen of it, perhaps noisy, and 0 elsewhere
    is_hidden: Tensor  # of the same shape
    samples: list[Tensor]  # filled in, once for each sample asked for
    unknown: frozenset[int] = frozenset()  # samples of which nobody knows what is hidden: `original` is then no truth
    limit: Tensor | None = None  # filled in with what a decoder draws of the target's own embeddings, where it drew

    @property
    def is_decoded(self) -> bool:
        """Whether the samples are read off embeddings, and not the model's own pixels."""
        return self.limit is not None


def predictive(objective: Objective) -> Objective | None:
    """The part of an objective that predicts patches, if it has one."""
    for part in objective.each().values():
        if part.hides and any(cut_of(part, name) for name in part.answered):
            return part
    return None


def cut_of(part: Objective, name: str) -> Cut | None:
    """How a modality is cut into patches; None where it is text."""
    found = getattr(part.encoder, "cuts", {}).get(name)
    return found if isinstance(found, Cut) else None


def noise_of(batch: Batch, sample: int) -> Noise:
    """The noise of the k-th sample: it belongs to the batch's samples, so it is the same each time."""
    return lambda width: batch.draw.normal(f"sample/{sample}", width)


@torch.no_grad()
def completed(
    objective: Objective, batch: Batch, *, samples: int, decode: Decode = NO_DECODER, hide: Corruption | None = None,
    first: int = 0, told: Told | None = None,
) -> dict[str, Completed]:  # fmt: skip
    """Hide what the method hides in each modality, or what `hide` does, and fill it in `samples` times; nothing where
    it cannot. What a sample lacks is filled in, too: it is `unknown`.

    `told` makes patches that stand for the hidden ones where these may not be looked at, not even for what no model was
    asked for.

    With `samples` = 0 once, with the mean of the prior where there is a latent variable; samples are numbered from
    `first` on. `decode` turns predictions that are embeddings into patches (`readouts_of`).
    """
    part = predictive(objective)
    if part is None:
        return {}
    objective.eval()
    tokens, seen, hidden = part.corrupted(batch)
    if hide is not None:
        seen, hidden = hidden_by(hide, tokens, batch)
    lacking = {name: torch.logical_not(batch.present(name)) for name in hidden}
    hidden = {name: asked(place, lacking[name]) for name, place in hidden.items()}
    # without a latent variable there is one answer only
    noises = [noise_of(batch, number) for number in range(first, first + (samples if part.has_latent else 0))] or [None]
    predictions = [part.predict(seen, hidden, noise) for noise in noises]
    found = {}
    for name, place in hidden.items():
        cut = cut_of(part, name)
        if cut is None:
            continue
        answer = at(tokens[name], place) if told is None else told(seen[name], place)
        shown = [part.patches_of(one[name], answer, place) for one in predictions]
        is_decoded = shown[0] is None and name in decode
        if is_decoded:
            assert isinstance(part, Predictive), f"a decoder of {name} without a target of embeddings"
            truth = at(part.target(tokens)[name], place)
            shown = [decode[name](each) for each in (*(one[name] for one in predictions), truth)]
        patches = [value for value in shown if value is not None]
        if patches:
            whole = filled(cut, tokens[name], seen[name], place, patches)
            limit = whole.samples[-1] if is_decoded else None
            unknown = frozenset(lacking[name].nonzero()[:, 0].tolist())
            found[name] = whole._replace(samples=whole.samples[: len(predictions)], limit=limit, unknown=unknown)
    return found


def asked(place: Place, lacking: Bool[Tensor, " B"]) -> Place:
    """The same places, those of samples that lack the modality no padding: they are asked for all the same."""
    return place._replace(document=torch.where(lacking[:, None], 0, place.document))


def hidden_by(hide: Corruption, tokens: dict[str, Tokens], batch: Batch) -> tuple[dict[str, Tokens], dict[str, Place]]:
    """What is seen and what is hidden of all tokens of each modality."""
    seen, hidden = {}, {}
    for name, whole in tokens.items():
        seen[name], place = hide(whole, batch.draw)
        if place is not None:
            hidden[name] = place
    return seen, hidden


def filled(cut: Cut, whole: Tokens, seen: Tokens, place: Place, values: list[Tensor]) -> Completed:
    """The view with each of the values at the hidden places."""
    patches = whole.value.float()
    index = repeat(place.position, "b m -> b m d", d=cut.width)
    mask = torch.zeros_like(patches).scatter(1, index, 1.0)
    there = repeat(seen.place.position, "b n -> b n d", d=cut.width)
    left = torch.zeros_like(patches).scatter(1, there, seen.value.float())
    samples = [cut.paste(patches.scatter(1, index, value)) for value in values]
    return Completed(cut, cut.paste(patches), cut.paste(left), cut.paste(mask) > 0, samples)
