"""What `mmssl evaluate` says of a model of pictures, sounds and videos, beside the same model with random weights."""

from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.augment import View
from mmssl.batch import Batch
from mmssl.config import Config
from mmssl.errors import CheckpointError
from mmssl.evaluate.collapse import panel
from mmssl.evaluate.energy import histogram, of_matrix, summary
from mmssl.evaluate.futures import future_results
from mmssl.evaluate.heldout import heldout_batches
from mmssl.evaluate.knn import knn_accuracy
from mmssl.evaluate.probe import linear_probe
from mmssl.evaluate.retrieval import recalls
from mmssl.evaluate.text import caption_results
from mmssl.inputs import Inputs
from mmssl.modalities.labelled_media import LabelledMedia
from mmssl.modalities.media_data import MediaData, Reader
from mmssl.objectives import Objective
from mmssl.objectives.predictive import pooled
from mmssl.tokens import without

PAIRED = 128  # held-out samples whose energies are compared, at most
CANDIDATES = 100  # among which the right one is looked for
AT_ONCE = 64  # samples whose features are computed together
# whatever the weights are
OF_THE_DATA = ("energy_histogram", "candidates", "text.floor", "copy_last.psnr", "of_the_truth", "uncertainty.futures")
Negative = Callable[[Batch], Batch]
Negatives = dict[str, tuple[str, Negative]]  # kind -> the modality that it changes, and how


def reversed_time(first: int) -> Negative:
    """The same clip with its frames from `first` on in reverse order."""

    def negative(batch: Batch) -> Batch:
        video = batch.views["video"][0]
        turned = torch.cat([video[:, :first], video[:, first:].flip(1)], 1)
        return batch._replace(views={**batch.views, "video": [turned]})

    return negative


