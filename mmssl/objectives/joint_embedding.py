"""Embed two things that belong together near each other, without embedding everything at one point."""

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.losses.views import Views, pairs
from mmssl.models.target import Copy
from mmssl.objectives.base import Objective, Output
from mmssl.objectives.predictive import Energy, Tokenize, pooled
from mmssl.tokens import without

Criterion = Callable[[Views, Views], dict[str, Tensor]]  # (queries, keys) -> terms, over the whole gathered batch


class Branch(nn.Module):
    """One modality's way: a view -> tokens -> (the encoder) -> mean over tokens -> projector."""

    tokenize: Tokenize

    def __init__(self, *, tokenize: Tokenize, projector: nn.Module) -> None:
        super().__init__()
        self.tokenize, self.projector = tokenize, projector


class Embedder(nn.Module):
    """All views of all modalities as points of one space."""

    def __init__(self, encoder: nn.Module, branches: dict[str, Branch]) -> None:
        super().__init__()
        self.encoder = encoder
        self.branches = nn.ModuleDict(branches)
        self.by_name = branches

    def forward(self, batch: Batch, *names: str) -> tuple[Views, Float[Tensor, "B D"]]:
        """The projected views of some modalities (by default all), one after the other, and the mean of the encoder's
        own embeddings.
        """
        values, present, features = [], [], []
        for name in names or self.by_name:
            value, feature = self.of(name, batch)
            values.append(value)
            features.append(feature)
            present += [batch.present(name)] * len(value)
        return Views(torch.cat(values), torch.stack(present)), torch.stack(features).mean(0)

    def of(self, name: str, batch: Batch) -> tuple[Float[Tensor, "V B P"], Float[Tensor, "B D"]]:
        """The views of one modality, all in one pass."""
        branch, views = self.by_name[name], batch.views[name]
        tokens = branch.tokenize([torch.cat(views)])
        tokens = without(tokens, batch.present(name).repeat(len(views)))
        feature = pooled({name: self.encoder({name: tokens})[name]})
        value = rearrange(branch.projector(feature), "(v b) p -> v b p", v=len(views))
        return value.float(), rearrange(feature, "(v b) d -> v b d", v=len(views)).mean(0)


class Itself(nn.Module):
    """The student is its own teacher: keys are the queries, before the predictor."""

    def forward(self, views: Views, batch: Batch, *names: str) -> Views:
        return views

    def follow(self, student: nn.Module, progress: float) -> None:
        """It is the student."""


class EmbeddingTeacher(Copy):
    """Keys come from a slowly moving copy of the student; no gradient reaches them."""

    @torch.no_grad()
    def forward(self, views: Views, batch: Batch, *names: str) -> Views:
        return self.module(batch, *names)[0]


class JointEmbedding(Objective):
    """F(x, y) = energy(predictor(embedding of x), teacher's embedding of y).

    x and y are two views of one sample: two augmentations, or two modalities.
    """

    normalised = False

    def __init__(
        self, *, encoder: nn.Module, branches: dict[str, Branch], criterion: Criterion,
        energy: Energy, num_views: int, predictor: nn.Module | None = None,
        teacher: Callable[[nn.Module], Any] = lambda student: Itself(),
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedder = Embedder(encoder, branches)
        self.predictor = nn.Identity() if predictor is None else predictor
        self.teacher = teacher(self.embedder)
        self.criterion, self.energy, self.num_views = criterion, energy, num_views
        self.answered = (list(branches)[-1],)

    @property
    def encoder(self) -> nn.Module:  # type: ignore[override]
        """What outlives pretraining."""
        return self.embedder.encoder

    def forward(self, batch: Batch) -> Output:
        views, feature = self.embedder(batch)
        # the student's guess of what the teacher says of the other views
        queries, keys = self.queries(views), self.teacher(views, batch)
        terms = self.criterion(queries, keys)
        return Output(terms, self.of_pairs(queries, keys).detach(), feature.detach())

    def queries(self, views: Views) -> Views:
        """The views after the predictor."""
        value = self.predictor(rearrange(views.value, "v b d -> (v b) d"))
        return Views(rearrange(value, "(v b) d -> v b d", v=len(views.value)).float(), views.present)

    def of_pairs(self, queries: Views, keys: Views) -> Float[Tensor, " B"]:
        """The mean energy over the pairs of different views that a sample has; 0 where it has no pair."""
        energy = self.energy(queries.value[:, None], keys.value[None])  # (V, T, B)
        pair = pairs(queries.present, keys.present)
        return torch.where(pair, energy, 0.0).sum((0, 1)) / pair.sum((0, 1)).clamp(min=1)

    def energies(self, batch: Batch, answers: Batch | None = None) -> Float[Tensor, "A B"]:
        queries = self.queries(self.embedder(batch)[0])
        keys = self.keys(batch if answers is None else answers)
        # x is the first view, y the last: of a picture two augmentations, else two modalities
        return between(self.energy, queries.value[0], keys.value[-1])

    def compares(self, x: str, y: str) -> bool:
        return x != y and {x, y} <= self.embedder.by_name.keys()

    def energies_between(self, x: str, y: str, batch: Batch, answers: Batch | None = None) -> Float[Tensor, "A B"]:
        if not self.compares(x, y):
            return super().energies_between(x, y, batch)
        queries = self.queries(self.embedder(batch, x)[0])
        keys = self.keys(batch if answers is None else answers, y)
        return between(self.energy, queries.value[0], keys.value[-1])

    def keys(self, batch: Batch, *names: str) -> Views:
        """What the teacher says of a batch."""
        return self.teacher(self.embedder(batch, *names)[0], batch, *names)

    def after_step(self, progress: float) -> None:
        self.teacher.follow(self.embedder, progress)


def between(energy: Energy, a: Float[Tensor, "A D"], b: Float[Tensor, "B D"]) -> Float[Tensor, "A B"]:
    """The energy of each pair of points."""
    return energy(a[:, None, None], b[None, :, None])[..., 0]
