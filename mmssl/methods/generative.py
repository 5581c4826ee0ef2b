"""Methods that unmix what is hidden from noise."""

from typing import Annotated, Any, Literal

from pydantic import Field

from mmssl.corruption import Corruption
from mmssl.drop import parted
from mmssl.errors import ConfigError
from mmssl.methods.frames import hides_frames, nearest_frame, reads_frames
from mmssl.methods.hiding import Mask, Predicts, Ratio, hiding
from mmssl.methods.pixels import Count, only
from mmssl.models.denoiser import Denoiser
from mmssl.models.latent_space import LatentSpace
from mmssl.models.noising import Ddpm, Flow, Noising, Process, Quantity
from mmssl.models.predictor import Head
from mmssl.objectives import Objective
from mmssl.objectives.autoencoding import Variational
from mmssl.objectives.diffusion import Diffusion, PatchSpace, Sampling
from mmssl.pretrained import objective_of_run
from mmssl.random import Draw
from mmssl.sections import Text
from mmssl.tokens import Place, Tokens

Share = Annotated[float, Field(ge=0, lt=1)]
Guidance = Annotated[float, Field(ge=0)]
PROCESSES: dict[str, Process] = {"flow": Flow(), "flow_uniform": Flow(is_logit_normal=False), "ddpm": Ddpm()}
Processes = Literal["flow", "flow_uniform", "ddpm"]  # flow_uniform: with uniform times of training


def noising(process: str, says: Quantity) -> Noising:
    """How data become noise, and what is said of it; ConfigError where that does not tell the answer."""
    found = PROCESSES[process]
    if says == "noise" and found.ends[1] == 1:
        raise ConfigError(
            f"method.says noise: a {process} begins at noise alone, which tells no answer; expected answer"
        )
    return Noising(found, says)


def diffusion(
    encoder: Any, modalities: Any, *, mask: Mask = "random", hidden_ratio: Ratio = 0.75,
    process: Processes = "flow", says: Quantity = "answer", sampling_steps: Count = 20,
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
        name="image", encoder=encoder, corrupt=hiding(mask, hidden_ratio), denoiser=denoiser, space=PatchSpace(),
        noising=noising(process, says), sampling=Sampling(sampling_steps, guidance, energy_draws),
        drop_context=drop_context,
    )  # fmt: skip


def video_diffusion(
    encoder: Any, modalities: Any, *, predicts: Predicts = "future", seen_frames: Count = 4, process: Processes =
    "flow", says: Quantity = "answer", sampling_steps: Count = 10, energy_draws: Count = 4, drop_context: Share = 0.0,
    guidance: Guidance = 1.0, predictor_layers: Count = 8, predictor_width: Count = 512, predictor_heads: Count = 16,
    predictor_head: Head = "linear",
) -> Objective:  # fmt: skip
    """The hidden frames of a clip, all at once, unmixed from noise, seeing the others (Ho et al. 2022,
    arXiv:2204.03458, whose denoiser is a U-Net that mixes what is seen with noise, too; a flow in `sampling_steps`
    steps of second order; what is unmixed is the change from the nearest seen frame). Of patches of more numbers than
    `predictor_width` a linear `predictor_head` leaves out some for good.
    """
    cut = reads_frames(encoder).cuts["video"]
    denoiser = Denoiser(
        encoder.width, cut.width, encoder.cuts, layers=predictor_layers, width=predictor_width, heads=predictor_heads,
        head=predictor_head,
    )  # fmt: skip
    return Diffusion(
        name="video", encoder=encoder, corrupt=hides_frames(cut, predicts, seen_frames), denoiser=denoiser,
        space=PatchSpace(), noising=noising(process, says), base=nearest_frame(cut), drop_context=drop_context,
        sampling=Sampling(sampling_steps, guidance, energy_draws),
    )  # fmt: skip


def hide_all(tokens: Tokens, draw: Draw) -> tuple[Tokens, Place]:
    """Nothing of a picture is seen."""
    return parted(tokens, tokens.place.position, tokens.value.shape[1])


def space_of_run(folder: str, modalities: Any, patch: tuple[int, ...]) -> LatentSpace:
    """The latents of another run on pictures; ConfigError where they are not one for each patch of this size."""
    found = objective_of_run(folder, {"image": modalities["image"]})
    if not isinstance(found, Variational) or not found.code.spatial:
        raise ConfigError(
            f"method.pretrained: {folder} has no latents of patches; expected a run of vae with spatial=true"
        )
    if found.cut.patch != patch:
        sizes = (" x ".join(map(str, size)) for size in (found.cut.patch, patch))
        raise ConfigError("method.pretrained: {} has patches of {}; expected {}".format(folder, *sizes))
    return LatentSpace(found)


def latent_diffusion(
    encoder: Any, modalities: Any, *, pretrained: Text, mask: Mask | Literal["all"] = "all", hidden_ratio: Ratio = 0.5,
    process: Processes = "flow", says: Quantity = "velocity", sampling_steps: Count = 20, energy_draws: Count = 8,
    drop_context: Share = 0.1, guidance: Guidance = 1.0, predictor_layers: Count = 8, predictor_width: Count = 512,
    predictor_heads: Count = 16,
) -> Objective:  # fmt: skip
    """Diffusion in the latents of a frozen `vae`, whose run folder is `pretrained`, with captions as context where the
    task reads text (Rombach et al. 2022, arXiv:2112.10752, eq. 3).

    A picture is hidden by `mask`: "all" of it, or `hidden_ratio`. A share `drop_context` of the samples is learned
    without what is seen, so that `guidance` can weigh it (Ho & Salimans 2022, arXiv:2207.12598; 1: none).
    """
    cut = only(encoder, "image").cut("image")
    space = space_of_run(pretrained, modalities, cut.patch)
    denoiser = Denoiser(
        encoder.width, space.autoencoder.latent_width, encoder.cuts, layers=predictor_layers, width=predictor_width,
        heads=predictor_heads,
    )  # fmt: skip
    corrupt: Corruption = hide_all if mask == "all" else hiding(mask, hidden_ratio)
    return Diffusion(
        name="image", encoder=encoder, corrupt=corrupt, denoiser=denoiser, space=space, noising=noising(process, says),
        sampling=Sampling(sampling_steps, guidance, energy_draws), drop_context=drop_context,
    )  # fmt: skip
