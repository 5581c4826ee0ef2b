"""What every criterion of a joint embedding is: terms of a loss over the whole gathered batch."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from mmssl.losses.views import Views


class Criterion(nn.Module):
    """(queries, keys, index of each sample) -> the terms of the loss, each a mean over the samples of all processes.

    What it keeps from step to step (a queue, a memory, a centre) lies in buffers, so in the checkpoint. A forward only
    notes what it was shown, and only while training; `settle` takes it over once the step is made. All processes see
    the same gathered samples, so their buffers agree.
    """

    def forward(self, queries: Views, keys: Views, index: Int[Tensor, " B"]) -> dict[str, Float[Tensor, ""]]:
        raise TypeError(f"{type(self).__name__} defines no forward")

    def remember(self, num_samples: int) -> None:
        """Called once, before training and before weights are restored: the samples that there are to remember."""

    def settle(self, progress: float) -> None:
        """Called after each optimizer step with the progress in [0, 1]."""
