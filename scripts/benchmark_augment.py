"""Views a second of `mmssl.augment` beside the usual pipeline of torchvision, one picture at a time; prints JSON.

    python scripts/benchmark_augment.py

Both do the same work in the same process: crop, flip, jitter, grey and blur at the paper's ratios, from bytes to
normalised numbers. The pipeline is timed on PIL pictures and on tensors of bytes; the ratio is to the faster one.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from mmssl.augment import augment, normalise, ratio_of
from mmssl.random import Draw
from mmssl.runs import environment
from mmssl.sections import ViewsConfig

VIEWS = ViewsConfig(blur_ratio=0.5)
SECONDS, TURNS = 0.3, 6
SINGLES = 16  # pictures of a call of the pipeline, which takes them one by one


def pipeline(size: int) -> v2.Compose:
    """torchvision's transforms with the same ratios and strengths."""
    strength = VIEWS.jitter_strength
    jitter = v2.ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength)
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(VIEWS.smallest_area, 1.0), antialias=True),
            v2.RandomHorizontalFlip(VIEWS.flip_ratio),
            v2.RandomApply([jitter], ratio_of(VIEWS.jitter_ratio, 0)),
            v2.RandomGrayscale(ratio_of(VIEWS.grey_ratio, 0)),
            v2.RandomApply([v2.GaussianBlur(max(3, size // 10 | 1), (0.1, 2.0))], ratio_of(VIEWS.blur_ratio, 0)),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.25] * 3),
        ]
    )


def views_per_second(makers: dict[str, tuple[Callable[[], Any], int]]) -> dict[str, float]:
    """The best rate of each in turns of SECONDS, taken one after the other, so that all meet the same neighbours."""
    best = dict.fromkeys(makers, 0.0)
    for _ in range(TURNS):
        for name, (make, count) in makers.items():
            make()
            calls, start = 0, time.perf_counter()
            while time.perf_counter() - start < SECONDS:
                make()
                calls += 1
            best[name] = max(best[name], calls * count / (time.perf_counter() - start))
    return best


def measure(size: int, batch: int, threads: int) -> dict[str, Any]:
    """One size with so many threads."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    coarse = torch.rand(batch, 3, 8, 8)
    pixels = functional.to_dtype(functional.resize(coarse, [size, size]), torch.uint8, scale=True)
    draw = Draw(0, torch.zeros(batch, dtype=torch.long), torch.arange(batch))
    pictures, transform = [functional.to_pil_image(picture) for picture in pixels[:SINGLES]], pipeline(size)
    makers = {
        "mmssl": (lambda: normalise(augment(pixels, draw, 0, VIEWS)), batch),
        "torchvision_pil": (lambda: torch.stack([transform(one) for one in pictures]), SINGLES),
        "torchvision_tensor": (lambda: torch.stack([transform(one) for one in pixels[:SINGLES]]), SINGLES),
    }
    rates = views_per_second(makers)
    ratio = rates["mmssl"] / max(rates["torchvision_pil"], rates["torchvision_tensor"])
    rounded = {f"{name}_views_per_second": round(rate, 1) for name, rate in rates.items()}
    return {"size": size, "batch": batch, "threads": threads, **rounded, "ratio": round(ratio, 2)}


if __name__ == "__main__":
    results = [measure(size, batch, threads) for size, batch in ((32, 256), (224, 32)) for threads in (1, 2)]
    print(json.dumps({"environment": environment(), "results": results}, indent=1))
