"""Predict from one modality of a sample the cluster that others put it in; clusters and encoder improve in turn."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mmssl.augment import View
from mmssl.batch import Batch
from mmssl.distributed import gather
from mmssl.models.classifiers import LinearClassifier
from mmssl.models.groups import Groups
from mmssl.objectives.base import Objective, Output
from mmssl.objectives.branches import Branch

ABSENT = -1  # the label of a sample that is not grouped


class Asked(NamedTuple):
    """Modality `x` is asked for the cluster in the grouping of this name."""

    x: str
    grouping: str


class CrossClustering(Objective):
    """F(x, y) = -log p(cluster of y | x) of the modalities x and y (Alwassel et al. 2020, arXiv:1911.12667).

    A grouping clusters samples by the encoder's features of the modalities that describe it, side by side where they
    are several. While training, the clusters are those that the last grouping of all samples found. Of others, that of
    y is the nearest centre where y alone describes the grouping, else as y itself tells it: F = -log of the probability
    that x and y name the same cluster.

    A sample that lacks what describes a grouping has no cluster in it and is no member of any; it costs exactly 0, and
    so does a modality that it lacks.
    """

    normalised = False

    def __init__(
        self, *, encoder: nn.Module, branches: dict[str, Branch], described: dict[str, tuple[str, ...]],
        groups: dict[str, Groups], asked: tuple[Asked, ...], regroup_epochs: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder, self.described, self.asked, self.regroup_epochs = encoder, described, asked, regroup_epochs
        self.branches, self.groups, self.by_name = nn.ModuleDict(branches), nn.ModuleDict(groups), groups
        self.branch_of = branches
        self.views = (View(),)
        self.heads = {
            one: LinearClassifier(encoder.width, groups[one.grouping].num_clusters)  # type: ignore[arg-type]
            for one in asked
        }
        self.classifiers = nn.ModuleDict({f"{one.x}_to_{one.grouping}": head for one, head in self.heads.items()})
        names = [*branches]
        self.answered, self.paired = (names[-1],), (names[0], names[-1])

    def forward(self, batch: Batch) -> Output:
        features = self.features(batch)
        terms, energies = {}, []
        for one in self.asked:
            groups = self.by_name[one.grouping]
            label = groups.label[0, batch.draw.index] if self.training else self.clusters(one.grouping, features, batch)
            is_asked = batch.present(one.x) & (label != ABSENT)
            label = label.clamp(min=0)
            cost = -self.log_probability(one, features[one.x]).gather(1, label[:, None])[:, 0]
            cost = torch.where(is_asked, cost, 0.0)
            terms[f"{one.x}_to_{one.grouping}"] = (cost * groups.weight(label[None])[0]).mean() / len(self.asked)
            energies.append(cost.detach())
        x, y = self.paired
        energy = self.of_matched(x, y, features, batch) if not self.training else torch.stack(energies).mean(0)
        return Output(terms, energy, torch.stack([*features.values()]).mean(0).detach(), features[x].detach())

    def features(self, batch: Batch, *names: str) -> dict[str, Float[Tensor, "B D"]]:
        """The encoder's mean embedding of each of some modalities alone, by default of all; zeros where a sample lacks
        it.
        """
        return {
            name: self.branch_of[name].features(self.encoder, batch.views[name][0], batch.present(name)).float()
            for name in names or self.branch_of
        }

    def log_probability(self, one: Asked, feature: Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        """Of each cluster."""
        upright = torch.zeros(len(feature), dtype=torch.long, device=feature.device)
        return self.heads[one](feature, upright, self.by_name[one.grouping].centres)[0]

    def description(self, grouping: str, features: dict[str, Tensor]) -> Float[Tensor, "B F"]:
        """What is clustered."""
        return torch.cat([features[name] for name in self.described[grouping]], 1)

    def has(self, grouping: str, batch: Batch) -> Bool[Tensor, " B"]:
        """Which samples have all that describes a grouping."""
        return torch.stack([batch.present(name) for name in self.described[grouping]]).all(0)

    @torch.no_grad()
    def clusters(self, grouping: str, features: dict[str, Tensor], batch: Batch) -> Int[Tensor, " B"]:
        """The nearest centre of each sample; -1 where it has no description."""
        found = self.by_name[grouping].nearest(self.description(grouping, features))[0]
        return torch.where(self.has(grouping, batch), found, ABSENT)

    def energies(self, batch: Batch, answers: Batch | None = None) -> Float[Tensor, "A B"]:
        x, y = self.paired
        return self.energies_between(x, y, batch, answers)

    def compares(self, x: str, y: str) -> bool:
        return x != y and self.way(x, y) is not None

    def way(self, x: str, y: str) -> Asked | None:
        """The grouping by which two modalities are compared: one that y alone describes, or that both are asked for."""
        for one in self.asked:
            is_both = Asked(y, one.grouping) in self.asked
            if one.x == x and (self.described[one.grouping] == (y,) or is_both):
                return one
        return None

    def told(self, one: Asked, y: str, feature: Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        """The logarithm of how much of each cluster y is."""
        if self.described[one.grouping] != (y,):
            return self.log_probability(Asked(y, one.grouping), feature)
        groups = self.by_name[one.grouping]
        nearest = nn.functional.one_hot(groups.nearest(feature)[0], groups.num_clusters)
        return torch.where(nearest > 0, 0.0, -torch.inf)

    def energies_between(self, x: str, y: str, batch: Batch, answers: Batch | None = None) -> Float[Tensor, "A B"]:
        one = self.way(x, y)
        if x == y or one is None:
            return super().energies_between(x, y, batch)
        mine = self.log_probability(one, self.features(batch, x)[x])
        theirs = self.told(one, y, self.features(batch if answers is None else answers, y)[y])
        return -torch.stack([(row + theirs).logsumexp(1) for row in mine])

    def of_matched(self, x: str, y: str, features: dict[str, Tensor], batch: Batch) -> Float[Tensor, " B"]:
        """The energy of each sample's own pair; 0 where it lacks one of the two."""
        one = self.way(x, y)
        assert one is not None, f"no grouping compares {x} with {y}"
        both = batch.present(x) & batch.present(y)
        own = self.log_probability(one, features[x]) + self.told(one, y, features[y])
        return torch.where(both, -own.logsumexp(1), 0.0).detach()

    def remember(self, num_samples: int) -> None:
        for groups in self.by_name.values():
            groups.remember(num_samples)

    @torch.no_grad()
    def regroup(self, batches: Iterator[Batch]) -> list[Tensor]:
        self.eval()
        found: dict[str, list[Tensor]] = {name: [] for name in self.by_name}
        there: dict[str, list[Tensor]] = {name: [] for name in self.by_name}
        for batch in batches:
            features = self.features(batch)
            for name in self.by_name:
                found[name].append(self.description(name, features))
                there[name].append(self.has(name, batch).float())
        made_anew = []
        for name, groups in self.by_name.items():
            count = groups.label.shape[1]
            described, has = (gather(torch.cat(parts[name]))[:count] for parts in (found, there))
            groups.regroup(described, has > 0)
        for one, head in self.heads.items():
            made_anew += head.renew(int(self.by_name[one.grouping].turn))
        return made_anew
