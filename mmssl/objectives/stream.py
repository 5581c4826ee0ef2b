"""One modality's way through a predictive objective, without and with a latent variable."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmssl.corruption import Corruption
from mmssl.models.latent import GaussianLatent
from mmssl.objectives.base import Noise
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens, at, in_turn

Energy = Callable[[Tensor, Tensor], Tensor]  # (prediction, answer) -> energy of each hidden token
Tokenize = Callable[[list[Tensor]], Tokens]
Pairing = Callable[[Tokens, Place], tuple[Tensor, Tensor]]  # `in_turn` | `in_place`
Base = Callable[[Tokens, Place], Tensor | float]  # (seen, hidden) -> (B, M, D)


def nothing(seen: Tokens, hidden: Place) -> float:
    """No guess without learning."""
    return 0.0


class Stream(nn.Module):
    """Views -> tokens -> what is seen and where something is hidden -> prediction -> energy.

    The prediction is the predictor's answer plus `base(seen, hidden)`, what is guessed without any learning.
    """

    has_latent = False  # whether there is more than one answer
    tokenize: Tokenize
    corrupt: Corruption
    energy: Energy
    pairing: Pairing
    base: Base

    def __init__(
        self, *, tokenize: Tokenize, corrupt: Corruption, predictor: nn.Module, energy: Energy,
        pairing: Pairing = in_turn, base: Base = nothing,
    ) -> None:  # fmt: skip
        super().__init__()
        self.tokenize, self.corrupt, self.energy, self.pairing, self.base = tokenize, corrupt, energy, pairing, base
        self.predictor = predictor

    def terms(
        self, sx: dict[str, Tokens], seen: Tokens, sy: Tokens, hidden: Place, draw: Draw
    ) -> tuple[dict[str, Float[Tensor, " B"]], Float[Tensor, " B"]]:
        """The terms of each sample's loss by their suffix, and its energy."""
        energy = pair_energy(self.energy, self.predict(sx, seen, hidden), at(sy, hidden), hidden.valid)
        return {"": energy}, energy

    def pairs(self, sx: dict[str, Tokens], seen: Tokens, sy: Tokens, hidden: Place) -> Float[Tensor, "A B"]:
        """F(x of the row, y of the column)."""
        answer, valid = self.pairing(sy, hidden)
        return pair_energy(self.energy, self.predict(sx, seen, hidden)[:, None], answer, valid)

    def predict(self, sx: dict[str, Tokens], seen: Tokens, hidden: Place, noise: Noise | None = None) -> Tensor:
        """What lies at the hidden places."""
        return self.predictor(sx, hidden) + self.base(seen, hidden)


class LatentStream(Stream):
    """A stream whose predictor is told z: F(x, y) = energy of the prediction with z ~ q(z | x, y) + weight * KL(q ||
    p(z | x)).
    """

    has_latent = True

    def __init__(self, *, latent: GaussianLatent, weight: float, **stream: Any) -> None:
        super().__init__(**stream)
        self.latent, self.weight = latent, weight

    def terms(
        self, sx: dict[str, Tokens], seen: Tokens, sy: Tokens, hidden: Place, draw: Draw
    ) -> tuple[dict[str, Float[Tensor, " B"]], Float[Tensor, " B"]]:
        # what the base does not tell: predicted by z and the rest
        answer = at(sy, hidden) - self.base(seen, hidden)
        posterior, cost = self.latent(sx, answer, hidden)
        # the noise belongs to the sample, so that a step does not depend on how its batch is split
        prediction = self.predictor(sx, hidden, posterior.at(draw.normal("z", self.latent.width)))
        energy = pair_energy(self.energy, prediction, answer, hidden.valid)
        cost = torch.where(hidden.valid.any(1), self.weight * cost, 0.0)
        return {"": energy, ".z": cost}, energy + cost

    def pairs(self, sx: dict[str, Tokens], seen: Tokens, sy: Tokens, hidden: Place) -> Float[Tensor, "A B"]:
        answer, valid = self.pairing(sy, hidden)
        base = torch.as_tensor(self.base(seen, hidden)).expand(answer.shape[0], *answer.shape[2:])
        rows = []
        for row in range(len(answer)):
            mine = {name: repeated(tokens, row, answer.shape[1]) for name, tokens in sx.items()}
            place, rest = place_of(hidden, row, answer.shape[1]), answer[row] - base[row]
            posterior, cost = self.latent(mine, rest, place)
            energy = pair_energy(self.energy, self.predictor(mine, place, posterior.mean), rest, valid[row])
            rows.append(energy + torch.where(valid[row].any(1), self.weight * cost, 0.0))
        return torch.stack(rows)

    def predict(self, sx: dict[str, Tokens], seen: Tokens, hidden: Place, noise: Noise | None = None) -> Tensor:
        prior = self.latent.prior(sx)
        z = prior.mean if noise is None else prior.at(noise(self.latent.width))
        return self.predictor(sx, hidden, z) + self.base(seen, hidden)


def repeated(tokens: Tokens, row: int, count: int) -> Tokens:
    """`count` times the tokens of one sample."""
    value = tokens.value[row]
    return Tokens(value.expand(count, *value.shape), place_of(tokens.place, row, count))


def place_of(place: Place, row: int, count: int) -> Place:
    """`count` times the places of one sample."""
    size = place.position.shape[1]
    return Place(place.position[row].expand(count, size), place.document[row].expand(count, size), place.grid)


def pair_energy(energy: Energy, prediction: Tensor, answer: Tensor, valid: Bool[Tensor, "*B M"]) -> Float[Tensor, "*B"]:
    """Mean of the token energies over the valid hidden places; exactly 0 where a sample hides nothing."""
    per_token = torch.where(valid, energy(prediction, answer), 0.0)
    return per_token.sum(-1) / valid.sum(-1).clamp(min=1)
