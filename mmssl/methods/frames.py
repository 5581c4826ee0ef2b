"""Methods that predict the hidden frames of a clip in pixels: its future, its past, or what lies between."""

from collections.abc import Sequence
from typing import Any, Literal

from torch import nn

from mmssl.corruption import Corruption
from mmssl.drop import NearestFrame, SeenMotion, keep_times, shuffled_times
from mmssl.energy import squared_error
from mmssl.errors import ConfigError
from mmssl.methods.hiding import Predicts, seen_patches
from mmssl.methods.pixels import Count, Positive, only, reconstruction
from mmssl.modalities.grids import Cut
from mmssl.models.frame_convnet import FrameEncoder
from mmssl.models.frame_latent import FramePrior, FrameReader, ToldByTime
from mmssl.models.latent import GaussianLatent, StandardNormal
from mmssl.models.moved_frames import MovedFrames
from mmssl.models.predictor import Head, TransformerPredictor
from mmssl.models.target import Data
from mmssl.objectives import LatentStream, Objective, Predictive, Ranking
from mmssl.objectives.critic import Critic
from mmssl.objectives.latent_stream import as_it_is
from mmssl.objectives.predictive import Base, as_said
from mmssl.sections import CountOrZero, NonNegative
from mmssl.tokens import in_place


def reads_frames(encoder: Any) -> Any:
    """The encoder, if it can encode some frames of a clip without the others; else ConfigError."""
    return encoder if isinstance(encoder, FrameEncoder) else only(encoder, "video")


def hides_frames(cut: Cut, predicts: Predicts, seen_frames: int) -> Corruption:
    """The corruption that hides all of a clip but `seen_frames`."""
    return keep_times(seen_patches(predicts, seen_frames, cut))


def nearest_frame(cut: Cut) -> NearestFrame:
    """What is guessed of a clip without learning (SVG has skip connections from the last seen frame in its place)."""
    return NearestFrame(cut.channels, cut.patch[0])


def moved_frames(cut: Cut, seen: Sequence[int], copies: int, reach: int, unit: Base = as_it_is) -> MovedFrames | None:
    """What moves copies of frames where these patches of time are seen; None without copies."""
    if not copies:
        return None
    return MovedFrames(cut.channels, cut.patch, len(seen) * cut.patch[0], copies, reach, nearest_frame(cut), unit)


def frame_prediction(
    encoder: Any, modalities: Any, *, predicts: Predicts = "future", seen_frames: Count = 4, predictor_layers: Count =
    4, predictor_width: Count = 384, predictor_heads: Count = 6, predictor_head: Head = "linear", moved_copies:
    CountOrZero = 0, reach: Count = 8,
) -> Objective:  # fmt: skip
    """Past frames -> all future frames at once, one answer, mean squared error over pixels (Mathieu et al. 2015,
    arXiv:1511.05440, eq. 1 with p = 2; a transformer, and the change from the nearest seen frame): where the future is
    several it predicts their mean. `predicts` says which frames are hidden. With `moved_copies` a frame is painted by
    moving the nearest seen one by up to `reach` pixels in so many ways, too (`MovedFrames`).
    """
    cut = reads_frames(encoder).cuts["video"]
    moves = moved_frames(cut, seen_patches(predicts, seen_frames, cut), moved_copies, reach)
    return reconstruction(
        encoder, "video", hides_frames(cut, predicts, seen_frames), Data(), layers=predictor_layers,
        width=predictor_width, heads=predictor_heads, head=predictor_head, base=nearest_frame(cut), moves=moves,
    )  # fmt: skip


