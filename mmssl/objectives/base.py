"""What every objective is: a loss for training, an energy for every pair of samples."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.tokens import Place, Tokens


class Output(NamedTuple):
    """What a forward answers; a tuple, because accelerate recurses only into tuples, lists and mappings."""

    terms: dict[str, Float[Tensor, ""]]  # weighted means over the samples of the batch; the loss is their sum
    energy: Float[Tensor, " B"]  # F(x, y) of each sample
    embedding: Float[Tensor, "B D"]  # detached


class Objective(nn.Module):
    """An energy F(x, y) with the loss that shapes it (LeCun 2022, "A path towards autonomous machine intelligence")."""

    encoder: nn.Module  # what outlives pretraining
    normalised: bool = True  # whether exp(-energy) sums to 1 over all answers, so that it is a probability

    def forward(self, batch: Batch) -> Output:
        """The terms of the loss, each a mean over samples: equal batches on all processes give the global mean."""
        raise TypeError(f"{type(self).__name__} defines no forward")

    def energies(self, batch: Batch) -> Float[Tensor, "B B"]:
        """F(x of the row, y of the column): compatible pairs lie on the diagonal."""
        raise TypeError(f"{type(self).__name__} defines no energies")

    def corrupted(self, batch: Batch) -> tuple[dict[str, Tokens], dict[str, Tokens], dict[str, Place]]:
        """All tokens, those that are seen, and the hidden places, of each modality."""
        raise TypeError(f"{type(self).__name__} hides nothing")

    def predict(self, seen: dict[str, Tokens], hidden: dict[str, Place]) -> dict[str, Tensor]:
        """What the model says of the hidden places: (B, M, ...) for each modality; for text, logits over the
        vocabulary.
        """
        raise TypeError(f"{type(self).__name__} predicts nothing")

    def after_step(self, progress: float) -> None:
        """Called after each optimizer step with the progress in [0, 1]; teachers follow their students here."""
