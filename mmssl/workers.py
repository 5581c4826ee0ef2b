"""The processes that read samples: they end with the one that trains, and one that is lost ends the run."""

import atexit
import ctypes
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import active_children, resource_tracker
from multiprocessing.connection import wait as wait_for_end
from multiprocessing.process import BaseProcess

import numpy as np
from torch.utils.data import DataLoader

from mmssl.batch import Batch
from mmssl.errors import HangError, MmsslError


class Answered:
    """The batches of workers, of which `asked` names the samples; HangError, and no worker is left, where one of them
    died or does not answer.

    Signals to a whole group of processes are answered by the one that trains: workers that obeyed them would leave it
    without the batch of the step after which it stops. The loader's own timeout does not see a worker that stops after
    it has named a batch and before it has handed it over.
    """

    def __init__(self, loader: DataLoader, asked: Iterator[np.ndarray], hang_seconds: int) -> None:
        self.asked, self.hang_seconds = asked, hang_seconds
        before = {*active_children()}
        resource_tracker.ensure_running()  # it unblocks the signals when it starts
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})  # workers inherit it
        try:
            self.loader = iter(loader)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self.workers = {*active_children()} - before
        atexit.register(stop_workers, self.workers)  # one that obeys no signal would be waited for without end

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        index = next(self.asked)
        try:
            with at_most(self.hang_seconds):
                return next(self.loader)
        except MmsslError as error:  # PyTorch says first where it comes from
            line = str(error).strip().rpartition("\n")[2]
            raise type(error)(line.removeprefix(f"{type(error).__module__}.{type(error).__name__}: ")) from error
        except (RuntimeError, OSError, EOFError) as error:
            is_late = isinstance(error, Late)
            if not is_late and not wait_for_end([worker.sentinel for worker in self.workers], timeout=1):
                raise  # what a worker raised itself
            stop_workers(self.workers)
            reason = "a worker does not answer" if is_late else "a worker died"
            named = ", ".join(map(str, index[:8])) + (", ..." if len(index) > 8 else "")
            raise HangError(
                f"data.workers: {reason} ({error}), samples {named} were to come; expected all alive: see their lines"
            ) from error


class Late(TimeoutError):
    """Who is waited for does not answer."""


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Late where the block takes longer, wherever it waits; for the main thread."""

    def ring(number: int, frame: object) -> None:
        raise Late(f"in {seconds} seconds")

    handler = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 5)  # again, should a library swallow the first
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


def stop_workers(workers: Iterable[BaseProcess]) -> None:
    """End workers at once, even one that is stopped or asleep."""
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's raises an error for each that is killed
    for worker in workers:
        worker.kill()
        worker.join()
    signal.signal(signal.SIGCHLD, handler)


def die_with_parent(worker: int) -> None:
    """A worker ends with the process that it works for, however that ends; elsewhere than on Linux it may linger.

    It ends at once: PyTorch does not wait for the thread that hands its batches over, which the interpreter would
    unwind as it closes, and with it the whole process.
    """
    atexit.register(os._exit, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
