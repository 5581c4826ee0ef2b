"""What a run does when it is asked to end: SIGTERM of a scheduler, Ctrl-C of a person."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from mmssl.errors import Preempted

Handler = Callable[[int, FrameType | None], object]
NUMBERS = (signal.SIGTERM, signal.SIGINT)


class answered:
    """Within it `handler` answers the signals; afterwards who did before."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler

    def __enter__(self) -> None:
        self.before = {number: signal.signal(number, self.handler) for number in NUMBERS}

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


class asked_to_stop(answered):
    """Within it the signals only set `asked`; the loop answers at the next step."""

    def __init__(self) -> None:
        super().__init__(self.note)
        self.asked = False

    def __enter__(self) -> "asked_to_stop":
        super().__enter__()
        return self

    def note(self, number: int, frame: FrameType | None) -> None:
        """Remember the wish; say so once."""
        if not self.asked and is_main():
            print("stopping after this step ...", file=sys.stderr, flush=True)
        self.asked = True


def stop_at_once(number: int, frame: FrameType | None) -> None:
    """Before the loop and after it there is nothing to save."""
    if is_main():
        print("mmssl: stopped outside of training; the same command resumes", file=sys.stderr, flush=True)
    sys.exit(Preempted.exit_code)


def is_main() -> bool:
    """Whether this process speaks for all."""
    return int(os.environ.get("RANK", 0)) == 0
