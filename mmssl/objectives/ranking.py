"""Rank a true window of text above the same window with another word in its centre."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.corruption import Corruption
from mmssl.models.encoder import WindowScorer
from mmssl.objectives.base import Objective, Output
from mmssl.objectives.predictive import pair_energy, pooled
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens, at


class Ranking(Objective):
    """Hinge ranking: mean of max(0, margin + E(context, true word) - E(context, other word)).

    Collobert et al. 2011, "Natural language processing (almost) from scratch", eq. 17.
    `scorer(embeddings of what is seen, place)` gives minus the energy of every word of the vocabulary at the place,
    never having seen the word there.
    """

    normalised = False
    tokenize: Callable[[list[Tensor]], Tokens]
    corrupt: Corruption
    scorer: WindowScorer

    def __init__(
        self,
        *,
        tokenize: Callable[[list[Tensor]], Tokens],
        corrupt: Corruption,
        negative: Callable[[Draw, int], Tensor],
        encoder: nn.Module,
        scorer: WindowScorer,
        margin: float,
    ) -> None:
        super().__init__()
        self.encoder, self.scorer = encoder, scorer
        self.tokenize, self.corrupt, self.negative, self.margin = tokenize, corrupt, negative, margin

    def forward(self, batch: Batch) -> Output:
        all_tokens, all_seen, all_hidden = self.corrupted(batch)
        tokens, seen, hidden = all_tokens["text"], all_seen["text"], all_hidden["text"]
        sx = self.encoder({"text": seen})
        # the true word and one drawn from the vocabulary, in the same window
        true = at(tokens, hidden)
        words = torch.stack([true, self.negative(batch.draw, true.shape[1])], dim=-1)
        energy = -self.scorer.of_words(sx, hidden, words)
        hinge = (self.margin + energy[..., 0] - energy[..., 1]).clamp(min=0)
        loss = pair_energy(lambda prediction, _: prediction, hinge, true, hidden.valid)
        matched = pair_energy(lambda prediction, _: prediction, energy[..., 0], true, hidden.valid)
        return Output({"text": loss.mean()}, matched.detach(), pooled(sx).detach())

    def energies(self, batch: Batch, answers: Batch | None = None) -> Float[Tensor, "A B"]:
        all_tokens, all_seen, all_hidden = self.corrupted(batch)
        tokens, seen, hidden = all_tokens["text"], all_seen["text"], all_hidden["text"]
        other = tokens if answers is None else self.tokenize(answers.views["text"])
        answer = at(other, hidden)  # (B, M)
        words = answer.T[None].expand(len(answer), -1, -1)  # row i, place m: the m-th answers of all samples
        energy = -self.scorer.of_words(self.encoder({"text": seen}), hidden, words)  # (B, M, B)
        valid = hidden.valid[:, :, None] & hidden.valid.T[None]
        return torch.where(valid, energy, 0.0).sum(1) / valid.sum(1).clamp(min=1)

    def predict(self, seen: dict[str, Tokens], hidden: dict[str, Place]) -> dict[str, Tensor]:
        return {"text": self.scorer(self.encoder(seen), hidden["text"])}

    def corrupted(self, batch: Batch) -> tuple[dict[str, Tokens], dict[str, Tokens], dict[str, Place]]:
        tokens = self.tokenize(batch.views["text"])
        seen, hidden = self.corrupt(tokens, batch.draw)
        return {"text": tokens}, {"text": seen}, {"text": hidden}
