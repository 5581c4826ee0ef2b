"""What every objective is: a loss for training, an energy for every pair of samples."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor, nn

from mmssl.augment import View
from mmssl.batch import Batch
from mmssl.errors import ConfigError
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens

Noise = Callable[[int], Tensor]  # D -> (B, D) standard normal numbers that belong to the samples


class Output(NamedTuple):
    """What a forward answers; a tuple, because accelerate recurses only into tuples, lists and mappings."""

    terms: dict[str, Float[Tensor, ""]]  # weighted means over the samples of the batch; the loss is their sum
    energy: Float[Tensor, " B"]  # F(x, y) of each sample
    embedding: Float[Tensor, "B D"]  # the encoder's, detached
    compared: Float[Tensor, "B P"] | None = None  # what the energy compares, detached, where it is one vector a sample
    statistics: dict[str, Float[Tensor, ""]] = {}  # logged, no part of the loss; detached  # noqa: RUF012


class Objective(nn.Module):
    """An energy F(x, y) with the loss that shapes it (LeCun 2022, "A path towards autonomous machine intelligence")."""

    encoder: nn.Module  # what outlives pretraining
    normalised: bool = True  # whether exp(-energy) sums to 1 over all answers, so that it is a probability
    views: tuple[View, ...] = (View(),)  # how each view of a picture or a sound is made that a forward reads
    regroup_epochs: float = 0.0  # epochs between two calls of `regroup`; 0: it is never called
    answered: tuple[str, ...] = ("text",)  # the modalities that y consists of
    told: tuple[str, ...] = ()  # those that are seen, and nothing of them is asked for
    paired: tuple[str, ...] = ()  # those that a sample must have for its energy to be that of a pair
    differentiates: bool = False  # whether `forward` itself takes gradients that pass through weights
    hides: bool = False  # whether `corrupted`, `predict` and `energies_of` are defined
    infers: bool = False  # whether energies look for a z without noise anew for each pair, which takes time
    has_latent: bool = False  # whether `predict` has more than one answer, one for each noise

    def forward(self, batch: Batch) -> Output:
        """The terms of the loss, each a mean over samples: equal batches on all processes give the global mean."""
        raise TypeError(f"{type(self).__name__} defines no forward")

    def energies(self, batch: Batch, answers: Batch | None = None) -> Float[Tensor, "A B"]:
        """F(x of the row, y of the column): compatible pairs lie on the diagonal.

        x comes from `batch` (A samples), y from `answers` (B samples; default: the same batch). Those that hide
        nothing define it themselves.
        """
        tokens, seen, hidden = self.corrupted(batch)
        return self.energies_of(seen, hidden, tokens if answers is None else self.corrupted(answers)[0])

    def energies_of_pairs(self, batch: Batch, answers: Batch) -> Float[Tensor, " B"]:
        """F(x of each sample of `batch`, y of the same one of `answers`): the diagonal of `energies`. Those whose pairs
        each cost a prediction define it without the other pairs.
        """
        return self.energies(batch, answers).diagonal()

    def compares(self, x: str, y: str) -> bool:
        """Whether `energies_between` is defined for these two modalities."""
        return False

    def mirrors(self, x: str, y: str) -> bool:
        """Whether `energies_between` of (x, y) is computed as that of (y, x), transposed."""
        return False

    def energies_between(self, x: str, y: str, batch: Batch, answers: Batch | None = None) -> Float[Tensor, "A B"]:
        """F(modality x of the row, modality y of the column), of the whole of both; ConfigError where undefined."""
        raise ConfigError(f"method: {type(self).__name__} does not compare {x} with {y}; expected a cross-modal method")

    def corrupted(self, batch: Batch) -> tuple[dict[str, Tokens], dict[str, Tokens], dict[str, Place]]:
        """All tokens, those that are seen, and the hidden places, of each modality."""
        raise ConfigError(f"method: {type(self).__name__} hides nothing; expected a predictive method")

    def predict(
        self, seen: dict[str, Tokens], hidden: dict[str, Place], noise: Noise | None = None
    ) -> dict[str, Tensor]:
        """What the model says of the hidden places: (B, M, ...) for each modality; for text, logits over the
        vocabulary. Where there is a latent variable, `noise` chooses one of several answers (default: the prior's
        mean).
        """
        raise ConfigError(f"method: {type(self).__name__} predicts nothing; expected a predictive method")

    def energies_of(
        self, seen: dict[str, Tokens], hidden: dict[str, Place], answers: dict[str, Tokens]
    ) -> Float[Tensor, "A B"]:
        """F(what is seen of the row, what lies at its hidden places in the whole sample of the column)."""
        raise ConfigError(f"method: {type(self).__name__} hides nothing; expected a predictive method")

    def patches_of(
        self, prediction: Tensor, answer: Float[Tensor, "B M D"], place: Place
    ) -> Float[Tensor, "B M D"] | None:
        """What `predict` said of hidden patches in the input's own units, as a person looks at it; None where it cannot
        be looked at. `answer` are the true patches at `place`, of which nothing may be shown that the model was asked
        for.
        """
        return None

    def bits(
        self, seen: dict[str, Tokens], hidden: dict[str, Place], answers: dict[str, Tokens]
    ) -> Float[Tensor, " B"] | None:
        """What the latent variable tells of each sample's answer beyond what is seen, in bits; None without one."""
        return None

    def latents_of(
        self, seen: dict[str, Tokens], hidden: dict[str, Place], answers: dict[str, Tokens]
    ) -> Float[Tensor, "B Z"] | Int[Tensor, "B M"] | None:
        """z of each sample with its answer, all in one row: the posterior's means, or the numbers of codes; None where
        there is none.
        """
        return None

    def drawn_latents(self, tokens: dict[str, Tokens], draw: Draw) -> Float[Tensor, "B Z"] | None:
        """z of each sample, drawn from its posterior, in one row; None where the prior is not N(0, 1)."""
        return None

    def each(self) -> dict[str, "Objective"]:
        """The objectives that are trained together, by name; one that stands alone has no name."""
        return {"": self}

    def remember(self, num_samples: int) -> None:
        """Called once, before training and before weights are restored: the samples that there are to train on."""

    def regroup(self, batches: Iterator[Batch]) -> list[Tensor]:
        """Called every `regroup_epochs`, first before the first step, with this process's share of all training
        samples, plain and in order; the shares are equal, so the last sample may come again. Answers the parameters
        that were made anew: the optimizer forgets what it knew of them.
        """
        return []

    def after_step(self, progress: float) -> None:
        """Called after each optimizer step with the progress in [0, 1]; teachers follow their students here."""
