"""Predict what lies at hidden frames of a waveform, whose convolutions see all of it."""

from collections.abc import Iterable, Iterator
from math import inf
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.distributed import gather
from mmssl.energy import cosine
from mmssl.losses.frame_contrast import distractors, frame_contrast
from mmssl.models.frame_clusters import FrameClusters
from mmssl.models.quantiser import GumbelQuantiser, perplexity
from mmssl.models.target import Told
from mmssl.models.wav2vec2 import WaveformEncoder
from mmssl.objectives.base import Output
from mmssl.objectives.predictive import Predictive, Stream, pair_energy
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens, at, without

NAME = "audio"


class HiddenFrames(Predictive):
    """F(x, y) as in `Predictive`, of frames: the convolutions make them of whole waveforms, once for all masks, then
    some are hidden from the layers.

    The target is told the frames as layers read them, and what `told` names of: `audio.features`, the normalised
    features before the projection, and `audio.samples`. `gradient` scales what the convolutions learn by.
    """

    encoder: WaveformEncoder

    def __init__(
        self, *, stream: Stream, encoder: WaveformEncoder, told: tuple[str, ...] = (), gradient: float = 1.0,
        **parts: Any,
    ) -> None:  # fmt: skip
        super().__init__(streams={NAME: stream}, encoder=encoder, **parts)
        self.for_target, self.gradient = told, gradient

    @property
    def student(self) -> nn.Module:
        return self.encoder.context

    def tokens(self, batch: Batch, *names: str) -> dict[str, Tokens]:
        samples = without(self.encoder.cuts[NAME].tokenize(batch.views[NAME]), batch.present(NAME))
        frames = self.encoder.front(samples, self.gradient)
        known = {NAME: frames.projected, "audio.features": frames.features, "audio.samples": samples}
        return {name: known[name] for name in (NAME, *self.for_target)}

    def answer(self, tokens: dict[str, Tokens], names: Iterable[str]) -> dict[str, Tokens]:
        return super().answer(tokens, (*names, *self.for_target))


class ContrastiveStream(Stream):
    """The entry of codebooks at a hidden frame, among those at other hidden frames of the same sound; energies are 1 -
    cosine of the prediction with the projected entry, the mean over hidden frames.
    """

    def __init__(
        self, *, quantiser: GumbelQuantiser, project: nn.Linear, num_distractors: int, temperature: float,
        diversity_weight: float, **stream: Any,
    ) -> None:  # fmt: skip
        super().__init__(energy=cosine, **stream)
        self.quantiser, self.project, self.num_distractors = quantiser, project, num_distractors
        self.temperature, self.diversity_weight = temperature, diversity_weight
        self.perplexity = torch.zeros(())  # of the last forward, the mean over codebooks

    def terms(
        self, sx: dict[str, Tokens], seen: Tokens, sy: Tokens, hidden: Place, draw: Draw
    ) -> tuple[dict[str, Float[Tensor, " B"]], Float[Tensor, " B"]]:
        valid = hidden.valid
        prediction = self.predict(sx, seen, hidden)
        # entries are drawn in training, by noise of the samples' own, and else the most likely ones
        noise = self.quantiser.noise(draw, valid.shape[1]) if self.training else None
        found = self.quantiser(at(sy, hidden), noise)
        answer = self.project(found.value).float()
        others = distractors(draw, valid, self.num_distractors)
        contrast = frame_contrast(prediction, answer, found.code, others, valid, self.temperature)
        # the more entries are in use, the better
        used = perplexity(found.probability, valid)
        self.perplexity = used.detach().mean()
        unused = (1 - used.mean() / self.quantiser.num_codes).expand_as(contrast)
        energy = pair_energy(self.energy, prediction, answer, valid)
        return {"": contrast, ".diversity": self.diversity_weight * unused}, energy

    def pairs(self, sx: dict[str, Tokens], seen: Tokens, sy: Tokens, hidden: Place) -> Float[Tensor, "A B"]:
        features, valid = self.pairing(sy, hidden)
        return pair_energy(self.energy, self.predict(sx, seen, hidden)[:, None], self.answers(features), valid)

    def matched(self, sx: dict[str, Tokens], seen: Tokens, sy: Tokens, hidden: Place) -> Float[Tensor, " B"]:
        features, valid = self.own(sy, hidden)
        return pair_energy(self.energy, self.predict(sx, seen, hidden), self.answers(features), valid)

    def answers(self, features: Float[Tensor, "*B M F"]) -> Float[Tensor, "*B M P"]:
        """The projected entries that are the most likely ones."""
        return self.project(self.quantiser(features).value)


class QuantisedFrames(HiddenFrames):
    """With entries of codebooks, which are learnt alike, as answers."""

    normalised = False

    def __init__(self, *, stream: ContrastiveStream, **parts: Any) -> None:
        super().__init__(stream=stream, told=("audio.features",), target=Told(NAME, "audio.features"), **parts)
        self.num_codes = stream.quantiser.num_codes  # of each codebook

    @property
    def stream(self) -> ContrastiveStream:
        """The only one."""
        found = self.by_name[NAME]
        assert isinstance(found, ContrastiveStream)
        return found

    def forward(self, batch: Batch) -> Output:
        output = super().forward(batch)
        return output._replace(statistics={"codes.perplexity": self.stream.perplexity})

    def codes_of(self, batch: Batch) -> Int[Tensor, "B N G"]:
        """The most likely entry of each codebook at each frame, -1 where a sample is not there."""
        features = self.tokens(batch)["audio.features"]
        return torch.where(features.place.valid[..., None], self.stream.quantiser(features.value).code, -1)

    def after_step(self, progress: float) -> None:
        super().after_step(progress)
        self.stream.quantiser.settle(progress)


class ClusteredFrames(HiddenFrames):
    """With clusters of frames as answers (Hsu et al. 2021, arXiv:2106.07447), which are found before the first step and
    stay.
    """

    regroup_epochs = inf
    target: FrameClusters

    def __init__(self, *, target: FrameClusters, **parts: Any) -> None:
        super().__init__(told=("audio.samples",), target=target, **parts)
        self.num_codes = len(target.centres)

    def remember(self, num_samples: int) -> None:
        self.target.remember(num_samples)

    @torch.no_grad()
    def regroup(self, batches: Iterator[Batch]) -> list[Tensor]:
        self.eval()
        found = [self.target.chosen(self.tokens(batch)) for batch in batches]
        self.target.regroup(gather(torch.cat(found)))
        return []

    def codes_of(self, batch: Batch) -> Int[Tensor, "B N 1"]:
        """The cluster of each frame, -1 where a sample is not there."""
        found = self.target(self.tokens(batch))[NAME]
        return torch.where(found.place.valid, found.value, -1)[..., None]
