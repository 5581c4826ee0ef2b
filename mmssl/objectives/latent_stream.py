"""A latent variable z in a prediction: as z varies over a limited set, the prediction varies over what is plausible."""

from math import log
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mmssl.models.latent import Inferred, Latent
from mmssl.objectives.base import Noise
from mmssl.objectives.predictive import Base, Stream, pair_energy, place_of, repeated
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens, at


def as_it_is(seen: Tokens, hidden: Place) -> float:
    """Predicted in the unit of the answers."""
    return 1.0


class LatentStream(Stream):
    """A stream whose predictor is told z: F(x, y) = min over z of E(x, y, z) + cost(z) (LeCun 2022, section 4.5).

    The minimum is what the amortised posterior says of (x, y); with `inference_steps` it is looked for from there, so
    that F is never above the amortised one. Training takes z with the posterior's noise, energies without.

    What the base does not tell of an answer is predicted, and compared, in a `unit(seen, hidden)` of the sample's own.
    """

    has_latent = True
    unit: Base

    def __init__(self, *, latent: Latent, inference_steps: int = 0, unit: Base = as_it_is, **stream: Any) -> None:
        super().__init__(**stream)
        self.latent, self.inference_steps, self.unit = latent, inference_steps, unit

    def terms(
        self, sx: dict[str, Tokens], seen: Tokens, sy: Tokens, hidden: Place, draw: Draw
    ) -> tuple[dict[str, Float[Tensor, " B"]], Float[Tensor, " B"]]:
        answer = self.rest(at(sy, hidden), seen, hidden)
        # the noise belongs to the sample, so that a step does not depend on how its batch is split
        found = self.latent(sx, answer, hidden, draw.normal("z", self.latent.noise_width))
        energy = pair_energy(self.energy, self.predicted(sx, seen, hidden, found.z), answer, hidden.valid)
        is_asked = hidden.valid.any(1)
        terms = {"": energy, ".z": torch.where(is_asked, found.cost, 0.0)}
        terms |= {f".{name}": torch.where(is_asked, term, 0.0) for name, term in found.terms.items()}
        return terms, energy + terms[".z"]

    def pairs(self, sx: dict[str, Tokens], seen: Tokens, sy: Tokens, hidden: Place) -> Float[Tensor, "A B"]:
        answer, valid = self.pairing(sy, hidden)
        base = torch.as_tensor(self.base(seen, hidden), device=answer.device).expand(answer.shape[0], *answer.shape[2:])
        unit = torch.as_tensor(self.unit(seen, hidden), device=answer.device).expand(answer.shape[0], 1, 1)
        rows = []
        for row in range(len(answer)):
            mine = {name: repeated(tokens, row, answer.shape[1]) for name, tokens in sx.items()}
            place, rest = place_of(hidden, row, answer.shape[1]), (answer[row] - base[row]) / unit[row]
            shown = repeated(seen, row, answer.shape[1])
            rows.append(torch.where(valid[row].any(1), self.free_energy(mine, shown, rest, place, valid[row]), 0.0))
        return torch.stack(rows)

    def matched(self, sx: dict[str, Tokens], seen: Tokens, sy: Tokens, hidden: Place) -> Float[Tensor, " B"]:
        answer, valid = self.own(sy, hidden)
        rest = self.rest(answer, seen, hidden)
        return torch.where(valid.any(1), self.free_energy(sx, seen, rest, hidden, valid), 0.0)

    def rest(self, answer: Float[Tensor, "B M D"], seen: Tokens, hidden: Place) -> Float[Tensor, "B M D"]:
        """What the base does not tell of each sample's own answer, in the sample's unit."""
        return (answer - self.base(seen, hidden)) / self.unit(seen, hidden)

    def predicted(
        self, sx: dict[str, Tokens], seen: Tokens, hidden: Place, z: Float[Tensor, "B Z"]
    ) -> Float[Tensor, "B M D"]:
        """What is predicted of the `rest` where z is this."""
        return self.paint(self.predictor(sx, hidden, z), seen, hidden)

    def free_energy(
        self, sx: dict[str, Tokens], seen: Tokens, answer: Float[Tensor, "B M D"], place: Place, valid: Tensor
    ) -> Float[Tensor, " B"]:
        """min over z of E(x, y, z) + cost(z), for the `rest` of y."""

        def of(z: Float[Tensor, "B Z"]) -> Float[Tensor, " B"]:
            return pair_energy(self.energy, self.predicted(sx, seen, place, z), answer, valid)

        found = self.latent(sx, answer, place)
        if not self.inference_steps:
            return of(found.z) + found.cost
        return self.latent.minimum(of, sx, found, self.inference_steps)

    def inferred(self, sx: dict[str, Tokens], seen: Tokens, sy: Tokens, hidden: Place) -> Inferred:
        """The amortised z of the true answer."""
        return self.latent(sx, self.rest(at(sy, hidden), seen, hidden), hidden)

    def latents_of(self, sx: dict[str, Tokens], seen: Tokens, sy: Tokens, hidden: Place) -> Float[Tensor, "B Z"] | None:
        return self.inferred(sx, seen, sy, hidden).z.float()

    def bits(self, sx: dict[str, Tokens], seen: Tokens, sy: Tokens, hidden: Place) -> Float[Tensor, " B"] | None:
        return self.inferred(sx, seen, sy, hidden).nats / log(2)

    def predict(self, sx: dict[str, Tokens], seen: Tokens, hidden: Place, noise: Noise | None = None) -> Tensor:
        z = self.latent.drawn(sx, None if noise is None else noise(self.latent.prior_width))
        return self.predicted(sx, seen, hidden, z) * self.unit(seen, hidden) + self.base(seen, hidden)

    def settle(self) -> None:
        self.latent.settle()
