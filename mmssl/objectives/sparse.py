"""Sparse coding: y is a sum of few atoms of a dictionary, and the encoder learns to say which."""

from math import prod
from typing import NamedTuple

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.corruption import Corruption
from mmssl.modalities.grids import Cut
from mmssl.models.sparse import Dictionary, Lista, Seen, fista, sampled, sparse_energy
from mmssl.objectives.base import Noise, Objective, Output
from mmssl.objectives.predictive import place_of, pooled
from mmssl.tokens import Place, Tokens, at, without

SAMPLING_STEPS = 100  # of Langevin dynamics


class Unit(NamedTuple):
    """What one z codes, as patterns: its numbers of (b n d) patches, its embedding of (b n e), a mean where several."""

    row: str
    embedding: str


PATCH, WHOLE = Unit("(b n) d", "(b n) e"), Unit("b (n d)", "b e")


class Iterated(nn.Module):
    """The z of least energy, by iterations."""

    def __init__(self, l1_weight: float, steps: int) -> None:
        super().__init__()
        self.l1_weight, self.steps = l1_weight, steps

    def codes(self, y: Float[Tensor, "R D"], dictionary: Dictionary, seen: Seen | None) -> Float[Tensor, "R K"]:
        """Without any gradient."""
        return fista(y, dictionary.weight, self.l1_weight, self.steps, seen)

    def loss(self, y: Float[Tensor, "R D"], z: Float[Tensor, "R K"]) -> dict[str, Float[Tensor, " R"]]:
        """There is nothing to learn."""
        return {}


class Amortised(nn.Module):
    """What a network of a few layers says of it, which learns from the iterations (Gregor & LeCun 2010, eq. 5)."""

    def __init__(self, dictionary: Dictionary, l1_weight: float, layers: int) -> None:
        super().__init__()
        self.network = Lista(dictionary.weight, l1_weight, layers)

    def codes(self, y: Float[Tensor, "R D"], dictionary: Dictionary, seen: Seen | None) -> Float[Tensor, "R K"]:
        """A code that is near the minimum."""
        return self.network(y, seen)

    def loss(self, y: Float[Tensor, "R D"], z: Float[Tensor, "R K"]) -> dict[str, Float[Tensor, " R"]]:
        """1/2 ||z - network(y)||^2."""
        return {"amortised": 0.5 * (self.network(y) - z).square().sum(-1)}


