"""Claims about pairs for the next-sentence loss: nothing lost, half of them swapped, labels that say which."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmssl.modalities.sentence_pairs import paired

FIRST, LAST = 2, 3
LENGTH = 16
DOCUMENTS = st.lists(st.lists(st.integers(5, 40), min_size=1, max_size=50), max_size=20)


def parts(piece: np.ndarray) -> tuple[list[int], list[int], int]:
    """A, B and the label of one pair; its form is checked."""
    ids, label = piece.tolist()
    assert ids[0] == FIRST
    assert ids[-1] == LAST
    assert ids.count(LAST) == 2
    assert set(label[1:]) == {-1}
    end = ids.index(LAST)
    return ids[1:end], ids[end + 1 : -1], label[0]


def numbered(count: int, size: int = 8) -> list[list[int]]:
    """Documents whose tokens all say which document they are of, each too short to be cut."""
    return [[100 + number] * size for number in range(count)]


@given(DOCUMENTS, st.integers(0, 5))
def test_pairs_lose_nothing_and_say_nothing_twice(documents, seed):
    found = paired(documents, FIRST, LAST, LENGTH, seed)
    tokens = Counter(token for piece in found for part in parts(piece)[:2] for token in part)
    assert tokens == Counter(token for ids in documents for token in ids)


@given(DOCUMENTS, st.integers(0, 5))
def test_a_pair_fits_into_a_row(documents, seed):
    assert all(piece.shape[0] == 2 for piece in paired(documents, FIRST, LAST, LENGTH, seed))
    assert all(piece.shape[1] <= LENGTH for piece in paired(documents, FIRST, LAST, LENGTH, seed))


@given(st.integers(0, 40), st.integers(0, 20))
def test_labels_say_whether_b_is_of_the_same_document(count, seed):
    for piece in paired(numbered(count), FIRST, LAST, LENGTH, seed):
        a, b, label = parts(piece)
        assert label == int(set(a) != set(b))


def test_about_half_of_the_pairs_are_swapped():
    labels = [parts(piece)[2] for piece in paired(numbered(4000), FIRST, LAST, LENGTH, 0)]
    assert len(labels) == 4000
    # 2000 draws, each for two pieces: the standard deviation is 4000 * sqrt(0.25 / 2000) = 45
    assert abs(sum(labels) - 2000) < 4 * 45


def test_labels_that_ignored_the_swap_would_be_found():
    wrong = 0
    for piece in paired(numbered(100), FIRST, LAST, LENGTH, 0):
        a, b, _ = parts(piece)
        wrong += set(a) != set(b)  # what the label 0 for every pair would deny
    assert wrong > 20


def test_pairs_are_a_function_of_the_seed():
    one, two, other = (paired(numbered(50), FIRST, LAST, LENGTH, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_halves_of_a_piece_keep_their_order():
    (piece,) = paired([[10, 11, 12, 13, 14]], FIRST, LAST, LENGTH, 0)
    assert parts(piece) == ([10, 11], [12, 13, 14], 0)
