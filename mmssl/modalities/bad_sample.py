"""A sample that cannot be used."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mmssl.errors import MmsslError

Report = Callable[[dict], None]  # hears of each bad file: its path, and the reason


def unreported(entry: dict) -> None:
    """The report of a caller who keeps none, or has it already."""


class BadSample(Exception):
    """One file, or a window of one, that cannot be decoded; the text says why, in a few words.

    It never reaches a user: the reader records it in bad_samples.jsonl and takes another sample in its place.
    """


class Ended(BadSample):
    """A window that begins where nothing is left of its file: all that begin later are bad, too."""


@contextmanager
def damage() -> Iterator[None]:
    """Whatever a decoder raises within becomes a BadSample: no list of exceptions covers what damaged files lead to."""
    try:
        yield
    except (BadSample, MmsslError):  # a source that does not answer is no damage of a sample
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or next(iter(str(error).strip().splitlines()), "")
        raise BadSample(reason or type(error).__name__) from error
