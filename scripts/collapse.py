"""Switch off, method by method, what keeps it from collapse, and see what happens.

usage: python scripts/collapse.py [METHOD ...]     trains each on and off, writes docs/results/collapse.json

200 steps of 32 pictures of the built-in world (16 pixels, 256 of them, 128 held out), a ResNet of two blocks, AdamW at
1e-2 (SimSiam, Barlow Twins, VICReg: 3e-3; DINO: 1e-3) after 20 steps of warm-up, seed 0. Then
`python scripts/tables.py write` makes the table of docs/results/collapse.md.
"""

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmssl.augment import View, augment, normalise, to_unit
from mmssl.batch import Batch
from mmssl.evaluate.collapse import panel, with_compared
from mmssl.evaluate.energy import auroc, of_matrix
from mmssl.evaluate.knn import knn_accuracy
from mmssl.methods import METHODS
from mmssl.modalities.grids import Grid
from mmssl.models import ENCODERS
from mmssl.objectives import Objective
from mmssl.optimizer import optimizer
from mmssl.random import Draw, permutation
from mmssl.savanna import labels, pictures, scenes
from mmssl.schedule import scale
from mmssl.sections import TrainConfig, ViewsConfig

SIZE, NUM_TRAINED, NUM_HELDOUT, BATCH, STEPS, RATE = 16, 256, 128, 32, 200, 1e-2
EPOCHS = 4  # of augmentations, which come again and again
RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"
WIDE = {"projector_width": 64, "embedding_width": 32}
CROPS = {"num_small": 2, "small_size": 8}
PREDICTOR = {"predictor_layers": 1, "predictor_width": 64, "predictor_heads": 4}
ENCODER_OPTIONS = {
    "resnet": {"widths": [8, 16], "depths": [1, 1], "small_stem": True},
    "vit": {"layers": 2, "width": 64, "heads": 4, "intermediate": 128, "patch": 4},
}


class Case(NamedTuple):
    """A method, small; what it is given to switch its mechanism off; and the words for that."""

    options: dict[str, Any]
    off: dict[str, Any]
    without: str
    rate: float = RATE
    encoder: str = "resnet"


NEGATIVES = {"negative_weight": 0.0}, "negatives"
CASES = {
    "siamese": Case(WIDE, *NEGATIVES),
    "simclr": Case(WIDE, *NEGATIVES),
    "npid": Case({"embedding_width": 32, "proximal_weight": 5.0}, *NEGATIVES),
    "pirl": Case({"embedding_width": 32, "num_pieces": 2, "piece_size": 8}, *NEGATIVES),
    "moco": Case({"embedding_width": 32, "queue_length": 128, "momentum": 0.95}, *NEGATIVES),
    "moco_v2": Case({**WIDE, "queue_length": 128, "momentum": 0.95}, *NEGATIVES),
    "moco_v3": Case({**WIDE, "momentum": 0.95}, *NEGATIVES),
    "deepcluster": Case({"num_clusters": 16, "whitened_width": 16}, {"balanced": False}, "equal weights, repair"),
    "deepercluster": Case(
        {"num_top": 4, "num_within": 4, "whitened_width": 16, "regroup_epochs": 1.0}, {"balanced": False},
        "equal weights, repair",
    ),
    "deepcluster_v2": Case({**WIDE, **CROPS, "num_clusters": 16}, {"balanced": False}, "repair of empty clusters"),
    "swav": Case({**WIDE, **CROPS, "num_prototypes": 32, "queue_length": 0}, {"equipartition": False}, "Sinkhorn"),
    "seer": Case({**WIDE, **CROPS, "num_prototypes": 32}, {"equipartition": False}, "Sinkhorn"),
    "byol": Case({**WIDE, "momentum": 0.95}, {"has_predictor": False}, "predictor"),
    "simsiam": Case(
        {"projector_width": 32, "predictor_width": 16}, {"stop_gradient": False}, "stopped gradient", rate=3e-3
    ),
    "dino": Case(
        {**CROPS, "num_prototypes": 16, "projector_width": 64, "bottleneck_width": 16, "momentum": 0.99},
        {"has_centre": False}, "centre", rate=1e-3,
    ),
    "barlow_twins": Case({"projector_width": 32}, {"redundancy_weight": 0.0}, "redundancy term", rate=3e-3),
    "w_mse": Case({"projector_width": 64, "embedding_width": 12}, {"whiten": False}, "whitening"),
    "vicreg": Case({"projector_width": 32}, {"variance": 0.0, "covariance": 0.0}, "variance, covariance", rate=3e-3),
    "lejepa": Case({**WIDE, **CROPS, "num_directions": 64}, {"normality_weight": 0.0}, "normality term"),
    "ijepa": Case({**PREDICTOR, "momentum": 0.99}, {"keeps_apart": "nothing"}, "teacher", 1e-3, "vit"),
    "data2vec": Case(
        {**PREDICTOR, "momentum": 0.99, "last_momentum": 1.0, "num_masks": 2, "top_layers": 2},
        {"momentum": 0.0, "last_momentum": 0.0}, "slowness of the teacher", 1e-3, "vit",
    ),
}  # fmt: skip
KEPT_APART = ("deepcluster", "deepercluster", "deepcluster_v2", "data2vec")  # no collapse in so few steps without it


