"""Rank a true answer above a false one: a window with its own word, a clip with its frames in their order."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.corruption import Corruption
from mmssl.models.encoder import WindowScorer
from mmssl.objectives.base import Objective, Output
from mmssl.objectives.critic import Critic
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens, at

Negative = Callable[[Draw, Tensor], Tensor]  # what lies at the hidden places -> what is to rank below it


class Ranking(Objective):
    """Hinge ranking: mean over a sample's questions of max(0, margin + E(x, y) - E(x, false y)).

    Collobert et al. 2011, "Natural language processing (almost) from scratch", eq. 17. `scorer` judges what may lie at
    the hidden places of the modality `name`, by the encoder of what is seen: it answers each place, or all as one.
    """

    normalised = False
    corrupt: Corruption
    scorer: WindowScorer | Critic

    def __init__(
        self, *, name: str, tokenize: Callable[[list[Tensor]], Tokens], corrupt: Corruption, negative: Negative,
        encoder: nn.Module, scorer: WindowScorer | Critic, margin: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.name, self.answered = name, (name,)
        self.encoder, self.scorer = encoder, scorer
        self.tokenize, self.corrupt, self.negative, self.margin = tokenize, corrupt, negative, margin

    def forward(self, batch: Batch) -> Output:
        tokens, seen, hidden = self.one(batch)
        # the true answer and a false one, beside what is seen of the same sample
        true = at(tokens, hidden)
        judged = self.scorer.judged(self.encoder, seen, hidden, [true, self.negative(batch.draw, true)])
        matched, other = judged.energy.unbind(-1)
        loss = mean(judged.valid, (self.margin + matched - other).clamp(min=0))
        return Output({self.name: loss.mean()}, mean(judged.valid, matched).detach(), judged.embedding.detach())

    def energies(self, batch: Batch, answers: Batch | None = None) -> Float[Tensor, "A B"]:
        tokens, seen, hidden = self.one(batch)
        other = tokens if answers is None else self.tokenize(answers.views[self.name])
        return self.scorer.pairs(self.encoder, seen, hidden, other)

    def predict(self, seen: dict[str, Tokens], hidden: dict[str, Place]) -> dict[str, Tensor]:
        return {self.name: self.scorer(self.encoder(seen), hidden[self.name])}

    def corrupted(self, batch: Batch) -> tuple[dict[str, Tokens], dict[str, Tokens], dict[str, Place]]:
        tokens, seen, hidden = self.one(batch)
        return {self.name: tokens}, {self.name: seen}, {self.name: hidden}

    def one(self, batch: Batch) -> tuple[Tokens, Tokens, Place]:
        """Those of the one modality."""
        tokens = self.tokenize(batch.views[self.name])
        return tokens, *self.corrupt(tokens, batch.draw)


def mean(valid: Bool[Tensor, "B P"], value: Float[Tensor, "B P"]) -> Float[Tensor, " B"]:
    """Over a sample's questions; 0 where there is none."""
    return torch.where(valid, value, 0.0).sum(1) / valid.sum(1).clamp(min=1)
