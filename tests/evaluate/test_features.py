"""Claims about features: the mean of a text's own tokens, whatever it is batched with."""

import copy

import numpy as np
import pytest
import torch
from datasets import load_dataset

from mmssl.errors import CheckpointError, DataError
from mmssl.evaluate import features
from mmssl.evaluate.features import chunks, padded, text_features, write_features
from mmssl.savanna import captions

TEXTS = [*captions(5, np.arange(12)), "the lion", "zebra"]


@torch.no_grad()
def slow_features(world, ids: list[int]) -> torch.Tensor:
    """The mean over the text's own tokens, by the stock class on this text alone."""
    stock = copy.deepcopy(world.trained.encoder.stock)
    stock.set_attn_implementation("eager")
    words = world.vocabulary
    row = torch.tensor([[words.first, *ids, words.last]])
    return stock.base_model(input_ids=row).last_hidden_state[0, 1:-1].mean(0)


def test_features_are_those_of_the_text_alone(world, monkeypatch):
    together = text_features(world.trained.encoder, world.vocabulary, TEXTS, 64)
    for feature, ids in zip(together, world.vocabulary.encode(TEXTS), strict=True):
        torch.testing.assert_close(feature, slow_features(world, ids), atol=1e-5, rtol=0)
    assert float((together[0] - together[1]).abs().max()) > 1e-2
    monkeypatch.setattr(features, "TOKENS_AT_ONCE", 40)
    torch.testing.assert_close(
        text_features(world.trained.encoder, world.vocabulary, TEXTS, 64), together, atol=1e-5, rtol=0
    )


def test_a_long_text_is_the_mean_over_its_pieces(world):
    (ids,) = world.vocabulary.encode([" ".join(TEXTS)])
    body = 16 - 2
    parts = [ids[start : start + body] for start in range(0, len(ids), body)]
    expected = sum(slow_features(world, part) * len(part) for part in parts) / len(ids)
    (found,) = text_features(world.trained.encoder, world.vocabulary, [" ".join(TEXTS)], 16)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert len(parts) > 5


@torch.no_grad()
def test_special_tokens_are_left_out(world):
    words = world.vocabulary
    tokens = padded([words.encode(["the lion runs"])[0], [20]], words, torch.device("cpu"))
    value = world.trained.encoder({"text": tokens})["text"].value[0]
    (found,) = text_features(world.trained.encoder, words, ["the lion runs"], 64)
    torch.testing.assert_close(found, value[1:4].mean(0), atol=1e-5, rtol=0)
    assert float((found - value[:5].mean(0)).abs().max()) > 1e-3


def test_a_text_without_a_word_has_the_feature_zero(world):
    (found,) = text_features(world.trained.encoder, world.vocabulary, [""], 64)
    assert torch.equal(found, torch.zeros(world.trained.encoder.width))


def test_chunks_hold_every_piece_once_and_keep_to_their_size(monkeypatch):
    monkeypatch.setattr(features, "TOKENS_AT_ONCE", 64)
    sequences = [list(range(number, number + size)) for number, size in enumerate((3, 40, 0, 7, 7, 100))]
    found: dict[int, list[int]] = {number: [] for number in range(len(sequences))}
    for numbers, parts in chunks(sequences, 32):
        assert all(len(part) <= 30 for part in parts)
        assert len(parts) == 1 or len(parts) * (max(map(len, parts)) + 2) <= 64
        for number, part in zip(numbers, parts, strict=True):
            found[number] += part
    assert [sorted(found[number]) for number in found] == sequences


def test_written_features_have_path_label_and_feature(world, tmp_path):
    table = tmp_path / "in.csv"
    table.write_text("text,label\n" + "\n".join(f'"{text}",{number % 2}' for number, text in enumerate(TEXTS)))
    out = tmp_path / "deep" / "features.parquet"
    config = world.config.model_copy(update={"run": str(tmp_path / "run")})
    write_features(world.trained.encoder, world.vocabulary, config, str(table), out)
    read = load_dataset("parquet", data_files=str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert read.column_names == ["path", "label", "feature"]
    assert list(read["label"]) == [str(number % 2) for number in range(len(TEXTS))]
    assert list(read["path"]) == [f"{table}:{number}" for number in range(len(TEXTS))]
    expected = text_features(world.trained.encoder, world.vocabulary, TEXTS, 64)
    torch.testing.assert_close(torch.tensor(list(read["feature"])), expected, atol=1e-6, rtol=0)


def test_a_place_that_cannot_be_written_is_a_checkpoint_error(world, tmp_path):
    (tmp_path / "a.txt").write_text("the lion runs")
    config = world.config.model_copy(update={"run": str(tmp_path / "run")})
    with pytest.raises(CheckpointError, match="expected a file that can be written"):
        write_features(
            world.trained.encoder, world.vocabulary, config, str(tmp_path / "a.txt"), tmp_path / "a.txt" / "out"
        )
    with pytest.raises(DataError, match="no such file or folder"):
        write_features(world.trained.encoder, world.vocabulary, config, str(tmp_path / "none"), tmp_path / "out")
