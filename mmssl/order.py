"""The order of samples: a pure function of (seed, position in the run).

Training is one infinite stream of positions. Slot j of a step belongs to one micro-batch of one process, so the
samples of a step do not depend on the number of processes, workers or micro-batches, and a checkpoint needs one
integer: how many were seen.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mmssl.batch import Batch
from mmssl.errors import ConfigError, DataError
from mmssl.random import Draw, permutation
from mmssl.workers import Answered, die_with_parent

HANG_SECONDS = 600  # without an answer of a worker
CYCLE = 10_000  # positions after which every group has had exactly its share


class Order(NamedTuple):
    """`sizes[g]` samples in group g; groups are sampled with p_g ~ sizes[g] ** exponent (Conneau & Lample 2019, eq.
    1).
    """

    sizes: tuple[int, ...]
    seed: int
    exponent: float = 1.0

    def at(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(epoch, index) of each position; every epoch of a group holds each of its samples once."""
        if self.exponent == 1.0 or len(self.sizes) == 1:
            return self.within(0, sum(self.sizes), positions)
        epochs, indices = np.empty_like(positions), np.empty_like(positions)
        group, turn = self.turns(positions)
        starts = np.cumsum([0, *self.sizes])
        for number, size in enumerate(self.sizes):
            mine = group == number
            epochs[mine], index = self.within(number, size, turn[mine])
            indices[mine] = index + starts[number]
        return epochs, indices

    def within(self, group: int, size: int, turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(epoch, index) of the turn-th sample drawn from a group."""
        epoch, place = turn // size, turn % size
        index = np.empty_like(turn)
        for number in np.unique(epoch):
            mine = epoch == number
            index[mine] = shuffled(self.seed, int(number), size, group)[place[mine]]
        return epoch, index

    def turns(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which group each position belongs to, and how many samples of that group came before."""
        shares = self.shares()
        group, turn = np.empty_like(positions), np.empty_like(positions)
        for cycle in np.unique(positions // CYCLE):
            mine = positions // CYCLE == cycle
            members = np.repeat(np.arange(len(shares)), shares)[permutation(self.seed, int(cycle), CYCLE, "groups")]
            rank = np.empty_like(members)
            for number, share in enumerate(shares):
                rank[members == number] = np.arange(share)
            place = positions[mine] % CYCLE
            group[mine] = members[place]
            turn[mine] = cycle * shares[members[place]] + rank[place]
        return group, turn

    def shares(self) -> np.ndarray:
        """Samples of each group in a cycle: largest remainders, at least one unless the group is empty."""
        weight = np.array(self.sizes, dtype=np.float64) ** self.exponent
        exact = weight / weight.sum() * CYCLE
        shares = np.maximum(np.floor(exact).astype(np.int64), np.array(self.sizes) > 0)
        for group in np.argsort(-(exact - np.floor(exact)), kind="stable")[: max(0, CYCLE - shares.sum())]:
            shares[group] += 1
        shares[np.argmax(shares)] -= shares.sum() - CYCLE
        return shares


@lru_cache(maxsize=4)
def shuffled(seed: int, epoch: int, size: int, group: int) -> np.ndarray:
    """The permutation of a group's samples in an epoch."""
    return permutation(seed, epoch, size, f"order/{group}")


class Slots(NamedTuple):
    """Which positions of the stream this process reads: `batch_size` a step over all processes and micro-batches."""

    batch_size: int
    accumulate: int = 1
    rank: int = 0
    processes: int = 1

    def size(self) -> int:
        """Samples in a micro-batch; ConfigError where the global batch cannot be split evenly."""
        parts = self.processes * self.accumulate
        if self.batch_size % parts:
            raise ConfigError(
                f"train.batch_size {self.batch_size} cannot be split over {self.processes} processes x "
                f"{self.accumulate} micro-batches; expected a multiple of {parts}"
            )
        return self.batch_size // parts

    def positions(self, samples_seen: int) -> Iterator[np.ndarray]:
        """The positions of this process's micro-batches, from `samples_seen` on, without end."""
        size = self.size()
        while True:
            for micro in range(self.accumulate):
                start = samples_seen + (micro * self.processes + self.rank) * size
                yield np.arange(start, start + size)
            samples_seen += self.batch_size


class Samples(Dataset):
    """Answers a list of positions with the batch that lies there; `read(indices)` gives the views of those samples."""

    def __init__(self, read, order: Order) -> None:
        self.read, self.order = read, order

    def __getitems__(self, positions: np.ndarray) -> Batch:
        """The batch of these positions."""
        epoch, index = self.order.at(np.asarray(positions))
        draw = Draw(self.order.seed, torch.from_numpy(epoch), torch.from_numpy(index))
        return Batch(self.read(index), draw)


def batches(
    read, order: Order, slots: Slots, *, samples_seen: int = 0, workers: int = 0, hang_seconds: int = HANG_SECONDS
) -> Iterator[Batch]:
    """The endless stream of this process's micro-batches; DataError where there is no sample at all."""
    if sum(order.sizes) == 0:
        raise DataError("data: no sample; expected at least one")
    loader = DataLoader(
        Samples(read, order),
        batch_sampler=slots.positions(samples_seen),  # pyright: ignore[reportArgumentType]
        collate_fn=as_it_is,  # pyright: ignore[reportArgumentType]
        num_workers=workers,
        generator=torch.Generator().manual_seed(0),
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=die_with_parent if workers else None,
    )
    if not workers:
        return iter(loader)
    asked = (order.at(positions)[1] for positions in slots.positions(samples_seen))
    return Answered(loader, asked, hang_seconds)


def as_it_is(batch: Batch) -> Batch:
    """The samples come as a batch already."""
    return batch
