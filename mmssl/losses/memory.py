"""Contrast with a memory: a sample lies nearer to what is remembered of it than to what is remembered of all others."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from mmssl.distributed import gather
from mmssl.losses.contrastive import inner, unit
from mmssl.losses.criterion import Criterion
from mmssl.losses.views import Views, pairs
from mmssl.random import hashed


class MemoryContrast(Criterion):
    """Which of all training samples is it? The memory m has a point of the sphere for each, random at first.

    contrast: sum over query views v of weights[v] * -log softmax(m v / temperature)[its own] (Wu et al. 2018,
    arXiv:1805.01978, eq. 2). proximal: sum of weights[v] * proximal_weight * |v - its own|^2 (eq. 10). Both are means
    over samples; an absent view costs 0. The papers estimate the softmax by noise contrast, with a constant Z taken
    from the first batch; here it is exact, at B * N * D multiplications a view. With weights (1,) the query is its own
    key: NPID. With (1 - lambda, lambda) for the picture, whose embedding is the key, and its transformation: PIRL
    (Misra & van der Maaten 2019, arXiv:1912.01991, eq. 5).

    The softmax pulls v to its own entry with at most 1 / temperature, the proximal term with 2 * proximal_weight: at
    the paper's 0.07 and 30 that is 14 against 60, so the memory moves slowly and embeddings spread less than without.
    `negative_weight` scales the logarithm of the sum; at 0 a constant embedding, once remembered, is a minimum.

    After the step m <- normalise(momentum * m + (1 - momentum) * key) for each sample that was seen, the key the mean
    of its key views; of a sample seen twice in a step the last counts. Memory and keys get no gradient.

    Held-out samples have no entry, whatever their index: in eval mode the own entry is what would be remembered, the
    key of the sample's other views, or the query itself (without gradient) where there is none, and the N entries of
    the memory are all negatives.
    """

    memory: Float[Tensor, "N D"]

    def __init__(
        self, temperature: float = 0.07, momentum: float = 0.5, width: int = 128, *, proximal_weight: float,
        weights: tuple[float, ...], negative_weight: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.temperature, self.momentum, self.negative_weight = temperature, momentum, negative_weight
        self.proximal_weight, self.weights = proximal_weight, weights
        self.seed = hashed("memory", torch.initial_seed())
        self.register_buffer("memory", torch.empty(0, width))
        self.newcomers: list[tuple[Views, Tensor]] = []

    def remember(self, num_samples: int) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        points = torch.randn(num_samples, self.memory.shape[1], generator=generator)
        self.memory = normalize(points, dim=-1).to(self.memory.device)

    def forward(self, queries: Views, keys: Views, index: Int[Tensor, " B"]) -> dict[str, Float[Tensor, ""]]:
        assert len(self.memory) or not self.training, "MemoryContrast: remember(num_samples) comes before training"
        query, key = unit(queries), unit(keys.detached())
        own = self.memory[index].expand_as(query.value) if self.training else outside(query, key)
        # the exact softmax over all that is remembered; what is held out is not in it yet
        similarity = (query.value * own).sum(-1) / self.temperature
        log_sum = (inner(query.value, self.memory) / self.temperature).logsumexp(-1)
        log_sum = log_sum if self.training else torch.logaddexp(log_sum, similarity)
        contrast = self.negative_weight * log_sum - similarity
        proximal = self.proximal_weight * (query.value - own).square().sum(-1)
        if self.training:
            self.newcomers.append((key.gathered(), gather(index)))
        weight = query.value.new_tensor(self.weights)[:, None] * query.present
        return {
            "contrast": (weight * contrast).sum(0).mean(),
            "proximal": (weight * proximal).sum(0).mean(),
        }

    @torch.no_grad()
    def settle(self, progress: float) -> None:
        if not self.newcomers:
            return
        value = torch.cat([(keys.value * keys.present[..., None]).sum(0) for keys, _ in self.newcomers])
        seen = torch.cat([keys.present.any(0) for keys, _ in self.newcomers])
        value, index = value[seen], torch.cat([index for _, index in self.newcomers])[seen]
        is_last = last_of_each(index)
        value, index = normalize(value[is_last], dim=-1), index[is_last]
        moved = self.momentum * self.memory[index] + (1 - self.momentum) * value
        self.memory[index] = normalize(moved, dim=-1)
        self.newcomers.clear()


def outside(query: Views, key: Views) -> Float[Tensor, "V B D"]:
    """What a memory would hold of each query's sample: the mean key of its other views, or else the query itself."""
    pair = pairs(query, key)
    mean = normalize((pair[..., None] * key.value[None]).sum(1), dim=-1)
    return torch.where(pair.any(1)[..., None], mean, query.value.detach())


def last_of_each(index: Int[Tensor, " B"]) -> Bool[Tensor, " B"]:
    """Which entries come last among equal ones: two for one place would be written in no order."""
    return ~(index[:, None] == index[None]).triu(1).any(1)
