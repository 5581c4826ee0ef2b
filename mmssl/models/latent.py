"""Latent variables: what is needed to tell the answer, beyond what is seen, under a limit of capacity."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.models.transformer import Layers, initialise, positions
from mmssl.tokens import Place, Tokens

LOG_VARIANCES = (-10.0, 10.0)  # beyond, exp overflows in half precision
INFERENCE_RATE = 0.05  # of Adam, in units of z

Seen = dict[str, Tokens]
EnergyOf = Callable[[Float[Tensor, "B Z"]], Float[Tensor, " B"]]  # z -> E(x, y, z)


class Inferred(NamedTuple):
    """z of a pair (x, y), and what it costs."""

    z: Float[Tensor, "B Z"]
    cost: Float[Tensor, " B"]  # in the energy's units
    nats: Float[Tensor, " B"]  # what z tells of y beyond x: an upper bound, as the prior p(z | x) is only learned
    terms: dict[str, Float[Tensor, " B"]]  # more that is minimised in training: what fits the prior to z


@runtime_checkable
class Latent(Protocol):
    """A limit of z's capacity."""

    width: int  # of z as the predictor is told
    noise_width: int  # of the noise in training
    prior_width: int  # of the noise of a draw

    def __call__(self, sx: Seen, answer: Tensor, place: Place, noise: Tensor | None = None) -> Inferred:
        """What the amortised posterior says of z; without noise its best guess."""
        ...

    def drawn(self, sx: Seen, noise: Tensor | None = None) -> Float[Tensor, "B Z"]:
        """z from what is seen alone; without noise the best guess."""
        ...

    def minimum(self, energy: EnergyOf, sx: Seen, found: Inferred, steps: int) -> Float[Tensor, " B"]:
        """min over z of energy(z) + cost(z), looked for from `found`, and never above it."""
        ...

    def settle(self) -> None:
        """After a step: what its forward noted is taken over."""
        ...


class Gaussian(NamedTuple):
    """Independent normal distributions."""

    mean: Float[Tensor, "B Z"]
    log_variance: Float[Tensor, "B Z"]

    def at(self, noise: Float[Tensor, "B Z"]) -> Float[Tensor, "B Z"]:
        """The point that lies `noise` standard deviations from the mean."""
        return self.mean + noise * (0.5 * self.log_variance).exp()


def divergence(q: Gaussian, p: Gaussian) -> Float[Tensor, " B"]:
    """KL(q || p) in nats, summed over the Z dimensions."""
    squared = (q.mean - p.mean).square() / p.log_variance.exp()
    ratio = q.log_variance - p.log_variance
    return 0.5 * (squared + ratio.exp() - ratio - 1).sum(-1)


class Question(nn.Module):
    """A question among tokens, through layers of its own, answered by a vector; or one for each of several places."""

    def __init__(self, widths: dict[str, int], *, layers: int, width: int, heads: int, out: int) -> None:
        super().__init__()
        self.width = width
        self.project = nn.ModuleDict({name: nn.Linear(size, width) for name, size in widths.items()})
        self.question = nn.Parameter(0.02 * torch.randn(width))
        self.layers = Layers(layers=layers, width=width, heads=heads, intermediate=4 * width)
        self.answer = nn.Linear(width, out)
        initialise(self.project)
        nn.init.normal_(self.answer.weight, std=0.02)
        nn.init.zeros_(self.answer.bias)

    def forward(self, tokens: Seen, where: Place | None = None) -> Float[Tensor, "B *M out"]:
        parts = [self.project[name](part.value) + positions(part.place, self.width) for name, part in tokens.items()]
        documents = [part.place.document for part in tokens.values()]
        asked = self.question if where is None else self.question + positions(where, self.width)
        count = 1 if where is None else asked.shape[1]
        parts.insert(0, asked.expand(len(parts[0]), count, -1).to(parts[0].dtype))
        documents.insert(0, documents[0].new_zeros(len(parts[0]), count))
        answers = self.answer(self.layers(torch.cat(parts, 1), torch.cat(documents, 1))[:, :count]).float()
        return answers[:, 0] if where is None else answers


Prior = Callable[[Float[Tensor, "B Z"]], Gaussian]  # z -> of each of its numbers, which knows only those before it


