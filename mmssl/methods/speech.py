"""Methods on waveforms: what lies at hidden frames, told by the others."""

from typing import Annotated, Any

from pydantic import Field
from torch import nn

from mmssl.energy import cross_entropy, squared_error
from mmssl.errors import ConfigError
from mmssl.methods.jepa import Momentum, embedding_stream
from mmssl.methods.pixels import Count, Positive, Ratio
from mmssl.models.frame_clusters import Cepstra, CodewordHead, FrameClusters, LayerFeatures
from mmssl.models.mask import MaskFrame
from mmssl.models.predictor import TokenHead
from mmssl.models.quantiser import GumbelQuantiser
from mmssl.models.stock_speech import load_heads
from mmssl.models.stock_video import stock_model
from mmssl.models.target import LayersTeacher
from mmssl.models.wav2vec2 import WaveformEncoder
from mmssl.objectives import ClusteredFrames, ContrastiveStream, HiddenFrames, Objective, QuantisedFrames, Stream
from mmssl.pretrained import encoder_of_run
from mmssl.sections import NonNegative
from mmssl.spans import drop_spans, hide_spans
from mmssl.tokens import in_place

Whole = Annotated[float, Field(gt=0, le=1)]


def of_waveforms(encoder: Any) -> WaveformEncoder:
    """The encoder, if it reads waveforms; else ConfigError."""
    if isinstance(encoder, WaveformEncoder):
        return encoder
    raise ConfigError(
        f"method: needs waveforms, got encoder {type(encoder).__name__}; "
        "expected encoder.name wav2vec2 and audio.form waveform"
    )


def wav2vec2(
    encoder: Any, modalities: Any, *, start_ratio: Ratio = 0.065, span_frames: Count = 10, num_distractors: Count = 100,
    temperature: Positive = 0.1, num_groups: Count = 2, num_codes: Count = 320, code_width: Count = 256,
    embedding_width: Count = 256, diversity_weight: NonNegative = 0.1, first_gumbel_temperature: Positive = 2.0,
    last_gumbel_temperature: Positive = 0.5, convolutions_gradient: Whole = 0.1, pretrained: str = "",
) -> Objective:  # fmt: skip
    """wav2vec 2.0: the codes of hidden frames of a sound, told from those of its other hidden frames (Baevski et al.
    2020, arXiv:2006.11477). A share `start_ratio` of the frames begin hidden spans of `span_frames`.

    `code_width` is that of the entries of all groups side by side. As in the authors' code the diversity term is 1 -
    perplexity / entries, not eq. 4; their penalty on the size of features is left out. `pretrained`: a stock
    `Wav2Vec2ForPreTraining` whose quantiser and heads these begin as ("": random weights).
    """
    found = of_waveforms(encoder)
    if code_width % num_groups:
        raise ConfigError(f"method.code_width {code_width}: expected a multiple of num_groups {num_groups}")
    stock = stock_model("Wav2Vec2ForPreTraining", pretrained)
    quantiser = GumbelQuantiser(
        found.config.conv_dim[-1], num_groups=num_groups, num_codes=num_codes, width=code_width,
        first=first_gumbel_temperature, last=last_gumbel_temperature,
    )  # fmt: skip
    stream = ContrastiveStream(
        tokenize=found.cuts["audio"].tokenize, corrupt=hide_spans(start_ratio, span_frames),
        predictor=TokenHead(found.width, embedding_width, "audio"), pairing=in_place, fill=MaskFrame(found.width),
        quantiser=quantiser, project=nn.Linear(code_width, embedding_width), num_distractors=num_distractors,
        temperature=temperature, diversity_weight=diversity_weight,
    )  # fmt: skip
    objective = QuantisedFrames(stream=stream, encoder=found, gradient=convolutions_gradient)
    if stock is not None:
        load_heads(objective, stock)
    return objective


def hubert(
    encoder: Any, modalities: Any, *, pretrained: str = "", layer: Count = 6, num_clusters: Count = 100,
    start_ratio: Ratio = 0.08, span_frames: Count = 10, temperature: Positive = 0.1, embedding_width: Count = 256,
    convolutions_gradient: Whole = 0.1,
) -> Objective:  # fmt: skip
    """HuBERT: the cluster of each hidden frame (Hsu et al. 2021, arXiv:2106.07447). The first time clusters are of 39
    cepstral coefficients; the second time (`pretrained`: the folder of the first run, 500 clusters in the paper) of
    what its `layer` answers. Where we differ: each number that is clustered has unit variance.
    """
    found = of_waveforms(encoder)
    describe: Cepstra | LayerFeatures = Cepstra(found)
    if pretrained:
        other = of_waveforms(encoder_of_run(pretrained, modalities))
        if layer > other.context.num_layers:
            raise ConfigError(f"method.layer {layer}: {pretrained} has {other.context.num_layers}; expected no more")
        if (other.hop, other.reach) != (found.hop, found.reach):
            raise ConfigError(f"method.pretrained: {pretrained} has other frames; expected the same convolutions")
        describe = LayerFeatures(other, layer)
    head = CodewordHead(found.width, num_clusters, width=embedding_width, temperature=temperature)
    stream = Stream(
        tokenize=found.cuts["audio"].tokenize, corrupt=hide_spans(start_ratio, span_frames), predictor=head,
        energy=cross_entropy, pairing=in_place, fill=MaskFrame(found.width),
    )  # fmt: skip
    clusters = FrameClusters(describe, num_clusters)
    return ClusteredFrames(stream=stream, encoder=found, target=clusters, gradient=convolutions_gradient)


def data2vec_audio(
    encoder: Any, modalities: Any, *, hidden_ratio: Ratio = 0.5, span_frames: Count = 5, num_masks: Count = 8,
    top_layers: Count = 8, momentum: Momentum = 0.999, last_momentum: Momentum = 0.99999, predictor_layers: Count = 2,
    predictor_width: Count = 384, predictor_heads: Count = 6,
) -> Objective:  # fmt: skip
    """data2vec 2.0 of speech: predict the mean of a teacher's layers at hidden spans, several masks for one pass of the
    convolutions and of the teacher, which share them (Baevski et al. 2022, arXiv:2212.07525).

    Hidden frames are dropped. Where we differ: as in `data2vec`.
    """
    found = of_waveforms(encoder)
    stream = embedding_stream(
        found, "audio", drop_spans(hidden_ratio, span_frames), squared_error, layers=predictor_layers,
        width=predictor_width, heads=predictor_heads,
    )  # fmt: skip
    teacher = LayersTeacher(found.context, momentum, last_momentum, top_layers)
    return HiddenFrames(stream=stream, encoder=found, target=teacher, num_masks=num_masks)
