"""What `mmssl evaluate` says of a model of pictures, sounds and videos, beside the same model with random weights."""

from collections.abc import Callable, Iterator
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.config import Config
from mmssl.errors import CheckpointError
from mmssl.evaluate.across import compared_things, pair_results, retrieval_results, without_each
from mmssl.evaluate.codes import code_results
from mmssl.evaluate.energy import histogram, is_first, of_matrix, of_same_class, summary
from mmssl.evaluate.finetune import tuned_accuracy
from mmssl.evaluate.futures import future_results
from mmssl.evaluate.heldout import with_pair
from mmssl.evaluate.knn import knn_accuracy
from mmssl.evaluate.latents import latent_results
from mmssl.evaluate.logmel import logmel_results
from mmssl.evaluate.media_features import collapse_of, features, joined, prepared, trainable_features
from mmssl.evaluate.negatives import Negatives, elsewhere
from mmssl.evaluate.probe import linear_probe
from mmssl.evaluate.protocol import video_protocol
from mmssl.evaluate.sync import sync_results
from mmssl.evaluate.temporal import temporal_results
from mmssl.evaluate.text import caption_results
from mmssl.evaluate.uncertainty import uncertainty_results
from mmssl.evaluate.worlds import events_of
from mmssl.inputs import Inputs
from mmssl.modalities.labelled_media import LabelledMedia
from mmssl.modalities.media_data import MediaData, Reader
from mmssl.objectives import Objective

PAIRED = 128  # held-out samples whose energies are compared, at most
FEW = 16  # compared with each other at once
CANDIDATES = 100  # among which the right one is looked for
# whatever the weights are
OF_THE_DATA = (
    "energy_histogram", "candidates", "text.floor", "of_the_truth", "uncertainty.futures", "uncertainty.modes",
    "true_bits", "video.protocol", "sync.clips", "sync.rolled_ratio", "sync.chance_auroc",
    "sync.chance_offset_seconds", "sync.chance_offset_accuracy",
)  # fmt: skip
GUESSES = ("video.copy_last.", "video.mean_of_futures.")  # without a model