@cache
def everything() -> Tensor:
    """The pictures, as bytes."""
    return torch.from_numpy(pictures(scenes(0, np.arange(NUM_TRAINED + NUM_HELDOUT)), SIZE))


@cache
def views_of_all(epoch: int, number: int, wanted: View) -> Tensor:
    """A view of each picture, made once for all methods."""
    index = torch.arange(len(everything()))
    draw = Draw(0, torch.full_like(index, epoch), index)
    return normalise(augment(everything(), draw, number, ViewsConfig(), wanted))


def batch_of(index: np.ndarray, epoch: int, wanted: tuple[View, ...]) -> Batch:
    """The views of some pictures; without any wanted, the pictures as they are."""
    rows = torch.from_numpy(index)
    views = [views_of_all(epoch, number, view)[rows] for number, view in enumerate(wanted)]
    plain = [] if wanted else [normalise(to_unit(everything()[rows]))]
    return Batch({"image": views or plain}, Draw(0, torch.full_like(rows, epoch), rows))


def trained(method: str, off: dict[str, Any] | None = None, steps: int = STEPS) -> Objective:
    """A method after some steps, with its mechanism or without."""
    case = CASES[method]
    torch.manual_seed(0)
    modalities = {"image": Grid("image", (SIZE, SIZE), 3)}
    encoder = ENCODERS[case.encoder](modalities, **ENCODER_OPTIONS[case.encoder])
    objective = METHODS[method](encoder, modalities, **{**case.options, **(off or {})})
    objective.remember(NUM_TRAINED)
    stepper = optimizer(objective, TrainConfig(learning_rate=case.rate))
    in_epoch = NUM_TRAINED // BATCH
    period = round(objective.regroup_epochs * in_epoch)
    for step in range(steps):
        if period and step % period == 0:
            for weight in objective.regroup(iter([batch_of(np.arange(NUM_TRAINED), 0, ())])):
                stepper.state.pop(weight, None)
        epoch, turn = divmod(step, in_epoch)
        index = permutation(0, epoch, NUM_TRAINED)[turn * BATCH : (turn + 1) * BATCH]
        for group in stepper.param_groups:
            group["lr"] = case.rate * scale("constant", (step + 0.5) / steps, 0.1)
        objective.train()
        torch.stack([*objective(batch_of(index, epoch % EPOCHS, objective.views)).terms.values()]).sum().backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
        stepper.step()
        stepper.zero_grad(set_to_none=True)
        objective.after_step((step + 1) / steps)
    return objective.eval()


@torch.no_grad()
def measured(objective: Objective) -> dict[str, Any]:
    """Of held-out pictures: the collapse panel, the energy AUROC, kNN."""
    features, compared, matched, others = [], [], [], []
    for start in range(NUM_TRAINED, NUM_TRAINED + NUM_HELDOUT, 64):
        batch = batch_of(np.arange(start, start + 64), 0, objective.views)
        output = objective(batch)
        features.append(output.embedding.float())
        compared += [] if output.compared is None else [output.compared.float()]
        own, other = of_matrix(objective.energies(batch).float())
        matched.append(own)
        others.append(other)
    found = panel(torch.cat(features))
    found = with_compared(found, torch.cat(compared)) if compared else found
    known = torch.from_numpy(labels(0, np.arange(NUM_TRAINED + NUM_HELDOUT)))
    train = objective(batch_of(np.arange(NUM_TRAINED), 0, objective.views)).embedding
    accuracy = knn_accuracy(train, known[:NUM_TRAINED], torch.cat(features), known[NUM_TRAINED:])
    return found | {"energy.auroc": auroc(torch.cat(matched), torch.cat(others)), "knn.accuracy": accuracy}


def main() -> None:
    """Each method on and off, and the encoder without training."""
    path = RESULTS / "collapse.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    torch.set_num_threads(1)
    for method in sys.argv[1:] or CASES:
        case = CASES[method]
        results[method] = {
            "without": case.without,
            "on": measured(trained(method)),
            "off": measured(trained(method, case.off)),
            "random_init": measured(trained(method, steps=0)),
        }
        on, off = (results[method][side] for side in ("on", "off"))
        print(method, on["collapse.verdict"], "->", off["collapse.verdict"], "without", case.without, flush=True)
        path.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
