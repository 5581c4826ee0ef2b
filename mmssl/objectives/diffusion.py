"""Unmix hidden patches from noise, among what is seen: the error of it is an energy, its paths from noise to data are
samples.
"""

from collections.abc import Iterator
from math import inf
from typing import Any, NamedTuple, Protocol

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.corruption import Corruption
from mmssl.energy import squared_error
from mmssl.models.noising import Noising, Parts
from mmssl.objectives.base import Noise, Objective, Output
from mmssl.objectives.predictive import Base, nothing, pair_energy, place_of, pooled, repeated
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens, at, without

ENERGY_SEED = 0  # of the noise that all pairs are compared with
Context = dict[str, Tokens]


class Space(Protocol):
    """Where the noise is: the patches themselves, or latents of each."""

    is_measured: bool  # whether `measure` is called once, before the first step, with training samples

    def __call__(self, tokens: Tokens) -> Tokens:
        """The patches in this space."""
        ...

    def patches(self, value: Tensor, hidden: Place, seen: Tokens) -> Float[Tensor, "B M D"]:
        """What lies at hidden places, in the input's units; `seen` are patches."""
        ...

    def measure(self, samples: Iterator[Tokens]) -> None: ...


class PatchSpace:
    """Noise on the patches."""

    is_measured = False

    def __call__(self, tokens: Tokens) -> Tokens:
        return tokens

    def patches(self, value: Tensor, hidden: Place, seen: Tokens) -> Float[Tensor, "B M D"]:
        return value

    def measure(self, samples: Iterator[Tokens]) -> None:
        """It is the input's."""


class Sampling(NamedTuple):
    """How a trained denoiser is asked. Guidance 1 is what was learned; beyond, what is seen counts for more: the answer
    without it + guidance * the difference that it makes (Ho & Salimans 2022, arXiv:2207.12598, eq. 6, whose w is
    guidance - 1).
    """

    steps: int
    guidance: float
    energy_draws: int  # (time, noise) pairs of an energy


