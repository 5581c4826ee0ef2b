"""Documents of any length become rows of one length: long ones are split, short ones packed by best fit; nothing is
dropped.

Best-fit decreasing (Johnson 1974) within a window of documents, so that memory stays bounded.
"""

import json
import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

WINDOW = 50_000  # pieces that are packed together


class Rows(NamedTuple):
    """Memory-mapped rows (count, channels, length) of int32 and what they hold."""

    values: np.ndarray
    tokens: int  # without padding, special tokens included
    unknown: int
    sha256: str  # of the file's bytes

    @property
    def efficiency(self) -> float:
        """Share of the row slots that hold a token."""
        return self.tokens / max(1, self.values.shape[0] * self.values.shape[-1])


def pieces(ids: list[int], first: int, last: int, length: int) -> Iterator[np.ndarray]:
    """A document as (1, n) arrays of at most `length` tokens, each between its own first and last token."""
    body = length - 2
    for start in range(0, len(ids), body):
        yield np.array([[first, *ids[start : start + body], last]], dtype=np.int32)


def best_fit(lengths: list[int], capacity: int) -> list[list[int]]:
    """Which pieces share a row: each, longest first, goes to the fullest row that still takes it."""
    by_space: list[list[int]] = [[] for _ in range(capacity + 1)]  # rows with so much space left
    spaces = 0  # bit k: some row has k slots left
    rows: list[list[int]] = []
    for piece in sorted(range(len(lengths)), key=lambda number: (-lengths[number], number)):
        size = lengths[piece]
        fitting = spaces >> size
        if fitting:
            space = size + ((fitting & -fitting).bit_length() - 1)
            row = by_space[space].pop()
            if not by_space[space]:
                spaces &= ~(1 << space)
            rows[row].append(piece)
        else:
            space, row = capacity, len(rows)
            rows.append([piece])
        by_space[space - size].append(row)
        spaces |= 1 << (space - size)
    return rows


def pack(window: list[np.ndarray], length: int, fill: np.ndarray) -> np.ndarray:
    """Pieces (C, n) -> rows (R, C, length), padded with `fill` (C,)."""
    plan = best_fit([piece.shape[1] for piece in window], length)
    rows = np.repeat(np.repeat(fill[None, :, None], length, 2), len(plan), 0)
    for row, members in zip(rows, plan, strict=True):
        joined = np.concatenate([window[member] for member in members], axis=1)
        row[:, : joined.shape[1]] = joined
    return rows


def write_rows(stream: Iterable[np.ndarray], path: Path, length: int, fill: np.ndarray, unknown: int) -> Rows:
    """Pack a stream of pieces (C, n) into the file `path`; a finished file is used again."""
    note = path.with_suffix(".json")
    if not note.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        digest = sha256()
        with temporary.open("wb") as file:
            counts: dict[str, Any] = {"rows": 0, "tokens": 0, "unknown": 0}
            for window in windows(stream):
                rows = pack(window, length, fill)
                content = np.ascontiguousarray(rows, dtype=np.int32).tobytes()
                digest.update(content)
                file.write(content)
                counts["rows"] += len(rows)
                counts["tokens"] += sum(piece.shape[1] for piece in window)
                counts["unknown"] += sum(int((piece[0] == unknown).sum()) for piece in window)
        temporary.replace(path)
        # the note comes last: a file without one is unfinished
        temporary.write_text(json.dumps(counts | {"sha256": digest.hexdigest()}))
        temporary.replace(note)
    counts = json.loads(note.read_text())
    shape = (counts["rows"], len(fill), length)
    values = np.memmap(path, dtype=np.int32, mode="r", shape=shape) if counts["rows"] else np.zeros(shape, np.int32)
    return Rows(values, counts["tokens"], counts["unknown"], counts["sha256"])


def windows(stream: Iterable[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """The pieces in lists of at most WINDOW."""
    pieces = iter(stream)
    while window := list(islice(pieces, WINDOW)):
        yield window
