"""What a sample becomes when it is decoded: arrays of fixed types and shapes."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmssl.config import Config

LOUDEST = 32767  # sound is stored in 16 bits

Values = dict[str, np.ndarray]


class Decoding(NamedTuple):
    """What a sample becomes."""

    modalities: tuple[str, ...]
    image_size: tuple[int, int]  # height, width
    rate_hz: int
    channels: int  # of a sound
    video_size: int
    frames: int
    seconds: float
    caption_tokens: int  # first and last included
    tokenizer: Path | None = None  # folder of the tokenizer, where captions are asked for

    def shapes(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type and shape in which a sample of each modality is stored."""
        known: dict[str, tuple[str, tuple[int, ...]]] = {
            "text": ("int32", (self.caption_tokens,)),
            "image": ("uint8", (3, *self.image_size)),
            "audio": ("int16", (*([2] if self.channels == 2 else []), round(self.rate_hz * self.seconds))),
            "video": ("uint8", (self.frames, 3, self.video_size, self.video_size)),
        }
        return {name: known[name] for name in self.modalities}

    def sample_bytes(self) -> int:
        """Bytes of a stored sample."""
        return sum(np.dtype(kind).itemsize * int(np.prod(shape)) for kind, shape in self.shapes().values())

    def zeros(self, count: int) -> Values:
        """Absent samples, and that they are."""
        absent = {f"{name}.present": np.zeros(count, dtype=bool) for name in self.modalities}
        return {name: np.zeros((count, *shape), kind) for name, (kind, shape) in self.shapes().items()} | absent


def decoding_of(config: Config, modalities: tuple[str, ...], folder: Path) -> Decoding:
    """What a config asks for."""
    return Decoding(
        modalities, config.image.stored_sides, config.audio.rate_hz, config.audio.channels, config.video.size,
        config.video.frames, config.data.seconds, config.data.caption_tokens,
        folder / "tokenizer" if "text" in modalities else None,
    )  # fmt: skip


def sixteen_bits(sound: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as they are stored."""
    return np.rint(sound.clip(-1, 1) * LOUDEST).astype(np.int16)
