"""Which cluster each training sample belongs to: the targets of the methods that learn from clusters.

What is grouped are descriptions of samples, (N, D); what is kept, labels and centres, lies in buffers, so in the
checkpoint. S is the number of groupings of the same samples, K that of clusters in each.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from mmssl.distributed import gather, share
from mmssl.kmeans import kmeans, nearest
from mmssl.losses.memory import last_of_each
from mmssl.random import hashed

EPSILON = 1e-5  # relative to the largest variance: a direction below it is not magnified


class Groups(nn.Module):
    """Descriptions are whitened, shortened to `width` and normalised, then clustered by k-means (Caron et al. 2018,
    arXiv:1807.05520, section 4.1 of "implementation details").

    `balanced` is what keeps all samples from one cluster: empty clusters are repaired, and each sample counts by the
    inverse of the size of its cluster (section 3.3).
    """

    label: Int[Tensor, "S N"]
    centres: Float[Tensor, "S K D"]
    mean: Float[Tensor, " F"]
    matrix: Float[Tensor, "F D"]
    turn: Int[Tensor, ""]

    def __init__(
        self, *, features: int, width: int, num_clusters: int, num_groupings: int = 1, balanced: bool = True
    ) -> None:
        super().__init__()
        self.num_clusters, self.num_groupings, self.balanced = num_clusters, num_groupings, balanced
        width = min(width, features)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("matrix", torch.eye(features)[:, :width].clone())
        self.register_buffer("centres", torch.zeros(num_groupings, num_clusters, width))
        self.register_buffer("turn", torch.tensor(0))
        self.remember(1)

    def remember(self, num_samples: int) -> None:
        """Room for the labels of all training samples; -1 before the first grouping."""
        label = torch.full((self.num_groupings, num_samples), -1)
        self.register_buffer("label", label.to(self.turn.device))

    def described(self, value: Float[Tensor, "B F"]) -> Float[Tensor, "B D"]:
        """Whitened by the last grouping's samples, of length 1."""
        return normalize((value.float() - self.mean) @ self.matrix, dim=1)

    def regroup(self, value: Float[Tensor, "N F"], present: Bool[Tensor, " N"] | None = None) -> None:
        """Group all training samples anew; those that are not present keep out, their label is -1."""
        members = value if present is None else value[present]
        self.fit(members)
        found = self.grouped(self.described(members), hashed("groups", int(self.turn)))
        if present is None:
            self.label.copy_(share(found))
        else:
            self.label.fill_(-1)
            self.label[:, present] = share(found)
        share(self.centres)
        self.turn += 1

    def fit(self, value: Float[Tensor, "N F"]) -> None:
        """The whitening: principal directions, each over its standard deviation."""
        self.mean.copy_(value.mean(0))
        centred = (value - self.mean).double()
        variance, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
        scale = (variance + EPSILON * variance.max().clamp(min=1e-12)).rsqrt()
        # eigenvalues ascend; the sign of a direction is free: its largest entry is positive
        matrix = (directions * scale).flip(1)[:, : self.matrix.shape[1]]
        sign = matrix.gather(0, matrix.abs().argmax(0, keepdim=True)).sign()
        self.matrix.copy_(share((matrix * sign).float()))
        share(self.mean)

    def grouped(self, x: Float[Tensor, "N D"], seed: int) -> Int[Tensor, "S N"]:
        """The labels; centres are set on the way."""
        found = kmeans(x, self.num_clusters, seed=seed, repair=self.balanced)
        self.centres[0] = found.centres
        return found.label[None]

    def nearest(self, value: Float[Tensor, "B F"]) -> Int[Tensor, "S B"]:
        """The clusters of any samples."""
        x = self.described(value)
        return torch.stack([nearest(x, centres) for centres in self.centres])

    def weight(self, label: Int[Tensor, "S B"]) -> Float[Tensor, "S B"]:
        """How much each sample counts: as if clusters were drawn with equal chances; 1 on average over all samples."""
        if not self.balanced:
            return torch.ones_like(label, dtype=torch.float)
        # one more bin, at the front, of those that are in no group
        rows = torch.stack([(row + 1).bincount(minlength=self.num_clusters + 1)[1:] for row in self.label])
        share_of_each = rows.sum(1, keepdim=True) / (rows > 0).sum(1, keepdim=True)
        return share_of_each / rows.gather(1, label).clamp(min=1)

    def note(self, index: Int[Tensor, " B"], value: Float[Tensor, "V B F"]) -> None:
        """What a training step saw of some samples; nothing is made of it here."""

    def settle(self) -> None:
        """After a step: what was noted is taken over."""

    @property
    def remembers(self) -> bool:
        """Whether it can group anew from what it noted, without a look at the samples."""
        return False


