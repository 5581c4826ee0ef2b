"""Folders of raw files, good and bad, and what a run on them left."""

import json
from pathlib import Path

from making_media import huge_png, odd_pictures, picture


def evaluation(folder: Path) -> dict:
    """What was measured."""
    return json.loads((folder / "run" / "evaluation.json").read_text())


def bad_samples(folder: Path) -> dict[str, str]:
    """File -> why it cannot be used."""
    path = folder / "run" / "bad_samples.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return {Path(entry["path"]).name: entry["reason"] for entry in map(json.loads, lines)}


def pictures(folder: Path, count: int = 24) -> Path:
    """Good pictures with two labels."""
    for number in range(count):
        picture(folder / ("cat", "dog")[number % 2] / f"{number:02d}.png", number)
    return folder


def one_line(end: tuple[int, list[str]], code: int, *parts: str) -> None:
    """The exit code, and exactly one line on stderr, which holds the parts."""
    assert end[0] == code, end[1]
    assert len(end[1]) == 1
    assert end[1][0].startswith("mmssl: ")
    for part in parts:
        assert part in end[1][0]


def truncated(path: Path) -> None:
    """Keep the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bad_pictures(folder: Path) -> set[str]:
    """What is wrong with pictures, and what only looks wrong."""
    odd_pictures(folder / "cat")
    for suffix in ("png", "jpg"):
        truncated(picture(folder / "cat" / f"truncated.{suffix}"))
    (folder / "cat" / "empty.png").write_bytes(b"")
    (folder / "cat" / "text.png").write_text("no picture\n" * 20)
    huge_png(folder / "cat" / "bomb.png", 20_000)
    return {"truncated.png", "truncated.jpg", "empty.png", "text.png", "bomb.png"}
