"""Labelled text: probe, nearest neighbours and fine-tuning, each beside the encoder with random weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mmssl.config import Config
from mmssl.data import documents, labelled, split
from mmssl.evaluate.features import text_features
from mmssl.evaluate.finetune import finetune
from mmssl.evaluate.knn import knn_accuracy
from mmssl.evaluate.probe import linear_probe
from mmssl.modalities.text import Vocabulary
from mmssl.random import hashed


class Labelled(NamedTuple):
    """Texts with the numbers of their labels, for training and for testing."""

    train_texts: list[str]
    train_labels: Tensor
    test_texts: list[str]
    test_labels: Tensor
    names: list[str]


def labelled_text(config: Config, report: Callable[[dict], None]) -> Labelled | None:
    """The labelled source of a config, split; None where probes were not asked for and the data has no labels.

    DataError where a source was named and one of its documents has no label.
    """
    keys = ("text_column", "label_column", "document")
    section = config.data.model_copy(update={key: getattr(config.evaluate, key) for key in keys} | {"documents": 0})
    source, cache = config.evaluate.source, Path(config.run) / config.data.cache
    if source == "data":
        if not isinstance(config.data.source, str) or config.data.groups == "folder":
            return None
        source, section = config.data.source, config.data
    if source == "savanna":
        section = section.model_copy(update={"samples": config.evaluate.documents})
        parts = [labelled(source, section, cache, report, seed=hashed(config.seed, name)) for name in ("probe", "test")]
        return numbered(parts[0], parts[1], config.evaluate.documents)
    if config.evaluate.source == "data" and not has_labels(documents(source, section, cache, report, seed=config.seed)):
        return None
    train = labelled(source, section, cache, report, seed=config.seed)
    if isinstance(config.evaluate.heldout, str):
        test = labelled(config.evaluate.heldout, section, cache, report, seed=config.seed)
    else:
        train, test = split(train, config.evaluate.heldout, config.seed)
    return numbered(train, test, config.evaluate.documents)


def has_labels(dataset: Any) -> bool:
    """Whether every document has a label."""
    return all("" not in batch["label"] for batch in dataset.select_columns(["label"]).iter(batch_size=10_000))


def numbered(train: Any, test: Any, most: int) -> Labelled:
    """Two data sets with text and label, cut to `most` documents each at even distances."""
    parts = [dataset.select(range(0, len(dataset), max(1, -(-len(dataset) // most)))) for dataset in (train, test)]
    names = sorted({str(name) for part in parts for name in part["label"]})
    number = {name: index for index, name in enumerate(names)}
    labels = [torch.tensor([number[str(name)] for name in part["label"]]) for part in parts]
    return Labelled(list(parts[0]["text"]), labels[0], list(parts[1]["text"]), labels[1], names)


def labelled_results(
    encoder: nn.Module, random: nn.Module, vocabulary: Vocabulary, config: Config, labelled: Labelled
) -> dict[str, Any]:
    """kNN and probe accuracy on frozen features (and fine-tuning, if asked for), trained and random weights alike."""
    majority = np.bincount(labelled.train_labels.numpy()).argmax()
    results: dict[str, Any] = {
        "labelled.classes": len(labelled.names), "labelled.train": len(labelled.train_texts),
        "labelled.test": len(labelled.test_texts),
        "labelled.majority_accuracy": float((labelled.test_labels == int(majority)).float().mean()),
    }  # fmt: skip
    for prefix, one in (("", encoder), ("random_init.", random)):
        train, test = (
            text_features(one, vocabulary, texts, config.data.row_length)
            for texts in (labelled.train_texts, labelled.test_texts)
        )
        results[f"{prefix}knn.accuracy"] = knn_accuracy(train, labelled.train_labels, test, labelled.test_labels)
        probe = linear_probe(train, labelled.train_labels, test, labelled.test_labels, seed=config.seed)
        results[f"{prefix}probe.accuracy"] = probe.accuracy
        if config.evaluate.finetune:
            results[f"{prefix}finetune.accuracy"] = finetune(
                one, vocabulary, labelled.train_texts, labelled.train_labels, labelled.test_texts, labelled.test_labels,
                longest=config.data.row_length, seconds=config.evaluate.finetune_seconds, seed=config.seed,
            )  # fmt: skip
    return results
