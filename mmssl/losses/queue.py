"""Contrast with a queue: a sample's other view lies nearer than the keys of earlier steps."""

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from mmssl.losses.contrastive import inner, unit
from mmssl.losses.criterion import Criterion
from mmssl.losses.views import Views, mean_of_pairs, pairs


class QueueContrast(Criterion):
    """MoCo's criterion: a query against the key of its sample's other view and all keys in a queue (He et al. 2019,
    arXiv:1911.05722, eq. 1 and algorithm 1), the mean over samples of the mean over pairs of views.

    Keys get no gradient. After the step those of all processes replace the oldest in the queue, which starts as random
    points of the sphere; it may have any length, of which no batch need be a divisor. `negative_weight` scales the
    logarithm of the sum; at 0 there are no negatives, and any constant embedding is a minimum.
    """

    queue: Float[Tensor, "K D"]
    position: Int[Tensor, ""]  # of the oldest key

    def __init__(self, temperature: float, length: int = 65536, width: int = 128, negative_weight: float = 1.0) -> None:
        super().__init__()
        self.temperature, self.negative_weight = temperature, negative_weight
        self.register_buffer("queue", normalize(torch.randn(length, width), dim=-1))
        self.register_buffer("position", torch.zeros((), dtype=torch.long))
        self.newcomers: list[Views] = []

    def forward(self, queries: Views, keys: Views, index: Int[Tensor, " B"]) -> dict[str, Float[Tensor, ""]]:
        query, key = unit(queries), unit(keys.detached())
        own = (query.value[:, None] * key.value[None]).sum(-1) / self.temperature
        others = (inner(query.value, self.queue) / self.temperature).logsumexp(-1)
        energy = self.negative_weight * torch.logaddexp(own, others[:, None]) - own
        if self.training:
            self.newcomers.append(key.gathered())
        return {"contrast": mean_of_pairs(energy, pairs(query, key)).mean()}

    @torch.no_grad()
    def settle(self, progress: float) -> None:
        if not self.newcomers:
            return
        # sample by sample, so that a batch in parts makes the same queue
        value = torch.cat([rearrange(keys.value, "t b d -> (b t) d") for keys in self.newcomers])
        present = torch.cat([rearrange(keys.present, "t b -> (b t)") for keys in self.newcomers])
        value, length = value[present], len(self.queue)
        slot = (self.position + torch.arange(len(value), device=value.device)) % length
        # of more than the queue holds the last stay; two for one slot would be written in no order
        self.queue[slot[-length:]] = value[-length:]
        self.position.copy_((self.position + len(value)) % length)
        self.newcomers.clear()
