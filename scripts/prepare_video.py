"""Cut the flying objects out of the clips of the drone detection data set (Svanström et al. 2021), and pair them with
the recordings of the same class: a set for video methods, and one of weak audio-visual pairs.

usage: python scripts/prepare_video.py CLIPS SOUNDS OUT

CLIPS holds labels.csv, boxes.csv.gz and <label>/*.mp4; SOUNDS holds DRONE_*.flac and HELICOPTER_*.flac. Writes
OUT/objects/{train,test}/<label>/*.mp4: 64 x 64 pixels around the object (a square of twice its median box, at least 64
pixels wide, whose centre follows the box smoothed over a second); OUT/pairs/{train,test}/{drone,helicopter}/*.mp4:
those of them that have a sound; and OUT/sounds/{drone,helicopter}/*.flac with their names: same class, not recorded
together; no recording serves both train and test.
"""

import csv
import gzip
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import av
import numpy as np

SIZE, LEAST, FRAMES = 64, 64, 30  # pixels of the result, least pixels of the square, frames to smooth over
TRAIN_SOUNDS = 8  # of the ten recordings of a class


def boxes_of(path: Path) -> dict[str, dict[int, np.ndarray]]:
    """(x, y, w, h) of each frame of each file."""
    found: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            found[row["file"]][int(row["frame"])] = np.array([float(row[key]) for key in "xywh"])
    return found


def windows(boxes: dict[int, np.ndarray], frames: int, width: int, height: int) -> tuple[np.ndarray, int]:
    """(left, top) of the square in each frame, and its side."""
    known = np.array(sorted(boxes))
    values = np.stack([boxes[int(frame)] for frame in known])
    side = min(int(max(LEAST, 2 * np.median(values[:, 2:].max(1)))), width, height)
    centres = values[:, :2] + values[:, 2:] / 2
    whole = np.stack([np.interp(np.arange(frames), known, centres[:, axis]) for axis in range(2)], 1)
    padded = np.pad(whole, ((FRAMES // 2, FRAMES // 2), (0, 0)), mode="edge")
    mean = np.ones(FRAMES + 1) / (FRAMES + 1)
    smooth = np.stack([np.convolve(padded[:, axis], mean, "valid") for axis in range(2)], 1)
    corner = np.clip(smooth - side / 2, 0, [width - side, height - side]).round().astype(int)
    return corner, side


def cut(source: Path, boxes: dict[int, np.ndarray], target: Path) -> None:
    """One clip, cut around its object."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(source)) as reading, av.open(str(target), "w") as writing:
        frames = [frame.to_image() for frame in reading.decode(video=0)]
        corners, side = windows(boxes, len(frames), *frames[0].size)
        stream = writing.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        for frame, (left, top) in zip(frames, corners):
            square = frame.crop((left, top, left + side, top + side)).resize((SIZE, SIZE))
            writing.mux(stream.encode(av.VideoFrame.from_image(square)))
        writing.mux(stream.encode())


def main(clips: Path, sounds: Path, out: Path) -> None:
    """Both sets."""
    boxes = boxes_of(clips / "boxes.csv.gz")
    count: dict[tuple[str, str], int] = defaultdict(int)
    with (clips / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        name, label, split = row["file"], row["label"], row["split"]
        key = name if name in boxes else Path(name).name
        cut(clips / name, boxes[key], out / "objects" / split / label / Path(name).name)
        if label in ("drone", "helicopter"):
            recordings = sorted(sounds.glob(f"{label.upper()}_*.flac"))
            mine = recordings[:TRAIN_SOUNDS] if split == "train" else recordings[TRAIN_SOUNDS:]
            target = out / "sounds" / label / f"{Path(name).stem}.flac"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(mine[count[label, split] % len(mine)], target)
            pair = out / "pairs" / split / label / Path(name).name
            pair.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(out / "objects" / split / label / Path(name).name, pair)
            count[label, split] += 1
    print(f"{len(rows)} clips -> {out}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
