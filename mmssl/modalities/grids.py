"""Pictures, sounds and clips as patches on a grid, samples of sound and words in a row: how each becomes tokens."""

from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.errors import ConfigError
from mmssl.modalities.text import Vocabulary, tokenize
from mmssl.tokens import Place, Tokens

Patch = tuple[int, ...]

# A view's axes, and the patches they are cut into: the features of a patch are its channels, then its axes.
PATTERNS = {
    "image": ("b c (y p) (x q)", "b (y x) (c p q)", ("y", "x"), ("p", "q")),
    "audio": ("b (t p) (f q)", "b (t f) (p q)", ("t", "f"), ("p", "q")),
    "video": ("b (t p) c (y q) (x r)", "b (t y x) (c p q r)", ("t", "y", "x"), ("p", "q", "r")),
}
STEREO = ("b c (t p) (f q)", "b (t f) (c p q)", ("t", "f"), ("p", "q"))  # of sounds of several channels
KEYS = {"image": "encoder.patch", "audio": "encoder.audio_patch", "video": "encoder.frames and encoder.patch"}
AXES = {"image": (2, 3), "audio": (1, 2), "video": (1, 3, 4)}  # of a view, those that are cut
SILENT = 1e-7  # added to the variance of a waveform: silence stays silence


class Cut(NamedTuple):
    """One modality cut into patches: `size` of its axes (H, W | times, bands | L, H, W) and of a patch along them."""

    name: str
    size: tuple[int, ...]
    patch: Patch
    channels: int

    @property
    def grid(self) -> tuple[int, ...]:
        """Patches along each axis."""
        return tuple(whole // part for whole, part in zip(self.size, self.patch, strict=True))

    @property
    def width(self) -> int:
        """Numbers in a patch."""
        return self.channels * int(torch.tensor(self.patch).prod())

    @property
    def is_stereo(self) -> bool:
        """Whether it is a sound with an axis of channels; a mono one has none."""
        return self.name == "audio" and self.channels > 1

    @property
    def pattern(self) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
        """As of PATTERNS."""
        return STEREO if self.is_stereo else PATTERNS[self.name]

    @property
    def axes(self) -> tuple[int, ...]:
        """Of a view, those that are cut."""
        return AXES["image"] if self.is_stereo else AXES[self.name]

    def sized(self, size: tuple[int, ...]) -> "Cut":
        """The same patches of a view of another size; ConfigError where they do not fill it."""
        if any(whole % part for whole, part in zip(size, self.patch, strict=True)):
            whole, part = (" x ".join(map(str, sizes)) for sizes in (size, self.patch))
            raise ConfigError(
                f"{KEYS[self.name]}: {self.name} of {whole} cannot be cut into patches of {part}; expected divisors"
            )
        return self._replace(size=size)

    def tokenize(self, views: list[Tensor]) -> Tokens:
        """The patches of the first view, each sample one document, on the grid of the view's own size; it has no
        parameters. ConfigError where they do not fill it.
        """
        whole, cut, _, sizes = self.pattern
        grid = self.sized(tuple(views[0].shape[axis] for axis in self.axes)).grid
        value = rearrange(views[0], f"{whole} -> {cut}", **dict(zip(sizes, self.patch, strict=True)))
        position = torch.arange(value.shape[1], device=value.device).expand(value.shape[:2])
        return Tokens(value, Place(position, torch.zeros_like(position), grid))

    def paste(self, value: Float[Tensor, "B N D"]) -> Float[Tensor, "B ..."]:
        """The view that consists of these patches."""
        whole, cut, axes, sizes = self.pattern
        lengths = dict(zip((*axes, *sizes), (*self.grid, *self.patch), strict=True))
        return rearrange(value, f"{cut} -> {whole}", **lengths)

    def embedding(self, width: int) -> nn.Module:
        """What turns a patch into an encoder's input."""
        return nn.Linear(self.width, width)


class Words(NamedTuple):
    """Text as words in a row."""

    vocabulary: Vocabulary

    @property
    def width(self) -> int:
        """The number of words to choose from."""
        return self.vocabulary.size

    def tokenize(self, views: list[Tensor]) -> Tokens:
        """The ids of the first view; documents that share a row do not see each other."""
        return tokenize(self.vocabulary, views)

    def embedding(self, width: int) -> nn.Module:
        """A table with a row for each word."""
        table = nn.Embedding(self.vocabulary.size, width)
        nn.init.normal_(table.weight, std=0.02)
        return table


class Grid(NamedTuple):
    """A modality as it is read, not yet cut."""

    name: str
    size: tuple[int, ...]
    channels: int

    def cut(self, patch: Patch) -> Cut:
        """Its patches; ConfigError where they do not fill it."""
        return Cut(self.name, self.size, patch, self.channels).sized(self.size)


class Waveform(NamedTuple):
    """Sound as `length` samples, of which `rate_hz` make a second; they are not cut: each sample is a token."""

    name: str
    length: int
    rate_hz: int

    @property
    def grid(self) -> tuple[int, ...]:
        """Samples along the only axis."""
        return (self.length,)

    @property
    def width(self) -> int:
        """Numbers in a sample."""
        return 1

    def tokenize(self, views: list[Tensor]) -> Tokens:
        """The samples of the first view, each waveform of zero mean and unit variance (Baevski et al. 2020,
        arXiv:2006.11477, section 3), silence all zero; it has no parameters.
        """
        samples = views[0].float()
        variance, mean = torch.var_mean(samples, 1, keepdim=True, correction=0)
        value = (samples - mean) * (variance + SILENT).rsqrt()
        position = torch.arange(value.shape[1], device=value.device).expand(value.shape)
        return Tokens(value[..., None], Place(position, torch.zeros_like(position), (value.shape[1],)))

    def cut(self, patch: Patch) -> Cut:
        """ConfigError: a waveform is not cut into patches."""
        raise ConfigError(
            "audio.form waveform: this encoder reads patches of spectrograms; "
            "expected audio.form=spectrogram or encoder.name wav2vec2"
        )


Modality = Grid | Waveform | Vocabulary
