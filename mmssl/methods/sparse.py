"""Methods whose z is a sparse code."""

from typing import Any, Literal

from torch import nn

from mmssl.methods.hiding import Mask, Ratio, hiding
from mmssl.methods.pixels import Count, Positive, only
from mmssl.models.sparse import Dictionary
from mmssl.objectives import Objective
from mmssl.objectives.sparse import PATCH, WHOLE, Amortised, Iterated, SparseCoding


def sparse_coding(
    encoder: Any, modalities: Any, *, patch_wise: bool = True, num_atoms: Count = 192, l1_weight: Positive = 0.5,
    inference: Literal["fista", "amortised"] = "fista", inference_steps: Count = 50, network_layers: Count = 4,
    mask: Mask = "right", hidden_ratio: Ratio = 0.5, temperature: Positive = 1.0,
) -> Objective:  # fmt: skip
    """Sparse coding of patches (Olshausen & Field 1996), or with `patch_wise` false of whole pictures, where what is
    hidden can be told from z of what is seen; an encoder learns to predict z (Kavukcuoglu et al. 2008,
    arXiv:1010.3467), and outlives.

    z is found by `inference_steps` of FISTA; with `amortised`, after training by LISTA of `network_layers`. `mask` and
    `hidden_ratio` are those of energies and completions: the loss is that of whole pictures. Completions are drawn from
    exp(-E / `temperature`), which is the variance of what y adds to W z, in squares of normalised pixels.
    """
    vision = only(encoder, "image")
    cut, unit = vision.cut("image"), PATCH if patch_wise else WHOLE
    dictionary = Dictionary(cut.width if patch_wise else cut.width * cut.grid[0] * cut.grid[1], num_atoms)
    teacher = Iterated(l1_weight, inference_steps)
    found: dict[str, Iterated | Amortised] = {
        "fista": teacher, "amortised": Amortised(dictionary, l1_weight, network_layers),
    }  # fmt: skip
    return SparseCoding(
        cut=cut, encoder=vision, dictionary=dictionary, head=nn.Linear(vision.width, num_atoms), teacher=teacher,
        inference=found[inference], corrupt=hiding(mask, hidden_ratio), unit=unit, temperature=temperature,
    )  # fmt: skip
