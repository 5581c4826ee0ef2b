import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmssl.errors import CheckpointError
from mmssl.folder import lock, write_synced

OWNER = """
import os, sys, time
from pathlib import Path
from mmssl.folder import lock
if "--keep-descriptor" in sys.argv:
    os.register_at_fork = lambda **hooks: None
with lock(Path(sys.argv[1])):
    worker = os.fork() if "--worker" in sys.argv else None
    if worker == 0:
        print(os.getpid(), flush=True)  # it runs, so what follows a fork is done
        time.sleep(60)
    if worker is None:
        print(worker, flush=True)
    sys.stdin.read()
"""


def start_owner(folder: Path, *flags: str) -> tuple[subprocess.Popen, str]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder), *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    return owner, owner.stdout.readline().strip()


def stop(owner: subprocess.Popen) -> None:
    if owner.poll() is None:
        owner.kill()
    owner.wait()
    for stream in (owner.stdin, owner.stdout):
        if stream is not None:
            stream.close()


def test_lock_creates_the_folder_and_names_its_owner(tmp_path):
    folder = tmp_path / "runs" / "first"
    with lock(folder):
        text = (folder / "LOCK").read_text()
        assert text.startswith(f"process {os.getpid()} on ")
        assert " since 20" in text
    assert [path.name for path in folder.iterdir()] == ["LOCK"]


def test_a_second_process_is_refused_within_a_second_and_told_the_owner(tmp_path):
    owner, _ = start_owner(tmp_path)
    try:
        start = time.monotonic()
        with pytest.raises(CheckpointError, match=f"in use by process {owner.pid} on ") as caught, lock(tmp_path):
            pass
        assert time.monotonic() - start < 1
        assert caught.value.exit_code == 4
        assert "\n" not in str(caught.value)
        assert owner.poll() is None
        assert f"process {owner.pid}" in (tmp_path / "LOCK").read_text()
    finally:
        stop(owner)


def test_one_process_cannot_take_the_same_folder_twice(tmp_path):
    with lock(tmp_path), pytest.raises(CheckpointError, match="in use by"), lock(tmp_path):
        pass


def test_lock_is_free_after_its_block_even_if_the_block_raises(tmp_path):
    with pytest.raises(ZeroDivisionError), lock(tmp_path):
        raise ZeroDivisionError
    with lock(tmp_path):
        pass


def test_lock_is_taken_over_after_its_owner_was_killed(tmp_path):
    owner, _ = start_owner(tmp_path)
    os.kill(owner.pid, signal.SIGKILL)
    stop(owner)
    assert f"process {owner.pid}" in (tmp_path / "LOCK").read_text()
    with lock(tmp_path):
        assert f"process {os.getpid()}" in (tmp_path / "LOCK").read_text()


@pytest.mark.parametrize("flags, is_free", [(["--worker"], True), (["--worker", "--keep-descriptor"], False)])
def test_a_worker_that_outlives_a_killed_owner_does_not_hold_the_lock(tmp_path, flags, is_free):
    owner, worker = start_owner(tmp_path, *flags)
    stop(owner)
    try:
        if is_free:
            with lock(tmp_path):
                pass
        else:
            with pytest.raises(CheckpointError, match="in use by"), lock(tmp_path):
                pass
    finally:
        os.kill(int(worker), signal.SIGKILL)


def test_a_folder_below_a_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="Not a directory") as caught, lock(tmp_path / "file" / "run"):
        pass
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("code, call", [(errno.EROFS, "rename"), (errno.ENOSPC, "fsync"), (errno.EACCES, "open")])
def test_a_folder_that_cannot_be_written_is_refused_before_the_block(tmp_path, monkeypatch, code, call):
    def refuse(*arguments, **options):
        raise OSError(code, os.strerror(code), str(tmp_path))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(CheckpointError, match=os.strerror(code)), lock(tmp_path):
        pytest.fail("the block ran")
    monkeypatch.undo()
    assert not list(tmp_path.glob(".probe-*"))


def test_write_synced_never_overwrites(tmp_path):
    write_synced(tmp_path / "file", [b"first"])
    with pytest.raises(FileExistsError):
        write_synced(tmp_path / "file", [b"second"])
    assert (tmp_path / "file").read_bytes() == b"first"
