"""What sees noisy hidden tokens among what is seen, and says what they would be without noise, or the noise."""

from collections.abc import Iterable
from math import log

import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.models.predictor import Head, TransformerPredictor
from mmssl.tokens import Place, Tokens

WAVES = 64  # frequencies in which a time is told
SLOWEST = 10_000.0  # the ratio of the fastest frequency to the slowest
TIMES = 1000.0  # radians from time 0 to 1 at the fastest


class Denoiser(nn.Module):
    """A predictor that is told the noisy value of each hidden token, and the time (Peebles & Xie 2022,
    arXiv:2212.09748, "in-context conditioning", both in one token).

    It says nothing at first: 0 everywhere.
    """

    def __init__(
        self, encoder_width: int, answer_width: int, names: Iterable[str], *, layers: int, width: int, heads: int,
        head: Head = "linear",
    ) -> None:  # fmt: skip
        super().__init__()
        self.width = answer_width
        self.time = nn.Sequential(nn.Linear(2 * WAVES, width), nn.SiLU())
        self.predictor = TransformerPredictor(
            encoder_width, answer_width, names, layers=layers, width=width, heads=heads,
            latent_width=answer_width + width, head=head,
        )  # fmt: skip
        nn.init.zeros_(self.predictor.answer.weight)

    def forward(
        self, sx: dict[str, Tokens], place: Place, noisy: Float[Tensor, "B M A"], time: Float[Tensor, " B"]
    ) -> Float[Tensor, "B M A"]:
        told = repeat(self.time(waves(time)), "b w -> b m w", m=noisy.shape[1])
        return self.predictor(sx, place, torch.cat([noisy.to(told.dtype), told], -1)).float()


def waves(time: Float[Tensor, " B"]) -> Float[Tensor, "B W"]:
    """Sines and cosines of a time in [0, 1] (Vaswani et al. 2017, section 3.5)."""
    ratio = torch.arange(WAVES, dtype=torch.float32, device=time.device) / WAVES
    angle = TIMES * time.float()[:, None] * (-log(SLOWEST) * ratio).exp()
    return torch.cat([angle.sin(), angle.cos()], 1)
