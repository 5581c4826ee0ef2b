"""Reading from afar: a fault of the network is tried again, a few times, and then named."""

import random
from collections.abc import Callable, Iterator
from time import sleep
from typing import TypeVar

from mmssl.errors import DataError

TRIES = 5
WAIT_SECONDS = 0.5  # before the second try; twice as long before each other, and up to twice that by chance
LIBRARIES = {"aiohttp", "httpx", "httpcore", "requests", "urllib3", "fsspec", "botocore"}  # whose errors may pass
LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
CHANCE = random.SystemRandom()  # of waits alone

T = TypeVar("T")


def may_pass(error: Exception) -> bool:
    """Whether another try may go well."""
    is_far = isinstance(error, OSError) or type(error).__module__.partition(".")[0] in LIBRARIES
    return is_far and not isinstance(error, LASTING)


def wait(failures: int) -> None:
    """The time before another try after so many that failed."""
    sleep(WAIT_SECONDS * 2 ** (failures - 1) * CHANCE.uniform(1, 2))


def given_up(name: str, error: Exception) -> DataError:
    """The error where no try went well."""
    said = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return DataError(f"{name} cannot be read: {said} ({TRIES} tries); expected a source that answers")


def tried(action: Callable[[], T], name: str) -> T:
    """What an action answers, at one of TRIES tries; DataError, exit code 3, where all fail."""
    for failures in range(1, TRIES + 1):
        try:
            return action()
        except Exception as error:
            if not may_pass(error):
                raise
            if failures == TRIES:
                raise given_up(name, error) from error
        wait(failures)
    raise AssertionError


def resumed(opened: Callable[[], Iterator[T]], name: str) -> Iterator[T]:
    """The rows of a stream that always has the same ones, opened again behind the last one where it breaks.

    DataError after TRIES faults without a row between them.
    """
    count, failures = 0, 0
    while True:
        try:
            for number, row in enumerate(opened()):
                if number < count:
                    continue
                count, failures = number + 1, 0
                yield row
            return
        except Exception as error:
            if not may_pass(error):
                raise
            failures += 1
            if failures == TRIES:
                raise given_up(name, error) from error
        wait(failures)
