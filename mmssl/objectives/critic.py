"""Judges of a whole sample: an encoder of what is seen and of an answer, and a head on their mean embedding."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.models.encoder import Judged
from mmssl.objectives.predictive import place_of, pooled, repeated
from mmssl.tokens import Place, Tokens, in_place, joined


def embedding_of(
    encoder: nn.Module, name: str, seen: Tokens, hidden: Place, answer: Float[Tensor, "B M D"]
) -> Float[Tensor, "B E"]:
    """The mean embedding of the sample that has these patches at the hidden places."""
    return pooled(encoder({name: joined(seen, Tokens(answer, hidden))}))


def head(width: int) -> nn.Sequential:
    """From an embedding to a number."""
    return nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))


def of_pairs(
    judge: Callable[[Tokens, Place, Tensor], Float[Tensor, " B"]], seen: Tokens, hidden: Place, answers: Tokens
) -> Float[Tensor, "A B"]:
    """What a judge says of (x of the row, y of the column at the hidden places of x)."""
    answer, _ = in_place(answers, hidden)
    rows = [
        judge(repeated(seen, row, len(of_row)), place_of(hidden, row, len(of_row)), of_row)
        for row, of_row in enumerate(answer)
    ]
    return torch.stack(rows)


class Critic(nn.Module):
    """Ranks answers by a head on the mean embedding of the sample with each of them."""

    def __init__(self, name: str, width: int) -> None:
        super().__init__()
        self.name, self.head = name, head(width)

    def energy(self, embedding: Float[Tensor, "B E"]) -> Float[Tensor, " B"]:
        """Low where the answer fits."""
        return -self.head(embedding)[:, 0].float()

    def judged(self, encoder: nn.Module, seen: Tokens, hidden: Place, answers: list[Tensor]) -> Judged:
        """One question: does all that is hidden fit what is seen?"""
        embeddings = [embedding_of(encoder, self.name, seen, hidden, answer) for answer in answers]
        energy = torch.stack([self.energy(embedding) for embedding in embeddings], -1)
        return Judged(energy[:, None], hidden.valid.any(1, keepdim=True), embeddings[0])

    def pairs(self, encoder: nn.Module, seen: Tokens, hidden: Place, answers: Tokens) -> Float[Tensor, "A B"]:
        """The energies of (x of the row, y of the column)."""

        def judge(seen: Tokens, hidden: Place, answer: Tensor) -> Float[Tensor, " B"]:
            return self.energy(embedding_of(encoder, self.name, seen, hidden, answer))

        return of_pairs(judge, seen, hidden, answers)
