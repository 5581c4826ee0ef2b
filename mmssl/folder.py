"""The run folder: one process owns it at a time, and what is written into it reaches the disk."""

import fcntl
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from mmssl.errors import CheckpointError


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Owns the run folder, created if missing, until the block ends or the process dies, however it dies.

    Raises CheckpointError where the folder cannot be written or where another process owns it; never waits.
    """
    try:
        probe(folder)
        held = [acquire(folder / "LOCK")]
    except OSError as error:
        raise CheckpointError(
            f"run folder {folder}: {error.strerror} ({error.filename}); expected a folder that can be written"
        ) from error

    def release() -> None:
        while held:
            os.close(held.pop())

    # A forked worker inherits the descriptor; if it kept it, the lock would outlive a killed owner.
    os.register_at_fork(after_in_child=release)
    try:
        yield
    finally:
        release()


def probe(folder: Path) -> None:
    """Creates the folder and does in it once what a checkpoint will do: write, sync, rename; raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f".probe-{secrets.token_hex(4)}"
    written, renamed = folder / name, folder / f"{name}-renamed"
    try:
        write_synced(written, [b"probe"])
        os.rename(written, renamed)
        sync_directory(folder)
    finally:
        written.unlink(missing_ok=True)
        renamed.unlink(missing_ok=True)


def acquire(path: Path) -> int:
    """The descriptor of the locked file, in which the owner's process, host and start are written."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()} since {started}\n".encode())
    except BlockingIOError:
        owner = os.read(descriptor, 1000).decode(errors="replace").strip() or "another process"
        os.close(descriptor)
        raise CheckpointError(
            f"run folder {path.parent}: in use by {owner}; expected a folder that no other run writes to"
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise OSError(error.errno, error.strerror, str(path)) from error
    return descriptor


def write_synced(path: Path, chunks: list[bytes] | Iterator[bytes]) -> None:
    """Writes a new file and returns when its bytes are on the disk; the file must not exist yet."""
    with open(path, "xb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def write_whole(path: Path, content: bytes) -> None:
    """A file, whole or not at all, in a folder that is made if it is missing; CheckpointError where it cannot be
    written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}; expected a file that can be written") from error


def sync_directory(path: Path) -> None:
    """Returns when the names in a directory (created, renamed, removed) are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
