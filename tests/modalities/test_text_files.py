"""Claims about reading raw text: nothing lost, nothing invented, bounded memory, exact offsets."""

import io
import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmssl.errors import DataError
from mmssl.modalities import text_files
from mmssl.modalities.text_files import MAX_CHARACTERS, decoded_blocks, documents_in, lines, read_documents

UNITS = ["line", "paragraph", "file"]


def read(path: Path, content: bytes, unit: str = "line", invalid: str = "error") -> tuple[list[str], list[dict]]:
    """The documents of a file with this content, and what was reported."""
    path.write_bytes(content)
    reports: list[dict] = []
    return list(read_documents(path, unit, invalid, reports.append)), reports


def reference(content: bytes, unit: str, longest: int) -> list[str]:
    """The same rules, said plainly and in memory."""
    text = content.decode("utf-8-sig", "replace").replace("\0", "\ufffd").replace("\r\n", "\n").replace("\r", "\n")
    if unit == "line":
        documents = text.split("\n")
    elif unit == "file":
        documents = [text]
    else:
        documents, block = [], []
        for line in [*text.split("\n"), ""]:
            if line.strip():
                block.append(line)
            else:
                documents.append("\n".join(block))
                block = []
    found = []
    for document in documents:
        rest = document.strip()
        while len(rest) > longest:
            ends = [end for end in range(longest + 1) if rest[end].isspace()]
            end = ends[-1] if ends else longest
            found.append(rest[:end].strip())
            rest = rest[end:].strip()
        found.append(rest)
    return [document for document in found if document]


