"""Contrast: a sample's other view lies nearer than those of other samples."""

import math

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from mmssl.losses.criterion import Criterion
from mmssl.losses.segments import WHOLE, Segments
from mmssl.losses.views import Views, mean_of_pairs, pairs

MOST = 100.0  # inverse of a learnt temperature
ABSENT = -1e9  # of a similarity that does not count: its softmax is exactly 0


def unit(views: Views) -> Views:
    """The same on the sphere, in float32."""
    return views._replace(value=normalize(views.value.float(), dim=-1))


def inner(a: Float[Tensor, "*A B D"], b: Float[Tensor, "*C K D"]) -> Float[Tensor, "*E B K"]:
    """All inner products; in float32 under autocast too: over a temperature of 0.07, bfloat16's err by 0.04."""
    with torch.autocast(a.device.type, enabled=False):
        return a @ b.mT


class NTXent(Criterion):
    """SimCLR's criterion: among all other views of all samples find the one of the same sample (Chen et al. 2020,
    arXiv:2002.05709, eq. 1), the mean over all V * B views, over positives where V > 2.

    `negative_weight` scales the logarithm of the sum over all others; at 0 there are no negatives, and any constant
    embedding is a minimum.
    """

    def __init__(self, temperature: float, negative_weight: float = 1.0) -> None:
        super().__init__()
        self.temperature, self.negative_weight = temperature, negative_weight

    def forward(self, queries: Views, keys: Views, index: Int[Tensor, " B"]) -> dict[str, Float[Tensor, ""]]:
        views = queries.gathered()
        flat = rearrange(normalize(views.value, dim=-1), "v b d -> (v b) d")
        here = rearrange(views.present, "v b -> (v b)")
        itself = torch.eye(len(flat), dtype=torch.bool, device=flat.device)
        similarity = (inner(flat, flat) / self.temperature).masked_fill(itself | ~here[None], ABSENT)
        others = self.negative_weight * similarity.logsumexp(-1, keepdim=True)
        num_views = len(views.value)
        negative_log = rearrange(others - similarity, "(v b) (w c) -> v w b c", v=num_views, w=num_views).diagonal(
            dim1=2, dim2=3
        )
        positive = pairs(views, views)
        per_view = torch.where(positive, negative_log, 0.0).sum(1) / positive.sum(1).clamp(min=1)
        return {"contrast": per_view.mean()}


class CrossModal(Criterion):
    """For each pair of modalities, both ways: among all samples' second find the one that belongs to the first.

    Symmetric InfoNCE (van den Oord et al. 2018, arXiv:1807.03748, eq. 4; Radford et al. 2021, arXiv:2103.00020,
    figure 3), the mean over samples, over both ways and over pairs of modalities; each pair is a term of its own. A
    sample that lacks one of the two costs 0 and is no negative. With a `centre` only the pairs that it is part of.

    The temperature may be `learnt`: as the logarithm of its inverse, which after each step is at most log(100) (Radford
    et al. 2021, section 2.5).
    """

    def __init__(
        self, temperature: float, names: tuple[str, ...], *, centre: str = "", learnt: bool = False,
        segments: Segments = WHOLE,
    ) -> None:  # fmt: skip
        super().__init__()
        self.names, self.segments = names, segments
        self.couples = [
            (a, b)
            for a in range(len(names))
            for b in range(a + 1, len(names))
            if not centre or centre in (names[a], names[b])
        ]
        self.temperature = temperature
        self.log_scale = nn.Parameter(torch.tensor([-math.log(temperature)])) if learnt else None

    def forward(self, queries: Views, keys: Views, index: Int[Tensor, " B"]) -> dict[str, Float[Tensor, ""]]:
        value, present, _ = queries.gathered()
        scale = 1 / self.temperature if self.log_scale is None else self.log_scale.exp()
        terms = {}
        for a, b in self.couples:
            both = present[a] & present[b]
            compared = self.segments.compared(self.names[a], self.names[b], value[a], value[b])
            one, other = (normalize(points, dim=-1) for points in compared)
            similarity = (inner(one, other) * scale).masked_fill(~both[None], ABSENT)
            back = (inner(other, one) * scale).masked_fill(~both[None], ABSENT)
            per_sample = -0.5 * (similarity.log_softmax(-1).diagonal() + back.log_softmax(-1).diagonal())
            terms[f"{self.names[a]}_{self.names[b]}"] = torch.where(both, per_sample, 0.0).mean() / len(self.couples)
        return terms

    @torch.no_grad()
    def settle(self, progress: float) -> None:
        if self.log_scale is not None:
            self.log_scale.clamp_(max=math.log(MOST))


class KeyContrast(Criterion):
    """MoCo v3's criterion: a query among the keys of the other view of all samples in the gathered batch (Chen et al.
    2021, arXiv:2104.02057, algorithm 1; `scale` there is 2 * temperature).

    `scale` times twice the mean over pairs of different views, so with two their sum; the mean over samples. Keys get
    no gradient; absent ones are no negatives. `negative_weight` scales the logarithm of the sum; at 0 there are no
    negatives, and any constant embedding is a minimum.
    """

    def __init__(self, temperature: float, scale: float, negative_weight: float = 1.0) -> None:
        super().__init__()
        self.temperature, self.scale, self.negative_weight = temperature, scale, negative_weight

    def forward(self, queries: Views, keys: Views, index: Int[Tensor, " B"]) -> dict[str, Float[Tensor, ""]]:
        query, key = unit(queries), unit(keys.detached())
        everyones = key.gathered()
        own = (query.value[:, None] * key.value[None]).sum(-1) / self.temperature
        similarity = inner(query.value[:, None], everyones.value[None]) / self.temperature
        log_sum = similarity.masked_fill(~everyones.present[None, :, None], ABSENT).logsumexp(-1)
        energy = self.negative_weight * log_sum - own
        return {"contrast": 2 * self.scale * mean_of_pairs(energy, pairs(query, key)).mean()}
