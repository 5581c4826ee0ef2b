"""Clusters of the frames of sounds, and what frames are described by (Hsu et al. 2021, arXiv:2106.07447, section 3)."""

import math

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchaudio.functional import compute_deltas, create_dct

from mmssl.distributed import share
from mmssl.kmeans import kmeans, nearest
from mmssl.models.target import Data
from mmssl.models.wav2vec2 import WaveformEncoder
from mmssl.random import hashed
from mmssl.spectrogram import LogMel
from mmssl.tokens import Place, Tokens, at

BANDS, CEPSTRA = 40, 13  # mel bands of which so many coefficients are taken
MOST = 2**16  # frames that are clustered, about
NAME, SAMPLES = "audio", "audio.samples"


class Cepstra(nn.Module):
    """Mel-frequency cepstral coefficients of the sound around each frame of an encoder, and their first and second
    differences in time: 39 numbers, of windows of 25 ms where a frame comes each 20 ms.
    """

    width = 3 * CEPSTRA
    cosines: Float[Tensor, "bands cepstra"]

    def __init__(self, encoder: WaveformEncoder) -> None:
        super().__init__()
        rate_hz = encoder.cuts[NAME].rate_hz
        self.frames, self.hop, self.middle = encoder.frames, encoder.hop, encoder.reach // 2
        self.log_mel = LogMel(rate_hz, BANDS, encoder.hop / rate_hz / 2)  # two columns for each frame
        self.register_buffer("cosines", create_dct(CEPSTRA, BANDS, norm="ortho"), persistent=False)

    def forward(self, samples: Tokens) -> Float[Tensor, "B N F"]:
        sound = samples.value[..., 0]
        count, first = self.frames(sound.shape[1]), math.ceil(self.middle / self.hop)
        # column 2 (first + n) is centred on the middle of frame n
        columns = self.log_mel(nn.functional.pad(sound, (first * self.hop - self.middle, self.hop)))
        cepstra = rearrange(columns @ self.cosines, "b t f -> b f t")
        slope = compute_deltas(cepstra)
        found = torch.cat([cepstra, slope, compute_deltas(slope)], 1)[..., 2 * first :: 2]
        return rearrange(found[..., :count], "b f n -> b n f")


class LayerFeatures(nn.Module):
    """What a layer of another run's encoder answers at each frame."""

    def __init__(self, encoder: WaveformEncoder, layer: int) -> None:
        super().__init__()
        self.encoder, self.layer, self.width = encoder.requires_grad_(False).eval(), layer, encoder.width

    def train(self, mode: bool = True) -> "LayerFeatures":
        """It does not learn."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, samples: Tokens) -> Float[Tensor, "B N F"]:
        return self.encoder.context.after(self.encoder.front(samples).projected, self.layer).float()


class FrameClusters(Data):
    """The cluster of each frame, by k-means of what `describe` says of frames, each number of it brought to zero mean
    and unit variance.
    """

    centres: Float[Tensor, "K F"]
    mean: Float[Tensor, " F"]
    deviation: Float[Tensor, " F"]

    def __init__(self, describe: Cepstra | LayerFeatures, num_clusters: int) -> None:
        super().__init__()
        self.describe, self.num_samples = describe, 1
        self.register_buffer("centres", torch.zeros(num_clusters, describe.width))
        self.register_buffer("mean", torch.zeros(describe.width))
        self.register_buffer("deviation", torch.ones(describe.width))

    def remember(self, num_samples: int) -> None:
        """The samples that there are to cluster frames of."""
        self.num_samples = num_samples

    @torch.no_grad()
    def forward(self, tokens: dict[str, Tokens]) -> dict[str, Tokens]:
        value = (self.describe(tokens[SAMPLES]) - self.mean) / self.deviation
        code: Int[Tensor, "B N"] = nearest(value.flatten(0, 1), self.centres).unflatten(0, value.shape[:2])
        return {NAME: Tokens(code, tokens[NAME].place)}

    def chosen(self, tokens: dict[str, Tokens]) -> Float[Tensor, "_ F"]:
        """Descriptions of some frames of each sample, at even distances: of all samples about MOST, or all there are;
        of samples that are not there, the silence that stands for them.
        """
        value = self.describe(tokens[SAMPLES])
        step = max(1, self.num_samples * value.shape[1] // MOST)
        return value[:, ::step].flatten(0, 1)

    def regroup(self, value: Float[Tensor, "_ F"]) -> None:
        """Cluster these frames."""
        deviation, mean = torch.std_mean(value, 0, correction=0)
        self.mean.copy_(share(mean))
        self.deviation.copy_(share(deviation.clamp(min=1e-6)))
        found = kmeans((value - self.mean) / self.deviation, len(self.centres), seed=hashed("frame clusters"))
        self.centres.copy_(share(found.centres))

    def shown(self, prediction: Tensor, answer: Tensor, place: Place) -> Tensor | None:
        """Nobody can look at the number of a cluster."""
        return None


class CodewordHead(nn.Module):
    """Logits of the clusters at hidden frames: the cosine of a projection with the vector of each, over a temperature
    (eq. 3).
    """

    def __init__(self, encoder_width: int, num_clusters: int, *, width: int, temperature: float) -> None:
        super().__init__()
        self.project, self.temperature = nn.Linear(encoder_width, width), temperature
        self.codewords = nn.Parameter(torch.rand(num_clusters, width))  # as the authors begin

    def forward(self, sx: dict[str, Tokens], place: Place) -> Float[Tensor, "B M K"]:
        projected, codewords = (
            nn.functional.normalize(part.float(), dim=-1)
            for part in (self.project(at(sx[NAME], place)), self.codewords)
        )
        return projected @ codewords.mT / self.temperature
