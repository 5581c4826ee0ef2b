"""Learning-rate schedules: pure functions of progress in [0, 1], so a resumed run has nothing to replay."""

import math


def linear(progress: float) -> float:
    """From 1 to 0 in a straight line."""
    return 1 - progress


def cosine(progress: float) -> float:
    """From 1 to 0 along half a cosine (Loshchilov & Hutter 2016, arXiv:1608.03983, eq. 5)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def constant(progress: float) -> float:
    """Always 1."""
    return 1.0


SCHEDULES = {"linear": linear, "cosine": cosine, "constant": constant}


def scale(name: str, progress: float, warmup_ratio: float) -> float:
    """The factor of the learning rate: linear warm-up over `warmup_ratio` of the run, then the schedule over the
    rest.
    """
    if progress < warmup_ratio:
        return progress / warmup_ratio
    return SCHEDULES[name]((progress - warmup_ratio) / (1 - warmup_ratio) if warmup_ratio < 1 else 1.0)
