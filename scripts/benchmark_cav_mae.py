"""The peer of `benchmark.py audio_visual`: CAV-MAE in stock ViT layers, and clips made ready one by one.

After the code of the authors (Gong et al. 2022, arXiv:2210.07839), with one set of norms in the shared layers.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, normalize
from torch.utils.data import Dataset
from torchaudio.compliance.kaldi import fbank
from transformers import ViTConfig
from transformers.models.vit.modeling_vit import ViTLayer

HIDDEN_RATIO, TEMPERATURE, CONTRAST_WEIGHT = 0.75, 0.05, 0.01
KEPT = 64  # clips in memory


class Sizes(NamedTuple):
    """Of clips (seconds, samples a second, bands, hop), of frames, patches, encoder (separate of all layers), decoder
    (layers, width, heads), and of a batch.
    """

    seconds: float
    rate_hz: int
    bands: int
    hop_seconds: float
    size: int
    patch: int
    separate: int
    layers: int
    width: int
    heads: int
    decoder: tuple[int, int, int]
    batch: int

    @property
    def columns(self) -> int:
        """Of the spectrogram."""
        return round(self.seconds / self.hop_seconds)


MODELS = {
    "tiny_64": Sizes(2.56, 16000, 64, 0.01, 64, 16, 3, 4, 192, 3, (2, 96, 3), 16),
    "base_224": Sizes(10.24, 16000, 128, 0.01, 224, 16, 11, 12, 768, 12, (8, 512, 16), 16),  # the paper's
}


class Clips(Dataset):
    """Decoded clips in memory, each made ready by itself: a picture and its sound."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        generator = torch.Generator().manual_seed(0)
        side = sizes.size
        self.frames = torch.randint(0, 256, (KEPT, 3, side, side), generator=generator, dtype=torch.uint8)
        length = round(sizes.seconds * sizes.rate_hz)
        self.sound = torch.randint(-8000, 8000, (KEPT, length), generator=generator, dtype=torch.int16)

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        sizes, clip = self.sizes, index % KEPT
        wave = self.sound[clip : clip + 1].float() / 2**15
        bank = fbank(
            wave - wave.mean(), htk_compat=True, sample_frequency=sizes.rate_hz, use_energy=False,
            window_type="hanning", num_mel_bins=sizes.bands, dither=0.0, frame_shift=1000 * sizes.hop_seconds,
        )  # fmt: skip
        bank = nn.functional.pad(bank, (0, 0, 0, max(0, sizes.columns - len(bank))))[: sizes.columns]
        picture = self.frames[clip].float() / 255
        top, left = torch.randint(0, sizes.size // 4, (2,)).tolist()
        side = sizes.size - sizes.size // 4
        picture = picture[:, top : top + side, left : left + side]
        picture = interpolate(picture[None], (sizes.size, sizes.size), mode="bilinear", antialias=True)[0]
        picture = picture.flip(-1) if torch.rand(()) < 0.5 else picture
        return (picture - 0.5) / 0.25, (bank + 4) / 8


def stock_layers(count: int, width: int, heads: int) -> nn.ModuleList:
    """Layers of the stock ViT."""
    config = ViTConfig(hidden_size=width, num_attention_heads=heads, intermediate_size=4 * width)
    config._attn_implementation = "sdpa"
    return nn.ModuleList(ViTLayer(config) for _ in range(count))


class Peer(nn.Module):
    """CAV-MAE as its authors write it: own layers, joint ones three times, a decoder of all tokens of both."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        layers, width, heads = sizes.decoder
        self.patch = sizes.patch
        numbers = {"video": 3 * sizes.patch**2, "audio": sizes.patch**2}
        self.counts = {
            "video": (sizes.size // sizes.patch) ** 2, "audio": sizes.columns * sizes.bands // sizes.patch**2,
        }  # fmt: skip
        self.embed = nn.ModuleDict({name: nn.Linear(count, sizes.width) for name, count in numbers.items()})
        self.own = nn.ModuleDict({name: stock_layers(sizes.separate, sizes.width, sizes.heads) for name in numbers})
        self.shared = stock_layers(sizes.layers - sizes.separate, sizes.width, sizes.heads)
        self.norm, self.last = nn.LayerNorm(sizes.width), nn.LayerNorm(width)
        self.narrow, self.decoder = nn.Linear(sizes.width, width), stock_layers(layers, width, heads)
        self.answer = nn.ModuleDict({name: nn.Linear(width, count) for name, count in numbers.items()})
        self.mask = nn.Parameter(0.02 * torch.randn(width))
        self.places, self.decoded = (
            nn.ParameterDict(
                {name: nn.Parameter(0.02 * torch.randn(count, size)) for name, count in self.counts.items()}
            )
            for size in (sizes.width, width)
        )

    def patches(self, picture: Tensor, bank: Tensor) -> dict[str, Tensor]:
        """All patches of both."""
        size = {"p": self.patch, "q": self.patch}
        return {
            "video": rearrange(picture, "b c (y p) (x q) -> b (y x) (c p q)", **size),
            "audio": rearrange(bank, "b (t p) (f q) -> b (t f) (p q)", **size),
        }

    def forward(self, picture: Tensor, bank: Tensor) -> Tensor:
        whole = self.patches(picture, bank)
        order = {name: torch.rand(part.shape[:2], device=part.device).argsort(1) for name, part in whole.items()}
        kept = {name: part.shape[1] - round(HIDDEN_RATIO * part.shape[1]) for name, part in whole.items()}
        apart = {}
        for name, part in whole.items():
            x = self.embed[name](part) + self.places[name]
            x = x.take_along_dim(order[name][:, : kept[name], None], 1)
            for layer in self.own[name].children():
                x = layer(x)
            apart[name] = x
        alone = [normalize(self.joint(x).mean(1).float(), dim=-1) for x in apart.values()]
        logits, labels = alone[0] @ alone[1].T / TEMPERATURE, torch.arange(len(picture), device=picture.device)
        contrast = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
        seen = self.narrow(self.joint(torch.cat([*apart.values()], 1))).split([*kept.values()], 1)
        return self.error(whole, dict(zip(whole, seen)), order, kept) + CONTRAST_WEIGHT * contrast

    def joint(self, x: Tensor) -> Tensor:
        """The shared layers."""
        for layer in self.shared:
            x = layer(x)
        return self.norm(x)

    def error(
        self, whole: dict[str, Tensor], seen: dict[str, Tensor], order: dict[str, Tensor], kept: dict[str, int]
    ) -> Tensor:
        """Of the hidden patches, normalised."""
        filled = []
        for name, part in seen.items():
            hidden = self.mask.expand(len(part), self.counts[name] - kept[name], -1).to(part.dtype)
            back = order[name].argsort(1)[..., None]
            filled.append(torch.cat([part, hidden], 1).take_along_dim(back, 1) + self.decoded[name])
        x = torch.cat(filled, 1)
        for layer in self.decoder:
            x = layer(x)
        loss = x.new_zeros(())
        for name, part in zip(whole, self.last(x).split([*self.counts.values()], 1)):
            variance, mean = torch.var_mean(whole[name], -1, keepdim=True)
            target = (whole[name] - mean) / (variance + 1e-6).sqrt()
            error = (self.answer[name](part).float() - target).square().mean(-1)
            loss = loss + error.take_along_dim(order[name][:, kept[name] :], 1).mean()
        return loss
