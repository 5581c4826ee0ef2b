"""Rows of one type and shape in memory-mapped files of bounded size."""

import os
from pathlib import Path

import numpy as np
from jaxtyping import Int

SHARD_BYTES = 2**31  # of a file, or one row where that is larger


class Shards:
    """`shape[0]` rows in the files NAME-00000.bin, NAME-00001.bin, ... of a folder.

    New ones are made of reserved bytes: a full disk is an error here, and no crash later.
    """

    def __init__(self, folder: Path, name: str, kind: str, shape: tuple[int, ...], *, is_new: bool = False) -> None:
        self.row, self.kind = shape[1:], np.dtype(kind)
        row_bytes = self.kind.itemsize * int(np.prod(self.row))
        self.rows = max(1, SHARD_BYTES // row_bytes)
        self.files: list[np.memmap] = []
        for number, start in enumerate(range(0, shape[0], self.rows)):
            path, count = folder / f"{name}-{number:05d}.bin", min(self.rows, shape[0] - start)
            if is_new:
                with path.open("xb") as file:
                    os.posix_fallocate(file.fileno(), 0, count * row_bytes)
            self.files.append(np.memmap(path, self.kind, "r+" if is_new else "r", shape=(count, *self.row)))

    def __getitem__(self, indices: Int[np.ndarray, " n"]) -> np.ndarray:
        found = np.empty((len(indices), *self.row), self.kind)
        owner, place = np.divmod(indices, self.rows)
        for number in np.unique(owner):
            mine = owner == number
            found[mine] = self.files[number][place[mine]]
        return found

    def __setitem__(self, index: int, value: np.ndarray) -> None:
        self.files[index // self.rows][index % self.rows] = value

    def flush(self) -> None:
        """Write what is still in memory."""
        for file in self.files:
            file.flush()
