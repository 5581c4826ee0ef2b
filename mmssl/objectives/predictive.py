"""Predict what is hidden from what is seen, and compare at the hidden places."""

from collections.abc import Callable, Iterable, Sequence

import torch
from einops import reduce
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.corruption import Corruption
from mmssl.models.target import Data, Teacher
from mmssl.objectives.base import Noise, Objective, Output
from mmssl.objectives.pairs import Show, Shown
from mmssl.objectives.regularizer import Regularizer
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens, at, in_turn, mean_token, without

Energy = Callable[[Tensor, Tensor], Tensor]  # (prediction, answer) -> energy of each hidden token
Tokenize = Callable[[list[Tensor]], Tokens]
Pairing = Callable[[Tokens, Place], tuple[Tensor, Tensor]]  # `in_turn` | `in_place`
Base = Callable[[Tokens, Place], Tensor | float]  # (seen, hidden) -> (B, M, D)
Paint = Callable[[Tensor, Tokens, Place], Tensor]  # (what the predictor says, seen, hidden) -> (B, M, D)
Fill = Callable[[Tokens, Place], Tokens]  # (seen, hidden) -> what the encoder reads


def nothing(seen: Tokens, hidden: Place) -> float:
    """No guess without learning."""
    return 0.0


def as_said(said: Tensor, seen: Tokens, hidden: Place) -> Tensor:
    """What the predictor says is what the base does not tell."""
    return said


def as_seen(seen: Tokens, hidden: Place) -> Tokens:
    """The encoder reads what is seen, nothing where something is hidden."""
    return seen


class Stream(nn.Module):
    """Views -> tokens -> what is seen and where something is hidden -> prediction -> energy.

    The encoder reads `fill(seen, hidden)`: what is seen, or the whole with something in place of what is hidden.
    The prediction is what `paint(said, seen, hidden)` makes of what the predictor says, plus `base(seen, hidden)`, what
    is guessed without any learning.
    """

    has_latent = False  # whether there is more than one answer
    tokenize: Tokenize
    corrupt: Corruption
    energy: Energy
    pairing: Pairing
    base: Base
    fill: Fill
    paint: Paint

    def __init__(
        self, *, tokenize: Tokenize, corrupt: Corruption, predictor: nn.Module, energy: Energy,
        pairing: Pairing = in_turn, base: Base = nothing, fill: Fill = as_seen, paint: Paint = as_said,
    ) -> None:  # fmt: skip
        super().__init__()
        self.tokenize, self.corrupt, self.energy, self.pairing, self.base = tokenize, corrupt, energy, pairing, base
        self.predictor, self.fill, self.paint = predictor, fill, paint

    def terms(
        self, sx: dict[str, Tokens], seen: Tokens, sy: Tokens, hidden: Place, draw: Draw
    ) -> tuple[dict[str, Float[Tensor, " B"]], Float[Tensor, " B"]]:
        """The terms of each sample's loss by their suffix, and its energy."""
        energy = pair_energy(self.energy, self.predict(sx, seen, hidden), at(sy, hidden), hidden.valid)
        return {"": energy}, energy

    def pairs(self, sx: dict[str, Tokens], seen: Tokens, sy: Tokens, hidden: Place) -> Float[Tensor, "A B"]:
        """F(x of the row, y of the column)."""
        answer, valid = self.pairing(sy, hidden)
        return pair_energy(self.energy, self.predict(sx, seen, hidden)[:, None], answer, valid)

    def matched(self, sx: dict[str, Tokens], seen: Tokens, sy: Tokens, hidden: Place) -> Float[Tensor, " B"]:
        """F(x, y) of each sample: the diagonal of `pairs`."""
        answer, valid = self.own(sy, hidden)
        return pair_energy(self.energy, self.predict(sx, seen, hidden), answer, valid)

    def own(self, sy: Tokens, hidden: Place) -> tuple[Tensor, Bool[Tensor, "B M"]]:
        """The answers of each sample to its own hidden places: the diagonal of `pairing`, a sample at a time."""
        found = [self.pairing(repeated(sy, row, 1), place_of(hidden, row, 1)) for row in range(len(sy.value))]
        answer, valid = (torch.cat([part[0] for part in parts]) for parts in zip(*found))
        return answer, valid

    def predict(self, sx: dict[str, Tokens], seen: Tokens, hidden: Place, noise: Noise | None = None) -> Tensor:
        """What lies at the hidden places."""
        return self.paint(self.predictor(sx, hidden), seen, hidden) + self.base(seen, hidden)

    def latents_of(self, sx: dict[str, Tokens], seen: Tokens, sy: Tokens, hidden: Place) -> Float[Tensor, "B Z"] | None:
        """z of each sample with its answer; None without z."""
        return None

    def bits(self, sx: dict[str, Tokens], seen: Tokens, sy: Tokens, hidden: Place) -> Float[Tensor, " B"] | None:
        """What z tells of the answer, in bits; None without z."""
        return None

    def settle(self) -> None:
        """After a step: what its forward noted is taken over."""


