"""Several objectives over one encoder."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.objectives.base import Objective, Output


class Together(Objective):
    """F(x, y) = sum over the parts of weight * energy; the loss is the sum of theirs, weighted alike."""

    normalised = False

    def __init__(self, *, encoder: nn.Module, parts: dict[str, Objective], weights: dict[str, float]) -> None:
        super().__init__()
        self.encoder, self.weights = encoder, weights
        self.parts = nn.ModuleDict(parts)
        self.by_name = parts
        self.answered = tuple({name: None for part in parts.values() for name in part.answered})
        self.views = max((part.views for part in parts.values()), key=len)

    def forward(self, batch: Batch) -> Output:
        outputs = {name: part(batch) for name, part in self.by_name.items()}
        terms = {
            f"{name}/{key}": self.weights[name] * term
            for name, output in outputs.items()
            for key, term in output.terms.items()
        }
        energy = torch.stack([self.weights[name] * output.energy for name, output in outputs.items()]).sum(0)
        return Output(terms, energy, torch.stack([output.embedding for output in outputs.values()]).mean(0))

    def energies(self, batch: Batch, answers: Batch | None = None) -> Float[Tensor, "A B"]:
        energies = [self.weights[name] * part.energies(batch, answers) for name, part in self.by_name.items()]
        return torch.stack(energies).sum(0)

    def energies_of_pairs(self, batch: Batch, answers: Batch) -> Float[Tensor, " B"]:
        energies = [self.weights[name] * part.energies_of_pairs(batch, answers) for name, part in self.by_name.items()]
        return torch.stack(energies).sum(0)

    def each(self) -> dict[str, Objective]:
        return self.by_name

    def remember(self, num_samples: int) -> None:
        for part in self.by_name.values():
            part.remember(num_samples)

    def after_step(self, progress: float) -> None:
        for part in self.by_name.values():
            part.after_step(progress)
