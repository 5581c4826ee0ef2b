"""A game: a generator fills in what is hidden, a critic tells its samples from real ones and so becomes the energy."""

import torch
from jaxtyping import Float
from torch import Tensor

from mmssl.attention import twice_differentiable
from mmssl.batch import Batch
from mmssl.corruption import Corruption
from mmssl.losses.adversarial import Game, along, squared_slope
from mmssl.models.predictor import TransformerPredictor
from mmssl.models.transformer import TransformerEncoder
from mmssl.objectives.base import Noise, Objective, Output
from mmssl.objectives.critic import embedding_of, head, of_pairs
from mmssl.objectives.predictive import Base, nothing
from mmssl.tokens import Place, Tokens, at


class Adversarial(Objective):
    """F(x, y) = -critic(x, y), where the critic is the encoder of the whole sample and a head on its mean embedding.

    Both players descend in the same step, each along its own term: the critic is shown what was generated, and gives
    the generator the slope of its score there. z has no cost that would limit its capacity: the generator may use all
    of it or none, so nothing is said of its bits.
    """

    normalised = False
    differentiates = True
    hides = True
    has_latent = True

    def __init__(
        self, *, name: str, encoder: TransformerEncoder, corrupt: Corruption, generator: TransformerPredictor,
        latent_width: int, game: Game, penalty_weight: float, base: Base = nothing,
    ) -> None:  # fmt: skip
        super().__init__()
        self.name, self.answered, self.encoder, self.generator = name, (name,), encoder, generator
        self.head = head(encoder.width)
        self.tokenize, self.corrupt, self.base = encoder.cut(name).tokenize, corrupt, base
        self.latent_width, self.game, self.penalty_weight = latent_width, game, penalty_weight

    def forward(self, batch: Batch) -> Output:
        tokens, sx, places = self.corrupted(batch)
        seen, hidden = sx[self.name], places[self.name]
        real = at(tokens[self.name], hidden)
        generated = self.generated(seen, hidden, batch.draw.normal("z", self.latent_width))

        # the critic judges both; the generator's share of its gradient ends at what is shown
        embedding = self.embedding(seen, hidden, real)
        of_real = self.score(embedding)
        with torch.enable_grad():
            shown = generated.detach().requires_grad_()
            of_generated = self.critic(seen, hidden, shown)
            followed = along(of_generated, shown, generated)

        # the critic may not be steep; half precision would make its slope coarse
        point = self.game.point(real, shown.detach(), batch.draw.uniform("penalty", 1)[:, 0])
        with torch.autocast(point.device.type, enabled=False), twice_differentiable():
            squared = squared_slope(lambda answer: self.critic(seen, hidden, answer), point.float())

        terms = {
            "critic": self.game.critic(of_real, of_generated).mean(),
            "generator": self.game.generator(followed).mean(),
            "penalty": self.penalty_weight * self.game.penalty(squared).mean(),
        }
        return Output(terms, -of_real.detach(), embedding.detach())

    def generated(self, seen: Tokens, hidden: Place, z: Float[Tensor, "B Z"]) -> Float[Tensor, "B M D"]:
        """What lies at the hidden places: what is guessed without learning, and what the generator adds to it."""
        return self.generator({self.name: seen}, hidden, z).float() + self.base(seen, hidden)

    def embedding(self, seen: Tokens, hidden: Place, answer: Float[Tensor, "B M D"]) -> Float[Tensor, "B E"]:
        """The mean embedding of the sample that has these patches at the hidden places."""
        return embedding_of(self.encoder, self.name, seen, hidden, answer)

    def score(self, embedding: Float[Tensor, "B E"]) -> Float[Tensor, " B"]:
        """How real a sample looks: a logit, or a height of slope 1."""
        return self.head(embedding)[:, 0].float()

    def critic(self, seen: Tokens, hidden: Place, answer: Float[Tensor, "B M D"]) -> Float[Tensor, " B"]:
        """How well these patches fit what is seen."""
        return self.score(self.embedding(seen, hidden, answer))

    def energies_of(
        self, seen: dict[str, Tokens], hidden: dict[str, Place], answers: dict[str, Tokens]
    ) -> Float[Tensor, "A B"]:
        return -of_pairs(self.critic, seen[self.name], hidden[self.name], answers[self.name])

    def corrupted(self, batch: Batch) -> tuple[dict[str, Tokens], dict[str, Tokens], dict[str, Place]]:
        tokens = self.tokenize(batch.views[self.name])
        seen, hidden = self.corrupt(tokens, batch.draw)
        assert hidden is not None
        return {self.name: tokens}, {self.name: seen}, {self.name: hidden}

    def predict(
        self, seen: dict[str, Tokens], hidden: dict[str, Place], noise: Noise | None = None
    ) -> dict[str, Tensor]:
        sx, place = seen[self.name], hidden[self.name]
        z = sx.value.new_zeros(len(sx.value), self.latent_width) if noise is None else noise(self.latent_width)
        return {self.name: self.generated(sx, place, z)}

    def patches_of(
        self, prediction: Tensor, answer: Float[Tensor, "B M D"], place: Place
    ) -> Float[Tensor, "B M D"] | None:
        return prediction.float()