class Diffusion(Objective):
    """F(x, y) = mean over times and noises of |said - true|^2, the denoiser's error on y mixed with noise, seeing x.

    The loss is its estimate by one draw of each; mean over features, hidden tokens, samples. `energies` take the same
    `energy_draws` pairs for all pairs (x, y): times at even quantiles of the training's, so that two energies differ by
    x and y alone. Weighed by time as the likelihood asks, it would bound -log p(y | x) but for a constant (Ho et al.
    2020, arXiv:2006.11239, eq. 12); a weight that rises with the noise makes it a bound for y with noise on it
    (Kingma & Gao 2023, arXiv:2303.00848, section 4), as that of a flow with uniform times does. z is the noise, as many
    numbers as y: its capacity has no limit, so there are no `bits`.

    y is what lies at the hidden places of the modality `name`, less `base(seen, hidden)`; all else that the encoder
    reads is seen.
    """

    normalised = False
    hides = has_latent = True
    encoder: Any
    denoiser: Any

    def __init__(
        self, *, name: str, encoder: Any, corrupt: Corruption, denoiser: nn.Module, space: Any, noising: Noising,
        sampling: Sampling, drop_context: float = 0.0, base: Base = nothing,
    ) -> None:  # fmt: skip
        super().__init__()
        self.name, self.answered, self.base = name, (name,), base
        self.encoder, self.denoiser, self.space = encoder, denoiser, space
        self.regroup_epochs = inf if space.is_measured else 0.0
        self.corrupt, self.noising, self.sampling, self.drop_context = corrupt, noising, sampling, drop_context

    def forward(self, batch: Batch) -> Output:
        tokens, seen, hidden = self.corrupted(batch)
        place = hidden[self.name]
        y = at(self.space(tokens[self.name]), place).float() - self.base(seen[self.name], place)
        # time and noise belong to the sample, so that a step does not depend on how its batch is split
        time = self.noising.process.times(batch.draw.uniform("time"))
        noise = batch.draw.normal("noise", *y.shape[1:])
        # some learn to do without what is seen: guidance needs both
        kept = batch.draw.uniform("drop_context") >= self.drop_context
        sx = self.encoder({name: without(part, kept) for name, part in seen.items()})
        energy = self.error(sx, place, Parts(y, noise), time)
        return Output({self.name: energy.mean()}, energy.detach(), pooled(sx).detach())

    def error(self, sx: Context, place: Place, parts: Parts, time: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """The squared error of what is said of a mixture: mean over features and valid hidden tokens."""
        said = self.unmixed(sx, place, self.noising.mixture(parts, time), time)
        answer, true = (self.noising.quantity(one, time) for one in (said, parts))
        return pair_energy(squared_error, answer, true, place.valid)

    def unmixed(self, sx: Context, place: Place, mixture: Tensor, time: Float[Tensor, " B"]) -> Parts:
        """What the denoiser takes a mixture for."""
        return self.noising.parts(mixture, self.denoiser(sx, place, mixture, time), time)

    def corrupted(self, batch: Batch) -> tuple[Context, Context, dict[str, Place]]:
        tokens = {name: self.tokens(batch, name) for name in self.encoder.cuts}
        seen, place = self.corrupt(tokens[self.name], batch.draw)
        return tokens, {**tokens, self.name: seen}, {self.name: place}

    def tokens(self, batch: Batch, name: str) -> Tokens:
        """All tokens of a modality; what a sample lacks is padding."""
        return without(self.encoder.cuts[name].tokenize(batch.views[name]), batch.present(name))

    def predict(self, seen: Context, hidden: dict[str, Place], noise: Noise | None = None) -> dict[str, Tensor]:
        """One completion for each noise; without noise the one that zeros lead to, which is no mean."""
        place = hidden[self.name]
        sx, none = self.encoder(seen), torch.zeros_like(place.valid[:, 0])
        alone = self.encoder({name: without(part, none) for name, part in seen.items()}) if self.is_guided else sx
        count, width = place.position.shape[1], self.denoiser.width
        drawn = torch.zeros(len(none), count * width, device=none.device) if noise is None else noise(count * width)

        def unmix(mixture: Tensor, time: Tensor) -> Parts:
            found = self.unmixed(sx, place, mixture, time)
            if not self.is_guided:
                return found
            other = self.unmixed(alone, place, mixture, time)
            return Parts(*(torch.lerp(*pair, self.sampling.guidance) for pair in zip(other, found)))

        start = rearrange(drawn, "b (m d) -> b m d", d=width)
        found = self.noising.sampled(unmix, start, self.sampling.steps)
        return {self.name: self.space.patches(found + self.base(seen[self.name], place), place, seen[self.name])}

    @property
    def is_guided(self) -> bool:
        """Whether what is said without x is needed, too."""
        return self.sampling.guidance != 1

    def patches_of(self, prediction: Tensor, answer: Float[Tensor, "B M D"], place: Place) -> Float[Tensor, "B M D"]:
        return prediction.float()

    def energies_of(self, seen: Context, hidden: dict[str, Place], answers: Context) -> Float[Tensor, "A B"]:
        sx, sy, place = self.encoder(seen), self.space(answers[self.name]), hidden[self.name]
        return torch.stack([
            self.row(sx, repeated(seen[self.name], row, 1), place, sy, row) for row in range(len(place.position))
        ])  # fmt: skip

    def row(self, sx: Context, seen: Tokens, hidden: Place, sy: Tokens, row: int) -> Float[Tensor, " B"]:
        """F(x of one sample, y of each); one row at a time, so that memory grows with B alone."""
        count = len(sy.value)
        mine = {name: repeated(part, row, count) for name, part in sx.items()}
        base = self.base(seen, place_of(hidden, row, 1))
        return self.matched(mine, place_of(hidden, row, count), sy, base)

    def matched(self, sx: Context, hidden: Place, sy: Tokens, base: Tensor | float) -> Float[Tensor, " B"]:
        """F(x, y) of each sample."""
        valid = hidden.valid & sy.place.valid.gather(1, hidden.position)
        y, place = at(sy, hidden).float() - base, hidden._replace(document=torch.where(valid, hidden.document, -1))
        draws = self.sampling.energy_draws
        index = torch.arange(draws, device=y.device)
        quantiles = self.noising.process.times((index + 0.5) / draws)
        noises = Draw(ENERGY_SEED, torch.zeros_like(index), index).normal("energy", *y.shape[1:])
        errors = [
            self.error(sx, place, Parts(y, repeat(noise, "m d -> b m d", b=len(y))), time.expand(len(y)))
            for noise, time in zip(noises, quantiles)
        ]
        return torch.stack(errors).mean(0)

    def energies_of_pairs(self, batch: Batch, answers: Batch) -> Float[Tensor, " B"]:
        _, seen, hidden = self.corrupted(batch)
        base = self.base(seen[self.name], hidden[self.name])
        return self.matched(self.encoder(seen), hidden[self.name], self.space(self.tokens(answers, self.name)), base)

    def regroup(self, batches: Iterator[Batch]) -> list[Tensor]:
        self.space.measure(self.tokens(batch, self.name) for batch in batches)
        return []

    def compares(self, x: str, y: str) -> bool:
        return y == self.name and x != self.name and x in self.encoder.cuts

    def energies_between(self, x: str, y: str, batch: Batch, answers: Batch | None = None) -> Float[Tensor, "A B"]:
        """x is seen whole, and nothing else."""
        if not self.compares(x, y):
            return super().energies_between(x, y, batch)
        asked = self.tokens(batch if answers is None else answers, self.name)
        count = len(batch.draw.index)
        none = Tokens(asked.value[:1, :0].expand(count, -1, -1), place_of(part_of(asked.place), 0, count))
        seen, hidden = {x: self.tokens(batch, x), self.name: none}, {self.name: place_of(asked.place, 0, count)}
        return self.energies_of(seen, hidden, {self.name: asked})


def part_of(place: Place) -> Place:
    """No places of the same grid."""
    return Place(place.position[:, :0], place.document[:, :0], place.grid)
