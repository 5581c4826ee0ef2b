import math
import re
import time
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from mmssl.savanna import captions as exported_captions
from mmssl.savanna.captions import (
    ADJECTIVES,
    ADVERBS,
    ARTICLES,
    ESCAPES,
    FORMS,
    TIMES,
    VERBS,
    caption,
    captions,
    entropy,
    floor,
    grammar,
    posterior,
    words,
)
from mmssl.savanna.tables import event

EXAMPLE = "The [MASK] chases the [MASK] in the savanna."
MASKED = [
    EXAMPLE,
    "The [MASK] chases the [MASK] in the kitchen.",
    "[MASK] lion chases [MASK] zebra [MASK] the savanna [MASK]",
    "In [MASK] ocean, the [MASK] hunts [MASK] seal at [MASK].",
    "At [MASK], the orca [MASK] chases the seal.",
    "The rabbit [MASK] from the [MASK] [MASK] at night.",
    "[MASK] [MASK] [MASK] [MASK] the [MASK] [MASK] the [MASK] .",
    "[MASK] " * 10,
    "A [MASK] wolf [MASK] a hare in the [MASK] [MASK] noon.",
    "The fox [MASK] the mouse in the forest.",
]


def brute_force_posterior(masked):
    """The posterior by a plain loop over the grammar."""
    pattern = words(masked)
    totals = [{} for word in pattern if word == "[MASK]"]
    for sentence, probability in zip(*grammar()):
        pairs = list(zip(sentence, pattern))
        if len(sentence) != len(pattern) or any(word != seen for word, seen in pairs if seen != "[MASK]"):
            continue
        hidden = [word for word, seen in pairs if seen == "[MASK]"]
        for total, word in zip(totals, hidden, strict=True):
            total[word] = total.get(word, 0.0) + float(probability)
    evidence = sum(totals[0].values())
    assert evidence > 0
    return [{word: value / evidence for word, value in total.items()} for total in totals]


def masked_samples(seed, count):
    """Captions with one to three words hidden at places that do not depend on the words, and the hidden words."""
    generator = np.random.default_rng(seed)
    for text in captions(seed, np.arange(count)):
        sentence = words(text)
        hidden = sorted(generator.permutation(len(sentence))[: generator.integers(1, 4)])
        masked = " ".join("[MASK]" if place in hidden else word for place, word in enumerate(sentence))
        yield masked, [sentence[place] for place in hidden]


def test_words_are_lower_case_with_punctuation_of_its_own():
    assert words("In the savanna, the Lion.") == ("in", "the", "savanna", ",", "the", "lion", ".")
    assert words(EXAMPLE) == ("the", "[MASK]", "chases", "the", "[MASK]", "in", "the", "savanna", ".")


@pytest.mark.parametrize("tables", [{"": FORMS}, VERBS, ADVERBS, ARTICLES, ADJECTIVES, TIMES, ESCAPES])
def test_the_tables_of_words_sum_to_one(tables):
    assert all(abs(sum(table.values()) - 1) < 1e-12 and min(table.values()) > 0 for table in tables.values())


def test_the_grammar_sums_to_one_over_distinct_captions():
    sentences, probabilities = grammar()
    assert abs(math.fsum(probabilities) - 1) < 1e-12
    assert len(sentences) == len(set(sentences)) == len(probabilities)
    assert 2_000 <= len(sentences) <= 20_000


def test_a_caption_of_one_event_has_the_probability_worked_by_hand():
    probability = dict(zip(*grammar()))
    # P(savanna) P(lion) P(zebra) P(form) P(chases)
    expected = 0.30 * 0.50 * 0.60 * 0.35 * 0.50
    assert probability[words("The lion chases the zebra in the savanna.")] == pytest.approx(expected, rel=1e-12)


def test_a_caption_of_two_events_has_the_sum_of_both_probabilities():
    probability = dict(zip(*grammar()))
    # no habitat is named: P(habitat) P(orca) P(seal) P(noon) of both, then P(form) P(hunts) P(patiently) P(the)
    expected = (0.20 * 0.25 * 0.60 * 0.45 + 0.12 * 0.15 * 0.40 * 0.45) * 0.10 * 0.60 * 0.60 * 0.40
    assert probability[words("At noon, the orca patiently hunts the seal.")] == pytest.approx(expected, rel=1e-12)


def test_captions_are_english():
    for sentence in grammar()[0]:
        assert all(after[0] not in "aeiou" for word, after in pairwise(sentence) if word == "a")
        assert sentence[-1] == "."


def test_the_package_exports_the_function_not_the_module():
    assert exported_captions is captions


def test_a_caption_does_not_depend_on_the_order_or_the_batch():
    indices = np.arange(300)
    together = captions(7, indices)
    shuffled = np.random.default_rng(0).permutation(indices)
    assert captions(7, shuffled) == [together[index] for index in shuffled]
    assert [caption(7, index) for index in range(30)] == together[:30]


def test_another_seed_gives_other_captions():
    assert captions(0, np.arange(50)) != captions(1, np.arange(50))


def test_a_caption_shows_the_event_of_its_sample():
    for index, text in enumerate(captions(2, np.arange(300))):
        shown = event(2, index)
        assert {shown.predator, shown.prey} <= set(words(text))
        assert shown.habitat in words(text) or text.startswith(("At ", f"The {shown.prey} "))


