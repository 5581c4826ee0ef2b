"""Predict from a view of a sample in which cluster of all samples it lies; clusters and encoder improve in turn."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mmssl.augment import View, turns
from mmssl.batch import Batch
from mmssl.distributed import gather
from mmssl.models.groups import Groups
from mmssl.objectives.base import Objective, Output
from mmssl.objectives.branches import Branch


class EncoderFeatures(nn.Module):
    """Samples are described by what the encoder says of them now."""

    def forward(self, branch: Branch, encoder: nn.Module, view: Tensor, batch: Batch) -> Float[Tensor, "B F"]:
        return branch.features(encoder, view, batch.present(branch.name)).float()


class ProjectedFeatures(nn.Module):
    """Samples are described by their projection."""

    def forward(self, branch: Branch, encoder: nn.Module, view: Tensor, batch: Batch) -> Float[Tensor, "B F"]:
        return branch(encoder, [view], batch)[0][0]


class PretrainedFeatures(nn.Module):
    """Samples are described by an encoder of another run, which stays as it is."""

    def __init__(self, encoder: nn.Module, branch: Branch) -> None:
        super().__init__()
        self.encoder, self.branch = encoder.requires_grad_(False), branch

    @torch.no_grad()
    def forward(self, branch: Branch, encoder: nn.Module, view: Tensor, batch: Batch) -> Float[Tensor, "B F"]:
        self.encoder.eval()
        return self.branch.features(self.encoder, view, batch.present(branch.name)).float()


class Clustering(Objective):
    """F(x, y) = -log p(cluster of y | x), the mean over groupings.

    x and y are the first and the second view of a picture or a sound. While training, the cluster is the one that the
    last grouping of all samples found, and the views `asks` are x; of others it is that of the nearest centre to y.
    """

    normalised = False

    def __init__(
        self, *, encoder: nn.Module, branch: Branch, groups: Groups, classifier: Any, description: nn.Module,
        views: tuple[View, ...], asks: tuple[int, ...], regroup_epochs: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder, self.branch, self.groups, self.classifier = encoder, branch, groups, classifier
        self.description, self.views, self.asks, self.regroup_epochs = description, views, asks, regroup_epochs
        self.name = branch.name
        self.answered = (branch.name,)

    def forward(self, batch: Batch) -> Output:
        views = [batch.views[self.name][number] for number in self.asks]
        value, feature = self.branch(self.encoder, views, batch)
        label = self.groups.label[:, batch.draw.index] if self.training else self.clusters(batch)
        energy = [
            -self.log_probability(one, batch, number).gather(-1, label[..., None])[..., 0]
            for number, one in zip(self.asks, value, strict=True)
        ]
        loss = (torch.stack(energy) * self.groups.weight(label)).mean()
        if self.training:
            self.groups.note(batch.draw.index, value)
        return Output({"cluster": loss}, energy[0].mean(0).detach(), feature.mean(0).detach(), value[0].detach())

    def log_probability(self, value: Float[Tensor, "B P"], batch: Batch, view: int) -> Float[Tensor, "S B K"]:
        """Of each cluster, given the embedding of a view."""
        return self.classifier(value, self.turn(batch, view), self.groups.centres)

    def turn(self, batch: Batch, view: int) -> Int[Tensor, " B"]:
        """By how many quarters the view was turned; a plain picture, the only view of a batch, never is."""
        if self.views[view].is_rotated and len(batch.views[self.name]) > 1:
            return turns(batch.draw, view)
        return torch.zeros_like(batch.draw.index)

    @torch.no_grad()
    def clusters(self, batch: Batch) -> Int[Tensor, "S B"]:
        """The nearest cluster of each sample's second view, or of the only one."""
        views = batch.views[self.name]
        view = views[min(1, len(views) - 1)]
        return self.groups.nearest(self.description(self.branch, self.encoder, view, batch))

    def energies(self, batch: Batch, answers: Batch | None = None) -> Float[Tensor, "A B"]:
        value, _ = self.branch(self.encoder, [batch.views[self.name][0]], batch)
        log_probability = self.log_probability(value[0], batch, 0)
        label = self.clusters(batch if answers is None else answers)
        return -torch.stack([row[:, chosen] for row, chosen in zip(log_probability, label, strict=True)]).mean(0)

    def compares(self, x: str, y: str) -> bool:
        return x == y == self.name

    def energies_between(self, x: str, y: str, batch: Batch, answers: Batch | None = None) -> Float[Tensor, "A B"]:
        if not self.compares(x, y):
            return super().energies_between(x, y, batch)
        return self.energies(batch, answers)

    def remember(self, num_samples: int) -> None:
        self.groups.remember(num_samples)

    @torch.no_grad()
    def regroup(self, batches: Iterator[Batch]) -> list[Tensor]:
        described = torch.zeros(0, len(self.groups.mean))
        if not self.groups.remembers:
            self.eval()
            found = [self.description(self.branch, self.encoder, batch.views[self.name][0], batch) for batch in batches]
            described = gather(torch.cat(found))[: self.groups.label.shape[1]]
        self.groups.regroup(described)
        return self.classifier.renew(int(self.groups.turn))

    def after_step(self, progress: float) -> None:
        self.groups.settle()
