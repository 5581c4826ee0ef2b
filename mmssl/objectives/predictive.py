"""Predict what is hidden from what is seen, and compare at the hidden places."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mmssl.batch import Batch
from mmssl.corruption import Corruption
from mmssl.objectives.base import Objective, Output
from mmssl.tokens import Place, Tokens, at

Energy = Callable[[Tensor, Tensor], Tensor]  # (prediction, answer) -> energy of each hidden token
Target = Callable[[dict[str, Tokens]], dict[str, Tokens]]
Regularizer = Callable[[dict[str, Tokens], Batch], dict[str, Tensor]]


class Stream(nn.Module):
    """One modality's way: views -> tokens -> what is seen and where something is hidden -> prediction -> energy."""

    tokenize: Callable[[list[Tensor]], Tokens]
    corrupt: Corruption
    energy: Energy

    def __init__(
        self, *, tokenize: Callable[[list[Tensor]], Tokens], corrupt: Corruption, predictor: nn.Module, energy: Energy
    ) -> None:
        super().__init__()
        self.tokenize = tokenize
        self.corrupt = corrupt
        self.predictor = predictor
        self.energy = energy


def data(tokens: dict[str, Tokens]) -> dict[str, Tokens]:
    """The target of methods that predict the input itself."""
    return tokens


class Predictive(Objective):
    """F(x, y) = mean over hidden places of energy(predictor(encoder(x), place), target(y) at the place)."""

    def __init__(
        self,
        *,
        streams: dict[str, Stream],
        encoder: nn.Module,
        target: Target = data,
        regularizers: Sequence[Regularizer] = (),
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.streams = nn.ModuleDict(streams)
        self.by_name = streams  # the same, with their type
        self.target = target
        self.regularizers = nn.ModuleList(regularizers)  # type: ignore[arg-type]

    def forward(self, batch: Batch) -> Output:
        tokens, seen, hidden = self.corrupted(batch)
        # what is seen is encoded once, then each modality predicts what is hidden of it
        sx = self.encoder(seen)
        sy = self.target(tokens)
        energy = {
            name: pair_energy(
                stream.energy, stream.predictor(sx, hidden[name]), at(sy[name], hidden[name]), hidden[name].valid
            )
            for name, stream in self.by_name.items()
        }
        # every sample weighs the same, so the mean over a global batch does not depend on how it is split
        terms = {name: value.mean() for name, value in energy.items()}
        for regularizer in self.regularizers:
            terms |= regularizer(sx, batch)
        return Output(terms, torch.stack([value.detach() for value in energy.values()]).sum(0), pooled(sx).detach())

    def energies(self, batch: Batch) -> Float[Tensor, "B B"]:
        tokens, seen, hidden = self.corrupted(batch)
        sy, prediction = self.target(tokens), self.predict(seen, hidden)
        total = []
        for name, stream in self.by_name.items():
            answer, valid = at(sy[name], hidden[name]), hidden[name].valid
            # the k-th hidden place of x is given the k-th answer of y; places that either lacks do not count
            both = valid[:, None] & valid[None]
            total.append(pair_energy(stream.energy, prediction[name][:, None], answer[None], both))
        return torch.stack(total).sum(0)

    def predict(self, seen: dict[str, Tokens], hidden: dict[str, Place]) -> dict[str, Tensor]:
        sx = self.encoder(seen)
        return {name: self.by_name[name].predictor(sx, place) for name, place in hidden.items()}

    def corrupted(self, batch: Batch) -> tuple[dict[str, Tokens], dict[str, Tokens], dict[str, Place]]:
        tokens = {name: stream.tokenize(batch.views[name]) for name, stream in self.by_name.items()}
        pairs = {name: stream.corrupt(tokens[name], batch.draw) for name, stream in self.by_name.items()}
        return tokens, {name: pair[0] for name, pair in pairs.items()}, {name: pair[1] for name, pair in pairs.items()}


def pair_energy(energy: Energy, prediction: Tensor, answer: Tensor, valid: Bool[Tensor, "*B M"]) -> Float[Tensor, "*B"]:
    """Mean of the token energies over the valid hidden places; exactly 0 where a sample hides nothing."""
    per_token = torch.where(valid, energy(prediction, answer), 0.0)
    return per_token.sum(-1) / valid.sum(-1).clamp(min=1)


def pooled(sx: dict[str, Tokens]) -> Float[Tensor, "B D"]:
    """Mean of the valid tokens' embeddings, averaged over modalities."""
    means = []
    for tokens in sx.values():
        weight = tokens.place.valid[..., None].float()
        means.append((tokens.value.float() * weight).sum(1) / weight.sum(1).clamp(min=1))
    return torch.stack(means).mean(0)


class NextSentence(nn.Module):
    """BERT's second loss: is the second half of a document its own? (Devlin et al. 2018, arXiv:1810.04805, section
    3.1).

    Reads `batch.views["next_sentence"]`: (B, N), 0 own, 1 another's, at the first token of a document; -1 elsewhere.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pooler = nn.Linear(width, width)
        self.classifier = nn.Linear(width, 2)

    def forward(self, sx: dict[str, Tokens], batch: Batch) -> dict[str, Float[Tensor, ""]]:
        label: Int[Tensor, "B N"] = batch.views["next_sentence"][0]
        rows, columns = torch.nonzero(label >= 0, as_tuple=True)
        logits = self.classifier(torch.tanh(self.pooler(sx["text"].value[rows, columns]))).float()
        loss = cross_entropy(logits, label[rows, columns], reduction="none")
        count = (label >= 0).sum(1)
        return {"next_sentence": (loss / count[rows]).sum() / len(label)}
