"""Claims about hidden words: what is put there, what is drawn there, and how well a text holds together."""

import copy
import math
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from mmssl.errors import DataError
from mmssl.evaluate.energy import auroc
from mmssl.evaluate.words import fill_in, log_probabilities, sample, score_text
from mmssl.objectives import Objective
from mmssl.savanna import captions

LONGEST = 64


class Toy(Objective):
    """Two masks over two words, p(first) and p(second | first): the second follows the first 9 times of 10.

    The conditionals of one joint distribution, so that the order of filling in does not matter.
    """

    JOINT = torch.tensor([[0.54, 0.06], [0.04, 0.36]])  # p(a, b)

    def __init__(self, vocabulary, words: list[str]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.vocabulary = vocabulary
        self.ids = [ids[0] for ids in vocabulary.encode(words)]
        self.places: list[int] = []

    def predict(self, seen, hidden):
        ids, position = seen["text"].value[0], hidden["text"].position[0]
        if not self.places:
            self.places = position.tolist()
        logits = torch.full((1, len(position), self.vocabulary.size), -1e9)
        for slot, place in enumerate(position.tolist()):
            axis = self.places.index(place)
            other = int(ids[self.places[1 - axis]])
            table = self.JOINT if axis == 0 else self.JOINT.T  # rows: this word, columns: the other
            known = other in self.ids
            logits[0, slot, self.ids] = (table[:, self.ids.index(other)] if known else table.sum(1)).log()
        return {"text": logits}


def test_the_best_words_are_probabilities_in_order(world):
    for masks in fill_in(world.trained, world.vocabulary, "The [MASK] chases the [MASK].", LONGEST):
        shares = [share for _, share in masks]
        assert len(masks) == 10
        assert shares == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 1 + 1e-6
    assert len(fill_in(world.trained, world.vocabulary, "The [MASK] chases the [MASK].", LONGEST)) == 2


def test_probabilities_leave_out_special_tokens_and_sum_to_one(world):
    words = world.vocabulary
    values = log_probabilities(world.random, words, words.encode_masked("the [MASK] chases")).exp()
    assert values.sum(1).tolist() == pytest.approx([1.0], abs=1e-5)
    assert float(values[:, words.special].sum()) == 0


def test_a_trained_model_puts_a_known_word_in_its_place(world):
    ((best, *_),) = fill_in(world.trained, world.vocabulary, "The lion chases the zebra [MASK] the savanna.", LONGEST)
    assert best[0] == "in"
    assert best[1] > 0.8
    ((control, *_),) = fill_in(world.random, world.vocabulary, "The lion chases the zebra [MASK] the savanna.", LONGEST)
    assert control[1] < 0.2


def test_samples_follow_the_models_own_joint_distribution(world):
    count = 2000
    toy = Toy(world.vocabulary, ["lion", "zebra"])
    drawn = sample(toy, world.vocabulary, "the [MASK] chases the [MASK].", LONGEST, samples=count)
    found = Counter(tuple(one.words) for one in drawn)
    for i, a in enumerate(("lion", "zebra")):
        for j, b in enumerate(("lion", "zebra")):
            expected = float(Toy.JOINT[i, j])
            sigma = (expected * (1 - expected) / count) ** 0.5
            assert abs(found[a, b] / count - expected) < 4 * sigma
            # the control: each mask on its own, as the best words are found, is another distribution
            alone = float(Toy.JOINT[i].sum() * Toy.JOINT[:, j].sum())
            assert abs(found[a, b] / count - alone) > 4 * sigma
            probabilities = {one.log_probability for one in drawn if one.words == [a, b]}
            assert all(value == pytest.approx(math.log(expected), abs=1e-4) for value in probabilities)


def test_samples_are_a_function_of_the_seed(world):
    text = "The [MASK] chases the [MASK] in the [MASK]."
    one, two, other = (
        sample(world.random, world.vocabulary, text, LONGEST, samples=5, seed=seed) for seed in (1, 1, 2)
    )
    assert one == two
    assert one != other
    assert len({tuple(each.words) for each in one}) > 1
    longer = sample(world.random, world.vocabulary, text, LONGEST, samples=6, seed=1)
    assert longer[:5] == one


def test_a_sample_keeps_what_is_seen(world):
    for one in sample(world.random, world.vocabulary, "the [MASK] chases the [MASK]", LONGEST, samples=3):
        first, second = one.words
        assert one.text == f"the {first} chases the {second}"


@torch.no_grad()
def slow_energy(objective, words, ids: list[int], asked: list[int]) -> float:
    """The pseudo-log-likelihood, negated: one text at a time through the stock model, without our attention."""
    stock = copy.deepcopy(objective.encoder.stock)
    stock.set_attn_implementation("eager")
    total = 0.0
    for place in asked:
        row = torch.tensor([[words.first, *ids, words.last]])
        row[0, place + 1] = words.mask
        total -= float(stock(input_ids=row).logits[0, place + 1].log_softmax(-1)[ids[place]])
    return total


def test_a_score_is_the_pseudo_log_likelihood(world):
    words = world.vocabulary
    x, y = "The lion chases", "the zebra in the savanna."
    (ids,), (seen,) = words.encode([f"{x} {y}"]), words.encode([x])
    asked = list(range(len(seen), len(ids)))
    expected = slow_energy(world.trained, words, ids, asked)
    assert score_text(world.trained, words, x, y, LONGEST) == pytest.approx(expected, abs=1e-4)
    # where x has masks, y fills them in order, and only they are asked for
    masked = "The lion [MASK] the [MASK] in the savanna."
    (ids,) = words.encode(["The lion chases the zebra in the savanna."])
    expected = slow_energy(world.trained, words, ids, [2, 4])
    assert score_text(world.trained, words, masked, "chases zebra", LONGEST) == pytest.approx(expected, abs=1e-4)


def corrupted(text: str, number: int) -> str:
    """The text with one of its words replaced by one that never stands there."""
    parts = text.split()
    parts[1 + number % (len(parts) - 2)] = ("at", "from", "noon", "zebra", "the")[number % 5]
    return " ".join(parts)


def test_clean_text_scores_below_corrupted_text_once_a_model_has_learnt(world):
    clean = captions(9, np.arange(40))
    worse = [corrupted(text, number) for number, text in enumerate(clean)]
    pairs = [(one, two) for one, two in zip(clean, worse, strict=True) if one != two]

    def share_of(objective: Objective) -> float:
        scores = [[score_text(objective, world.vocabulary, "", text, LONGEST) for text in pair] for pair in pairs]
        return float(np.mean([one < two for one, two in scores]))

    assert share_of(world.trained) > 0.9
    assert 0.2 < share_of(world.random) < 0.8


def test_a_model_that_has_learnt_ranks_a_probable_word_first(world):
    x = "The lion chases the zebra in the [MASK]."
    energies = [score_text(world.trained, world.vocabulary, x, y, LONGEST) for y in ("savanna", "quickly", "the")]
    assert energies[0] == min(energies)
    assert auroc(torch.tensor(energies[:1]), torch.tensor(energies[1:])) == 1


@pytest.mark.parametrize(
    "x, y, message",
    [
        ("the [MASK] runs", "lion cub", r"'lion cub' has 2 tokens; expected 1"),
        ("the [MASK] runs", "", r"'' holds no word"),
        ("the lion", "  ", r"holds no word"),
        ("the " * 60, "lion chases the zebra", r"a text of 64 tokens; expected at most 62"),
    ],
)
def test_what_cannot_be_scored_is_a_data_error(world, x, y, message):
    with pytest.raises(DataError, match=message):
        score_text(world.trained, world.vocabulary, x, y, LONGEST)


@pytest.mark.parametrize(
    "text, message",
    [("the lion runs", r"hides nothing; expected at least one \[MASK\]"), ("the [MASK] " * 40, "80 tokens; .* 62")],
)
def test_what_cannot_be_filled_in_is_a_data_error(world, text, message):
    for function in (fill_in, lambda *arguments: sample(*arguments, samples=1)):
        with pytest.raises(DataError, match=message):
            function(world.trained, world.vocabulary, text, LONGEST)
