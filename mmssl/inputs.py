"""From decoded samples to what an objective reads: in batch, on the device."""

from collections.abc import Iterator
from copy import copy

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from mmssl.augment import View, augment, normalise, to_unit
from mmssl.augment_sounds import spectrogram_view, waveform_view
from mmssl.batch import Batch
from mmssl.config import Config
from mmssl.errors import ConfigError
from mmssl.modalities.grids import Grid, Modality, Waveform
from mmssl.modalities.text import Vocabulary
from mmssl.random import Draw
from mmssl.spectrogram import LogMel


class Inputs:
    """The modalities that a task reads, and how their samples are prepared: pictures, clips and, where a method wants
    several views, sounds augmented; sounds as log-mel spectrograms or as samples, words as they are.
    """

    def __init__(self, config: Config, names: tuple[str, ...], vocabulary: Vocabulary | None = None) -> None:
        self.config = config
        self.log_mel = LogMel(config.audio.rate_hz, config.audio.bands, config.audio.hop_seconds)
        columns = round(config.data.seconds / config.audio.hop_seconds)
        spectrogram = Grid("audio", (columns, config.audio.bands), config.audio.channels)
        self.is_waveform = config.audio.form == "waveform"
        waveform = Waveform("audio", round(config.data.seconds * config.audio.rate_hz), config.audio.rate_hz)
        clip = config.video.size
        known: dict[str, Modality | None] = {
            "text": vocabulary,
            "image": Grid("image", config.image.sides, 3),
            "audio": waveform if self.is_waveform else spectrogram,
            "video": Grid("video", (config.video.frames, clip, clip), 3),
        }
        self.modalities = {name: found for name in names if (found := known[name]) is not None}
        if missing := set(names) - set(self.modalities):
            raise ConfigError(f"data: {', '.join(missing)} needs a vocabulary; expected data with captions")

    def __call__(self, batch: Batch, *, wanted: tuple[View, ...] = (View(),), augmented: bool = False) -> Batch:
        """The batch as the objective sees it, its pictures and sounds in the views that are wanted; several are always
        augmented.
        """
        views = dict(batch.views)
        for name in self.modalities:
            views[name] = getattr(self, f"of_{name}")(batch, wanted, augmented)
        if "audio.around" in views:
            views["audio.around"] = list(map(self.form_of_sound, views["audio.around"]))
        return batch._replace(views=views)

    def only(self, *names: str) -> "Inputs":
        """The same, of some modalities."""
        found = copy(self)
        found.modalities = {name: self.modalities[name] for name in names}
        return found

    def of_text(self, batch: Batch, wanted: tuple[View, ...], augmented: bool) -> list[Tensor]:
        """Words as they are."""
        return batch.views["text"]

    def of_image(self, batch: Batch, wanted: tuple[View, ...], augmented: bool) -> list[Tensor]:
        """The views of each picture; a single one for measuring is the whole picture, plain, whatever is wanted."""
        pixels, sides = batch.views["image"][0], self.config.image.sides
        if not augmented and len(wanted) == 1:
            whole = to_unit(pixels)
            if whole.shape[-2:] != sides:  # image.stored_size
                whole = interpolate(whole, sides, mode="bicubic", antialias=True).clamp_(0, 1)
            return [normalise(whole)]
        sized = [view.sized(sides) for view in wanted]
        return [
            normalise(augment(pixels, batch.draw, number, self.config.views, view)) for number, view in enumerate(sized)
        ]

    def of_video(self, batch: Batch, wanted: tuple[View, ...], augmented: bool) -> list[Tensor]:
        """One view of each clip."""
        pixels = batch.views["video"][0]
        return [normalise(augment(pixels, batch.draw, 0, self.config.views) if augmented else to_unit(pixels))]

    def of_audio(self, batch: Batch, wanted: tuple[View, ...], augmented: bool) -> list[Tensor]:
        """The spectrograms, or the samples, of the views of each sound; a single one is the whole sound, plain, unless
        sounds.single_view asks for another. That of a sound which is not there is silence.
        """
        sound, sounds = batch.views["audio"][0], self.config.sounds
        is_single = len(wanted) == 1
        if is_single and not (augmented and sounds.single_view == "augmented"):
            return [self.form_of_sound(sound)]
        share = sounds.smallest_length if sounds.crop == "cut" and not is_single else 1.0
        of_form = self.waveform_of_sound if self.is_waveform else self.view_of_sound
        return [of_form(sound, batch.draw, number, view, share) for number, view in enumerate(wanted)]

    def form_of_sound(self, sound: Tensor) -> Tensor:
        """The samples or the spectrogram of a sound, plain."""
        return sound if self.is_waveform else self.log_mel(sound)

    def waveform_of_sound(self, sound: Tensor, draw: Draw, number: int, wanted: View, share: float) -> Tensor:
        """One view of samples: a window of a share of them all, at its own pace."""
        return waveform_view(sound, draw, number, self.config.sounds, round(share * sound.shape[-1]))

    def view_of_sound(self, sound: Tensor, draw: Draw, number: int, wanted: View, share: float) -> Tensor:
        """One view: a window of so many columns as are wanted, or of a share of them all; only all are resized."""
        sounds, whole = self.config.sounds, self.log_mel.frames(sound.shape[-1])
        columns = round(share * whole) if isinstance(wanted.size, int) else wanted.size[0]
        length = sound.shape[-1] if columns == whole else self.log_mel.samples(columns)
        heard = self.log_mel(waveform_view(sound, draw, number, sounds, length))
        is_resized = sounds.crop == "resized" and columns == whole
        return spectrogram_view(heard, draw, number, sounds, is_resized=is_resized)

    def stream(self, batches: Iterator[Batch], device: torch.device, wanted: tuple[View, ...]) -> Iterator[Batch]:
        """Training batches, prepared on the device as they come."""
        for batch in batches:
            yield self(batch.to(device), wanted=wanted, augmented=True)
