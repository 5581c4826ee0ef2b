"""Bring well-known text sets into forms that mmssl reads.

usage: python scripts/prepare_text.py clinc150 data_full.json OUT        train.csv and test.csv (text, label)
       python scripts/prepare_text.py sentence_polarity FOLDER OUT       the same; every 10th line is for testing
       python scripts/prepare_text.py xquad FOLDER OUT                   one sub-folder a language, a paragraph a line
"""

import csv
import json
import sys
from pathlib import Path


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    """A .csv of texts and labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows(rows)
    print(f"{path}: {len(rows):,} rows")


def clinc150(source: Path, out: Path) -> None:
    """Larson et al. 2019: 150 intents, without the out-of-scope part."""
    parts = json.loads(source.read_text())
    for name in ("train", "test"):
        write(out / f"{name}.csv", [(text, label) for text, label in parts[name]])


def sentence_polarity(source: Path, out: Path) -> None:
    """Pang & Lee 2005: positive and negative sentences, Latin-1."""
    lines = [
        (line.strip(), label)
        for label in ("neg", "pos")
        for line in next(source.rglob(f"rt-polarity.{label}")).read_text(encoding="latin-1").splitlines()
    ]
    write(out / "train.csv", [row for number, row in enumerate(lines) if number % 10 != 9])
    write(out / "test.csv", [row for number, row in enumerate(lines) if number % 10 == 9])


def xquad(source: Path, out: Path) -> None:
    """Artetxe et al. 2019: the same paragraphs and questions in many languages."""
    for path in sorted(source.rglob("xquad.*.json")):
        language = path.stem.split(".")[1]
        paragraphs = [part for article in json.loads(path.read_text())["data"] for part in article["paragraphs"]]
        lines = [part["context"].replace("\ufeff", "").replace("\n", " ") for part in paragraphs]
        lines += [question["question"].replace("\n", " ") for part in paragraphs for question in part["qas"]]
        target = out / language / "text.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(lines) + "\n")
        print(f"{target}: {len(lines):,} lines")


SETS = {"clinc150": clinc150, "sentence_polarity": sentence_polarity, "xquad": xquad}

if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in SETS:
        sys.exit(__doc__)
    SETS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
