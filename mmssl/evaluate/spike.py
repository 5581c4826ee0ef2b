"""Whether the loss of a step leaps out of those before it, as after too high a learning rate or in a broken batch."""

from collections import deque
from math import inf
from statistics import median

WINDOW = 64  # steps that the loss is compared with
LEAST_STEPS = 16  # before anything is said
DEVIATIONS = 10.0  # of the losses in the window, robustly, that a spike lies above their median
LEAST_RATIO = 0.25  # of the median, that it lies above it, too
TIMES_HIGHEST = 3.0  # as far above the median as the highest loss of the window: small batches have long tails
REMEDY = "try a lower train.learning_rate, a longer train.warmup_ratio or a lower train.gradient_clip"


class Spikes:
    """Hears the loss of each step on this process."""

    def __init__(self) -> None:
        self.recent: deque[float] = deque(maxlen=WINDOW)
        self.was_leap = False
        self.expected = inf  # of the last loss, at most

    def hear(self, loss: float) -> bool:
        """Whether this loss is a spike: far above the median of those before; it then counts among them."""
        self.expected = self.limit() if len(self.recent) >= LEAST_STEPS else inf
        self.recent.append(loss)
        return loss > self.expected

    def limit(self) -> float:
        """The highest loss that is none: the median, and above it ten standard deviations (by the median absolute one),
        a quarter of it, or thrice what any of the window lies above it, whichever is most.
        """
        middle = median(self.recent)
        deviation = 1.4826 * median(abs(loss - middle) for loss in self.recent)
        highest = TIMES_HIGHEST * (max(self.recent) - middle)
        return middle + max(DEVIATIONS * deviation, LEAST_RATIO * abs(middle), highest)

    def sentence(self, step: int, leap: float) -> str:
        """What is to be said of the highest leap over all processes (-inf: none); nothing more while it lasts."""
        is_news, self.was_leap = leap > -inf and not self.was_leap, leap > -inf
        if not is_news:
            return ""
        return f"step {step}: the loss leaps to {leap:.4g}, where {self.expected:.4g} was the most to expect; {REMEDY}"