class SparseCoding(Objective):
    """F(x, y) = min_z E(x and y, z) - min_z E(x, z): what y adds to the energy of x, over the numbers of y.

    E is that of `sparse_energy`; z codes each patch, or the whole sample (`unit`): only then what is seen tells of what
    is hidden, which is W z, z inferred from x alone, or with noise drawn from exp(-E(x, z) / temperature). The loss of
    a whole sample y is E(y, z*), over its numbers, with z* from `fista` held fixed; the encoder and `head` learn
    1/2 ||z* - head(encoder(y))||^2, in the same units (Kavukcuoglu et al. 2008, arXiv:1010.3467, eq. 5-6; here z* does
    not feel the encoder).
    """

    hides = infers = has_latent = True
    normalised = False

    def __init__(
        self, *, cut: Cut, encoder: nn.Module, dictionary: Dictionary, head: nn.Module, teacher: Iterated,
        inference: Iterated | Amortised, corrupt: Corruption, unit: Unit, temperature: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.cut, self.corrupt, self.answered = cut, corrupt, (cut.name,)
        self.encoder, self.dictionary, self.head, self.teacher = encoder, dictionary, head, teacher
        self.inference, self.unit, self.temperature = inference, unit, temperature

    def forward(self, batch: Batch) -> Output:
        found, seen, hidden = self.corrupted(batch)
        tokens = found[self.cut.name]
        count, numbers = len(tokens.value), tokens.value[0].numel()
        sx = self.encoder({self.cut.name: tokens})[self.cut.name]
        with torch.autocast(sx.value.device.type, enabled=False):
            # the codes of least energy: what all others learn from
            y = self.rows(tokens.value)
            z = self.teacher.codes(y, self.dictionary, None)
            energy = sparse_energy(y, z, self.dictionary.weight, self.teacher.l1_weight)
            guess = self.head(reduce(sx.value.float(), f"b n e -> {self.unit.embedding}", "mean"))

            parts = {"": energy, ".code": 0.5 * (z - guess).square().sum(-1)}
            parts |= {f".{name}": loss for name, loss in self.inference.loss(y, z).items()}
            terms = {self.cut.name + suffix: self.by_sample(part, count) / numbers for suffix, part in parts.items()}
        energies = self.added(tokens, seen[self.cut.name].place, hidden[self.cut.name])
        present = tokens.place.valid.any(1)  # a sample that lacks the modality costs nothing
        means = {name: torch.where(present, part, 0.0).mean() for name, part in terms.items()}
        return Output(means, energies, pooled({self.cut.name: sx}).detach())

    def rows(self, value: Float[Tensor, "B N D"]) -> Float[Tensor, "R W"]:
        """What is coded by one z each."""
        return rearrange(value, f"b n d -> {self.unit.row}")

    def by_sample(self, energy: Float[Tensor, " R"], count: int) -> Float[Tensor, " B"]:
        """The sum over the codes of each sample."""
        return reduce(energy, "(b n) -> b", "sum", b=count)

    @torch.no_grad()
    def added(self, tokens: Tokens, seen: Place, hidden: Place) -> Float[Tensor, " B"]:
        """F of samples of which these places are seen, and those hidden."""
        with torch.autocast(tokens.value.device.type, enabled=False):
            mask = self.known(tokens.value, seen)
            asked = self.known(tokens.value, hidden)
            both = self.least(tokens.value, mask | asked)
            return (both - self.least(tokens.value, mask)) / asked.flatten(1).sum(1).clamp(min=1)

    def known(self, value: Float[Tensor, "B N D"], place: Place) -> Bool[Tensor, "B N D"]:
        """True at the numbers of some places."""
        found = torch.zeros(value.shape[:2], dtype=torch.bool, device=value.device)
        return found.scatter(1, place.position, place.valid)[..., None].expand(value.shape)

    def least(self, value: Float[Tensor, "B N D"], seen: Bool[Tensor, "B N D"]) -> Float[Tensor, " B"]:
        """min_z E over the numbers that are seen, a sum."""
        y, mask = self.rows(value.float()), rearrange(seen, f"b n d -> {self.unit.row}")
        z = self.inference.codes(y, self.dictionary, mask)
        energy = sparse_energy(y, z, self.dictionary.weight, self.teacher.l1_weight, mask)
        return self.by_sample(energy, len(value))

    def tokens(self, batch: Batch) -> dict[str, Tokens]:
        """All patches; what a sample lacks is padding."""
        found = self.cut.tokenize(batch.views[self.cut.name])
        return {self.cut.name: without(found._replace(value=found.value.float()), batch.present(self.cut.name))}

    def corrupted(self, batch: Batch) -> tuple[dict[str, Tokens], dict[str, Tokens], dict[str, Place]]:
        tokens = self.tokens(batch)
        seen, hidden = self.corrupt(tokens[self.cut.name], batch.draw)
        assert hidden is not None
        return tokens, {self.cut.name: seen}, {self.cut.name: hidden}

    def energies_of(
        self, seen: dict[str, Tokens], hidden: dict[str, Place], answers: dict[str, Tokens]
    ) -> Float[Tensor, "A B"]:
        part, place, whole = seen[self.cut.name], hidden[self.cut.name], answers[self.cut.name]
        rows = []
        for row in range(len(part.value)):
            value, count = whole.value.float().clone(), len(whole.value)
            value[:, part.place.position[row]] = part.value[row].float()
            rows.append(self.added(Tokens(value, whole.place), *(place_of(p, row, count) for p in (part.place, place))))
        return torch.stack(rows)

    def predict(
        self, seen: dict[str, Tokens], hidden: dict[str, Place], noise: Noise | None = None
    ) -> dict[str, Tensor]:
        part, place = seen[self.cut.name], hidden[self.cut.name]
        count, cells, width = len(part.value), prod(part.place.grid), self.cut.width
        value = part.value.new_zeros(count, cells, width).float()
        value.scatter_(1, part.place.position[..., None].expand(part.value.shape), part.value.float())
        with torch.autocast(value.device.type, enabled=False):
            mask = rearrange(self.known(value, part.place), f"b n d -> {self.unit.row}")
            y = self.rows(value)
            z = self.inference.codes(y, self.dictionary, mask)
            if noise is not None:
                steps = noise(SAMPLING_STEPS * z.numel() // count).to(z)
                steps = rearrange(steps, "b (s r k) -> s (b r) k", s=SAMPLING_STEPS, k=z.shape[1])
                weight, l1_weight = self.dictionary.weight, self.teacher.l1_weight
                z = sampled(y, z, weight, l1_weight, self.temperature, steps, mask)
            whole = rearrange(self.dictionary(z), f"{self.unit.row} -> b n d", b=count, n=cells)
        return {self.cut.name: at(Tokens(whole, place), place)}

    def patches_of(self, prediction: Tensor, answer: Float[Tensor, "B M D"], place: Place) -> Float[Tensor, "B M D"]:
        return prediction.float()

    def after_step(self, progress: float) -> None:
        self.dictionary.project()
