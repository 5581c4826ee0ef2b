"""Split spoken digits and environmental sounds so that no recording is in both parts.

usage: python scripts/prepare_audio.py DIGITS ENVIRONMENT OUT

DIGITS holds the Free Spoken Digit Dataset, anywhere below it <digit>_<speaker>_<index>.wav; ENVIRONMENT holds
<LABEL>_<number>.flac of the drone detection data set (Svanström et al. 2021). Writes
OUT/{digits,speakers,environment}/{train,test}/<label>/*: digits by index as the data set's own split has it (0 to 4
test, 5 and more train: all speakers in both), speakers by speaker (SPEAKER test, the others train), environment by
recording (the last TEST_SOUNDS of each label test; what is cut out of a recording stays on its side).
"""

import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

SPEAKER = "yweweler"  # the last one of the alphabet
TEST_INDICES = 5  # of each digit of each speaker
TEST_SOUNDS = 3  # of the ten recordings of a label
DIGIT = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")
SOUND = re.compile(r"([A-Z]+)_(\d+)\.flac")


def digits(source: Path) -> Iterator[tuple[str, str, str, Path]]:
    """(set, part, label, file) of each recording, once for each of the two splits."""
    for path in sorted(source.rglob("*.wav")):
        if (match := DIGIT.fullmatch(path.name)) is not None:
            label, speaker, index = match.groups()
            yield "digits", "test" if int(index) < TEST_INDICES else "train", label, path
            yield "speakers", "test" if speaker == SPEAKER else "train", label, path


def environment(source: Path) -> Iterator[tuple[str, str, str, Path]]:
    """The same of environmental sounds."""
    by_label: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(source.glob("*.flac")):
        if (match := SOUND.fullmatch(path.name)) is not None:
            by_label[match.group(1).lower()].append(path)
    for label, paths in by_label.items():
        for number, path in enumerate(paths):
            yield "environment", "test" if number >= len(paths) - TEST_SOUNDS else "train", label, path


def main(spoken: Path, around: Path, out: Path) -> None:
    """All sets."""
    count: dict[str, int] = defaultdict(int)
    for name, part, label, path in (*digits(spoken), *environment(around)):
        target = out / name / part / label / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
        count[f"{name}/{part}"] += 1
    print(f"{dict(count)} -> {out}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
