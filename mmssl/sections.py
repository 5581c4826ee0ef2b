"""The sections of a config: what each key is, its unit, its bounds and its default."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[list[Text], Field(min_length=1)]
Count = Annotated[int, Field(ge=1, lt=2**63)]
CountOrZero = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Ratio = Annotated[float, Field(ge=0, le=1)]
RatioBelowOne = Annotated[float, Field(ge=0, lt=1)]
Ratios = Ratio | Annotated[list[Ratio], Field(min_length=1)]  # a list has one for each view, of which the last repeats
Share = Annotated[float, Field(gt=0, le=1)]
Modalities = Annotated[tuple[Literal["text", "image", "audio", "video"], ...], Field(min_length=2)]
Unit = Literal["line", "paragraph", "file"]
Pair = Annotated[list[Count], Field(min_length=2, max_length=2)]


def sides(size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width of a square, by its side, or of a rectangle."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def conflict(key: str, came: object, expected: str) -> PydanticCustomError:
    """The error of a key that is valid alone but not beside its neighbours."""
    return PydanticCustomError("conflict", "{expected}", {"key": key, "came": came, "expected": expected})


class Section(BaseModel):
    """The keys of one level: nothing is converted but an integer to a float, nothing unknown is let through."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True, protected_namespaces=()
    )


class Choice(Section):
    """A function of METHODS or ENCODERS by its name, with the arguments for it (see `schema`)."""

    name: Text

    def arguments(self) -> dict[str, Any]:
        """What the function is called with."""
        return {key: getattr(self, key) for key in type(self).model_fields if key != "name"}


class DataConfig(Section):
    """What is read, and how it becomes rows."""

    source: Text | Texts = "savanna"  # folder, glob, file, hub id, URL or built-in world (README); a list is a mixture
    heldout: RatioBelowOne | Text = 0.05  # ratio of the documents held out of training, or a source of its own
    split: Text = "train"  # of a hub source or a folder of `datasets`
    modalities: Modalities = ("text", "image")  # what the task captions reads; other tasks read what they are made for
    text_column: Text = "text"
    image_column: Text = "image"  # of a table of pictures: their bytes
    video_column: Text = "video"  # of a table of videos: the bytes of their files
    audio_column: Text = "audio"  # of a manifest: paths of sounds, as image_column and video_column then are
    label_column: Text = "label"
    seconds: Positive = 1.0  # window of time of a sample with sound or video
    clips_per_file: CountOrZero = 0  # windows read of a file, spread over its length as the seed says; 0: all of them
    short_videos: Literal["hold", "skip"] = "hold"  # a window that a video fills at least by half, or its only one, is
    # filled up by its last frame ("hold"), or only whole windows are read ("skip")
    paired: str = ""  # folder of sounds or captions (.txt) or both, each named like the file it belongs to; "": none
    decoded_bytes: CountOrZero = 4_000_000_000  # decoded samples are kept on the disk where they take no more than this
    document: Unit = "paragraph"  # what one document of a raw text file is
    invalid_text: Literal["error", "replace"] = "error"  # what is done about bytes that are not UTF-8
    groups: Literal["none", "folder"] = "none"  # "folder": each sub-folder is a group (a language) of the mixture
    exponent: Annotated[float, Field(gt=0, le=1)] = 1.0  # of p_i ~ n_i^exponent over the groups or the list's sources
    streaming: bool = False  # read a hub source as a stream
    documents: CountOrZero = 0  # documents, or pictures and videos of tables and archives; 0 = all, but of a stream
    samples: Count = 20000  # samples of a built-in world
    row_length: Annotated[int, Field(ge=8, lt=2**31)] = 128  # tokens in a packed row
    captions: Literal["beside", "label"] = "beside"  # of x.jpg: the text of x.txt beside it (or in data.paired), or
    # the name of its class ("label")
    caption_tokens: Annotated[int, Field(ge=4, lt=2**31)] = 16  # of a caption, first and last included; more are cut
    workers: CountOrZero = 0  # processes that decode
    cache: Text = "cache"  # folder of tokenised rows and of pictures, relative to the run folder

    @model_validator(mode="after")
    def bounds_a_stream(self) -> "DataConfig":
        """A stream has no end of its own."""
        if self.streaming and self.documents == 0:
            raise conflict("documents", 0, "more than 0 with data.streaming")
        return self