class Reader(nn.Module):
    """A question that is answered by a normal distribution."""

    steps = 1  # in which z is drawn: it is independent numbers

    def __init__(self, widths: dict[str, int], *, layers: int, width: int, heads: int, latent_width: int) -> None:
        super().__init__()
        self.question = Question(widths, layers=layers, width=width, heads=heads, out=2 * latent_width)

    def forward(self, tokens: Seen) -> Gaussian:
        mean, log_variance = self.question(tokens).chunk(2, -1)
        return Gaussian(mean, log_variance.clamp(*LOG_VARIANCES))

    def given(self, sx: Seen) -> Prior:
        """As a prior: the same whatever z is."""
        found = self(sx)
        return lambda z: found


class StandardNormal(nn.Module):
    """A prior that is not learned: N(0, 1), whatever is seen."""

    steps = 1

    def given(self, sx: Seen) -> Prior:
        """The same for all."""
        return lambda z: Gaussian(torch.zeros_like(z), torch.zeros_like(z))


class GaussianLatent(nn.Module):
    """z ~ q(z | x, y) in training, z ~ p(z | x) afterwards; its cost is weight * max(0, KL(q || p) - free) (Denton &
    Fergus 2018, arXiv:1802.07687, eq. 1-2: the learned prior; Sohn et al. 2015). What tells them may be given.

    The first `free` nats cost nothing (Kingma et al. 2016, arXiv:1606.04934, appendix C.8): otherwise z is given up
    before the predictor has learned what to do with it.
    """

    prior: Any

    def __init__(
        self, widths: dict[str, int], answer_width: int, *, layers: int, width: int, heads: int, latent_width: int,
        weight: float, free: float = 0.0, prior: Any = None, posterior: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.width = self.noise_width = self.prior_width = latent_width
        self.weight, self.free = weight, free
        sizes = {"layers": layers, "width": width, "heads": heads, "latent_width": latent_width}
        self.prior = Reader(widths, **sizes) if prior is None else prior
        self.posterior = Reader({**widths, "answer": answer_width}, **sizes) if posterior is None else posterior

    def forward(self, sx: Seen, answer: Float[Tensor, "B M A"], place: Place, noise: Tensor | None = None) -> Inferred:
        q = self.posterior({**sx, "answer": Tokens(answer, place)})
        z = q.mean if noise is None else q.at(noise)
        nats = divergence(q, self.given(sx)(z))
        return Inferred(z, self.weight * (nats - self.free).clamp(min=0), nats, {})

    def given(self, sx: Seen) -> Prior:
        """The prior of z where this is seen."""
        return self.prior.given(sx)

    def drawn(self, sx: Seen, noise: Float[Tensor, "B Z"] | None = None) -> Float[Tensor, "B Z"]:
        prior = self.given(sx)
        start = next(iter(sx.values())).value
        z = torch.zeros(len(start), self.width, device=start.device)
        for _ in range(self.prior.steps):  # each makes right the numbers that know only right ones
            told = prior(z)
            z = told.mean if noise is None else told.at(noise)
        return z

    def minimum(self, energy: EnergyOf, sx: Seen, found: Inferred, steps: int) -> Float[Tensor, " B"]:
        """The posterior's mean moves, its KL with it; its variances stay."""
        prior = self.given(sx)

        def surprise(z: Float[Tensor, "B Z"]) -> Float[Tensor, " B"]:
            told = prior(z)
            return 0.5 * ((z - told.mean).square() / told.log_variance.exp() + told.log_variance).sum(-1)

        start = surprise(found.z)

        def nearer(z: Float[Tensor, "B Z"]) -> Float[Tensor, " B"]:
            return self.weight * (found.nats + surprise(z) - start - self.free).clamp(min=0)

        return descended(lambda z: energy(z) + nearer(z), found.z, steps)

    def settle(self) -> None:
        """It notes nothing."""


def descended(energy: EnergyOf, z: Float[Tensor, "B Z"], steps: int, bound: float = torch.inf) -> Float[Tensor, " B"]:
    """The lowest energy met in so many steps of Adam from z, each sample on its own, within [-bound, bound]."""
    point, lowest = z.detach().clone(), torch.full_like(z[:, 0], torch.inf)
    stepper = torch.optim.Adam([point.requires_grad_()], lr=INFERENCE_RATE)
    with torch.enable_grad():
        for _ in range(steps):
            value = energy(point)
            lowest = torch.minimum(lowest, value.detach())
            (point.grad,) = torch.autograd.grad(value.sum(), point)
            stepper.step()
            with torch.no_grad():
                point.clamp_(-bound, bound)
    return torch.minimum(lowest, energy(point.detach()))