@torch.no_grad()
def energy_results(
    part: Objective, batches: Iterator[Batch], negatives: Negatives, labels: Int[Tensor, " N"],
    files: Int[Tensor, " N"] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The `energy.*` keys, of samples that have what is compared: compatible pairs against the y of other samples,
    against that of another sample of the same class (by `labels` of all samples, -1: none), and against each kind of
    negative. Samples of one of the `files` (of all samples) that show the same are no wrong answers for each other.

    `video.rank1` is how often the true y has the lowest energy among 16: one of each kind of negative and other clips,
    or (`video.rank1.other`) other clips alone; chance is 1 / 16. It is of clips that have 15 others in their batch.
    """
    part.eval()
    matched: list[Tensor] = []
    ladder: dict[str, list[Tensor]] = {name: [] for name in ("other", "same_class", *negatives)}
    first: dict[str, list[Tensor]] = {"": [], ".other": []}
    for each in batches:
        batch = with_pair(part, each)
        if not len(batch.draw.index):
            continue
        energies = part.energies(batch).float().cpu()
        thing = compared_things(part, files, batch)
        own, other = of_matrix(energies, thing)
        matched.append(own)
        ladder["other"].append(other)
        ladder["same_class"].append(of_same_class(energies, labels[batch.draw.index.cpu()], thing))
        hard, there = [], []
        for name, (changed, negative) in negatives.items():
            answers = negative(batch)
            hard.append(part.energies_of_pairs(batch, answers).float().cpu())
            there.append(answers.present(changed).cpu())
            ladder[name].append(hard[-1][there[-1]])
        for kind, others in (("", len(hard)), (".other", 0)):
            first[kind].append(is_first(energies, hard[:others], there[:others]))
    if not any(map(len, ladder["other"])):
        return {}
    compatible = torch.cat(matched)
    kinds = {name: found for name, parts in ladder.items() if len(found := torch.cat(parts))}
    results = {**summary(compatible, kinds), "energy_histogram": histogram(compatible, kinds["other"])}
    if "video" in part.answered:
        results |= {
            f"video.rank1{kind}": float(all_.mean()) for kind, one in first.items() if len(all_ := torch.cat(one))
        }
    return results


def numbered(labels: list[str]) -> Int[Tensor, " N"]:
    """Labels as numbers, -1 where there is none."""
    number = {name: index for index, name in enumerate(sorted({*labels} - {""}))}
    return torch.tensor([number.get(name, -1) for name in labels], dtype=torch.long)


def compared_at_once(inputs: Inputs) -> int:
    """How many samples are compared with each other: 16, and 64 pictures where their B^2 answers stay below 500 MB."""
    if {*inputs.modalities} != {"image"}:
        return FEW
    numbers = 3 * prod(inputs.config.image.sides)
    return next((count for count in (64, 32) if count**2 * numbers <= 2**27), FEW)


def labelled_results(encoder: nn.Module, inputs: Inputs, config: Config, labelled: LabelledMedia) -> dict[str, Any]:
    """kNN and probe on the features of all modalities side by side; where there are several also on each alone, and on
    all where the test samples lack one (`absent.<modality>.*`).
    """
    train = features(encoder, labelled.train, inputs, config, len(labelled.train_labels))
    test = features(encoder, labelled.test, inputs, config, len(labelled.test_labels))
    views = {"": (joined(train), joined(test))}
    if len(train) > 1:
        views |= {f"{name}.": (train[name], test[name]) for name in train}
    results: dict[str, Any] = {}
    for name, (x, other) in views.items():
        results[f"{name}knn.accuracy"] = knn_accuracy(x, labelled.train_labels, other, labelled.test_labels)
        absent = {} if name else without_each(test)
        probe = linear_probe(x, labelled.train_labels, other, labelled.test_labels, seed=config.seed, others=absent)
        results[f"{name}probe.accuracy"] = probe.accuracy
        for lost, value in absent.items():
            found = knn_accuracy(x, labelled.train_labels, value, labelled.test_labels)
            results |= {f"absent.{lost}.knn.accuracy": found, f"absent.{lost}.probe.accuracy": probe.others[lost]}
    if config.evaluate.finetune:
        both = (trainable_features(part, inputs, config) for part in (labelled.train, labelled.test))
        results["finetune.accuracy"] = tuned_accuracy(
            encoder, next(both), labelled.train_labels, next(both), labelled.test_labels,
            seconds=config.evaluate.finetune_seconds, seed=config.seed,
        )  # fmt: skip
    return results


def evaluate_media(
    objective: Objective, build: Callable[[], Objective], inputs: Inputs, config: Config, data: MediaData,
    labelled: LabelledMedia | None, negatives: Negatives,
) -> dict[str, Any]:  # fmt: skip
    """All keys of evaluation.json; `build` makes the same objective with random weights."""
    random = build().to(next(objective.parameters()).device).eval()
    results: dict[str, Any] = {f"data.missing.{name}": count for name, count in data.missing.items() if count}
    for prefix, one in (("", objective), ("random_init.", random)):
        found = model_results(one, inputs, config, data.heldout, negatives)
        found |= future_results(one, inputs, config, data.heldout, objective.encoder)
        found |= uncertainty_results(one, inputs, config, data.heldout)
        if "text" in inputs.modalities and data.vocabulary is not None:
            found |= caption_results(one, data.vocabulary, config, data.heldout)
        if labelled is not None:
            found |= labelled_results(one.encoder, inputs, config, labelled)
        # of random weights only numbers that mean something beside the trained one's
        kept = {key: value for key, value in found.items() if not prefix or is_baseline(key)}
        results |= {prefix + key: value for key, value in kept.items()}
    results |= video_protocol(objective, config, data.heldout, PAIRED)
    if labelled is not None:
        results |= about_labels(labelled)
        if "audio" in inputs.modalities:
            results |= logmel_results(labelled, inputs, config)
    return results


def is_baseline(key: str) -> bool:
    """Whether random weights have this measure, too."""
    return not key.endswith(OF_THE_DATA) and not key.startswith(GUESSES)


def about_labels(labelled: LabelledMedia) -> dict[str, Any]:
    """How many labelled samples there are, and the accuracy of always guessing the most frequent class."""
    majority = labelled.train_labels.bincount().argmax()
    return {
        "labelled.classes": len(labelled.names), "labelled.train": len(labelled.train_labels),
        "labelled.test": len(labelled.test_labels),
        "labelled.majority_accuracy": float((labelled.test_labels == majority).double().mean()),
    }  # fmt: skip


def write_media_features(encoder: nn.Module, reader: Reader, inputs: Inputs, config: Config, out: Path) -> None:
    """The features of all samples as parquet: path, label, feature (a list of D floats); CheckpointError where the file
    cannot be written.
    """
    import pyarrow
    import pyarrow.parquet

    found = joined(features(encoder, reader, inputs, config, reader.size)).numpy()
    table = pyarrow.table({"path": reader.paths(), "label": reader.labels(), "feature": list(found)})
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(table, str(out))
    except OSError as error:
        raise CheckpointError(f"{out}: {error.strerror}; expected a file that can be written") from error
    print(f"{len(found):,} samples x {found.shape[1]} features -> {out}")


def model_results(
    objective: Objective, inputs: Inputs, config: Config, heldout: Reader, negatives: Negatives
) -> dict[str, Any]:
    """All that needs no labels, of one model: energies, retrieval, collapse."""
    device, labels, files = next(objective.parameters()).device, numbered(heldout.labels()), numbered(heldout.paths())
    rows = min(PAIRED, config.evaluate.documents)
    results: dict[str, Any] = {}
    for name, part in {"": objective, **objective.each()}.items():
        of_part = {key: kind for key, kind in negatives.items() if kind[0] in part.answered}
        if (window := elsewhere(heldout, inputs, config, part.views, device)) is not None:
            of_part["elsewhere"] = (part.answered[0], window)
        # z is inferred, or y encoded, anew for each pair
        at_once = FEW if part.has_latent or part.infers else compared_at_once(inputs)
        batches = prepared(heldout, inputs, config, rows, device, part.views, at_once)
        found = energy_results(part, batches, of_part, labels, files)
        found |= latent_results(part, prepared(heldout, inputs, config, rows, device, part.views, at_once))
        found |= code_results(part, prepared(heldout, inputs, config, rows, device, part.views, at_once))
        results |= {f"{name}.{key}" if name else key: value for key, value in found.items()}
    names, events = list(inputs.modalities), events_of(config, heldout.size)
    kinds = labels if events is None else torch.from_numpy(events)
    for part in objective.each().values():
        if any(part.compares(x, y) for x, y in product(names, repeat=2)):
            for batch in prepared(heldout, inputs, config, CANDIDATES, device, part.views, at_once=CANDIDATES):
                results |= retrieval_results(part, batch, names, kinds, files)
        results |= pair_results(part, prepared(heldout, inputs, config, rows, device, part.views), names, labels, files)
        if {"video", "audio"} <= {*names} and part.compares("video", "audio"):
            results |= sync_results(part, inputs, config, heldout, rows)
    temporal = temporal_results(objective.encoder, heldout, inputs, config)
    return results | collapse_of(objective, heldout, inputs, config) | temporal
