"""Texts that attack whoever parses them: YAML, tables and lines without an end."""

from collections.abc import Callable
from pathlib import Path

NEEDED = "task: image_pretraining\nrun: run\nmethod: {name: mae}\nimage: {size: 16}\ndata: {heldout: 0.0}\n"


def text(name: str, content: str | bytes) -> Callable[[Path], Path]:
    """A file of this content, in which {} is the folder."""

    def make(place: Path) -> Path:
        data = content.replace("{}", str(place)).encode() if isinstance(content, str) else content
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
        return place / name

    return make


YAML = {
    "an object": "a: !!python/object/apply:os.system ['touch {}/sentinel']\n",
    "a module": "a: !!python/module:evil\n",
    "a tag": "a: !include /etc/passwd\n",
    "anchors": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "a billion": "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
    "a key twice": "train:\n  steps: 1\n  steps: 2\n",
    "a merge": "train: {<<: {steps: 1}}\n",
    "deep lists": "a: " + "[" * 100_000,
    "deep maps": "a: " + "{a: " * 20_000,
    "another target": "train: {_target_: os.system}\n",
    "a megabyte": "a: " + "x" * 2**21,
    "long keys": "".join(f"{'k' * 900}{n}: 1\n" for n in range(1000)),
    "half a character": 'a: "\\ud800"\n',
    "a function of Python": "encoder: {name: __import__}\n",
}
TEXTS: dict[str, tuple[bytes, bytes, int]] = {  # beginning, what comes again, how often
    "a.csv": (b"text\n", b"x", 2**25),
    "b.csv": (b'text\n"', b"x\n", 2**24),
    "c.csv": (b"", b",", 2**22),
    "a.jsonl": (b'{"text": ', b"[", 100_000),
    "b.jsonl": (b'{"text": "', b"x", 2**25),
    "a.txt": (b"", b"\0", 2**23),
    "b.txt": (b"", b"\xff\xfe\x80", 2**21),
    "c.txt": (b"x", b"\n", 2**24),
    "d.txt": (b"", b"a \r", 2**14),
}


def repeated(name: str) -> Callable[[Path], Path]:
    """A text that says the same again and again."""
    begin, again, count = TEXTS[name]
    return lambda place: text(name, begin + again * count)(place)
