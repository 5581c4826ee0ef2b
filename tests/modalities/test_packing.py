"""Claims about packing: nothing dropped, rows nearly full, finished files used again."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmssl.modalities import packing
from mmssl.modalities.packing import best_fit, pack, pieces, write_rows

FIRST, LAST, PAD, UNKNOWN = 2, 3, 0, 1
DOCUMENTS = st.lists(st.lists(st.integers(5, 40), min_size=1, max_size=60), max_size=25)
FILL = np.array([PAD], dtype=np.int32)


def naive_best_fit(lengths: list[int], capacity: int) -> list[int]:
    """The space left in each row, best-fit decreasing said plainly."""
    spaces: list[int] = []
    for size in sorted(lengths, reverse=True):
        fitting = [row for row, space in enumerate(spaces) if space >= size]
        if fitting:
            spaces[min(fitting, key=lambda row: spaces[row])] -= size
        else:
            spaces.append(capacity - size)
    return spaces


def bodies(rows: np.ndarray) -> list[tuple[int, ...]]:
    """The documents of rows (R, length), without their first and last tokens."""
    found = []
    for row in rows.tolist():
        body: list[int] | None = None
        for token in row:
            if token == FIRST:
                assert body is None
                body = []
            elif token == LAST:
                assert body is not None
                found.append(tuple(body))
                body = None
            elif body is not None:
                body.append(token)
            else:
                assert token == PAD
        assert body is None
    return found


@given(st.lists(st.integers(1, 32), max_size=60))
def test_best_fit_leaves_what_a_naive_best_fit_leaves(lengths):
    rows = best_fit(lengths, 32)
    spaces = [32 - sum(lengths[piece] for piece in row) for row in rows]
    assert sorted(spaces) == sorted(naive_best_fit(lengths, 32))
    assert min(spaces, default=0) >= 0
    assert sorted(piece for row in rows for piece in row) == list(range(len(lengths)))


def test_best_fit_prefers_the_fullest_row():
    # 9 and 6 open rows; 4 fits only beside 6, which is then full; first fit would do no better here,
    assert best_fit([9, 6, 4, 1], 10) == [[0, 3], [1, 2]]
    # but of 5 and 7 the 3 goes to the 7
    assert best_fit([7, 5, 3], 10) == [[0, 2], [1]]


@given(st.lists(st.integers(5, 40), min_size=1, max_size=100), st.integers(3, 20))
def test_a_document_is_the_sum_of_its_pieces(ids, length):
    found = list(pieces(ids, FIRST, LAST, length))
    assert all(piece.shape[0] == 1 and piece.shape[1] <= length for piece in found)
    assert all(piece[0, 0] == FIRST and piece[0, -1] == LAST for piece in found)
    assert [token for piece in found for token in piece[0, 1:-1].tolist()] == ids
    assert all(piece.shape[1] == length for piece in found[:-1])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(DOCUMENTS, st.integers(8, 30), st.integers(1, 40))
def test_packing_drops_nothing_and_says_nothing_twice(tmp_path, monkeypatch, documents, length, window):
    monkeypatch.setattr(packing, "WINDOW", window)
    path = next(tmp_path / f"{number}.bin" for number in range(1000) if not (tmp_path / f"{number}.json").exists())
    cut = [piece for ids in documents for piece in pieces(ids, FIRST, LAST, length)]
    rows = write_rows(iter(cut), path, length, FILL, UNKNOWN)
    assert rows.values.shape[1:] == (1, length)
    assert Counter(bodies(rows.values[:, 0])) == Counter(tuple(piece[0, 1:-1].tolist()) for piece in cut)
    assert rows.tokens == sum(piece.shape[1] for piece in cut) == int((rows.values != PAD).sum())


@pytest.mark.parametrize("length", [128, 512])
@pytest.mark.parametrize("mean", [2.5, 4.0, 6.0])
def test_mixed_lengths_fill_the_rows(length, mean, tmp_path):
    lengths = np.random.default_rng(0).lognormal(mean, 0.8, 5000).astype(int).clip(min=1)
    stream = [piece for size in lengths for piece in pieces([7] * int(size), FIRST, LAST, length)]
    rows = write_rows(iter(stream), tmp_path / "rows.bin", length, FILL, UNKNOWN)
    assert rows.efficiency >= 0.97
    assert rows.efficiency == float((rows.values != PAD).mean())
    # the control: one piece a row, as a padded batch of lines would be
    assert sum(piece.shape[1] for piece in stream) / (len(stream) * length) < 0.97


def test_channels_stay_side_by_side():
    window = [np.array([[2, 9, 3], [1, -1, -1]]), np.array([[2, 8, 8, 3], [0, -1, -1, -1]])]
    rows = pack(window, 8, np.array([PAD, -1], dtype=np.int32))
    assert rows.tolist() == [[[2, 8, 8, 3, 2, 9, 3, PAD], [0, -1, -1, -1, 1, -1, -1, -1]]]


def test_unknown_tokens_are_counted(tmp_path):
    stream = [np.array([[FIRST, UNKNOWN, 9, UNKNOWN, LAST]], dtype=np.int32)]
    assert write_rows(stream, tmp_path / "rows.bin", 8, FILL, UNKNOWN).unknown == 2


def test_no_documents_are_no_rows(tmp_path):
    rows = write_rows([], tmp_path / "rows.bin", 8, FILL, UNKNOWN)
    assert rows.values.shape == (0, 1, 8)
    assert rows.efficiency == 0


def one_document(token: int) -> list[np.ndarray]:
    """A stream of one piece."""
    return list(pieces([token] * 3, FIRST, LAST, 8))


def test_a_finished_file_is_used_again(tmp_path):
    path = tmp_path / "deep" / "rows.bin"
    write_rows(one_document(7), path, 8, FILL, UNKNOWN)
    written = path.stat().st_mtime_ns

    def unread():
        raise AssertionError("the stream of a finished file was read")
        yield

    again = write_rows(unread(), path, 8, FILL, UNKNOWN)
    assert bodies(again.values[:, 0]) == [(7, 7, 7)]
    assert (again.tokens, path.stat().st_mtime_ns) == (5, written)
    assert sorted(file.name for file in path.parent.iterdir()) == ["rows.bin", "rows.json"]


def test_an_unfinished_file_is_written_anew(tmp_path):
    path = tmp_path / "rows.bin"

    def breaks():
        yield from one_document(7)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_rows(breaks(), path, 8, FILL, UNKNOWN)
    assert not path.exists()
    path.write_bytes(b"\0" * 64)  # moved into place, but its note was never written
    rows = write_rows(one_document(9), path, 8, FILL, UNKNOWN)
    assert bodies(rows.values[:, 0]) == [(9, 9, 9)]
    assert json.loads(Path(path.with_suffix(".json")).read_text())["rows"] == 1
