"""Self-distillation: the student says of one view what its teacher, centred and sharpened, says of another."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mmssl.distributed import mean_over_processes
from mmssl.losses.criterion import Criterion
from mmssl.losses.views import Views, mean_of_pairs, pairs


class SelfDistillation(Criterion):
    """DINO: -P_t(key) . log P_s(query), the mean over samples of the mean over pairs of different views (Caron et al.
    2021, arXiv:2104.14294, eq. 1 to 3), where queries and keys are logits over `num_prototypes` classes.

    P_s = softmax(query / student_temperature); P_t = softmax((key - centre) / teacher temperature), without gradient.
    The teacher's temperature goes in a straight line from `warmup_teacher_temperature` to `teacher_temperature` over
    the first `warmup_ratio` of the run. The centre is a moving average of the mean key of all processes (eq. 4), taken
    over once a step is made; where it is not `centred`, logits that name one class for all samples are a minimum.
    """

    centre: Tensor
    progress: Tensor

    def __init__(
        self, num_prototypes: int, *, student_temperature: float = 0.1, teacher_temperature: float = 0.04,
        warmup_teacher_temperature: float = 0.04, warmup_ratio: float = 0.0, centre_momentum: float = 0.9,
        centred: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.student_temperature, self.teacher_temperature = student_temperature, teacher_temperature
        self.warmup_teacher_temperature, self.warmup_ratio = warmup_teacher_temperature, warmup_ratio
        self.centre_momentum, self.centred = centre_momentum, centred
        self.register_buffer("centre", torch.zeros(num_prototypes))
        self.register_buffer("progress", torch.tensor(0.0))
        self.newcomers: list[Float[Tensor, " K+1"]] = []  # the sums of micro-batches' keys, and how many they were

    def forward(self, queries: Views, keys: Views, index: Int[Tensor, " B"]) -> dict[str, Float[Tensor, ""]]:
        keys = keys.detached()
        if self.training and self.centred:
            self.note(keys)
        energy = self.energy(queries.value[:, None], keys.value[None])
        return {"distillation": mean_of_pairs(energy, pairs(queries, keys)).mean()}

    @torch.no_grad()
    def note(self, keys: Views) -> None:
        """Keep what the next centre is made of: sums, since all keys would be much to send."""
        total = torch.where(keys.present[..., None], keys.value.float(), 0.0).sum((0, 1))
        self.newcomers.append(mean_over_processes(torch.cat([total, keys.present.sum()[None]])))

    @torch.no_grad()
    def settle(self, progress: float) -> None:
        self.progress.fill_(progress)
        if self.newcomers:
            sums = torch.stack(self.newcomers).sum(0)
            total, count = sums[:-1], sums[-1]
            mean = torch.where(count > 0, total / count, self.centre)
            self.centre.lerp_(mean, 1 - self.centre_momentum)
        self.newcomers.clear()

    def temperature(self) -> Float[Tensor, ""]:
        """The teacher's temperature at the present progress."""
        done = (self.progress / self.warmup_ratio).clamp(max=1) if self.warmup_ratio else torch.ones_like(self.progress)
        return self.warmup_teacher_temperature + done * (self.teacher_temperature - self.warmup_teacher_temperature)

    def energy(self, query: Float[Tensor, "*A K"], key: Float[Tensor, "*C K"]) -> Float[Tensor, "*E"]:
        """F(x, y) = -P_t(y) . log P_s(x) in nats, with the present centre and temperature; leading axes broadcast, in
        float32, and no (A, B, K) is made.
        """
        with torch.autocast(query.device.type, enabled=False):
            teacher = ((key.float() - self.centre) / self.temperature()).softmax(-1)
            return -torch.einsum("...k,...k->...", teacher, (query.float() / self.student_temperature).log_softmax(-1))