def shifted_sound(batch: Batch) -> Batch:
    """The same clip with its sound moved by half of the window; what leaves at the end comes in at the beginning."""
    sound = batch.views["audio"][0]
    return batch._replace(views={**batch.views, "audio": [sound.roll(sound.shape[1] // 2, 1)]})


def prepared(
    reader: Reader,
    inputs: Inputs,
    config: Config,
    rows: int,
    device: torch.device,
    wanted: tuple[View, ...] = (View(),),
    at_once: int = 16,
    augmented: bool = False,
) -> Iterator[Batch]:
    """The first samples as the objective sees them; two views of a picture are always two augmentations."""
    for batch in heldout_batches(reader, config.seed, rows, device, at_once):
        yield inputs(batch, wanted=wanted, augmented=augmented)


@torch.no_grad()
def energy_results(part: Objective, batches: Iterator[Batch], negatives: dict[str, Negative]) -> dict[str, Any]:
    """The `energy.*` keys: compatible pairs against the y of other samples, and against each kind of negative."""
    part.eval()
    matched, others = [], []
    ladder: dict[str, list[Tensor]] = {name: [] for name in negatives}
    for batch in batches:
        own, other = of_matrix(part.energies(batch).float().cpu())
        matched.append(own)
        others.append(other)
        for name, negative in negatives.items():
            ladder[name].append(part.energies(batch, negative(batch)).float().cpu().diagonal())
    if sum(map(len, matched)) < 2:
        return {}
    compatible, incompatible = torch.cat(matched), torch.cat(others)
    kinds = {"other": incompatible, **{name: torch.cat(values) for name, values in ladder.items()}}
    return {**summary(compatible, kinds), "energy_histogram": histogram(compatible, incompatible)}


@torch.no_grad()
def features(
    encoder: nn.Module, reader: Reader, inputs: Inputs, config: Config, rows: int
) -> dict[str, Float[Tensor, "N D"]]:
    """The mean embedding of each sample's tokens, each modality alone; zeros where a sample lacks it."""
    encoder.eval()
    found: dict[str, list[Tensor]] = {name: [] for name in inputs.modalities}
    cuts: dict[str, Any] = encoder.cuts  # type: ignore[assignment]
    for batch in prepared(reader, inputs, config, rows, next(encoder.parameters()).device, at_once=AT_ONCE):
        for name in inputs.modalities:
            tokens = without(cuts[name].tokenize(batch.views[name]), batch.present(name))
            found[name].append(pooled(encoder({name: tokens})).float().cpu())
    return {name: torch.cat(parts) for name, parts in found.items() if parts}


def joined(parts: dict[str, Float[Tensor, "N D"]]) -> Float[Tensor, "N D_of_all"]:
    """All modalities' features side by side."""
    return torch.cat(list(parts.values()), dim=1)


def collapse_results(parts: dict[str, Float[Tensor, "N D"]]) -> dict[str, Any]:
    """The collapse panel of each modality; without a prefix that of the only one, or of all side by side."""
    results: dict[str, Any] = dict(panel(joined(parts)))
    for name, value in parts.items() if len(parts) > 1 else ():
        results |= {f"{name}.{key}": found for key, found in panel(value).items()}
    return results


def labelled_results(encoder: nn.Module, inputs: Inputs, config: Config, labelled: LabelledMedia) -> dict[str, Any]:
    """kNN and probe on the features of all modalities side by side, and on each alone where there are several."""
    train = features(encoder, labelled.train, inputs, config, len(labelled.train_labels))
    test = features(encoder, labelled.test, inputs, config, len(labelled.test_labels))
    views = {"": (joined(train), joined(test))}
    if len(train) > 1:
        views |= {f"{name}.": (train[name], test[name]) for name in train}
    results: dict[str, Any] = {}
    for name, (x, other) in views.items():
        results[f"{name}knn.accuracy"] = knn_accuracy(x, labelled.train_labels, other, labelled.test_labels)
        probe = linear_probe(x, labelled.train_labels, other, labelled.test_labels, seed=config.seed)
        results[f"{name}probe.accuracy"] = probe.accuracy
    return results


@torch.no_grad()
def retrieval_results(part: Objective, batch: Batch, names: list[str]) -> dict[str, float]:
    """R@k of each ordered pair of modalities that the objective compares, among the samples that have both."""
    part.eval()
    results: dict[str, float] = {}
    for x, y in permutations(names, 2):
        both = (batch.present(x) & batch.present(y)).cpu()
        if int(both.sum()) > 1 and part.compares(x, y):
            energies = part.energies_between(x, y, batch).float().cpu()[both][:, both]
            results |= {f"retrieval.{x}_to_{y}.{key}": value for key, value in recalls(energies).items()}
            results["retrieval.candidates"] = float(both.sum())
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
        found |= future_results(one, inputs, config, data.heldout)
        if "text" in inputs.modalities and data.vocabulary is not None:
            found |= caption_results(one, data.vocabulary, config, data.heldout)
        if labelled is not None:
            found |= labelled_results(one.encoder, inputs, config, labelled)
        # of random weights only numbers that mean something beside the trained one's
        kept = {key: value for key, value in found.items() if not prefix or is_baseline(key)}
        results |= {prefix + key: value for key, value in kept.items()}
    if labelled is not None:
        results |= about_labels(labelled)
    return results


def is_baseline(key: str) -> bool:
    """Whether random weights have this measure, too."""
    return not key.endswith(OF_THE_DATA)


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
    device = next(objective.parameters()).device
    results: dict[str, Any] = {}
    for name, part in {"": objective, **objective.each()}.items():
        of_part = {key: change for key, (changed, change) in negatives.items() if changed in part.answered}
        batches = prepared(heldout, inputs, config, min(PAIRED, config.evaluate.documents), device, part.views)
        found = energy_results(part, batches, of_part)
        results |= {f"{name}.{key}" if name else key: value for key, value in found.items()}
    for part in objective.each().values():
        for batch in prepared(heldout, inputs, config, CANDIDATES, device, part.views, at_once=CANDIDATES):
            results |= retrieval_results(part, batch, list(inputs.modalities))
    parts = features(objective.encoder, heldout, inputs, config, config.evaluate.documents)
    return results | (collapse_results(parts) if parts and len(next(iter(parts.values()))) > 1 else {})