class HierarchicalGroups(Groups):
    """m clusters of all samples, then k clusters within each (Caron et al. 2019, arXiv:1905.01278, section 4.2);
    cluster j of the i-th has the number i * k + j.
    """

    top: Float[Tensor, "m D"]

    def __init__(self, *, features: int, width: int, num_top: int, num_within: int, balanced: bool = True) -> None:
        super().__init__(features=features, width=width, num_clusters=num_top * num_within, balanced=balanced)
        self.num_top, self.num_within = num_top, num_within
        self.register_buffer("top", torch.zeros(num_top, self.centres.shape[2]))

    def grouped(self, x: Float[Tensor, "N D"], seed: int) -> Int[Tensor, "S N"]:
        found = kmeans(x, self.num_top, seed=seed, repair=self.balanced)
        self.top.copy_(share(found.centres))
        label = torch.zeros_like(found.label)
        for number in range(self.num_top):
            mine = (found.label == number).nonzero()[:, 0]
            if len(mine):
                within = kmeans(x[mine], self.num_within, seed=seed + 1 + number, repair=self.balanced)
                self.centres[0, self.within(number)] = within.centres
                label[mine] = number * self.num_within + within.label
        return label[None]

    def within(self, number: int) -> slice:
        """The clusters of a top one."""
        return slice(number * self.num_within, (number + 1) * self.num_within)

    def nearest(self, value: Float[Tensor, "B F"]) -> Int[Tensor, "S B"]:
        x = self.described(value)
        top = nearest(x, self.top)
        centres = rearrange(self.centres[0], "(m k) d -> m k d", m=self.num_top)[top]
        within = (x[:, None] - centres).square().sum(-1).argmin(1)
        return (top * self.num_within + within)[None]


class RememberedGroups(Groups):
    """Descriptions are unit vectors that each step leaves behind for its samples, one for each of `num_views` views;
    several spherical k-means group them, in turn by the first and the second view (Caron et al. 2020,
    arXiv:2006.09882, appendix D: DeepCluster-v2). No pass over the samples is needed but the first.
    """

    memory: Float[Tensor, "V N F"]

    def __init__(
        self, *, features: int, num_clusters: int, num_groupings: int, num_views: int = 2, balanced: bool = True
    ) -> None:
        self.num_views = num_views
        super().__init__(
            features=features, width=features, num_clusters=num_clusters, num_groupings=num_groupings,
            balanced=balanced,
        )  # fmt: skip
        self.noted: list[tuple[Tensor, Tensor]] = []

    def remember(self, num_samples: int) -> None:
        super().remember(num_samples)
        memory = torch.zeros(self.num_views, num_samples, len(self.mean))
        self.register_buffer("memory", memory.to(self.turn.device))

    def described(self, value: Float[Tensor, "B F"]) -> Float[Tensor, "B D"]:
        return normalize(value.float(), dim=1)

    def fit(self, value: Float[Tensor, "N F"]) -> None:
        if not self.remembers:
            self.memory.copy_(self.described(value).expand_as(self.memory))

    def grouped(self, x: Float[Tensor, "_ D"], seed: int) -> Int[Tensor, "S N"]:
        labels = []
        for number in range(self.num_groupings):
            seen = self.memory[number % self.num_views]
            found = kmeans(
                seen, self.num_clusters, seed=seed + number, spherical=True, iterations=10, repair=self.balanced
            )
            self.centres[number] = found.centres
            labels.append(found.label)
        return torch.stack(labels)

    def weight(self, label: Int[Tensor, "S B"]) -> Float[Tensor, "S B"]:
        return torch.ones_like(label, dtype=torch.float)

    @property
    def remembers(self) -> bool:
        return bool(self.memory.any())

    def note(self, index: Int[Tensor, " B"], value: Float[Tensor, "V B F"]) -> None:
        seen = normalize(value[: self.num_views].detach().float(), dim=-1)
        self.noted.append((gather(index), gather(seen.transpose(0, 1).contiguous()).transpose(0, 1)))

    def settle(self) -> None:
        for index, seen in self.noted:
            last = last_of_each(index)
            self.memory[:, index[last]] = seen[:, last]
        self.noted.clear()
