"""Swapped prediction: from one view of a sample tell the cluster of another; clusters share the samples equally."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from mmssl.distributed import rank
from mmssl.losses.contrastive import ABSENT
from mmssl.losses.criterion import Criterion
from mmssl.losses.views import Views, mean_of_pairs, pairs


def sinkhorn(
    scores: Float[Tensor, "B K"], epsilon: float, iterations: int, present: Bool[Tensor, " B"] | None = None
) -> Float[Tensor, "B K"]:
    """Soft codes: each row sums to 1, and each column comes nearer to its equal share B / K with every iteration.

    Diag(u) exp(scores / epsilon) Diag(v) of Caron et al. 2020, arXiv:2006.09882, eq. 5, transposed; in log space and
    float32, so that no score overflows. Without iterations it is softmax(scores / epsilon). A sample that is not
    present takes no share.
    """
    log_code = scores.float() / epsilon
    for _ in range(iterations):
        counted = log_code if present is None else log_code.masked_fill(~present[:, None], ABSENT)
        log_code = (log_code - counted.logsumexp(0)).log_softmax(-1)
    return log_code.softmax(-1)


class SwappedPrediction(Criterion):
    """SwAV: -q(key) . log p(query), the mean over samples of the mean over pairs of different views (Caron et al. 2020,
    arXiv:2006.09882, eq. 2 and 6).

    p(x) = softmax(C x / temperature) for x of unit length and K prototypes C of unit length; q, without gradient, are
    Sinkhorn's codes of one view of all samples of all processes. The prototypes learn once `frozen_ratio` of the run is
    over (the paper: 1 epoch). The queue takes the keys of the last samples from `queue_start` of the run on, and lends
    them to the codes once it is full (the paper: 3,840 samples, from epoch 15 of 200, where batches are small).
    Without `equipartition`, or without iterations, codes are softmax(C y / epsilon), and one point for all samples,
    near one prototype, is a minimum.
    """

    queue: Tensor
    queued: Tensor
    progress: Tensor

    def __init__(
        self, width: int, num_prototypes: int = 3000, *, temperature: float = 0.1, epsilon: float = 0.05,
        iterations: int = 3, equipartition: bool = True, num_keys: int = 2, queue_length: int = 0,
        queue_start: float = 0.075, frozen_ratio: float = 0.01,
    ) -> None:  # fmt: skip
        super().__init__()
        self.temperature, self.epsilon = temperature, epsilon
        self.iterations = iterations if equipartition else 0
        self.queue_length, self.queue_start, self.frozen_ratio = queue_length, queue_start, frozen_ratio
        self.prototypes = nn.Parameter(normalize(torch.randn(num_prototypes, width), dim=-1))
        self.register_buffer("queue", torch.zeros(num_keys, queue_length, width))
        self.register_buffer("queued", torch.tensor(0))
        self.register_buffer("progress", torch.tensor(0.0))
        self.newcomers: list[Float[Tensor, "T A D"]] = []

    def forward(self, queries: Views, keys: Views, index: Int[Tensor, " B"]) -> dict[str, Float[Tensor, ""]]:
        with torch.autocast(queries.value.device.type, enabled=False):
            codes = self.codes(keys)
            scores = normalize(queries.value.float(), dim=-1) @ self.learning().T
            log_probability = (scores / self.temperature).log_softmax(-1)
            energy = -torch.einsum("vbk,tbk->vtb", log_probability, codes)
        return {"swapped": mean_of_pairs(energy, pairs(queries, keys)).mean()}

    def learning(self) -> Float[Tensor, "K D"]:
        """The prototypes; while they are frozen their gradient is 0, not none, which DDP would refuse."""
        still = self.prototypes.detach()
        return still + (self.progress >= self.frozen_ratio) * (self.prototypes - still)

    @torch.no_grad()
    def codes(self, keys: Views) -> Float[Tensor, "T B K"]:
        """The codes of this process's samples among those of all processes and of the queue."""
        everyone = keys.gathered()
        points, here = normalize(everyone.value.float(), dim=-1), everyone.present
        if self.queue_length:
            if self.training:
                self.newcomers.append(torch.where(here[..., None], points, 0.0))
            # masked rather than left out until it is full: no shape depends on a value, so no device waits for it
            is_full = self.queued >= self.queue_length
            points = torch.cat([points, self.queue], 1)
            here = torch.cat([here, is_full & self.queue.any(-1)], 1)
        share = keys.value.shape[1]
        mine = slice(rank() * share, (rank() + 1) * share)
        views = zip(points @ self.prototypes.T, here, strict=True)
        codes = [sinkhorn(scores, self.epsilon, self.iterations, present) for scores, present in views]
        return torch.stack(codes)[:, mine]

    @torch.no_grad()
    def settle(self, progress: float) -> None:
        self.progress.fill_(progress)
        self.prototypes.copy_(normalize(self.prototypes, dim=-1))
        if self.newcomers and progress >= self.queue_start:
            newcomers = torch.cat(self.newcomers, 1)
            self.queue.copy_(torch.cat([newcomers, self.queue], 1)[:, : self.queue_length])
            self.queued.add_(newcomers.shape[1]).clamp_(max=self.queue_length)
        self.newcomers.clear()

    def energy(self, query: Float[Tensor, "*A D"], key: Float[Tensor, "*C D"]) -> Float[Tensor, "*E"]:
        """F(x, y) = -q(y) . log p(x) in nats; leading axes broadcast, in float32.

        A pair has no batch to share prototypes with, so q(y) = softmax(C y / epsilon). Computed as
        logsumexp(C x / temperature) - x . (q(y) C) / temperature: no (A, B, K) is made.
        """
        with torch.autocast(query.device.type, enabled=False):
            x, y = normalize(query.float(), dim=-1), normalize(key.float(), dim=-1)
            expected = (y @ self.prototypes.T / self.epsilon).softmax(-1) @ self.prototypes
            log_sum = (x @ self.prototypes.T / self.temperature).logsumexp(-1)
            return log_sum - torch.einsum("...d,...d->...", x, expected) / self.temperature