class Predictive(Objective):
    """F(x, y) = mean over hidden places of energy(predictor(encoder(x), place), target(y) at the place).

    A step hides something of each sample `num_masks` times, and computes the target once (Baevski et al. 2022,
    arXiv:2212.07525, section 3); energies are of one mask. What is `given` is seen as it is, nothing of it is
    predicted.
    """

    hides = True
    target: Data | Teacher

    def __init__(
        self, *, streams: dict[str, Stream], encoder: nn.Module, target: Data | Teacher | None = None,
        regularizers: Sequence[Regularizer] = (), given: dict[str, Tokenize] | None = None,
        show: Show = lambda batch: Shown({}, {}), num_masks: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder, self.num_masks = encoder, num_masks
        self.streams = nn.ModuleDict(streams)
        self.by_name = streams  # the same, with their type
        self.target = Data() if target is None else target
        self.regularizers = nn.ModuleList(regularizers)
        self.all_regularizers = regularizers  # the same, with their type
        self.show, self.given = show, given or {}
        self.answered, self.told = tuple(streams), tuple(self.given)
        self.paired = (*self.told, *self.answered) if self.told else ()
        self.has_latent = any(stream.has_latent for stream in streams.values())

    def forward(self, batch: Batch) -> Output:
        tokens, masks = self.tokens(batch), batch.times(self.num_masks)
        seen, hidden = self.parted({name: part.times(self.num_masks) for name, part in tokens.items()}, masks.draw)
        # what is shown of it is encoded once, then each modality predicts what is hidden; all masks share the targets
        shown = self.show(masks)
        kept = {name: without(seen[name], there) for name, there in shown.kept.items()}
        sx = self.encoded({**seen, **kept}, hidden)
        sy = self.answer(tokens, self.by_name)
        terms, energies = {}, []
        for name, stream in self.by_name.items():
            parts, energy = stream.terms(sx, seen[name], sy[name].times(self.num_masks), hidden[name], masks.draw)
            # means over samples, so that what is said of a global batch does not depend on how it is split
            for term, weight in shown.terms.get(name, {name: torch.ones_like(energy)}).items():
                terms |= {term + suffix: (weight * part).mean() for suffix, part in parts.items()}
                energies.append(torch.where(weight > 0, energy.detach(), 0.0))
        for regularizer in self.all_regularizers:
            terms |= regularizer(sx, sy, batch)
        return Output(terms, self.over_masks(torch.stack(energies).sum(0)), self.over_masks(pooled(sx).detach()))

    @property
    def student(self) -> nn.Module:
        """What reads what is seen, and what a teacher follows."""
        return self.encoder

    def over_masks(self, value: Float[Tensor, "MB *D"]) -> Float[Tensor, "B *D"]:
        """The mean over each sample's masks."""
        return value if self.num_masks == 1 else reduce(value, "(m b) ... -> b ...", "mean", m=self.num_masks)

    def encoded(self, seen: dict[str, Tokens], hidden: dict[str, Place]) -> dict[str, Tokens]:
        """Embeddings of what is seen; `hidden` may be of other modalities, and of some nothing may be seen."""
        filled = {
            name: self.by_name[name].fill(part, hidden[name]) if name in hidden else part for name, part in seen.items()
        }
        return self.student({name: part for name, part in filled.items() if part.value.shape[1]})

    def answer(self, tokens: dict[str, Tokens], names: Iterable[str]) -> dict[str, Tokens]:
        """What the target says of these modalities; those that are only given it is not asked for."""
        return self.target({name: tokens[name] for name in names})

    def energies_of(
        self, seen: dict[str, Tokens], hidden: dict[str, Place], answers: dict[str, Tokens]
    ) -> Float[Tensor, "A B"]:
        return self.compared(self.encoded(seen, hidden), seen, answers, hidden)

    def energies_of_pairs(self, batch: Batch, answers: Batch) -> Float[Tensor, " B"]:
        _, seen, hidden = self.corrupted(batch)
        sx, sy = self.encoded(seen, hidden), self.answer(self.tokens(answers, *hidden), hidden)
        parts = [self.by_name[name].matched(sx, seen[name], sy[name], place) for name, place in hidden.items()]
        return torch.stack(parts).sum(0)

    def compares(self, x: str, y: str) -> bool:
        return x != y and {x, y} <= {*self.by_name, *self.given} and not {x, y} <= self.given.keys()

    def mirrors(self, x: str, y: str) -> bool:
        return y in self.given  # a pair has the energy of the way in which it is predicted

    def energies_between(self, x: str, y: str, batch: Batch, answers: Batch | None = None) -> Float[Tensor, "A B"]:
        if not self.compares(x, y):
            return super().energies_between(x, y, batch)
        if self.mirrors(x, y):
            return self.energies_between(y, x, batch if answers is None else answers, batch).T
        asked = self.tokens(batch if answers is None else answers, y)
        whole, given = asked[y].place, self.tokens(batch, x)
        place = place_of(whole._replace(document=torch.zeros_like(whole.document)), 0, len(batch.draw.index))
        return self.compared(self.encoder(given), {y: given[x]}, asked, {y: place})

    def compared(
        self, sx: dict[str, Tokens], seen: dict[str, Tokens], answers: dict[str, Tokens], hidden: dict[str, Place]
    ) -> Float[Tensor, "A B"]:
        """The energies of all pairs, summed over the modalities of which something is hidden."""
        sy = self.answer(answers, hidden)
        pairs = [self.by_name[name].pairs(sx, seen[name], sy[name], place) for name, place in hidden.items()]
        return torch.stack(pairs).sum(0)

    def predict(
        self, seen: dict[str, Tokens], hidden: dict[str, Place], noise: Noise | None = None
    ) -> dict[str, Tensor]:
        sx = self.encoded(seen, hidden)
        return {name: self.by_name[name].predict(sx, seen[name], place, noise) for name, place in hidden.items()}

    def patches_of(
        self, prediction: Tensor, answer: Float[Tensor, "B M D"], place: Place
    ) -> Float[Tensor, "B M D"] | None:
        return self.target.shown(prediction, answer, place)

    def bits(
        self, seen: dict[str, Tokens], hidden: dict[str, Place], answers: dict[str, Tokens]
    ) -> Float[Tensor, " B"] | None:
        sx, sy = self.encoded(seen, hidden), self.answer(answers, hidden)
        parts = [self.by_name[name].bits(sx, seen[name], sy[name], place) for name, place in hidden.items()]
        known = [part for part in parts if part is not None]
        return torch.stack(known).sum(0) if known else None

    def latents_of(
        self, seen: dict[str, Tokens], hidden: dict[str, Place], answers: dict[str, Tokens]
    ) -> Tensor | None:
        sx, sy = self.encoded(seen, hidden), self.answer(answers, hidden)
        parts = [self.by_name[name].latents_of(sx, seen[name], sy[name], place) for name, place in hidden.items()]
        known = [part for part in parts if part is not None]
        return torch.cat(known, 1) if known else None

    def tokens(self, batch: Batch, *names: str) -> dict[str, Tokens]:
        """All tokens of some modalities, by default of all; what a sample lacks is padding."""
        tokenize = {**{name: stream.tokenize for name, stream in self.by_name.items()}, **self.given}
        return {name: without(tokenize[name](batch.views[name]), batch.present(name)) for name in names or tokenize}

    def corrupted(self, batch: Batch) -> tuple[dict[str, Tokens], dict[str, Tokens], dict[str, Place]]:
        tokens = self.tokens(batch)
        return tokens, *self.parted(tokens, batch.draw)

    def parted(self, tokens: dict[str, Tokens], draw: Draw) -> tuple[dict[str, Tokens], dict[str, Place]]:
        """What is seen of each modality, and what is hidden of those that are predicted: each by draws of its own, for
        masks that are alike would tell which of them belong together.
        """
        pairs = {name: stream.corrupt(tokens[name], draw.of(name)) for name, stream in self.by_name.items()}
        seen = {name: tokens[name] for name in self.given} | {name: pair[0] for name, pair in pairs.items()}
        return seen, {name: pair[1] for name, pair in pairs.items()}

    def after_step(self, progress: float) -> None:
        self.target.follow(self.student, progress)
        for stream in self.by_name.values():
            stream.settle()
        for regularizer in self.all_regularizers:
            regularizer.settle(progress)


def pooled(sx: dict[str, Tokens]) -> Float[Tensor, "B D"]:
    """Mean of the valid tokens' embeddings, averaged over modalities."""
    return torch.stack([mean_token(tokens) for tokens in sx.values()]).mean(0)


def repeated(tokens: Tokens, row: int, count: int) -> Tokens:
    """`count` times the tokens of one sample."""
    value = tokens.value[row]
    summary = None if tokens.summary is None else tokens.summary[row].expand(count, -1)
    return Tokens(value.expand(count, *value.shape), place_of(tokens.place, row, count), summary)


def place_of(place: Place, row: int, count: int) -> Place:
    """`count` times the places of one sample."""
    size = place.position.shape[1]
    return place._replace(
        position=place.position[row].expand(count, size), document=place.document[row].expand(count, size)
    )


def pair_energy(energy: Energy, prediction: Tensor, answer: Tensor, valid: Bool[Tensor, "*B M"]) -> Float[Tensor, "*B"]:
    """Mean of the token energies over the valid hidden places; exactly 0 where a sample hides nothing."""
    per_token = torch.where(valid, energy(prediction, answer), 0.0)
    return per_token.sum(-1) / valid.sum(-1).clamp(min=1)
