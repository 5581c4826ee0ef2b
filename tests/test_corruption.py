"""Claims about what is hidden and what is seen: counts, shares, words, spans, noise, and what masks depend on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packed_rows import (
    MASK,
    NUM_SPECIAL,
    NUM_WORDS,
    TOY,
    WHOLE,
    ToyVocabulary,
    draws,
    hidden_mask,
    packed,
    within_four_sigma,
)
from torch import Tensor

from mmssl.corruption import candidates, denoise_tokens, random_words, replace_tokens, single_tokens, spans, whole_words
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens


def maskable(tokens: Tokens) -> Tensor:
    """Neither special nor padding."""
    return tokens.value >= NUM_SPECIAL


rows_of_documents = st.lists(st.lists(st.integers(1, 8), min_size=0, max_size=4), min_size=1, max_size=4)
ratios = st.sampled_from([0.05, 0.15, 0.25, 0.3, 0.5, 0.9])


@given(rows_of_documents, ratios, st.integers(0, 5), st.sampled_from([single_tokens, spans()]))
def test_a_row_hides_exactly_its_rounded_share(rows, ratio, seed, order):
    tokens = packed(rows, 40, seed)
    _, hidden = replace_tokens(TOY, ratio, order=order)(tokens, draws(len(rows), seed=seed))
    assert hidden.position.shape == (len(rows), max(1, round(40 * ratio)))  # static, so batches have one shape
    chosen = hidden_mask(hidden, 40)
    assert chosen.sum(1).tolist() == [round(ratio * sum(documents)) for documents in rows]
    assert not (chosen & ~maskable(tokens)).any()
    named = tokens.place.document.gather(1, hidden.position)
    assert torch.equal(hidden.document[hidden.valid], named[hidden.valid])


@pytest.mark.parametrize("count", [1, 10, 90, 170, 190, 510])
def test_the_count_is_exact_where_the_share_lies_between_two_numbers(count):
    _, hidden = replace_tokens(TOY, 0.15)(packed([[count]], count + 2), draws(1))
    assert int(hidden.valid.sum()) == round(0.15 * count)


def test_masks_drawn_token_by_token_would_not_have_exact_counts():
    tokens = packed([[30]] * 50, 40)
    independent = (draws(50).uniform("mask", 40) < 0.15) & maskable(tokens)
    assert len(set(independent.sum(1).tolist())) > 3


def test_special_tokens_would_be_hidden_if_the_vocabulary_did_not_name_them():
    tokens = packed([[10, 10]] * 20, 40)
    blind = TOY._replace(special=torch.zeros(NUM_WORDS, dtype=torch.bool))
    _, hidden = replace_tokens(blind, 0.5)(tokens, draws(20))
    assert (hidden_mask(hidden, 40) & ~maskable(tokens)).any()


@settings(max_examples=50)
@given(rows_of_documents, ratios, st.integers(0, 5))
def test_what_is_not_hidden_stays_as_it_was(rows, ratio, seed):
    tokens, draw = packed(rows, 40, seed), draws(len(rows), seed=seed)
    ratio = min(ratio, 0.8)
    noise = denoise_tokens(
        TOY, drop_ratio=ratio / 4, replace_ratio=ratio / 4, shuffle_ratio=ratio / 4, keep_ratio=ratio / 4, distance=3
    )
    for corrupt in (replace_tokens(TOY, ratio), replace_tokens(TOY, ratio, order=whole_words), noise):
        seen, hidden = corrupt(tokens, draw)
        assert torch.equal(seen.value[~hidden_mask(hidden, 40)], tokens.value[~hidden_mask(hidden, 40)])
        assert seen.place == tokens.place


def shares(mask_ratio: float, random_ratio: float) -> tuple[int, int, int, int]:
    """How many of the hidden tokens are masked, changed, kept, and how many there are."""
    tokens = packed([[60]] * 400, 64)
    corrupt = replace_tokens(TOY, 0.5, mask_ratio=mask_ratio, random_ratio=random_ratio)
    seen, hidden = corrupt(tokens, draws(400))
    chosen = hidden_mask(hidden, 64)
    now, before = seen.value[chosen], tokens.value[chosen]
    masked, kept = int((now == MASK).sum()), int((now == before).sum())
    return masked, len(now) - masked - kept, kept, len(now)


def test_of_the_hidden_tokens_80_percent_are_masked_10_replaced_10_kept():
    masked, changed, kept, total = shares(0.8, 0.1)
    same = 0.1 / (NUM_WORDS - NUM_SPECIAL)  # a random word may be the word that stood there
    assert within_four_sigma(masked, total, 0.8)
    assert within_four_sigma(changed, total, 0.1 - same)
    assert within_four_sigma(kept, total, 0.1 + same)
    assert not within_four_sigma(shares(0.75, 0.1)[0], total, 0.8)  # the control: 75 % is told from 80 %


def test_mask_ratio_one_hides_all_and_zero_keeps_all():
    assert shares(1.0, 0.0)[0] == shares(1.0, 0.0)[3]
    assert shares(0.0, 0.0)[2] == shares(0.0, 0.0)[3]


def is_uniform_over_words(words: Tensor) -> bool:
    """Chi-square over all ids that are not special, none of which may be missing."""
    counts = torch.bincount(words, minlength=NUM_WORDS)[NUM_SPECIAL:].double()
    degrees = NUM_WORDS - NUM_SPECIAL - 1
    chi_square = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    return bool((counts > 0).all()) and abs(chi_square - degrees) < 4 * (2 * degrees) ** 0.5


def test_random_words_are_drawn_alike_from_the_whole_vocabulary_but_special_tokens():
    tokens = packed([[60]] * 300, 64)
    seen, hidden = replace_tokens(TOY, 0.5, mask_ratio=0.0, random_ratio=1.0)(tokens, draws(300))
    drawn = seen.value[hidden_mask(hidden, 64)]
    assert drawn.min() >= NUM_SPECIAL
    assert is_uniform_over_words(drawn)
    negatives = random_words(TOY)(draws(300), 30)
    assert negatives.min() >= NUM_SPECIAL
    assert is_uniform_over_words(negatives.flatten())
    assert not is_uniform_over_words(drawn[drawn != 40])  # the control: one missing word is noticed


def words_of(tokens: Tokens) -> list[list[list[int]]]:
    """The positions of each word of each row, found by reading along the row."""
    found: list[list[list[int]]] = []
    for ids in tokens.value.tolist():
        found.append([])
        for position, number in enumerate(ids):
            continues = number >= NUM_SPECIAL and number % 3 == 0 and position > 0 and ids[position - 1] >= NUM_SPECIAL
            if continues:
                found[-1][-1].append(position)
            elif number >= NUM_SPECIAL:
                found[-1].append([position])
    return found


@settings(max_examples=50)
@given(rows_of_documents, ratios, st.integers(0, 5))
def test_whole_words_are_hidden_as_a_whole_and_never_more_than_the_share(rows, ratio, seed):
    tokens = packed(rows, 40, seed)
    _, hidden = replace_tokens(TOY, ratio, order=whole_words)(tokens, draws(len(rows), seed=seed))
    chosen = hidden_mask(hidden, 40)
    for row, words in enumerate(words_of(tokens)):
        assert all(len({bool(chosen[row, position]) for position in word}) == 1 for word in words)
        share = round(ratio * sum(rows[row]))
        assert int(chosen[row].sum()) <= share
        if words:
            assert int(chosen[row].sum()) > share - max(map(len, words))


def test_single_tokens_split_words():
    tokens = packed([[30]] * 20, 40)
    chosen = hidden_mask(replace_tokens(TOY, 0.3)(tokens, draws(20))[1], 40)
    parts = [{bool(chosen[row, p]) for p in word} for row, words in enumerate(words_of(tokens)) for word in words]
    assert any(len(part) == 2 for part in parts)


def first_span_lengths(order, vocabulary: ToyVocabulary, count: int) -> list[int]:
    """Lengths in words of the span that each row draws first, where it begins at least ten words before the end."""
    tokens = packed([[46]] * count, 48)
    found = candidates(tokens, vocabulary)
    is_first = order(found, draws(count)) * 48 < 1  # rank 0: covered by the first span
    lengths = []
    for row, words in enumerate(words_of(tokens) if vocabulary is TOY else [[[p] for p in range(1, 47)]] * count):
        covered = [number for number, word in enumerate(words) if is_first[row, word].all()]
        assert covered == list(range(covered[0], covered[-1] + 1)) if covered else True
        assert int(is_first[row].sum()) == sum(len(words[number]) for number in covered)  # whole words only
        if covered and covered[0] <= len(words) - 10:
            lengths.append(len(covered))
    return lengths


def is_truncated_geometric(lengths: list[int], probability: float = 0.2, longest: int = 10) -> bool:
    """Chi-square against P(l) ~ p (1 - p)^(l - 1), l = 1 .. 10."""
    weights = torch.tensor([(1 - probability) ** number for number in range(longest)], dtype=torch.float64)
    expected = weights / weights.sum() * len(lengths)
    counts = torch.bincount(torch.tensor(lengths), minlength=longest + 1)[1:].double()
    degrees = longest - 1
    return len(counts) == longest and ((counts - expected) ** 2 / expected).sum() < degrees + 4 * (2 * degrees) ** 0.5


@pytest.mark.parametrize("vocabulary", [TOY, WHOLE], ids=["words of many tokens", "words of one token"])
def test_span_lengths_in_words_are_spanberts(vocabulary):
    lengths = first_span_lengths(spans(), vocabulary, 1200)
    assert len(lengths) > 700
    assert is_truncated_geometric(lengths)


def test_other_span_lengths_are_told_apart():
    assert not is_truncated_geometric(first_span_lengths(spans(0.3), WHOLE, 800))
    assert not is_truncated_geometric(first_span_lengths(spans(0.2, 9), WHOLE, 800))


def crossings(tokens: Tokens, vocabulary: ToyVocabulary) -> int:
    """Spans of which the tokens lie on both sides of the middle of the row."""
    length = tokens.value.shape[1]
    rank = (spans()(candidates(tokens, vocabulary), draws(len(tokens.value))) * length).floor()
    rows = zip(rank[:, : length // 2].tolist(), rank[:, length // 2 :].tolist(), strict=True)
    return sum(len((set(left) & set(right)) - {length}) for left, right in rows)


def test_spans_do_not_cross_documents():
    assert crossings(packed([[10, 10]] * 100, 24), WHOLE) == 0
    assert crossings(packed([[22]] * 100, 24), WHOLE) > 50  # the control: inside one document they do


@pytest.mark.parametrize("order", [single_tokens, whole_words, spans()], ids=["token", "whole_word", "span"])
@settings(max_examples=25)
@given(order_of_rows=st.permutations(range(6)))
def test_masks_depend_neither_on_the_batch_nor_on_its_order(order, order_of_rows):
    tokens, draw = packed([[9, 7], [20], [3], [5, 5, 5], [], [30]], 36), draws(6)
    corrupt = replace_tokens(TOY, 0.3, order=order)
    seen, hidden = corrupt(tokens, draw)
    rows = torch.tensor(order_of_rows[:4])
    place = Place(tokens.place.position[rows], tokens.place.document[rows], tokens.place.grid)
    some, some_hidden = corrupt(Tokens(tokens.value[rows], place), Draw(0, draw.epoch[rows], draw.index[rows]))
    assert torch.equal(some.value, seen.value[rows])
    assert torch.equal(some_hidden.document, hidden.document[rows])
    assert torch.equal(some_hidden.position, hidden.position[rows])


def test_masks_keyed_by_the_place_in_the_batch_would_depend_on_it():
    tokens, corrupt = packed([[20]] * 6, 24), replace_tokens(TOY, 0.3)
    whole = hidden_mask(corrupt(tokens, draws(6))[1], 24)
    half = Tokens(tokens.value[3:], Place(tokens.place.position[3:], tokens.place.document[3:], (24,)))
    assert not torch.equal(hidden_mask(corrupt(half, draws(3))[1], 24), whole[3:])


def test_masks_are_drawn_anew_in_each_epoch_and_are_the_same_within_one():
    tokens, corrupt = packed([[20]] * 6, 24), replace_tokens(TOY, 0.3)
    first, again, next_epoch = (corrupt(tokens, draws(6, epoch=epoch))[1] for epoch in (0, 0, 1))
    assert torch.equal(first.position, again.position)
    assert not torch.equal(first.position, next_epoch.position)
