"""Pairs of text for BERT's next-sentence loss (Devlin et al. 2018, arXiv:1810.04805, section 3.1)."""

import numpy as np
import torch

from mmssl.random import Draw, permutation


def paired(documents: list[list[int]], first: int, last: int, length: int, seed: int) -> list[np.ndarray]:
    """Pieces (2, n): ids of `[CLS] A [SEP] B [SEP]`, and at [CLS] whether B is A's own (0) or another's (1), else -1.

    Each document is cut into pieces and each piece into halves; for about half of the pieces, two of them exchange
    their second halves, so nothing is dropped and nothing said twice.
    """
    body = length - 3
    cut = [ids[start : start + body] for ids in documents for start in range(0, len(ids), body)]
    if not cut:
        return []
    cut = [cut[number] for number in permutation(seed, 0, len(cut), "pairs")]
    halves = [(ids[: len(ids) // 2], ids[len(ids) // 2 :]) for ids in cut]
    number = torch.arange(len(cut))
    swaps = (Draw(seed, torch.zeros_like(number), number).uniform("swap") < 0.5)[: len(cut) // 2]
    pieces = [piece(a, b, first, last, 0) for a, b in halves[2 * len(swaps) :]]
    for (a, b), (c, d), swap in zip(halves[::2], halves[1::2], swaps.tolist(), strict=False):
        other = int(swap)
        pieces += [piece(a, d if other else b, first, last, other), piece(c, b if other else d, first, last, other)]
    return pieces


def piece(a: list[int], b: list[int], first: int, last: int, other: int) -> np.ndarray:
    """One pair as (2, n)."""
    ids = [first, *a, last, *b, last]
    return np.array([ids, [other] + [-1] * (len(ids) - 1)], dtype=np.int32)
