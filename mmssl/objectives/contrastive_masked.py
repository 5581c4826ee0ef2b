"""Predict what is hidden of several modalities, and contrast what is seen of them, in one pass of the encoder."""

import torch
from jaxtyping import Float
from torch import Tensor

from mmssl.batch import Batch
from mmssl.losses.views import Views, mean_of_pairs, pairs
from mmssl.models.transformer import TransformerEncoder
from mmssl.objectives.base import Output
from mmssl.objectives.joint_embedding import JointEmbedding
from mmssl.objectives.predictive import Predictive, pooled
from mmssl.objectives.together import Together
from mmssl.tokens import Place, Tokens


class ContrastiveMasked(Together):
    """The sum of a masked prediction from all modalities together and of a contrast between each alone, weighted (Gong
    et al. 2022, arXiv:2210.07839, eq. 1 to 10).

    A step encodes only what is seen: each modality's own layers once, the shared ones for all in one sequence and for
    each by itself. Energies are those of the two parts, the contrast's of whole samples.
    """

    def __init__(
        self, *, encoder: TransformerEncoder, masked: Predictive, contrast: JointEmbedding, weights: dict[str, float]
    ) -> None:
        super().__init__(encoder=encoder, parts={"masked": masked, "contrast": contrast}, weights=weights)
        self.typed = encoder, masked, contrast  # the same, with their types

    def forward(self, batch: Batch) -> Output:
        encoder, masked, contrast = self.typed
        tokens, seen, hidden = masked.corrupted(batch)
        # each modality's own layers once, the shared ones for all together and for each alone
        apart = encoder.apart(seen)
        joint = encoder.joined(apart)
        alone = {name: encoder.joined({name: part})[name] for name, part in apart.items()}
        outputs = {
            "masked": predicted(masked, batch, tokens, seen, hidden, joint),
            "contrast": contrasted(contrast, batch, alone),
        }
        terms = {
            f"{part}/{key}": self.weights[part] * term
            for part, (found, _) in outputs.items()
            for key, term in found.items()
        }
        energy = torch.stack([self.weights[part] * energy for part, (_, energy) in outputs.items()]).sum(0)
        return Output(terms, energy, pooled(joint).detach())


Parts = tuple[dict[str, Float[Tensor, ""]], Float[Tensor, " B"]]  # terms, and the energy of each sample


def predicted(
    masked: Predictive, batch: Batch, tokens: dict[str, Tokens], seen: dict[str, Tokens], hidden: dict[str, Place],
    sx: dict[str, Tokens],
) -> Parts:  # fmt: skip
    """What is hidden of each modality, from what is seen of all."""
    sy = masked.target(tokens)
    terms, energies = {}, []
    for name, stream in masked.by_name.items():
        parts, energy = stream.terms(sx, seen[name], sy[name], hidden[name], batch.draw)
        terms |= {name + suffix: part.mean() for suffix, part in parts.items()}
        energies.append(energy.detach())
    return terms, torch.stack(energies).sum(0)


def contrasted(contrast: JointEmbedding, batch: Batch, alone: dict[str, Tokens]) -> Parts:
    """The mean embedding of each modality among those of all samples."""
    branches = contrast.embedder.by_name
    value = torch.stack([branches[name].projector(pooled({name: alone[name]})).float() for name in branches])
    present = torch.stack([batch.present(name) for name in branches])
    views = Views(value, present, tuple(range(len(value))))
    terms = contrast.criterion(views, views, batch.draw.index)
    with torch.no_grad():
        energy = mean_of_pairs(contrast.energy(value[:, None], value[None]), pairs(views, views))
    return terms, energy
