"""A latent variable for each hidden time of a clip: all times at once in training, one after another when drawn."""

from collections.abc import Sequence
from functools import partial
from math import prod

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.models.latent import LOG_VARIANCES, Gaussian, Prior, Question, Seen
from mmssl.models.transformer import Layers, initialise, position_table
from mmssl.tokens import Place, Tokens


def over_times(numbers: Float[Tensor, "B T two_Z"]) -> Gaussian:
    """Mean and log variance of z at each time, the times one after another in one row."""
    mean, log_variance = rearrange(numbers.float(), "b t (two z) -> two b (t z)", two=2)
    return Gaussian(mean, log_variance.clamp(*LOG_VARIANCES))


class FrameReader(nn.Module):
    """q(z_t | x, y) for each of the hidden `times` of a grid of `num_times`: a question for each, that sees all of the
    clip (that of Denton & Fergus 2018 sees no later frames, which makes a looser bound).
    """

    def __init__(
        self, widths: dict[str, int], times: Sequence[int], num_times: int, *, layers: int, width: int, heads: int,
        latent_width: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.times, self.num_times = times, num_times
        self.question = Question(widths, layers=layers, width=width, heads=heads, out=2 * latent_width)

    def forward(self, tokens: Seen) -> Gaussian:
        like = next(iter(tokens.values())).place.document
        position = torch.tensor(self.times, device=like.device).expand(len(like), len(self.times))
        return over_times(self.question(tokens, Place(position, torch.zeros_like(position), (self.num_times,))))


class FramePrior(nn.Module):
    """p(z_t | x, z_1 ... z_(t-1)): what is seen is read once, then a causal transformer goes over the earlier z (Denton
    & Fergus 2018, arXiv:1802.07687, section 3, has an LSTM over frames: what came before is told by z here).
    """

    def __init__(
        self, widths: dict[str, int], num_times: int, *, layers: int, width: int, heads: int, latent_width: int
    ) -> None:
        super().__init__()
        self.steps = num_times
        self.context = Question(widths, layers=layers, width=width, heads=heads, out=width)
        self.project = nn.Linear(latent_width, width)
        self.layers = Layers(layers=layers, width=width, heads=heads, intermediate=4 * width)
        self.answer = nn.Linear(width, 2 * latent_width)
        initialise(self.project)
        nn.init.normal_(self.answer.weight, std=0.02)
        nn.init.zeros_(self.answer.bias)

    def given(self, sx: Seen) -> Prior:
        """The prior of z where this is seen."""
        return partial(self.after, self.context(sx))

    def after(self, context: Float[Tensor, "B W"], z: Float[Tensor, "B TZ"]) -> Gaussian:
        """That of each z_t after the ones before it."""
        earlier = self.project(rearrange(z, "b (t z) -> b t z", t=self.steps)[:, :-1])
        value = nn.functional.pad(earlier, (0, 0, 1, 0)) + context[:, None]
        value = value + position_table((self.steps,), value.shape[-1], value.device)
        document = torch.zeros(value.shape[:2], dtype=torch.long, device=value.device)
        return over_times(self.answer(self.layers(value, document, is_causal=True)))


class ToldByTime(nn.Module):
    """Tells a predictor at each hidden place the z of its time."""

    def __init__(self, predictor: nn.Module, times: Sequence[int]) -> None:
        super().__init__()
        self.predictor, self.times = predictor, times

    def forward(self, sx: dict[str, Tokens], place: Place, z: Float[Tensor, "B TZ"]) -> Float[Tensor, "B M A"]:
        time = place.position // prod(place.grid[1:])
        step = torch.searchsorted(torch.tensor(self.times, device=time.device), time)
        by_time = rearrange(z, "b (t z) -> b t z", t=len(self.times))
        return self.predictor(sx, place, by_time.gather(1, repeat(step, "b m -> b m z", z=by_time.shape[-1])))
