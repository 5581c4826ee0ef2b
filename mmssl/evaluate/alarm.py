"""Whether embeddings collapse while a model is trained, told from the lines of its log."""

import sys
from math import inf
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mmssl.distributed import largest
from mmssl.evaluate.collapse import (
    COMPLETE_RANK,
    COMPLETE_STANDARD_DEVIATION,
    PARTIAL_RANK_RATIO,
    Verdict,
    deviation,
    worse,
)
from mmssl.objectives.base import Output

READING = "collapse.batch_std"
LEAST_RANK = 8  # that held-out samples can reach, for their verdict to be believed
LOW_READINGS = 3  # one after the other, that are believed without a held-out evaluation
REMEDY = "try a lower train.learning_rate, a larger train.batch_size, or more weight on what keeps embeddings apart"


def reading(output: Output) -> dict[str, Float[Tensor, ""]]:
    """`collapse.batch_std`: the standard deviation of a training batch's embeddings, or of what is compared, whichever
    is less (1: isotropic, 0: one point), on their device; nothing of one sample.
    """
    if len(output.energy) < 2:
        return {}
    found = [output.embedding] if output.compared is None else [output.embedding, output.compared]
    return {READING: torch.stack([deviation(value.detach().float()) for value in found]).min()}


class Alarm:
    """Hears each line of the log; says once, for each change of the verdict, that embeddings collapse.

    A reading is low below the standard deviation of complete collapse, but only once it is a quarter of the first
    one: the mean embeddings of texts are near each other before anything is learnt.
    """

    def __init__(self, *, stops: bool, is_main: bool) -> None:
        self.stops, self.is_main = stops, is_main
        self.measured: Verdict = "healthy"  # by the last held-out evaluation
        self.said: Verdict = "healthy"
        self.first = 0.0  # reading
        self.num_low = 0
        self.sentence = "embeddings collapse"

    def hear(self, step: int, line: dict[str, Any]) -> bool:
        """Warn on stderr where there is something new; whether the run is to end, alike on all processes.

        It ends, where that is wanted, at a held-out verdict of complete collapse or at the third low reading in turn.
        """
        if READING in line:
            is_low = line[READING] < min(COMPLETE_STANDARD_DEVIATION, self.first / 4)
            self.num_low = self.num_low + 1 if is_low else 0
            self.first = self.first or line[READING]
        if "collapse.verdict" in line:
            self.measured = "healthy" if self.is_doubtful(line) else line["collapse.verdict"]

        verdict = worse(self.measured, "complete" if self.num_low else "healthy")
        is_news, self.said = verdict not in (self.said, "healthy"), verdict
        if verdict != "healthy":
            self.sentence = f"embeddings collapse ({verdict}): {', '.join(evidence(line))}; {REMEDY}"
        if is_news and self.is_main:
            print(f"warning: step {step}: {self.sentence}", file=sys.stderr, flush=True)
        is_over = self.measured == "complete" or self.num_low >= LOW_READINGS
        return self.stops and bool(largest(float(is_over))[0])

    def is_doubtful(self, line: dict[str, Any]) -> bool:
        """Whether a held-out verdict says too little: of few samples, or of features that only lie near each other, as
        before the training.
        """
        rank, reachable = line.get("collapse.effective_rank", 0.0), line.get("collapse.reachable_rank", inf)
        has_rank = rank >= max(COMPLETE_RANK, PARTIAL_RANK_RATIO * reachable)
        is_as_before = line.get(READING, 0.0) > self.first / 2 and "collapse.compared.std" not in line
        return reachable < LEAST_RANK or (has_rank and is_as_before)


def evidence(line: dict[str, Any]) -> list[str]:
    """The numbers of a line of the log that speak of collapse."""
    found = []
    for key, name in (("collapse", ""), ("collapse.compared", "of what is compared ")):
        if f"{key}.effective_rank" in line:
            rank, reachable, spread = (line[f"{key}.{part}"] for part in ("effective_rank", "reachable_rank", "std"))
            found.append(f"{name}effective rank {rank:.1f} of {reachable:.0f} reachable, std {spread:.2g}")
    if READING in line:
        found.append(f"std {line[READING]:.2g} within the training batches")
    return found
