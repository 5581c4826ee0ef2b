"""Embed two things that belong together near each other, without embedding everything at one point."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.augment import View
from mmssl.batch import Batch
from mmssl.losses.criterion import Criterion
from mmssl.losses.segments import WHOLE, Segments
from mmssl.losses.views import Views, mean_of_pairs, pairs
from mmssl.models.target import Copy
from mmssl.objectives.base import Objective, Output
from mmssl.objectives.branches import Branch
from mmssl.objectives.predictive import Energy

Item = tuple[str, int]  # a view of a modality: all views of all modalities of a sample, in order, are numbered


class Embedder(nn.Module):
    """Views of all modalities as points of one space."""

    def __init__(self, encoder: nn.Module, branches: dict[str, Branch]) -> None:
        super().__init__()
        self.encoder = encoder
        self.branches = nn.ModuleDict(branches)
        self.by_name = branches

    def items(self, batch: Batch) -> list[Item]:
        """All views that a sample of the batch has, as they are numbered."""
        return [(name, view) for name in self.by_name for view in range(len(batch.views.get(name, [])))]

    def forward(self, batch: Batch, numbers: tuple[int, ...] | None = None) -> tuple[Views, Float[Tensor, "B D"]]:
        """The projected views of these numbers (default: all), and the mean of the encoder's own embeddings."""
        items = list(enumerate(self.items(batch)))
        items = items if numbers is None else [items[number] for number in numbers]
        values, present, features = [], [], []
        for name, group in groupby(items, key=lambda item: item[1][0]):
            views = [batch.views[name][view] for _, (_, view) in group]
            value, feature = self.by_name[name](self.encoder, views, batch)
            values.append(value)
            features.append(feature.mean(0))
            present += [batch.present(name)] * len(views)
        found = Views(torch.cat(values), torch.stack(present), tuple(number for number, _ in items))
        return found, torch.stack(features).mean(0)


class Extra(nn.Module):
    """(the student, its projected views, batch) -> terms beside those of the criterion, each a mean over samples."""

    around: float = 0.0  # the share of a clip of which it wants to hear what comes before it, and behind it

    def forward(self, embedder: Embedder, views: Views, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        raise TypeError(f"{type(self).__name__} defines no forward")


def heard_around(part: nn.Module) -> float:
    """The share of a clip of which an objective wants to hear what comes before it, and behind it."""
    return max((extra.around for extra in part.modules() if isinstance(extra, Extra)), default=0.0)


class Itself(nn.Module):
    """The student is its own teacher: keys are what it says of its views, before the predictor."""

    def __init__(self, *, stop_gradient: bool = False) -> None:
        super().__init__()
        self.stop_gradient = stop_gradient

    def forward(self, views: Views, batch: Batch, numbers: tuple[int, ...]) -> Views:
        keys = views.chosen(numbers)
        return keys.detached() if self.stop_gradient else keys

    def follow(self, student: nn.Module, progress: float) -> None:
        """It is the student."""


class EmbeddingTeacher(Copy):
    """Keys come from a slowly moving copy of the student; no gradient reaches them."""

    @torch.no_grad()
    def forward(self, views: Views, batch: Batch, numbers: tuple[int, ...]) -> Views:
        return self.module(batch, numbers)[0]


class JointEmbedding(Objective):
    """F(x, y) = energy(predictor(embedding of x), teacher's embedding of y).

    x and y are two views of one sample: two augmentations, or two modalities. The student embeds the views `asks`, the
    teacher the views `answers` (default: all).
    """

    normalised = False

    def __init__(
        self, *, encoder: nn.Module, branches: dict[str, Branch], criterion: Criterion, energy: Energy,
        views: tuple[View, ...], predictor: nn.Module | None = None,
        asks: tuple[int, ...] | None = None, answers: tuple[int, ...] | None = None,
        teacher: Callable[[nn.Module], Any] = lambda student: Itself(), extras: Sequence[Extra] = (),
        segments: Segments = WHOLE,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedder = Embedder(encoder, branches)
        self.predictor = nn.Identity() if predictor is None else predictor
        self.teacher = teacher(self.embedder)
        self.criterion, self.energy, self.views, self.segments = criterion, energy, views, segments
        self.asks, self.answers = asks, answers
        self.extras = nn.ModuleList(extras)
        names = [*branches]
        self.answered, self.paired = (names[-1],), (names[0], names[-1])

    @property
    def encoder(self) -> nn.Module:  # type: ignore[override]
        """What outlives pretraining."""
        return self.embedder.encoder

    def forward(self, batch: Batch) -> Output:
        views, feature = self.embedder(batch, self.asks)
        # the student's guess of what the teacher says of the other views
        queries = self.queries(views)
        keys = self.teacher(views, batch, views.number if self.answers is None else self.answers)
        terms = self.criterion(queries, keys, batch.draw.index)
        for extra in self.extras:
            terms |= extra(self.embedder, views, batch)
        with torch.no_grad():
            names = [name for name, _ in self.embedder.items(batch)]
            x, y = ([names[number] for number in of.number] for of in (queries, keys))
            each = self.segments.energies(self.energy, x, y, queries.value, keys.value)
            energy = mean_of_pairs(each, pairs(queries, keys))
        compared, _ = self.segments.compared(x[0], x[0], queries.value[0], queries.value[0])
        return Output(terms, energy, feature.detach(), compared.detach())

    def queries(self, views: Views) -> Views:
        """The views after the predictor."""
        value = self.predictor(rearrange(views.value, "v b d -> (v b) d"))
        return views._replace(value=rearrange(value, "(v b) d -> v b d", v=len(views.value)).float())

    def energies(self, batch: Batch, answers: Batch | None = None) -> Float[Tensor, "A B"]:
        # x is the first view of the first modality; y the second view of a picture, or the last modality
        x, y = self.paired
        return self.energies_between(x, y, batch, answers)

    def compares(self, x: str, y: str) -> bool:
        return {x, y} <= self.embedder.by_name.keys() and (x != y or len(self.views) > 1)

    def energies_between(self, x: str, y: str, batch: Batch, answers: Batch | None = None) -> Float[Tensor, "A B"]:
        if not self.compares(x, y):
            return super().energies_between(x, y, batch)
        queries = self.queries(self.embedder(batch, (self.number(batch, x, 0),))[0])
        keys = self.keys(batch if answers is None else answers, y)
        return between(self.energy, *self.segments.compared(x, y, queries.value[0], keys.value[0]))

    def keys(self, batch: Batch, name: str) -> Views:
        """What the teacher says of a modality of a batch: of its second view, where it has several."""
        number = self.number(batch, name, min(1, len(batch.views[name]) - 1))
        views, _ = self.embedder(batch, (number,))
        return self.teacher(views, batch, (number,))

    def number(self, batch: Batch, name: str, view: int) -> int:
        """The number of a modality's view."""
        return self.embedder.items(batch).index((name, view))

    def remember(self, num_samples: int) -> None:
        self.criterion.remember(num_samples)

    def after_step(self, progress: float) -> None:
        self.teacher.follow(self.embedder, progress)
        self.criterion.settle(progress)


def between(energy: Energy, a: Float[Tensor, "A D"], b: Float[Tensor, "B D"]) -> Float[Tensor, "A B"]:
    """The energy of each pair of points."""
    return energy(a[:, None, None], b[None, :, None])[..., 0]
