"""Claims about what is said of a text model on held-out text."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from evaluate.conftest import build, unreported
from mmssl.corruption import replace_tokens
from mmssl.evaluate.heldout import heldout_batches
from mmssl.evaluate.text import (
    evaluate_text,
    floor_of,
    heldout_texts,
    hidden_words,
    masked_documents,
    word_results,
)
from mmssl.modalities.text import tokenize
from mmssl.modalities.text_data import prepare
from mmssl.objectives import Objective
from mmssl.savanna import entropy, floor, posterior

CPU = torch.device("cpu")


class Truth(Objective):
    """The model that answers the world's own posterior."""

    def __init__(self, vocabulary) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.vocabulary = vocabulary

    def predict(self, seen, hidden):
        ids, document = seen["text"].value, seen["text"].place.document
        position = hidden["text"].position
        logits = torch.full((*position.shape, self.vocabulary.size), -1e9)
        for row in range(len(ids)):
            for number in range(int(document[row].max()) + 1):
                slots = torch.nonzero((document[row][position[row]] == number) & hidden["text"].valid[row])[:, 0]
                if len(slots):
                    words = self.vocabulary.tokenizer.convert_ids_to_tokens(ids[row][document[row] == number].tolist())
                    for slot, marginal in zip(slots, posterior(" ".join(words[1:-1])), strict=True):
                        known = self.vocabulary.tokenizer.convert_tokens_to_ids(list(marginal))
                        logits[row, slot, known] = torch.tensor(list(marginal.values())).log()
        return {"text": logits}

    def energies(self, batch):
        return torch.zeros(len(batch.draw.index), len(batch.draw.index))


def words_of(world, objective: Objective, rows: int = 64):
    """What a model says of the held-out rows' hidden words."""
    corrupt = replace_tokens(world.vocabulary, 0.15, mask_ratio=1.0)
    return hidden_words(objective, world.vocabulary, heldout_batches(world.data.heldout, 0, rows, CPU), corrupt)


@torch.no_grad()
def test_cross_entropy_is_the_stock_models_own_loss_on_each_document(world):
    words = world.vocabulary
    stock = copy.deepcopy(world.trained.encoder.stock)
    stock.set_attn_implementation("eager")
    corrupt = replace_tokens(words, 0.15, mask_ratio=1.0)
    total, count = 0.0, 0
    for batch in heldout_batches(world.data.heldout, 0, 64, CPU):
        tokens = tokenize(words, batch.views["text"])
        seen, _ = corrupt(tokens, batch.draw)
        document = tokens.place.document
        for row in range(len(document)):
            for number in range(int(document[row].max()) + 1):
                ids, masked = (each.value[row][document[row] == number][None] for each in (tokens, seen))
                hides = masked == words.mask
                if hides.any():
                    loss = stock(input_ids=masked, labels=torch.where(hides, ids, -100)).loss
                    total, count = total + float(loss) * int(hides.sum()), count + int(hides.sum())
    found = word_results(world.trained, world.config, world.data)
    assert found["text.hidden_words"] == count
    assert found["text.cross_entropy"] == pytest.approx(total / count, abs=1e-4)
    assert found["text.perplexity"] == pytest.approx(np.exp(total / count), rel=1e-4)


def test_the_true_posterior_reaches_the_floor_and_a_trained_model_does_not(world):
    words = words_of(world, Truth(world.vocabulary), 200)
    entropies = torch.tensor([value for text in words.masked for value in entropy(text)])
    assert len(entropies) == len(words.energy)
    error = (words.energy - entropies).std() / len(entropies) ** 0.5
    assert abs(float(words.energy.mean()) - floor(words.masked)) < 3 * float(error)
    trained = words_of(world, world.trained, 200)
    assert trained.masked == words.masked
    assert float(trained.energy.mean()) > floor(words.masked) + 3 * float(error)


def test_the_floor_is_there_for_whole_words_only(world, tmp_path, capsys):
    found = word_results(world.trained, world.config, world.data)
    assert 0 < found["text.floor"] < found["text.cross_entropy"]
    tokenizer = world.config.tokenizer.model_copy(update={"vocabulary_size": 100, "kind": "wordpiece"})
    config = world.config.model_copy(update={"tokenizer": tokenizer, "run": str(tmp_path / "run")})
    split = prepare(config, tmp_path / "run", unreported)
    assert "text.floor" not in word_results(build(config, split.vocabulary), config, split)
    assert "no floor: the tokenizer splits" in capsys.readouterr().err
    # nor where the text is not the world's
    data = world.config.data.model_copy(update={"source": "elsewhere"})
    other = world.config.model_copy(update={"data": data})
    assert "text.floor" not in word_results(world.trained, other, world.data)


def test_the_floor_is_that_of_the_world(world):
    masked = ["the lion chases the [MASK] in the savanna ."]
    assert floor_of(world.vocabulary, masked) == {"text.floor": floor(masked)}


def test_masked_documents_are_the_hiding_ones_as_words(world):
    words = world.vocabulary
    ids = [[words.first, *words.encode_masked(text), words.last] for text in ("the [MASK] runs", "a cat", "[MASK].")]
    row = torch.tensor([[token for body in ids for token in body] + [words.pad] * 3])
    assert masked_documents(words, tokenize(words, [row])) == ["the [MASK] runs", "[MASK] ."]


def test_a_trained_model_tells_true_words_from_others_and_a_random_one_does_not(world):
    trained, random = (word_results(each, world.config, world.data) for each in (world.trained, world.random))
    for kind in ("word_replaced", "frequent_word_replaced"):
        assert trained[f"energy.ladder.{kind}"] > 0.8
        assert abs(random[f"energy.ladder.{kind}"] - 0.5) < 0.1
    assert trained["text.accuracy"] > random["text.accuracy"] + 0.2
    assert trained["text.cross_entropy"] < random["text.cross_entropy"] - 1


def test_numbers_agree_with_each_other(world):
    found = word_results(world.trained, world.config, world.data)
    for name in ("compatible", "incompatible"):
        assert len(found["energy_histogram"]["edges"]) == len(found["energy_histogram"][name]) + 1
        assert sum(found["energy_histogram"][name]) <= found["text.hidden_words"]
    bars = found["calibration"]
    assert sum(bars["count"]) == found["text.hidden_words"]
    weights = np.array(bars["count"]) / found["text.hidden_words"]
    gap = np.abs(np.array(bars["confidence"]) - np.array(bars["accuracy"]))
    assert found["text.calibration_error"] == pytest.approx(float(np.nansum(weights * gap)), abs=1e-5)


def test_an_evaluation_has_a_row_of_random_weights(world):
    results = evaluate_text(
        world.trained, world.config, world.data, partial(build, world.config, world.vocabulary), None
    )
    for name in ("text.cross_entropy", "text.accuracy", "energy.auroc"):
        assert name in results
        assert f"random_init.{name}" in results
        assert results[name] != results[f"random_init.{name}"]
    assert results["collapse.verdict"] in ("healthy", "partial", "complete")
    assert not [name for name in results if name.startswith(("probe", "knn"))]


def test_without_held_out_text_nothing_is_claimed_of_it(world):
    bare = world.data._replace(heldout=world.data.heldout._replace(paths=(), shapes=()))
    assert word_results(world.trained, world.config, bare) == {}


def test_held_out_texts_are_its_first_documents(world):
    texts = heldout_texts(world.data, 5)
    assert len(texts) == 5
    (row,) = world.data.heldout(np.array([0]))["text"][0]
    begin = torch.nonzero(row == world.vocabulary.last)[0, 0]
    assert texts[0] == world.vocabulary.decode(row[1:begin].tolist())