def test_captions_come_as_often_as_the_grammar_says():
    count = 100_000
    found = Counter(words(text) for text in captions(0, np.arange(count)))
    probability = dict(zip(*grammar()))
    assert set(found) <= set(probability)
    common = [sentence for sentence in probability if count * probability[sentence] >= 10]
    expected = count * np.array([probability[sentence] for sentence in common])
    chi_square = np.sum((np.array([found[sentence] for sentence in common]) - expected) ** 2 / expected)
    assert len(common) > 500
    assert abs(chi_square - len(common)) < 4 * math.sqrt(2 * len(common))


def test_twenty_thousand_captions_take_less_than_two_seconds():
    start = time.perf_counter()
    assert len(captions(0, np.arange(20_000))) == 20_000
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("masked", MASKED)
def test_the_posterior_equals_a_plain_loop_over_the_grammar(masked):
    expected = brute_force_posterior(masked)
    found = posterior(masked)
    assert len(found) == len(expected) == words(masked).count("[MASK]")
    for ours, plain in zip(found, expected):
        assert ours == pytest.approx(plain, abs=1e-12)
        assert sum(ours.values()) == pytest.approx(1, abs=1e-12)
        assert list(ours.values()) == sorted(ours.values(), reverse=True)


def test_the_posterior_of_one_word_equals_bayes_by_hand():
    # P(predator) P(gnu | predator) P(chases | predator), all else equal
    joint = {
        "lion": 0.5 * 0.3 * 0.5,
        "cheetah": 0.25 * 0.25 * 0.8,
        "leopard": 0.15 * 0.15 * 0.3,
        "hyena": 0.1 * 0.6 * 0.6,
    }
    expected = {predator: value / sum(joint.values()) for predator, value in joint.items()}
    assert posterior("The [MASK] chases the gnu in the savanna.") == [pytest.approx(expected, rel=1e-12)]


def test_the_habitat_decides_who_chases_whom():
    in_savanna, in_kitchen = posterior(EXAMPLE), posterior("The [MASK] chases the [MASK] in the kitchen.")
    assert list(in_savanna[0])[:2] == ["lion", "cheetah"]
    assert list(in_savanna[1])[:2] == ["zebra", "gnu"]
    assert [next(iter(marginal)) for marginal in in_kitchen] == ["cat", "mouse"]
    assert not set(in_savanna[0]) & set(in_kitchen[0])


def test_a_text_without_a_mask_has_no_posterior():
    assert posterior("The lion chases the zebra in the savanna.") == []


@pytest.mark.parametrize(
    ("masked", "message"),
    [
        ("The [MASK] chases the rabbit in the kitchen.", "no caption of savanna reads 'the .MASK. chases the rabbit"),
        ("The [MASK] greets the zebra in the savanna.", "unknown words: greets"),
        ("The [MASK] chases.", "no caption of savanna"),
        ("", "no caption of savanna"),
    ],
)
def test_a_text_that_no_caption_agrees_with_is_refused(masked, message):
    with pytest.raises(ValueError, match=message):
        posterior(masked)


def test_the_entropy_of_a_posterior_equals_the_formula():
    masked = "The [MASK] chases the gnu in the savanna."
    expected = -sum(value * math.log(value) for value in brute_force_posterior(masked)[0].values())
    assert entropy(masked) == [pytest.approx(expected, rel=1e-12)]


def test_a_word_that_is_certain_has_no_entropy():
    assert entropy("[MASK] lion chases the zebra in the savanna.") == [0.0]


def test_the_floor_is_the_mean_entropy_of_all_masks():
    entropies = [
        -sum(value * math.log(value) for value in marginal.values() if value > 0)
        for masked in MASKED
        for marginal in brute_force_posterior(masked)
    ]
    assert floor(MASKED) == pytest.approx(sum(entropies) / len(entropies), abs=1e-12)


def test_the_floor_needs_a_mask():
    with pytest.raises(ValueError, match="none holds a mask"):
        floor(["The lion chases the zebra in the savanna."])


def test_a_predictor_that_knows_the_posterior_reaches_the_floor_and_a_unigram_does_not():
    samples = list(masked_samples(seed=0, count=4_000))
    unigram: dict[str, float] = {}
    for sentence, probability in zip(*grammar()):
        for word in sentence:
            unigram[word] = unigram.get(word, 0.0) + float(probability)
    mass = sum(unigram.values())

    knowing, guessing = [], []
    for masked, hidden in samples:
        for marginal, word in zip(posterior(masked), hidden, strict=True):
            knowing.append(-math.log(marginal[word]))
            guessing.append(-math.log(unigram[word] / mass))

    least = floor(masked for masked, _ in samples)
    standard_error = np.std(knowing) / math.sqrt(len(knowing))
    assert abs(np.mean(knowing) - least) < 3 * standard_error
    assert standard_error < 0.05 * least
    assert np.mean(guessing) - least > 20 * standard_error


def test_a_predictor_that_does_not_see_the_habitat_stays_above_the_floor():
    form = re.compile(r"The (\w+) (\w+) the \w+ in the (\w+)\.")
    excess = []
    for predator, verb, habitat in (
        found.groups() for text in captions(1, np.arange(4_000)) if (found := form.match(text))
    ):
        knowing, blind = (
            posterior(f"The [MASK] {verb} the [MASK] in the {place}.")[0] for place in (habitat, "[MASK]")
        )
        excess.append(math.log(knowing[predator]) - math.log(blind[predator]))
    assert len(excess) > 1_000
    assert np.mean(excess) > 20 * np.std(excess) / math.sqrt(len(excess))
