"""Methods that unmix what is hidden from noise."""

from typing import Annotated, Any, Literal

from pydantic import Field

from mmssl.methods.hiding import Mask, Ratio, hiding
from mmssl.methods.pixels import Count, only
from mmssl.models.denoiser import Denoiser
from mmssl.models.noising import Ddpm, Flow, Noising, Process, Quantity
from mmssl.objectives import Objective
from mmssl.objectives.diffusion import Diffusion, PatchSpace, Sampling

Times = Literal["uniform", "logit_normal"]
Share = Annotated[float, Field(ge=0, lt=1)]
Guidance = Annotated[float, Field(ge=0)]
PROCESSES: dict[str, Process] = {"flow": Flow(), "ddpm": Ddpm()}


def diffusion(
    encoder: Any, modalities: Any, *, mask: Mask = "random", hidden_ratio: Ratio = 0.75,
    process: Literal["flow", "ddpm"] = "flow", says: Quantity = "answer", sampling_steps: Count = 20,
    energy_draws: Count = 4, drop_context: Share = 0.0, guidance: Guidance = 1.0, predictor_layers: Count = 8,
    predictor_width: Count = 512, predictor_heads: Count = 16,
) -> Objective:  # fmt: skip
    """Masked autoencoding by diffusion: what is hidden is unmixed from noise, seeing the rest (Wei et al. 2023,
    arXiv:2304.03283).
    """
    cut = only(encoder, "image").cut("image")
    denoiser = Denoiser(
        encoder.width, cut.width, encoder.cuts, layers=predictor_layers, width=predictor_width, heads=predictor_heads
    )
    return Diffusion(
        encoder=encoder, corrupt=hiding(mask, hidden_ratio), denoiser=denoiser, space=PatchSpace(),
        noising=Noising(PROCESSES[process], says), sampling=Sampling(sampling_steps, guidance, energy_draws),
        drop_context=drop_context,
    )  # fmt: skip
