"""What an attempt to read a hostile file does, watched from outside of its process: what it runs, writes, opens,
takes and answers.
"""

import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

SECONDS = 10.0
MEGABYTES = 512.0
SPARE_BYTES = 3 * 2**30  # more than which an attempt cannot even reserve, for the sake of its machine
PATIENCE = 15  # seconds on the clock for each on a core, on a machine with other work
RUNS = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "pickle.find_class", "pty.spawn")
WRITES = ("os.rename", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.remove", "os.rmdir", "os.truncate")
CONNECTS = ("socket.connect", "socket.getaddrinfo", "urllib.Request")


class Measured(NamedTuple):
    """An attempt: what it answered, and what it did besides."""

    said: str  # "read", "refused: ...", "fault: ..." or "killed ..."
    seconds: float  # on a core, whatever else the machine does
    megabytes: float  # of memory above those at its beginning
    runs: list[str]  # events of code that is run
    outside: list[str]  # what was written outside of its run folder
    connections: list[str]

    def faults(self) -> list[str]:
        """What an attempt must not do, in words; none of a good one."""
        found = [] if self.said == "read" or self.said.startswith("refused: ") else [self.said]
        found += [f"{self.seconds:.1f} s"] if self.seconds > SECONDS else []
        found += [f"{self.megabytes:.0f} MiB"] if self.megabytes > MEGABYTES else []
        found += [f"ran {each}" for each in self.runs]
        found += [f"wrote {each}" for each in self.outside]
        return found + [f"connected {each}" for each in self.connections]


@contextmanager
def listening() -> Iterator[socket.socket]:
    """A server that nobody may talk to."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.setblocking(False)
        yield server


def measured(
    attempt: Callable[[], None], root: Path, run: Path, server: socket.socket, seconds: int = round(2 * SECONDS)
) -> Measured:
    """What an attempt does in a process of its own, which may write below `run` only; it is killed in the end.

    `attempt` raises what refuses; `root` holds `run` and whatever else might be written to.
    """
    before = listed(root, run)
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reader)
        child(attempt, run, writer, seconds)
    os.close(writer)
    killed = not answered(reader, time.monotonic() + PATIENCE * seconds)
    if killed:
        os.kill(process, signal.SIGKILL)
    with os.fdopen(reader, "rb") as stream:
        lines = stream.read().decode(errors="replace").splitlines()
    _, status, usage = os.wait4(process, 0)
    took = usage.ru_utime + usage.ru_stime
    events = [line.partition(" ") for line in lines]
    told = {kind: [rest for each, _, rest in events if each == kind] for kind in ("runs", "writes", "connects", "said")}
    peak = [float(rest) for each, _, rest in events if each == "megabytes"]
    after = listed(root, run)
    outside = [str(path) for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
    connections = [*told["connects"], *accepted(server)]
    said = told["said"][-1] if told["said"] and not killed else f"killed by signal {os.WTERMSIG(status)}"
    return Measured(said, took, peak[-1] if peak else 0.0, told["runs"], [*told["writes"], *outside], connections)


def answered(reader: int, deadline: float) -> bool:
    """Whether the other end of a pipe is closed in time; nothing is read, for a pipe holds all that is told."""
    poll = select.poll()
    poll.register(reader, select.POLLHUP)
    return bool(poll.poll(max(1.0, 1000 * (deadline - time.monotonic()))))


def listed(root: Path, run: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of change of all files and folders outside of a run folder."""
    found = (path for path in [root.parent, *root.rglob("*")] if path != run and run not in path.parents)
    return {path: (about.st_size if path.is_file() else 0, about.st_mtime_ns) for path in found
            for about in [path.lstat()] if path not in (root, root.parent, run.parent)}  # fmt: skip


def accepted(server: socket.socket) -> list[str]:
    """Who has talked to the server since it was asked last."""
    found = []
    while True:
        try:
            connection, _ = server.accept()
        except BlockingIOError:
            return found
        connection.close()
        found.append("to the server")


def child(attempt: Callable[[], None], run: Path, writer: int, seconds: int) -> None:
    """The process of an attempt, killed after so many seconds on a core; never returns."""
    from mmssl.errors import MmsslError
    from mmssl.modalities.bad_sample import BadSample

    left = [100]  # lines that are sure to fit into the pipe

    def tell(kind: str, text: object = "") -> None:
        left[0] -= 1
        if left[0] > 0 or kind in ("said", "megabytes"):
            line = ascii(str(text)[:300])[1:-1]
            os.write(writer, f"{kind} {line}\n".encode())

    os.chdir(run)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    most = kilobytes("VmSize") * 1024 + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    sys.addaudithook(Watch(run, tell))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    begun = kilobytes("VmRSS")
    said = "read"
    try:
        attempt()
    except (MmsslError, BadSample) as error:
        said = f"refused: {error}"
        if "\n" in str(error).strip():
            said = f"fault: several lines: {error!r}"
    except BaseException as error:
        said = f"fault: {type(error).__name__}: {error}"
    tell("megabytes", (kilobytes("VmHWM") - begun) / 1024)
    tell("said", said)
    os._exit(0)


class Watch:
    """Hears what Python is asked to do and tells what no reader of data has to."""

    def __init__(self, run: Path, tell: Callable[..., None]) -> None:
        self.run, self.tell, self.is_telling = str(run), tell, False

    def __call__(self, event: str, arguments: tuple) -> None:
        if self.is_telling:
            return
        self.is_telling = True
        if event in RUNS:
            self.tell("runs", f"{event} {arguments}")
        elif event in CONNECTS:
            self.tell("connects", f"{event} {arguments[1:]}")
        elif event == "open" and is_write(arguments) and not self.is_allowed(arguments[0]):
            self.tell("writes", arguments[0])
        elif event in WRITES and not self.is_allowed(arguments[0]):
            self.tell("writes", f"{event} {arguments[0]}")
        self.is_telling = False

    def is_allowed(self, path: object) -> bool:
        """Whether a path lies in the run folder, or in none."""
        if not isinstance(path, str | bytes | os.PathLike):
            return True
        place = os.path.abspath(os.fsdecode(path))
        return place == self.run or place.startswith((f"{self.run}/", "/dev/", "/proc/"))


def is_write(arguments: tuple) -> bool:
    """Whether a file is opened to be written, as its mode or its flags say."""
    _, mode, flags = arguments
    if isinstance(mode, str):
        return any(sign in mode for sign in "wax+")
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def kilobytes(name: str) -> int:
    """An entry on this process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
