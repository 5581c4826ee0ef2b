"""A disk as the power fails: what was asked of it, and every state in which that may leave it.

POSIX promises the bytes of a file once the file is synced, and the names in a folder once the folder is; until then
each change may have reached the disk or not, whatever came after it. A rename is one change.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

Event = tuple[Any, ...]
Tree = dict[str, bytes]  # path below the folder -> content of a file
ROOT = 0


class Disk:
    """Within it every change below a folder is written down as it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.events, self.number = folder, [], {folder: ROOT}
        self.content: dict[int, bytes] = {}
        self.patch = pytest.MonkeyPatch()

    def __enter__(self) -> "Disk":
        for name in ("rename", "replace", "unlink", "rmdir", "mkdir"):
            self.patch.setattr(os, name, self.noted(getattr(os, name), getattr(self, name)))
        self.patch.setattr(os, "fsync", self.fsync)  # of the real disk nothing is expected
        return self

    def __exit__(self, *error: object) -> None:
        self.patch.undo()

    def noted(self, call: Callable, note: Callable) -> Callable:
        """The call of `os`, written down once it has succeeded."""

        def calls(*paths: Any, dir_fd: int | None = None, **options: Any) -> None:
            self.look()
            call(*paths, **options) if dir_fd is None else call(*paths, dir_fd=dir_fd, **options)
            # rmtree names what it deletes by the folder's descriptor
            parent = self.folder if dir_fd is None else Path(os.readlink(f"/proc/self/fd/{dir_fd}"))
            note(*(parent / path for path in paths if isinstance(path, str | Path)))

        return calls

    def look(self) -> None:
        """Note the files that were written since."""
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file()):
            content = path.read_bytes()
            if path not in self.number:
                self.link(path)
            if self.content.get(self.number[path]) != content:
                self.content[self.number[path]] = content
                self.events.append(("write", self.number[path], content))

    def link(self, path: Path) -> None:
        """A new name."""
        number = self.number[path] = 1 + max(event[-1] for event in [("", 0), *self.events] if event[0] in ("", "link"))
        self.events.append(("link", self.number[path.parent], path.name, number))

    mkdir = link

    def rename(self, old: Path, new: Path) -> None:
        """Another name for a file, or for a folder and all in it."""
        self.events.append(("move", self.number[old.parent], old.name, self.number[new.parent], new.name,
                            self.number[old]))  # fmt: skip
        inside = {path: number for path, number in self.number.items() if path.is_relative_to(old)}
        for path, number in inside.items():
            del self.number[path]
            self.number[new / path.relative_to(old)] = number

    replace = rename

    def unlink(self, path: Path) -> None:
        """A name less."""
        self.events.append(("unlink", self.number[path.parent], path.name))
        del self.number[path]

    rmdir = unlink

    def fsync(self, descriptor: int) -> None:
        """What lies behind a descriptor is on the disk now."""
        self.look()
        self.events.append(("sync", self.number[Path(os.readlink(f"/proc/self/fd/{descriptor}"))]))

    def say(self, *what: Any) -> None:
        """A remark between the events."""
        self.look()
        self.events.append(("said", *what))


def states(events: list[Event], choices: int, random: Random) -> Iterator[Tree]:
    """What may be on the disk after these events: nothing that was not synced, all of it, and random choices."""
    kinds: list[Callable[[], bool]] = [lambda: False, lambda: True]
    for kept in (*kinds, *[lambda: random.random() < 0.5] * choices):
        yield state(events, kept, random)


def state(events: list[Event], is_kept: Callable[[], bool], random: Random) -> Tree:
    """One of them."""
    synced: dict[int, bytes] = {}
    newest: dict[int, bytes] = {}
    names: dict[int, dict[str, int]] = {ROOT: {}}
    waiting: list[Event] = []
    for event in events:
        kind, number = event[:2]
        if kind == "write":
            newest[number] = event[2]
        elif kind == "sync" and number in newest:
            synced[number] = newest[number]
        elif kind == "sync":
            for one in [one for one in waiting if number in folders(one)]:
                change(names, one)
                waiting.remove(one)
        elif kind != "said":
            waiting.append(event)
    for one in waiting:
        if is_kept():
            change(names, one)
    held = {number: synced[number] if number in synced and synced[number] == content else torn(content, is_kept, random)
            for number, content in newest.items()}  # fmt: skip
    return dict(files(names, held, ROOT, ""))


def folders(event: Event) -> tuple[int, ...]:
    """Those whose names an event changes."""
    return (event[1], event[3]) if event[0] == "move" else (event[1],)


def change(names: dict[int, dict[str, int]], event: Event) -> None:
    """The event happens to the names."""
    if event[0] == "unlink":
        names.setdefault(event[1], {}).pop(event[2], None)
        return
    if event[0] == "move":
        names.setdefault(event[1], {}).pop(event[2], None)
    names.setdefault(event[-3], {})[event[-2]] = event[-1]


def torn(content: bytes, is_kept: Callable[[], bool], random: Random) -> bytes:
    """A file whose bytes were not synced: whole, cut off, or of zeros."""
    if is_kept():
        return content
    return random.choice([b"", content[: random.randrange(len(content) + 1)], bytes(len(content))])


def files(names: dict[int, dict[str, int]], held: dict[int, bytes], folder: int, path: str) -> Iterator[tuple]:
    """(path, content) of all files below a folder; of one without files the path and no content."""
    for name, number in names.get(folder, {}).items():
        if number in held:
            yield f"{path}{name}", held[number]
        else:
            yield f"{path}{name}/", b""
            yield from files(names, held, number, f"{path}{name}/")


def put(tree: Tree, folder: Path) -> None:
    """The tree as real files."""
    folder.mkdir()
    for path, content in tree.items():
        if path.endswith("/"):
            (folder / path).mkdir(parents=True, exist_ok=True)
        else:
            (folder / path).write_bytes(content)
