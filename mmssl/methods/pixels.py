"""Methods that predict what is hidden in the input's own space: pixels, spectrograms, frames."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from mmssl.corruption import Corruption
from mmssl.drop import LastFrame, drop_random, keep_past
from mmssl.energy import squared_error
from mmssl.errors import ConfigError
from mmssl.methods.hiding import Mask, hiding
from mmssl.models.latent import GaussianLatent
from mmssl.models.predictor import TransformerPredictor
from mmssl.models.stock_video import epsilon_of, stock_model
from mmssl.models.target import Data, NormalisedChannels, NormalisedPatches
from mmssl.models.transformer import TransformerEncoder
from mmssl.models.video_autoencoder import LAST_EPSILON, load_decoder
from mmssl.objectives import LatentStream, Objective, Predictive, Stream
from mmssl.objectives.predictive import Base, nothing
from mmssl.sections import NonNegative
from mmssl.tokens import in_place
from mmssl.tubes import hide, tubes

Count = Annotated[int, Field(ge=1)]
Ratio = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]


def visible_only(encoder: Any) -> TransformerEncoder:
    """The encoder, if it can encode a part of the tokens; else ConfigError."""
    if isinstance(encoder, TransformerEncoder):
        return encoder
    raise ConfigError(f"encoder: {type(encoder).__name__} cannot drop hidden tokens; expected encoder.name vit")


def only(encoder: Any, name: str) -> TransformerEncoder:
    """The encoder, if it can drop tokens and reads this modality; else ConfigError."""
    found = visible_only(encoder)
    if name not in found.cuts:
        raise ConfigError(f"method: needs {name}, the task reads {', '.join(found.cuts)}; expected another task")
    return found


def reconstruction(
    encoder: Any, name: str, corrupt: Corruption, target: Data, *, layers: int, width: int, heads: int,
    base: Base = nothing, names: Sequence[str] | None = None, **options: Any,
) -> Predictive:  # fmt: skip
    """The hidden patches' own numbers, by a transformer that sees the embeddings of the others; `names` and `options`
    are those of `TransformerPredictor`.
    """
    cut = only(encoder, name).cuts[name]
    predictor = TransformerPredictor(
        encoder.width, cut.width, [name] if names is None else names, layers=layers, width=width, heads=heads, **options
    )
    stream = Stream(
        tokenize=cut.tokenize, corrupt=corrupt, predictor=predictor, energy=squared_error, pairing=in_place, base=base
    )
    return Predictive(streams={name: stream}, encoder=encoder, target=target)


def mae(
    encoder: Any, modalities: Any, *, mask: Mask = "random", hidden_ratio: Ratio = 0.75, predictor_layers: Count = 8,
    predictor_width: Count = 512, predictor_heads: Count = 16, normalise_patches: bool = True,
) -> Objective:  # fmt: skip
    """Masked autoencoder: encode the seen quarter of a picture, predict the rest (He et al. 2021, arXiv:2111.06377)."""
    return reconstruction(
        encoder, "image", hiding(mask, hidden_ratio), NormalisedPatches() if normalise_patches else Data(),
        layers=predictor_layers, width=predictor_width, heads=predictor_heads,
    )  # fmt: skip


def audio_mae(
    encoder: Any, modalities: Any, *, hidden_ratio: Ratio = 0.8, predictor_layers: Count = 16,
    predictor_width: Count = 512, predictor_heads: Count = 16, normalise_patches: bool = True,
) -> Objective:  # fmt: skip
    """MAE on log-mel spectrograms (Huang et al. 2022, arXiv:2207.06405; global attention in the predictor)."""
    return reconstruction(
        encoder, "audio", drop_random(hidden_ratio), NormalisedPatches() if normalise_patches else Data(),
        layers=predictor_layers, width=predictor_width, heads=predictor_heads,
    )  # fmt: skip


def videomae(
    encoder: Any, modalities: Any, *, hidden_ratio: Ratio = 0.9, predictor_layers: Count = 4,
    predictor_width: Count = 384, predictor_heads: Count = 6, normalise_patches: bool = True, pretrained: str = "",
) -> Objective:  # fmt: skip
    """VideoMAE: a tenth of a clip is seen, the same cells of all frames, and the other tubelets are predicted (Tong et
    al. 2022, arXiv:2203.12602).

    `pretrained`: a stock `VideoMAEForPreTraining` whose decoder the predictor begins as ("": random weights); for its
    encoder see encoder.name videomae. With that encoder the objective is the stock one and is exported as such.
    """
    cut, stock = only(encoder, "video").cut("video"), stock_model("VideoMAEForPreTraining", pretrained)
    objective = reconstruction(
        encoder, "video", hide(tubes(hidden_ratio)), NormalisedChannels(cut.channels) if normalise_patches else Data(),
        layers=predictor_layers, width=predictor_width, heads=predictor_heads, names=(), positions="row", bias=False,
        epsilon=epsilon_of(stock), last_epsilon=LAST_EPSILON,
    )  # fmt: skip
    if stock is not None:
        load_decoder(objective.by_name["video"].predictor, stock, cut)
    return objective


def past(encoder: TransformerEncoder, seen_frames: int) -> Corruption:
    """The corruption that hides all frames after the first `seen_frames`; ConfigError where that splits a patch."""
    return keep_past(seen_times(encoder, seen_frames))


def seen_times(encoder: TransformerEncoder, seen_frames: int) -> int:
    """The patches that the first frames of a clip are, one after another; ConfigError where a patch is split or all are
    seen.
    """
    cut = encoder.cut("video")
    frames, part = cut.size[0], cut.patch[0]
    if seen_frames % part or not 0 < seen_frames < frames:
        raise ConfigError(
            f"method.seen_frames {seen_frames}: a clip has {frames} frames in patches of {part}; "
            f"expected a multiple of {part} below {frames}"
        )
    return seen_frames // part


def frame_prediction(
    encoder: Any, modalities: Any, *, seen_frames: Count = 4, predictor_layers: Count = 4,
    predictor_width: Count = 384, predictor_heads: Count = 6,
) -> Objective:  # fmt: skip
    """Past frames -> all future frames at once, one answer, mean squared error over pixels (Mathieu et al. 2015,
    arXiv:1511.05440, eq. 1 with p = 2; a transformer, and the change from the last seen frame): where the future is
    several it predicts their mean.
    """
    corrupt = past(only(encoder, "video"), seen_frames)
    return reconstruction(
        encoder, "video", corrupt, Data(), layers=predictor_layers, width=predictor_width, heads=predictor_heads,
        base=last_frame(encoder),
    )  # fmt: skip


def last_frame(encoder: TransformerEncoder) -> LastFrame:
    """What is guessed of a clip's future without learning (SVG has skip connections from this frame in its place)."""
    cut = encoder.cut("video")
    return LastFrame(cut.channels, cut.patch[0])


