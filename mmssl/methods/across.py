"""Methods that predict one modality from another, in embeddings or in the input's own space."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from mmssl.corruption import Corruption
from mmssl.drop import drop_blocks, drop_random
from mmssl.energy import smooth_l1, squared_error
from mmssl.errors import ConfigError
from mmssl.methods.cross_modal import BOTH
from mmssl.methods.generative import hide_all
from mmssl.methods.jepa import Momentum, Share, embedding_stream
from mmssl.methods.latent import Limit, latent_stream, limited
from mmssl.methods.pixels import Count, Positive, Ratio, only
from mmssl.models.latent import GaussianLatent
from mmssl.models.predictor import TransformerPredictor
from mmssl.models.target import Teacher
from mmssl.objectives import Objective, Predictive, Stream
from mmssl.objectives.pairs import OneContext, Pair
from mmssl.sections import CountOrZero, NonNegative
from mmssl.tokens import in_place

PairName = Literal[
    "audio_to_audio", "video_to_video", "audio_to_video", "video_to_audio", "audio_video_to_audio",
    "audio_video_to_video",
]  # fmt: skip
Names = Annotated[tuple[PairName, ...], Field(min_length=1)]
Weights = Annotated[tuple[Positive, ...], Field(min_length=1)]
ALL: tuple[PairName, ...] = get_args(PairName)


def pairs_of(names: tuple[PairName, ...], weights: tuple[float, ...]) -> list[Pair]:
    """Pairs by their names, of whose weights the last repeats; ConfigError where one comes twice, or a modality is
    predicted that no pair shows: its targets would be those of an encoder that never learned to read it.
    """
    if doubled := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"method.pairs: {doubled[0]} stands there twice; expected each pair once")
    found = []
    for number, name in enumerate(names):
        x, y = name.split("_to_")
        found.append(Pair(tuple(x.split("_")), y, weights[min(number, len(weights) - 1)]))
    shown = {name for pair in found for name in pair.x}
    if unseen := [pair for pair in found if pair.y not in shown]:
        raise ConfigError(
            f"method.pairs: {unseen[0].name}, but no pair shows {unseen[0].y}, of which the targets are made; "
            f"expected one that does, as {unseen[0].y}_to_{unseen[0].x[0]}"
        )
    return found


def audio_visual_jepa(
    encoder: Any, modalities: Any, *, pairs: Names = ALL, pair_weights: Weights = (1.0,), drop_modality: Share = 0.5,
    video_hidden_ratio: Ratio = 0.75, audio_hidden_ratio: Ratio = 0.75, block_ratio: Ratio = 0.2, num_masks: Count = 1,
    limit: Literal["none", Limit] = "none", latent_width: Count = 16, limit_weight: NonNegative = 1e-2,
    free_nats: NonNegative = 0.0, num_codes: Count = 16, noise_deviation: Positive = 0.1, latent_layers: Count = 1,
    inference_steps: CountOrZero = 0, predictor_layers: Count = 6, predictor_width: Count = 384,
    predictor_heads: Count = 6, momentum: Momentum = 0.998,
) -> Objective:  # fmt: skip
    """One encoder for sound and picture predicts a teacher's embeddings of what is hidden of each from what is seen of
    one or of both (LeCun 2022, "A path towards autonomous machine intelligence", section 4.6; masks of Bardes et al.
    2024, arXiv:2404.08471; modality dropout of Shi et al. 2022, arXiv:2201.02184, section 3.3).

    Each of `pairs` is a term of its own, of `pair_weights` (the last repeats); a share `drop_modality` of the samples
    is shown one modality alone. What is never predicted is seen whole. `limit`: without z ("none"), or with one of the
    limits of `jepa_with_latent`.
    """
    chosen = pairs_of(pairs, pair_weights)
    show = OneContext(chosen, drop_modality)
    predicted = [name for name in BOTH if any(pair.y == name and pair.x in show.contexts for pair in chosen)]
    if not predicted:
        raise ConfigError(
            f"method.drop_modality {drop_modality:g}: no pair of {', '.join(pairs)} is left; expected 0.5"
        )
    seen = [name for name in BOTH if any(name in pair.x for pair in chosen)]
    corrupt: dict[str, Corruption] = {
        "video": drop_blocks(video_hidden_ratio, block_ratio), "audio": drop_random(audio_hidden_ratio),
    }  # fmt: skip
    sizes = {"layers": predictor_layers, "width": predictor_width, "heads": predictor_heads}
    widths = {name: only(encoder, name).width for name in seen}

    def stream(name: str) -> Stream:
        """What is hidden of a modality, from all that is shown."""
        if limit == "none":
            return embedding_stream(encoder, name, corrupt[name], smooth_l1, **sizes)
        latent = limited(
            limit, (widths, encoder.width), limit_weight=limit_weight, free_nats=free_nats, num_codes=num_codes,
            noise_deviation=noise_deviation, latent_width=latent_width, **{**sizes, "layers": latent_layers},
        )  # fmt: skip
        return latent_stream(encoder, name, corrupt[name], encoder.width, latent, sizes, inference_steps, smooth_l1)

    streams = {name: stream(name) for name in predicted}
    leave_unread(encoder, seen, [*streams.values()])
    return Predictive(
        streams=streams, encoder=encoder, target=Teacher(encoder, momentum),
        given={name: encoder.cuts[name].tokenize for name in seen if name not in predicted}, show=show,
        num_masks=num_masks,
    )  # fmt: skip


def audio_from_video(
    encoder: Any, modalities: Any, *, latent_width: CountOrZero = 16, latent_weight: NonNegative = 1e-3,
    free_nats: NonNegative = 0.0, latent_layers: Count = 2, inference_steps: CountOrZero = 0,
    predictor_layers: Count = 4, predictor_width: Count = 384, predictor_heads: Count = 6,
) -> Objective:  # fmt: skip
    """The whole spectrogram of a clip's sound from its frames and z, which tells one of the sounds that there may be
    from the others (Owens et al. 2016, arXiv:1512.08512, predict what an object sounds like when it is struck; z as in
    Sohn, Lee & Yan 2015, eq. 4). `latent_width=0`: without z, so one answer, the mean of all.
    """
    return other_modality(
        encoder, "video", "audio", latent_width=latent_width, weight=latent_weight, free=free_nats,
        latent_layers=latent_layers, inference_steps=inference_steps, layers=predictor_layers, width=predictor_width,
        heads=predictor_heads,
    )  # fmt: skip


def video_from_audio(
    encoder: Any, modalities: Any, *, latent_width: CountOrZero = 16, latent_weight: NonNegative = 1e-3,
    free_nats: NonNegative = 0.0, latent_layers: Count = 2, inference_steps: CountOrZero = 0,
    predictor_layers: Count = 4, predictor_width: Count = 384, predictor_heads: Count = 6,
) -> Objective:  # fmt: skip
    """The whole clip from the spectrogram of its sound and z, as `audio_from_video` the other way: much of a picture is
    not heard, so without z it is the mean of many (Chen et al. 2017, arXiv:1704.08292, generate it by a GAN).
    """
    return other_modality(
        encoder, "audio", "video", latent_width=latent_width, weight=latent_weight, free=free_nats,
        latent_layers=latent_layers, inference_steps=inference_steps, layers=predictor_layers, width=predictor_width,
        heads=predictor_heads,
    )  # fmt: skip


def other_modality(
    encoder: Any, x: str, y: str, *, latent_width: int, weight: float, free: float, latent_layers: int,
    inference_steps: int, **sizes: Any,
) -> Predictive:  # fmt: skip
    """All of y from all of x, in y's own space; the encoder never reads y, so its embedding of y does not learn."""
    seen, cut = only(encoder, x).cut(x), only(encoder, y).cut(y)
    if latent_width:
        latent = GaussianLatent(
            {x: encoder.width}, cut.width, latent_width=latent_width, weight=weight, free=free,
            **{**sizes, "layers": latent_layers},
        )  # fmt: skip
        stream: Stream = latent_stream(encoder, y, hide_all, cut.width, latent, sizes, inference_steps)
    else:
        predictor = TransformerPredictor(encoder.width, cut.width, [x], **sizes)
        stream = Stream(
            tokenize=cut.tokenize, corrupt=hide_all, predictor=predictor, energy=squared_error, pairing=in_place
        )
    leave_unread(encoder, [x], [stream])
    return Predictive(streams={y: stream}, given={x: seen.tokenize}, encoder=encoder)


def leave_unread(encoder: Any, read: Sequence[str], streams: Sequence[Stream]) -> None:
    """What is kept for modalities that the encoder is never shown does not learn: no loss depends on it, and several
    processes would wait for its gradient.
    """
    readers: list[Any] = [encoder, *(stream.predictor for stream in streams)]
    for name in encoder.cuts.keys() - {*read}:
        encoder.embed[name].requires_grad_(False)
        for reader in readers:
            if name in reader.modality:
                reader.modality[name].requires_grad_(False)
