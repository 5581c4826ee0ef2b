"""Claims about labelled text: read from any source, each result beside random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mmssl.config import Config, load_config
from mmssl.errors import DataError
from mmssl.evaluate.labelled import Labelled, labelled_results, labelled_text
from mmssl.savanna import HABITATS, captions, labels

NAMES = list(HABITATS)
INDICES = np.arange(240)


def config_of(folder: Path, *overrides: str) -> Config:
    """A config whose labelled data is what the overrides say."""
    (folder / "config.yaml").write_text(
        f"task: masked_language\nrun: {folder / 'run'}\nseed: 1\ndata: {{row_length: 64, document: line}}\n"
    )
    return load_config(folder / "config.yaml", overrides)


def read(config: Config) -> Labelled | None:
    """The labelled part; nothing may be reported."""
    reports: list[dict] = []
    found = labelled_text(config, reports.append)
    assert not reports
    return found


def pairs() -> list[tuple[str, str]]:
    """Captions with the names of their habitats."""
    return [(text, NAMES[label]) for text, label in zip(captions(2, INDICES), labels(2, INDICES), strict=True)]


def csv(path: Path, columns: str = "text,label", part: slice = slice(None)) -> Path:
    """A table of labelled captions."""
    path.write_text("\n".join([columns, *(f'"{text}",{name}' for text, name in pairs()[part])]))
    return path


def folders(root: Path) -> Path:
    """A folder for each label, one caption a line."""
    for name in NAMES:
        (root / name).mkdir(parents=True)
        (root / name / "texts.txt").write_text("\n".join(text for text, label in pairs() if label == name))
    return root


def named(found: Labelled) -> list[tuple[str, str]]:
    """All texts with the names of their labels."""
    texts = [*found.train_texts, *found.test_texts]
    numbers = [*found.train_labels.tolist(), *found.test_labels.tolist()]
    return sorted((text, found.names[number]) for text, number in zip(texts, numbers, strict=True))


@pytest.mark.parametrize("kind", ["csv", "folder"])
def test_a_source_is_read_with_its_labels_and_split(tmp_path, kind):
    source = csv(tmp_path / "a.csv") if kind == "csv" else folders(tmp_path / "text")
    found = read(config_of(tmp_path, f"evaluate.source={source}"))
    assert found is not None
    assert named(found) == sorted(pairs())
    assert found.names == sorted(NAMES)
    assert not set(found.train_texts) & set(found.test_texts)
    assert 0.1 < len(found.test_texts) / len(INDICES) < 0.35


def test_other_columns_and_a_separate_test_source_are_used(tmp_path):
    train = csv(tmp_path / "a.csv", "review,stars", slice(0, 200))
    test = csv(tmp_path / "b.csv", "review,stars", slice(200, None))
    found = read(config_of(tmp_path, f"evaluate.source={train}", f"evaluate.heldout={test}",
                           "evaluate.text_column=review", "evaluate.label_column=stars"))  # fmt: skip
    assert found is not None
    assert found.train_texts == [text for text, _ in pairs()[:200]]
    assert found.test_texts == [text for text, _ in pairs()[200:]]
    assert named(found) == sorted(pairs())


def test_at_most_so_many_documents_are_taken_at_even_distances(tmp_path):
    found = read(config_of(tmp_path, f"evaluate.source={folders(tmp_path / 'text')}", "evaluate.documents=40"))
    assert found is not None
    assert len(found.train_texts) <= 40
    assert len(found.test_texts) <= 40
    assert set(found.train_labels.tolist()) == set(range(5))  # not the first folder only


def test_data_without_labels_is_not_probed_unless_it_was_named(tmp_path):
    source = tmp_path / "plain"
    source.mkdir()
    (source / "a.txt").write_text("\n".join(captions(2, INDICES)))
    assert read(config_of(tmp_path, f"data.source={source}")) is None
    with pytest.raises(DataError, match="has no label"):
        read(config_of(tmp_path, f"data.source={source}", f"evaluate.source={source}"))


def test_the_training_data_is_probed_where_it_has_labels(tmp_path):
    source = f"data.source={folders(tmp_path / 'text')}"
    found = read(config_of(tmp_path, source))
    assert found is not None
    assert named(found) == sorted(pairs())
    # but its folders are no labels where they are the groups of a mixture
    assert read(config_of(tmp_path, source, "data.groups=folder")) is None


def test_the_built_in_world_has_fresh_labelled_samples(tmp_path):
    found = read(config_of(tmp_path, "evaluate.documents=50"))
    assert found is not None
    assert len(found.train_texts) == len(found.test_texts) == 50
    assert set(found.train_texts) != set(captions(1, np.arange(50)))
    assert found.train_texts != found.test_texts


def test_results_stand_beside_random_weights_and_the_majority(world, tmp_path):
    found = read(config_of(tmp_path, f"evaluate.source={csv(tmp_path / 'a.csv')}"))
    assert found is not None
    arguments = (world.trained.encoder, world.random.encoder, world.vocabulary)
    results = labelled_results(*arguments, world.config, found)
    counts = torch.bincount(found.train_labels)
    majority = float((found.test_labels == counts.argmax()).float().mean())
    assert results["labelled.majority_accuracy"] == pytest.approx(majority)
    assert results["labelled.train"] + results["labelled.test"] == len(INDICES)
    assert results["labelled.classes"] == 5
    for name in ("knn.accuracy", "probe.accuracy"):
        assert 0 <= results[name] <= 1
        assert 0 <= results[f"random_init.{name}"] <= 1
    assert results["probe.accuracy"] > majority + 0.1
    assert not [name for name in results if "finetune" in name]


def test_labels_without_meaning_are_not_predicted(world, tmp_path):
    found = read(config_of(tmp_path, f"evaluate.source={csv(tmp_path / 'a.csv')}"))
    assert found is not None
    generator = torch.Generator().manual_seed(0)
    shuffled = found._replace(
        test_labels=found.test_labels[torch.randperm(len(found.test_labels), generator=generator)]
    )
    arguments = (world.trained.encoder, world.random.encoder, world.vocabulary, world.config)
    true, control = (labelled_results(*arguments, each)["probe.accuracy"] for each in (found, shuffled))
    assert true > control + 0.2


def test_fine_tuning_is_done_where_it_is_asked_for(world, tmp_path):
    found = read(config_of(tmp_path, f"evaluate.source={csv(tmp_path / 'a.csv')}"))
    evaluate = world.config.evaluate.model_copy(update={"finetune": True, "finetune_seconds": 0.5})
    config = world.config.model_copy(update={"evaluate": evaluate})
    arguments = (world.trained.encoder, world.random.encoder, world.vocabulary)
    results = labelled_results(*arguments, config, found)
    assert 0 <= results["finetune.accuracy"] <= 1
    assert 0 <= results["random_init.finetune.accuracy"] <= 1