def damage(content: bytes) -> int:
    """Where bytes stop to be UTF-8, or -1."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return error.start
    return -1


PARTS = st.sampled_from(
    [b"a", b"bc", b" ", b"  ", b"\n", b"\r", b"\r\n", b"\t", b"\n \n", b"\0", b"\xff", b"\xc3", b"\xe2\x82", b"\x85"]
    + [sign.encode() for sign in ("é", "€", "😀", "\ufffd", "\ufeff", "\u2028", "\u00a0", "\x1c", "\x85")]
)


@given(
    content=st.lists(PARTS, max_size=40).map(b"".join),
    unit=st.sampled_from(UNITS),
    block=st.integers(1, 12),
    longest=st.sampled_from([5, 80]),
)
@settings(max_examples=600, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_documents_do_not_depend_on_the_size_of_blocks(monkeypatch, content, unit, block, longest):
    monkeypatch.setattr(text_files, "BLOCK_BYTES", block)
    monkeypatch.setattr(text_files, "MAX_CHARACTERS", longest)
    reports: list[dict] = []
    found = list(documents_in(io.BytesIO(content), "name", unit, "replace", reports.append))
    assert found == reference(content, unit, longest)
    first = min([offset for offset in [damage(content), content.find(b"\0")] if offset >= 0], default=0)
    replaced = (
        content.decode("utf-8", "replace").count("\ufffd") - content.count(b"\xef\xbf\xbd") + content.count(b"\0")
    )
    assert [(entry["offset"], entry["count"]) for entry in reports if entry["reason"] != "empty"] == (
        [(first, replaced)] if replaced else []
    )


def test_the_reference_notices_a_block_decoded_by_itself():
    content = "é€".encode()
    alone = "".join(content[i : i + 1].decode("utf-8", "replace") for i in range(len(content)))
    assert [alone] != reference(content, "line", 5) == ["é€"]


@given(content=st.binary(max_size=60), block=st.integers(1, 7))
@settings(max_examples=300, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused_with_the_exact_offset(monkeypatch, content, block):
    monkeypatch.setattr(text_files, "BLOCK_BYTES", block)
    bad = [offset for offset in [damage(content), content.find(b"\0")] if offset >= 0]
    documents = documents_in(io.BytesIO(content), "name", "line", "error", lambda entry: None)
    if bad:
        shown = f"byte {min(bad)} is not UTF-8 text (0x{content[min(bad)]:02x})"
        with pytest.raises(DataError, match=re.escape(shown)):
            list(documents)
    else:
        assert list(documents) == reference(content, "line", MAX_CHARACTERS)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends_of_every_system_give_the_same_documents(tmp_path, end):
    content = end.join([b"one", b"still one", b"", b"two", b" \t", b"three"])
    paragraphs, _ = read(tmp_path / "a.txt", content, "paragraph")
    assert paragraphs == ["one\nstill one", "two", "three"]
    assert read(tmp_path / "a.txt", content, "line")[0] == ["one", "still one", "two", "three"]
    assert read(tmp_path / "a.txt", content, "file")[0] == ["one\nstill one\n\ntwo\n \t\nthree"]


def test_crlf_on_a_block_border_is_one_line_end(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "BLOCK_BYTES", 4)
    assert read(tmp_path / "a.txt", b"abc\r\ndef", "paragraph")[0] == ["abc\ndef"]


def test_a_byte_order_mark_is_left_out_only_at_the_start(tmp_path):
    assert read(tmp_path / "a.txt", "\ufeffab\ufeffc".encode())[0] == ["ab\ufeffc"]


def test_offsets_count_the_byte_order_mark(tmp_path):
    with pytest.raises(DataError, match=r"a\.txt: byte 5 is not UTF-8 text \(0xff\)"):
        read(tmp_path / "a.txt", b"\xef\xbb\xbfab\xff")


def test_an_invalid_byte_is_refused_with_its_offset_and_the_way_out(tmp_path):
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.txt", b"good\nbad \xff byte\n")
    path = tmp_path / "a.txt"
    expected = f"{path}: byte 9 is not UTF-8 text (0xff); expected UTF-8, or set data.invalid_text=replace"
    assert str(caught.value) == expected
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("position", [-1, 0, 1])
def test_an_invalid_byte_on_a_block_border_has_its_exact_offset(tmp_path, position):
    offset = text_files.BLOCK_BYTES + position
    content = b"a" * offset + b"\xff" + b"b" * 10
    with pytest.raises(DataError, match=f"byte {offset} is"):
        read(tmp_path / "a.txt", content)
    found, reports = read(tmp_path / "a.txt", content, "line", "replace")
    assert "".join(found) == "a" * offset + "\ufffd" + "b" * 10
    assert reports == [{"path": str(tmp_path / "a.txt"), "offset": offset, "count": 1, "reason": "not UTF-8"}]


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_character_across_a_block_border_stays_whole(tmp_path, cut):
    content = b"a" * (text_files.BLOCK_BYTES - cut) + "😀".encode() + b" end"
    assert read(tmp_path / "a.txt", content)[0][-1].endswith("a😀 end")


def test_a_nul_byte_is_refused_or_replaced(tmp_path):
    with pytest.raises(DataError, match=r"byte 2 is not UTF-8 text \(0x00\)"):
        read(tmp_path / "a.txt", b"ab\0c")
    found, reports = read(tmp_path / "a.txt", b"ab\0c\0", "line", "replace")
    assert found == ["ab\ufffdc\ufffd"]
    assert reports == [{"path": str(tmp_path / "a.txt"), "offset": 2, "count": 2, "reason": "NUL byte"}]


def test_genuine_replacement_characters_are_not_counted(tmp_path):
    assert read(tmp_path / "a.txt", "a\ufffdb".encode(), "line", "replace") == (["a\ufffdb"], [])
    assert read(tmp_path / "a.txt", "a\ufffdb".encode() + b"\xff", "line", "replace")[1][0]["count"] == 1


def test_a_latin_1_file_is_refused_and_reported_once(tmp_path):
    content = "un caf\xe9 tr\xe8s noir\n".encode("latin-1")
    with pytest.raises(DataError, match=r"byte 6 is not UTF-8 text \(0xe9\)"):
        read(tmp_path / "a.txt", content)
    found, reports = read(tmp_path / "a.txt", content, "line", "replace")
    assert found == ["un caf\ufffd tr\ufffds noir"]
    assert [(entry["offset"], entry["count"]) for entry in reports] == [(6, 2)]


def test_a_binary_file_is_refused_at_its_first_byte(tmp_path):
    with pytest.raises(DataError, match=r"byte 0 is not UTF-8 text \(0x89\)"):
        read(tmp_path / "picture.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)))


def test_a_character_cut_off_by_the_end_of_the_file_is_damage(tmp_path):
    with pytest.raises(DataError, match=r"byte 1 is not UTF-8 text \(0xe2\)"):
        read(tmp_path / "a.txt", b"a\xe2\x82")


@pytest.mark.parametrize("content", [b"", b" \n\t\r\n ", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("unit", UNITS)
def test_a_file_without_text_has_no_documents_and_is_reported(tmp_path, content, unit):
    found, reports = read(tmp_path / "a.txt", content, unit)
    assert found == []
    assert reports == [{"path": str(tmp_path / "a.txt"), "offset": 0, "count": 0, "reason": "empty"}]


def test_what_was_replaced_is_reported_though_the_reader_stops_early(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\n" * 10)
    reports: list[dict] = []
    documents = read_documents(tmp_path / "a.txt", "line", "replace", reports.append)
    next(documents)
    documents.close()
    assert [entry["offset"] for entry in reports] == [0]


def test_a_long_document_is_cut_at_white_space_and_nothing_is_dropped(tmp_path):
    words = [f"word{i}" for i in range(40_000)]
    found, _ = read(tmp_path / "a.txt", " ".join(words).encode(), "line")
    assert " ".join(found).split() == words
    assert len(found) > 1
    assert max(map(len, found)) <= MAX_CHARACTERS
    assert min(map(len, found[:-1])) > MAX_CHARACTERS - 10


def test_a_word_longer_than_a_document_may_be_is_cut_and_kept(tmp_path):
    found, _ = read(tmp_path / "a.txt", b"short " + b"x" * (2 * MAX_CHARACTERS + 1))
    assert [len(document) for document in found] == [5, MAX_CHARACTERS, MAX_CHARACTERS, 1]


def test_lines_keep_their_ends_across_blocks():
    assert list(lines(iter(["a\nb", "c\n", "", "\nd"]))) == ["a\n", "bc\n", "\n", "d"]


def test_an_unreadable_path_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"gone\.txt cannot be read: No such file"):
        list(read_documents(tmp_path / "gone.txt", "line", "error", lambda entry: None))


def peak_bytes(path: Path, unit: str) -> tuple[int, int]:
    """Peak memory of reading a file, and the number of its characters that were yielded."""
    tracemalloc.start()
    count = sum(len(document) for document in read_documents(path, unit, "error", lambda entry: None))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, count


def single_line(path: Path, megabytes: int) -> Path:
    """A file of one line of words."""
    with path.open("wb") as stream:
        for _ in range(megabytes):
            stream.write(b"seven7 " * 142_857 + b"x")
    return path


@pytest.mark.parametrize("unit", UNITS)
def test_a_single_line_of_20_mb_is_read_in_bounded_memory(tmp_path, unit):
    peak, count = peak_bytes(single_line(tmp_path / "a.txt", 20), unit)
    assert peak < 8 * 2**20
    assert count > 0.999 * 20e6


def test_the_measure_of_memory_notices_a_whole_file(tmp_path):
    path = single_line(tmp_path / "a.txt", 20)
    tracemalloc.start()
    assert len(path.read_text()) == 20e6
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak > 8 * 2**20


@pytest.mark.slow
def test_a_single_line_of_200_mb_is_read_in_bounded_memory(tmp_path):
    peak, count = peak_bytes(single_line(tmp_path / "a.txt", 200), "line")
    assert peak < 8 * 2**20
    assert count > 0.999 * 200e6


def test_blocks_are_text_without_carriage_returns():
    blocks = decoded_blocks(io.BytesIO(b"a\r\nb\rc"), "name", "error", lambda entry: None)
    assert "".join(blocks) == "a\nb\nc"