class ImageConfig(Section):
    """How a picture is read."""

    size: Count | Pair = 32  # pixels of a side, or [height, width]: what is of another aspect is cut around the centre
    stored_size: CountOrZero = 0  # pixels of a decoded picture's shorter side, to cut random crops of; 0: as size

    @model_validator(mode="after")
    def stores_what_it_shows(self) -> "ImageConfig":
        """Pixels that were not kept cannot be shown."""
        if 0 < self.stored_size < (least := min(self.sides)):
            raise conflict("stored_size", self.stored_size, f"0, or the shorter side of image.size ({least}) at least")
        return self

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of what a model sees."""
        return sides(self.size)

    @property
    def stored_sides(self) -> tuple[int, int]:
        """Height and width of what is decoded, of the same aspect to a pixel."""
        height, width = self.sides
        scale = (self.stored_size or min(self.sides)) / min(self.sides)
        return round(scale * height), round(scale * width)


class AudioConfig(Section):
    """How a sound is read, and how it becomes a log-mel spectrogram."""

    form: Literal["spectrogram", "waveform"] = "spectrogram"  # what an encoder is given: log-mel bands, or the samples
    rate_hz: Annotated[int, Field(ge=1000, lt=2**31)] = 16000  # samples a second
    channels: Literal[1, 2] = 1  # 1: mono, the mean of all; 2: left and right (`modalities.audio.two_channels`)
    bands: Count = 64  # mel bands from 0 Hz to rate_hz / 2
    hop_seconds: Positive = 0.01  # from one column of the spectrogram to the next; each sees a window of 2.5 hops

    @model_validator(mode="after")
    def reads_one_waveform(self) -> "AudioConfig":
        """Encoders of samples hear one channel."""
        if self.form == "waveform" and self.channels == 2:
            raise conflict("channels", 2, "1 with audio.form waveform")
        return self


class VideoConfig(Section):
    """How a clip of data.seconds is read."""

    size: Count = 32  # pixels of a side: a frame is cut around the centre to a square, as a picture is
    frames: Count = 8  # evenly spaced by timestamps over data.seconds


class ViewsConfig(Section):
    """How pictures and clips are augmented on the device (Chen et al. 2020, arXiv:2002.05709, appendix A)."""

    smallest_area: Annotated[float, Field(gt=0, le=1)] = 0.2  # of a random crop, as a ratio; 1: no random crop
    flip_ratio: Ratio = 0.5  # samples that are mirrored
    jitter_ratio: Ratios = 0.8  # samples whose colours change
    jitter_strength: NonNegative = 0.5  # brightness, contrast, saturation by 0.8 of it, hue by 0.2 of it
    grey_ratio: Ratios = 0.2  # samples without colour
    blur_ratio: Ratios = 0.0  # samples that are blurred; the paper's CIFAR runs have none
    solarise_ratio: Ratios = 0.0  # samples whose pixels from 0.5 on are inverted (Grill et al. 2020, arXiv:2006.07733)


class SoundsConfig(Section):
    """How the views of a sound are made on the device, where a method wants several (`mmssl.augment_sounds`)."""

    single_view: Literal["plain", "augmented"] = "plain"  # whether the only view of other methods is changed, too
    crop: Literal["resized", "cut"] = "resized"  # a window of time, enlarged to the whole or at its own pace
    smallest_length: Share = 0.6  # of the window, as a ratio of the sample's columns; all "cut" ones have this; 1: none
    smallest_bands: Share = 0.6  # of a window of bands that is enlarged to all of them, as a ratio; 1: none
    gain_decibels: NonNegative = 6.0  # by which a sound becomes louder or softer, at most
    largest_mix: RatioBelowOne = 0.4  # of the power of a view, what may be another sound of the batch; 0: none
    noise_ratio: Ratio = 0.0  # views to which white noise is added
    snr_decibels: tuple[float, float] = (10.0, 40.0)  # from, to: by which a sound is louder than its noise
    time_masks: CountOrZero = 0  # spans of columns that are masked (Park et al. 2019, arXiv:1904.08779)
    longest_time_mask: Ratio = 0.2  # of the columns
    band_masks: CountOrZero = 0  # spans of bands that are masked
    widest_band_mask: Ratio = 0.34  # of the bands

    @model_validator(mode="after")
    def ends_behind_the_start(self) -> "SoundsConfig":
        """A range has a lower end and a higher one."""
        if self.snr_decibels[0] > self.snr_decibels[1]:
            raise conflict("snr_decibels", list(self.snr_decibels), "the lower number first")
        return self


class TokenizerConfig(Section):
    """Where the tokenizer comes from; the sizes are used where it is trained."""

    name: Text = "trained"  # else a local folder or hub id
    kind: Literal["as_encoder", "wordpiece", "byte_bpe", "unigram", "word"] = "as_encoder"
    vocabulary_size: Annotated[int, Field(ge=64, lt=2**31)] = 16384  # tokens, special ones included
    lowercase: bool = True
    sample_documents: Count = 1000000  # documents that the tokenizer is trained on, at most


class TrainConfig(Section):
    """The loop: when it stops, what a step is, how it descends, when it saves."""

    steps: Count = 10000
    seconds: NonNegative = 0.0  # 0: no limit by time
    batch_size: Count = 16  # samples of a step, over all processes
    accumulate: Count = 1  # micro-batches of a step
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    activation_checkpointing: bool = False  # layers keep their input only, the backward computes the rest again
    sharding: Literal["none", "full"] = "none"  # full: processes share weights, gradients and moments (FSDP)
    optimizer: Literal["adamw", "muon", "lars"] = "adamw"  # muon takes the rate and the decay of adamw
    learning_rate: Positive = 5e-4  # at the peak of the schedule
    betas: tuple[RatioBelowOne, RatioBelowOne] = (0.9, 0.98)
    epsilon: Positive = 1e-6
    weight_decay: NonNegative = 0.01
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_ratio: Ratio = 0.1  # of the run
    gradient_clip: Positive = 1.0  # largest norm of the whole gradient
    save_every_steps: Count = 1000
    keep_checkpoints: Annotated[int, Field(ge=2, lt=2**31)] = 3
    log_every_steps: Count = 50
    evaluate_every_steps: Count = 500
    hang_seconds: Count = 600  # without an answer of a worker or another process, before the run ends with exit code 6
    stop_on_spike: bool = False  # end with exit code 5 before a step whose loss leaps up; else only warn
    stop_on_collapse: bool = False  # end with exit code 5 where all embeddings are one point; else only warn

    @model_validator(mode="after")
    def divides_the_batch(self) -> "TrainConfig":
        """Every micro-batch of a step has the same size."""
        if self.batch_size % self.accumulate:
            raise conflict("batch_size", self.batch_size, f"a multiple of train.accumulate ({self.accumulate})")
        return self


class EvaluateConfig(Section):
    """The labelled data that an encoder is judged on, and for how long."""

    source: Text = "data"  # labelled data for probes; `data`: that of training
    heldout: Annotated[float, Field(gt=0, lt=1)] | Text = 0.2  # ratio of the test part, or a source of its own
    documents: Annotated[int, Field(ge=16, lt=2**63)] = 2000  # held-out rows or labelled documents read, per part
    text_column: Text = "text"
    label_column: Text = "label"
    document: Unit = "line"  # what one document of a raw text file is
    futures: Count = 20  # continuations drawn of each held-out clip; 100: of real clips in docs/results/video.md
    open_samples: Count = 64  # held-out samples of a world that knows all answers, whose coverage is measured, at most
    lpips_weights: str = ""  # TorchScript file of a distance of pictures for video.lpips; "": none (README)
    fvd_weights: str = ""  # TorchScript file of features of clips for video.fvd; "": none
    finetune: bool = False
    finetune_seconds: Positive = 120.0
