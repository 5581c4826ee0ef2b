"""Claims about noise: tokens dropped, replaced and shuffled in their shares, none further than the distance."""

import pytest
import torch
from packed_rows import (
    FIRST,
    LAST,
    MASK,
    NUM_SPECIAL,
    NUM_WORDS,
    WHOLE,
    draws,
    hidden_mask,
    packed,
    within_four_sigma,
)

from mmssl.corruption import denoise_tokens
from mmssl.tokens import Place, Tokens


def shuffle_only(distance: int, ratio: float = 0.6):
    """Noise that only shuffles."""
    return denoise_tokens(
        WHOLE, drop_ratio=0.0, replace_ratio=0.0, shuffle_ratio=ratio, keep_ratio=0.0, distance=distance
    )


def displacements(distance: int) -> list[int]:
    """How far each shuffled token moved, counted in shuffled places of its own document."""
    ids = (torch.arange(48) + NUM_SPECIAL).repeat(60, 1)  # all different, so each token can be followed
    ids[:, [0, 24]], ids[:, [23, 47]] = FIRST, LAST
    document = (torch.arange(48) // 24).repeat(60, 1)
    tokens = Tokens(ids, Place(torch.arange(48).repeat(60, 1), document, (48,)))
    seen, hidden = shuffle_only(distance)(tokens, draws(60))
    moves = []
    for row in range(60):
        for number in range(2):
            places = hidden.position[row][hidden.document[row] == number]
            before, after = ids[row, places].tolist(), seen.value[row, places].tolist()
            assert sorted(before) == sorted(after)  # nothing lost, nothing said twice, nothing from another document
            moves += [abs(after.index(token) - place) for place, token in enumerate(before)]
    return moves


@pytest.mark.parametrize("distance", [1, 2, 3])
def test_shuffled_tokens_move_at_most_the_distance_and_do_reach_it(distance):
    assert max(displacements(distance)) == distance


def test_a_larger_distance_breaks_the_bound_of_a_smaller_one():
    assert max(displacements(8)) > 3


def test_noise_asks_for_what_it_drops_replaces_shuffles_and_keeps_in_their_shares():
    tokens = packed([[60]] * 400, 64)
    corrupt = denoise_tokens(WHOLE, drop_ratio=0.2, replace_ratio=0.1, shuffle_ratio=0.0, keep_ratio=0.1, distance=3)
    seen, hidden = corrupt(tokens, draws(400))
    chosen = hidden_mask(hidden, 64)
    now, before = seen.value[chosen], tokens.value[chosen]
    assert len(now) == 400 * round(0.4 * 60)
    same = 0.25 / (NUM_WORDS - NUM_SPECIAL)
    assert within_four_sigma(int((now == MASK).sum()), len(now), 0.5)
    assert within_four_sigma(int((now == before).sum()), len(now), 0.25 + same)
    assert not within_four_sigma(int((now == MASK).sum()), len(now), 0.45)
    assert now[now != MASK].min() >= NUM_SPECIAL
