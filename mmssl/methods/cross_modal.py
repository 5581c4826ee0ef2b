"""Methods that learn from modalities that occur together."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from mmssl.augment import View
from mmssl.corruption import replace_tokens
from mmssl.energy import cosine, cross_entropy, squared_error
from mmssl.errors import ConfigError
from mmssl.losses.contrastive import CrossModal
from mmssl.losses.criterion import Criterion
from mmssl.losses.redundancy import BarlowTwins, VarianceInvarianceCovariance
from mmssl.losses.segments import Segments
from mmssl.methods.frames import frame_prediction_latent
from mmssl.methods.pixels import Count, Positive, Ratio, only, visible_only
from mmssl.modalities.grids import Cut, Words
from mmssl.models.predictor import Head, WordHead
from mmssl.models.projector import AtAllTimes, perceptron
from mmssl.objectives import (
    Branch,
    JointEmbedding,
    Objective,
    Predictive,
    SameClip,
    SameSegments,
    SegmentedBranch,
    Stream,
    Together,
    even_ends,
)
from mmssl.objectives.joint_embedding import Extra
from mmssl.objectives.predictive import Energy, Tokenize
from mmssl.sections import CountOrZero, NonNegative

BOTH = ("video", "audio")


def evened(cut: Cut) -> Tokenize:
    """The patches of a spectrogram of which nothing tells where it begins and ends."""
    return lambda views: cut.tokenize([even_ends(view) for view in views])


TOKENIZE: dict[str, Callable[[Cut], Tokenize]] = {"video": lambda cut: cut.tokenize, "audio": evened}


def branch_of_each(encoder: Any, names: Sequence[str], *widths: int) -> dict[str, Branch]:
    """Each modality through the encoder and a projector of its own."""
    cuts = {name: only(encoder, name).cuts[name] for name in names}
    return {
        name: Branch(name=name, tokenize=cut.tokenize, projector=perceptron(encoder.width, *widths))
        for name, cut in cuts.items()
    }


def segment_by_segment(encoder: Any, names: Sequence[str], num_segments: int, *widths: int) -> dict[str, Branch]:
    """As `branch_of_each`, but the point of what lasts is that of each of its segments side by side; what does not says
    the same at all times. ConfigError where a segment is no whole number of patches.
    """
    branches = branch_of_each(encoder, names, *widths)
    for name, branch in branches.items() if num_segments > 1 else ():
        if name not in TOKENIZE:
            branch.projector = nn.Sequential(branch.projector, AtAllTimes(num_segments))
            continue
        cut = encoder.cut(name)
        if cut.grid[0] % num_segments:
            raise ConfigError(
                f"method.num_segments {num_segments}: {name} has {cut.grid[0]} patches in time; expected a divisor"
            )
        branches[name] = SegmentedBranch(
            name=name, tokenize=TOKENIZE[name](cut), projector=branch.projector, num_segments=num_segments
        )
    return branches


def contrast(
    encoder: Any, names: tuple[str, ...], temperature: float, *widths: int, num_segments: int = 1,
    same_clip: Sequence[Extra] = (),
) -> JointEmbedding:  # fmt: skip
    """Each modality's embedding among all samples' of each other one."""
    segments = Segments(num_segments, BOTH)
    return JointEmbedding(
        encoder=encoder, branches=segment_by_segment(encoder, names, num_segments, *widths),
        criterion=CrossModal(temperature, names, segments=segments), energy=cosine, views=(View(),), extras=same_clip,
        segments=segments,
    )  # fmt: skip


def moments(encoder: Any, temperature: float, weight: float, num_moments: int, num_segments: int) -> list[Extra]:
    """Negatives from the same clip; none where nothing asks for them."""
    if not (weight and num_moments):
        return []
    if num_segments > 1:
        return [SameSegments(BOTH, num_segments=num_segments, temperature=temperature, weight=weight)]
    cuts = {name: only(encoder, name).cut(name) for name in BOTH}
    return [SameClip(cuts, temperature=temperature, weight=weight, num_moments=num_moments)]


def audio_visual_contrastive(
    encoder: Any, modalities: Any, *, temperature: Positive = 0.07, same_clip_weight: NonNegative = 1.0,
    num_moments: CountOrZero = 1, num_segments: Count = 1, projector_width: Count = 512, embedding_width: Count = 128,
) -> Objective:  # fmt: skip
    """A clip's sound among the sounds of all other clips, and its picture among theirs (Morgado et al. 2020,
    arXiv:2004.12943, cross-modal discrimination; negatives from the batch), and among its own sound at `num_moments`
    other times (Korbar et al. 2018, arXiv:1807.00230). `same_clip_weight=0`: other clips alone. With `num_segments`
    picture and sound are compared in as many stretches of time, each with that of the same time: the energy of a pair
    is then their mean, weighted by how much each says.
    """
    return contrast(
        visible_only(encoder), BOTH, temperature, projector_width, embedding_width, num_segments=num_segments,
        same_clip=moments(encoder, temperature, same_clip_weight, num_moments, num_segments),
    )  # fmt: skip


def audio_visual_vicreg(
    encoder: Any, modalities: Any, *, invariance: NonNegative = 25.0, variance: NonNegative = 25.0,
    covariance: NonNegative = 1.0, projector_width: Count = 8192,
) -> Objective:  # fmt: skip
    """VICReg between a clip's picture and its sound: what occurs together, without negatives (Bardes et al. 2021,
    arXiv:2105.04906, section 4.3: branches of different modalities). `variance=0 covariance=0` takes away what keeps it
    from collapse.
    """
    criterion = VarianceInvarianceCovariance(invariance, variance, covariance)
    return co_occurrence(encoder, criterion, squared_error, projector_width)


def audio_visual_barlow(
    encoder: Any, modalities: Any, *, redundancy_weight: NonNegative = 0.0051, projector_width: Count = 8192
) -> Objective:
    """Barlow Twins between a clip's picture and its sound (Zbontar et al. 2021, arXiv:2103.03230).
    `redundancy_weight=0` lets all features say the same.
    """
    return co_occurrence(encoder, BarlowTwins(redundancy_weight), cosine, projector_width)


def co_occurrence(encoder: Any, criterion: Criterion, energy: Energy, width: int) -> JointEmbedding:
    """A criterion of two views of a picture, of picture and sound; each through a projector of three layers."""
    return JointEmbedding(
        encoder=encoder, branches=branch_of_each(encoder, BOTH, width, width, width), criterion=criterion,
        energy=energy, views=(View(),),
    )  # fmt: skip


def contrastive_captions(
    encoder: Any, modalities: Any, *, temperature: Positive = 0.07, learnt: bool = True, embedding_width: Count = 512
) -> Objective:
    """CLIP: a caption among those of all samples for each picture, sound or clip that the task reads, and the other way
    round (Radford et al. 2021, arXiv:2103.00020, figure 3); pairs without text are not compared while training. The
    temperature is the first one where it is `learnt`.

    Where we differ: one encoder with layers of its own for each modality only by encoder.separate_layers; the mean of
    all tokens in place of the last or class token.
    """
    names = ("text", *(name for name in visible_only(encoder).cuts if name != "text"))
    if len(names) < 2:
        raise ConfigError("method contrastive_captions: the task reads text alone; expected task captions")
    return JointEmbedding(
        encoder=encoder, branches=branch_of_each(encoder, names, embedding_width),
        criterion=CrossModal(temperature, names, centre="text", learnt=learnt), energy=cosine, views=(View(),),
    )  # fmt: skip


def multimodal(
    encoder: Any, modalities: Any, *, hidden_ratio: Ratio = 0.3, temperature: Positive = 0.1, seen_frames: Count = 4,
    latent_width: Count = 8, latent_weight: Positive = 2e-3, free_nats: NonNegative = 1.5, predictor_layers: Count = 2,
    predictor_width: Count = 128, predictor_heads: Count = 4, embedding_width: Count = 64,
    future_weight: Positive = 10.0, same_clip_weight: NonNegative = 0.0, num_moments: CountOrZero = 1,
    num_segments: Count = 1, contrast_weight: Positive = 1.0, predictor_head: Head = "linear",
    moved_copies: CountOrZero = 0, reach: Count = 8,
) -> Objective:  # fmt: skip
    """Hidden words, several futures of a clip, and contrast between all modalities, over one encoder; `future_weight`
    brings the error of pixels to the size of the other two, `contrast_weight` times contrast. `same_clip_weight` and
    `num_segments`: as in `audio_visual_contrastive`; words and pictures are compared with the mean over segments;
    `predictor_head`, `moved_copies` and `reach`: as in `frame_prediction_latent`. Of any of text, image, audio and
    video: without text no words are hidden, without video there are no futures.
    """
    names = tuple(modalities)
    if len(names) < 2:
        raise ConfigError(f"method multimodal: the task reads {' '.join(names)} alone; expected several modalities")
    parts: dict[str, Objective] = {}
    if "text" in names:
        parts["words"] = hidden_words(encoder, hidden_ratio)
    if "video" in names:
        parts["future"] = frame_prediction_latent(
            encoder, modalities, seen_frames=seen_frames, latent_per="clip", latent_width=latent_width,
            latent_weight=latent_weight, free_nats=free_nats, latent_layers=1, predictor_layers=predictor_layers,
            predictor_width=predictor_width, predictor_heads=predictor_heads, predictor_head=predictor_head,
            moved_copies=moved_copies, reach=reach,
        )  # fmt: skip
    has_times = {*BOTH} <= {*names}
    parts["contrast"] = contrast(
        encoder, names, temperature, 2 * encoder.width, embedding_width, num_segments=num_segments,
        same_clip=moments(encoder, temperature, same_clip_weight * has_times, num_moments, num_segments),
    )  # fmt: skip
    weights = {"words": 1.0, "future": future_weight, "contrast": contrast_weight}
    return Together(encoder=encoder, parts=parts, weights={name: weights[name] for name in parts})


def hidden_words(encoder: Any, hidden_ratio: float) -> Predictive:
    """Masked words, each of them replaced by [MASK]."""
    words = only(encoder, "text").cuts["text"]
    if not isinstance(words, Words):
        raise ConfigError("method multimodal: needs text as words; expected task multimodal or captions")
    stream = Stream(
        tokenize=words.tokenize, corrupt=replace_tokens(words.vocabulary, hidden_ratio, mask_ratio=1.0),
        predictor=WordHead(encoder.embed["text"]), energy=cross_entropy,
    )  # fmt: skip
    return Predictive(streams={"text": stream}, encoder=encoder)
