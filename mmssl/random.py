"""Counter-based draws: every number is a pure function of (seed, epoch, sample index, name of the draw).

The generator is Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), vectorised over a
batch. A draw does not depend on the worker, the process, the batch or the order of reading, so a checkpoint holds no
generator.
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
KEY_STEPS = 0x9E3779B9, 0xBB67AE85
LOW = 0xFFFFFFFF
MANY = 2**16  # numbers that an accelerator makes sooner than it is sent them


def philox(counter: Sequence[Any], key: tuple[int, int]) -> tuple[Any, Any, Any, Any]:
    """Philox4x32-10: four arrays of 32-bit counters and a key of two 32-bit words -> four arrays of words.

    Arrays are NumPy's of uint64 or tensors of int64, whose products keep their lowest 64 bits alike.
    """
    c0, c1, c2, c3 = counter
    for turn in range(10):
        k0, k1 = ((key[word] + turn * KEY_STEPS[word]) & LOW for word in range(2))
        product0, product1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (product1 >> 32 & LOW) ^ c1 ^ k0,
            product1 & LOW,
            (product0 >> 32 & LOW) ^ c3 ^ k1,
            product0 & LOW,
        )
    return c0, c1, c2, c3


def hashed(*parts: object) -> int:
    """63 bits that depend on the parts and on nothing else (no process, no platform, no PYTHONHASHSEED)."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


class Draw(NamedTuple):
    """The draws that belong to a batch of samples: B pairs of (epoch, index) under one seed.

    `host` holds both once more where the tensors lie on an accelerator, so that a draw does not wait for it.
    """

    seed: int
    epoch: Int[Tensor, " B"]
    index: Int[Tensor, " B"]
    host: tuple[np.ndarray, np.ndarray] | None = None

    def to(self, device: torch.device) -> "Draw":
        """The same draws on another device."""
        if device.type == "cpu":
            return self.on_host()
        epoch, index = (values.to(device, non_blocking=True) for values in (self.epoch, self.index))
        return Draw(self.seed, epoch, index, self.numbers())

    def on_host(self) -> "Draw":
        """The same draws on the processor."""
        epoch, index = self.numbers()
        return Draw(self.seed, torch.from_numpy(epoch), torch.from_numpy(index))

    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Epoch and index of each sample."""
        return (self.epoch.cpu().numpy(), self.index.cpu().numpy()) if self.host is None else self.host

    def times(self, count: int) -> "Draw":
        """Draws of the same samples `count` times, one batch after another: of the epoch epoch * count + turn."""
        epoch, index = self.on_host()[1:3]
        turns = torch.cat([epoch * count + turn for turn in range(count)])
        return Draw(self.seed, turns, index.repeat(count)).to(self.index.device)

    def of(self, name: str) -> "Draw":
        """Other draws of the same samples, as of one of their modalities."""
        return self._replace(seed=hashed(self.seed, name))

    def uniform(self, name: str, *shape: int) -> Float[Tensor, "B *shape"]:
        """Float32 numbers in [0, 1), 24 bits each, on the device of `index`."""
        count = int(np.prod(shape, dtype=np.int64))
        number = hashed(self.seed, name)
        key, blocks = (number & LOW, number >> 32), (count + 3) // 4
        if self.index.is_cuda and len(self.index) * count >= MANY:
            return on_device(self.epoch, self.index, blocks, key)[:, :count].reshape(-1, *shape)
        epoch, index = (values.astype(np.uint64)[:, None] for values in self.numbers())
        words = philox((np.arange(blocks, dtype=np.uint64)[None], index & LOW, index >> 32, epoch), key)
        numbers = (np.stack(words, -1).reshape(len(index), -1)[:, :count] >> 8).astype(np.float32) * np.float32(2**-24)
        return sent(torch.from_numpy(numbers.reshape(len(index), *shape)), self.index.device)

    def integers(self, name: str, high: int, *shape: int) -> Int[Tensor, "B *shape"]:
        """Integers in [0, high)."""
        return (self.uniform(name, *shape).double() * high).long()

    def normal(self, name: str, *shape: int) -> Float[Tensor, "B *shape"]:
        """Float32 numbers of mean 0 and variance 1, below 5.8 in size (Box & Muller 1958, in float64); not made of the
        numbers that `uniform` gives for the same name.
        """
        radius, turn = self.uniform(f"{name}/normal", *shape, 2).double().unbind(-1)
        return ((-2 * torch.log1p(-radius)).sqrt() * (2 * torch.pi * turn).cos()).float()


def on_device(
    epoch: Int[Tensor, " B"], index: Int[Tensor, " B"], blocks: int, key: tuple[int, int]
) -> Float[Tensor, "B _"]:
    """The uniform numbers of blocks of four, made where the tensors lie: the same bits as by NumPy."""
    epoch, index = epoch[:, None].long(), index[:, None].long()
    block = torch.arange(blocks, device=index.device)[None]
    words = philox((block, index & LOW, index >> 32 & LOW, epoch), key)
    return (torch.stack(words, -1).flatten(1) >> 8).float() * 2**-24


def sent(value: Tensor, device: torch.device) -> Tensor:
    """The same numbers on a device that is not waited for."""
    return value.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else value.to(device)


def permutation(seed: int, epoch: int, count: int, name: str = "order") -> np.ndarray:
    """A permutation of range(count), the same on every machine and in every process."""
    return np.random.Generator(np.random.Philox(key=hashed(seed, epoch, name))).permutation(count)
