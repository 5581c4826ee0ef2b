"""Methods that predict what is hidden in the input's own space: pixels, spectrograms."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from mmssl.corruption import Corruption
from mmssl.drop import drop_random
from mmssl.energy import squared_error
from mmssl.errors import ConfigError
from mmssl.methods.hiding import Mask, hiding
from mmssl.models.moved_frames import MovedFrames
from mmssl.models.predictor import TransformerPredictor
from mmssl.models.stock_video import epsilon_of, stock_model
from mmssl.models.target import Data, NormalisedChannels, NormalisedPatches
from mmssl.models.transformer import TransformerEncoder
from mmssl.models.video_autoencoder import LAST_EPSILON, load_decoder
from mmssl.objectives import Objective, Predictive, Stream
from mmssl.objectives.predictive import Base, as_said, nothing
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


def either(encoder: Any, *names: str) -> str:
    """The first of these modalities that the encoder reads, if it can drop tokens; else ConfigError."""
    found = visible_only(encoder)
    if name := next((name for name in names if name in found.cuts), ""):
        return name
    raise ConfigError(
        f"method: needs {' or '.join(names)}, the task reads {', '.join(found.cuts)}; expected another task"
    )


def reconstruction(
    encoder: Any, name: str, corrupt: Corruption, target: Data, *, layers: int, width: int, heads: int,
    base: Base = nothing, names: Sequence[str] | None = None, moves: MovedFrames | None = None, **options: Any,
) -> Predictive:  # fmt: skip
    """The hidden patches' own numbers, by a transformer that sees the embeddings of the others; `names` and `options`
    are those of `TransformerPredictor`, which says what `moves` paint of seen frames, where these are given.
    """
    cut = encoder.cuts[name]
    said = cut.width if moves is None else sum(moves.widths)
    names = [name] if names is None else names
    predictor = TransformerPredictor(encoder.width, said, names, layers=layers, width=width, heads=heads, **options)
    stream = Stream(
        tokenize=cut.tokenize, corrupt=corrupt, predictor=predictor, energy=squared_error, pairing=in_place, base=base,
        paint=moves or as_said,
    )  # fmt: skip
    return Predictive(streams={name: stream}, encoder=encoder, target=target)


def mae(
    encoder: Any, modalities: Any, *, mask: Mask = "random", hidden_ratio: Ratio = 0.75, predictor_layers: Count = 8,
    predictor_width: Count = 512, predictor_heads: Count = 16, normalise_patches: bool = True,
) -> Objective:  # fmt: skip
    """Masked autoencoder: encode the seen quarter of a picture, predict the rest (He et al. 2021, arXiv:2111.06377)."""
    return reconstruction(
        only(encoder, "image"), "image", hiding(mask, hidden_ratio),
        NormalisedPatches() if normalise_patches else Data(), layers=predictor_layers, width=predictor_width,
        heads=predictor_heads,
    )  # fmt: skip


def audio_mae(
    encoder: Any, modalities: Any, *, hidden_ratio: Ratio = 0.8, predictor_layers: Count = 16,
    predictor_width: Count = 512, predictor_heads: Count = 16, normalise_patches: bool = True,
) -> Objective:  # fmt: skip
    """MAE on log-mel spectrograms (Huang et al. 2022, arXiv:2207.06405; global attention in the predictor)."""
    return reconstruction(
        only(encoder, "audio"), "audio", drop_random(hidden_ratio),
        NormalisedPatches() if normalise_patches else Data(), layers=predictor_layers, width=predictor_width,
        heads=predictor_heads,
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