def frame_prediction_latent(
    encoder: Any, modalities: Any, *, predicts: Predicts = "future", seen_frames: Count = 4, latent_per:
    Literal["frame", "clip"] = "frame", prior: Literal["learned", "fixed"] = "learned", latent_width: Count = 16,
    latent_weight: Positive = 1e-3, free_nats: NonNegative = 0.0, latent_layers: Count = 2, predictor_layers: Count =
    4, predictor_width: Count = 384, predictor_heads: Count = 6, predictor_head: Head = "linear", unit:
    Literal["pixels", "motion"] = "pixels", moved_copies: CountOrZero = 0, reach: Count = 8,
) -> Objective:  # fmt: skip
    """Past frames and z -> future frames; z from a posterior that sees the future, held near a learned prior that does
    not (Denton & Fergus 2018, arXiv:1802.07687: SVG-LP, with a fixed prior SVG-FP). `latent_weight` times KL in nats
    beyond `free_nats` is z's cost, its limit of capacity; 2 deviation^2 / hidden numbers is that of the bound of a
    normal output.

    Where we differ: transformers over all frames at once in place of LSTMs from frame to frame, so a frame is predicted
    from the seen ones and all z, and a learned prior is told the seen frames and the z before it. A time is one of a
    patch of encoder.frames; with `latent_per` clip one z tells all of them. Of patches with more numbers than
    `predictor_width` a linear `predictor_head` leaves out some for good. With `unit` motion errors are told in units of
    how much the seen frames change, so that what is small or slow counts as much as what is large; it is seen, so the
    mean of what may come stays the best answer without z. With `moved_copies` a frame is painted by moving the nearest
    seen one by up to `reach` pixels in so many ways, too (`MovedFrames`).
    """
    cut = reads_frames(encoder).cuts["video"]
    seen, total = seen_patches(predicts, seen_frames, cut), cut.grid[0]
    times = [time for time in range(total) if time not in seen]
    widths, num_latents = {"video": encoder.width}, len(times) if latent_per == "frame" else 1
    units: dict[str, Base] = {"pixels": as_it_is, "motion": SeenMotion(cut.channels, cut.patch[0])}
    sizes: dict[str, Any] = {"width": predictor_width, "heads": predictor_heads}
    reader = {**sizes, "layers": latent_layers, "latent_width": latent_width}
    priors = {"learned": None, "fixed": StandardNormal()}
    moves = moved_frames(cut, seen, moved_copies, reach, units[unit])
    predictor: nn.Module = TransformerPredictor(
        encoder.width, cut.width if moves is None else sum(moves.widths), ["video"], layers=predictor_layers,
        latent_width=latent_width, head=predictor_head, **sizes,
    )  # fmt: skip
    posterior = None
    if latent_per == "frame":
        posterior = FrameReader({**widths, "answer": cut.width}, times, total, **reader)
        predictor = ToldByTime(predictor, times)
        priors["learned"] = FramePrior(widths, len(times), **reader)
    latent = GaussianLatent(
        widths, cut.width, **{**reader, "latent_width": num_latents * latent_width}, weight=latent_weight,
        free=free_nats, prior=priors[prior], posterior=posterior,
    )  # fmt: skip
    stream = LatentStream(
        tokenize=cut.tokenize, corrupt=keep_times(seen), predictor=predictor, energy=squared_error, pairing=in_place,
        latent=latent, base=nearest_frame(cut), unit=units[unit], paint=moves or as_said,
    )  # fmt: skip
    return Predictive(streams={"video": stream}, encoder=encoder)


def frame_order(
    encoder: Any, modalities: Any, *, predicts: Predicts = "future", seen_frames: Count = 4, margin: Positive = 1.0
) -> Objective:
    """The frames of a clip are to have less energy in their order than shuffled (Misra, Zitnick & Hebert 2016, "Shuffle
    and learn", arXiv:1603.08561, which tells the order of three frames by a classifier). Those that `seen_frames` keeps
    stay in their place, so that what is ranked is a continuation.
    """
    cut = only(encoder, "video").cut("video")
    seen = seen_patches(predicts, seen_frames, cut)
    times = cut.grid[0] - len(seen)
    if times < 2:
        raise ConfigError(
            f"method.seen_frames {seen_frames}: {times} patch of {cut.patch[0]} frames is left; expected at least 2, "
            "of fewer seen frames or a lower encoder.frames"
        )
    return Ranking(
        name="video", tokenize=cut.tokenize, corrupt=keep_times(seen), negative=shuffled_times(times), encoder=encoder,
        scorer=Critic("video", encoder.width), margin=margin,
    )  # fmt: skip
