"""Which modalities the encoder is shown of each sample, and what is then predicted: pairs (x, y) of modalities."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmssl.batch import Batch


class Pair(NamedTuple):
    """The modalities that are shown together, and the one that is predicted of them."""

    x: tuple[str, ...]
    y: str
    weight: float = 1.0

    @property
    def name(self) -> str:
        """Of its term of the loss: audio_video_to_audio."""
        return f"{'_'.join(self.x)}_to_{self.y}"


class Shown(NamedTuple):
    """Of each sample: the modalities that are shown (all, of one that is not named), and the terms that the loss of a
    predicted modality goes to, with their weights (one of its own name with weight 1, where it is not named).
    """

    kept: dict[str, Bool[Tensor, " B"]]
    terms: dict[str, dict[str, Float[Tensor, " B"]]]


Show = Callable[[Batch], Shown]


class OneContext:
    """Each sample is shown the x of one of the pairs, drawn for it (Shi et al. 2022, arXiv:2201.02184, section 3.3:
    modality dropout): of a share `alone` of the samples one modality alone, each as often, of the others several.

    A pair counts for the samples that are shown its x, by the inverse of the chance of that, so each term is the
    pair's mean energy over all samples whatever the shares are. A sample is shown only what it has; where that is no
    x of a pair, it costs exactly 0. With a share of 0 or 1 the other kind of pairs is left out.
    """

    def __init__(self, pairs: Sequence[Pair], alone: float) -> None:
        self.pairs = pairs
        found = list(dict.fromkeys(pair.x for pair in pairs))
        counts = [sum((len(x) == 1) == (len(other) == 1) for other in found) for x in found]
        odds = [(alone if len(x) == 1 else 1 - alone) / count for x, count in zip(found, counts, strict=True)]
        self.contexts = [x for x, chance in zip(found, odds, strict=True) if chance > 0]
        self.odds = [chance for chance in odds if chance > 0]

    def __call__(self, batch: Batch) -> Shown:
        chance, number = self.drawn(batch)
        shown = [number == context for context in range(len(self.contexts))]
        nothing = torch.zeros_like(shown[0])
        kept = {
            name: sum((one for x, one in zip(self.contexts, shown, strict=True) if name in x), nothing)
            for name in dict.fromkeys(name for pair in self.pairs for name in (*pair.x, pair.y))
        }
        terms: dict[str, dict[str, Tensor]] = {pair.y: {} for pair in self.pairs}
        for pair in self.pairs:
            if pair.x in self.contexts:
                context = self.contexts.index(pair.x)
                weight = torch.where(shown[context], pair.weight / chance[:, context].clamp(min=1e-9), 0.0)
                terms[pair.y][pair.name] = weight
        return Shown(kept, terms)

    def drawn(self, batch: Batch) -> tuple[Float[Tensor, "B C"], Int[Tensor, " B"]]:
        """The chance of each context, of those that a sample has, and the number of the one that it is shown; of a
        sample that has none a number that there is not.
        """
        device = batch.draw.index.device
        has = torch.stack([torch.stack([batch.present(name) for name in x]).all(0) for x in self.contexts], 1)
        odds = torch.tensor(self.odds, device=device) * has
        chance = odds / odds.sum(1, keepdim=True).clamp(min=1e-9)
        ends = chance.cumsum(1)
        return chance, (ends <= batch.draw.uniform("drop_modality", 1) * ends[:, -1:]).sum(1)