def frame_prediction_latent(
    encoder: Any, modalities: Any, *, seen_frames: Count = 4, latent_width: Count = 16, latent_weight: Positive = 1e-3,
    free_nats: NonNegative = 0.0, latent_layers: Count = 2, predictor_layers: Count = 4, predictor_width: Count = 384,
    predictor_heads: Count = 6,
) -> Objective:  # fmt: skip
    """Past frames and z -> future frames; z from a posterior that sees the future, held near a learned prior that
    does not (Denton & Fergus 2018, arXiv:1802.07687, one z a clip). `latent_weight` times KL in nats
    beyond `free_nats` is z's cost: its limit of capacity.
    """
    corrupt = past(only(encoder, "video"), seen_frames)
    cut = encoder.cuts["video"]
    latent = GaussianLatent(
        {"video": encoder.width}, cut.width, layers=latent_layers, width=predictor_width, heads=predictor_heads,
        latent_width=latent_width, weight=latent_weight, free=free_nats,
    )  # fmt: skip
    predictor = TransformerPredictor(
        encoder.width, cut.width, ["video"], layers=predictor_layers, width=predictor_width, heads=predictor_heads,
        latent_width=latent_width,
    )  # fmt: skip
    stream = LatentStream(
        tokenize=cut.tokenize, corrupt=corrupt, predictor=predictor, energy=squared_error, pairing=in_place,
        latent=latent, base=last_frame(encoder),
    )  # fmt: skip
    return Predictive(streams={"video": stream}, encoder=encoder)
