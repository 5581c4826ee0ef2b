"""Draws what a model put in place of a missing segment of a sound, and writes the sound with it."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mmssl.evaluate.missing import Filled
from mmssl.folder import write_whole
from mmssl.inputs import Inputs
from mmssl.recording import Recording
from mmssl.report.pictures import save_png, sheet, spectrogram_picture

LOUDEST = 32768
NOTE = (
    "Hatched: what the model was not shown. “In the file” is drawn alone, no prediction knows it: where a method "
    "predicts patches without their mean and deviation, these lie between those of the seen patches before and after. "
    "“Heard”: the sound that was written, through the same spectrogram."
)


def write_filled(filled: Filled, inputs: Inputs, path: Path) -> list[Path]:
    """PATH.png and PATH.wav (PATH-1.wav, PATH-2.wav, ... of several predictions); the paths that were written."""
    written = [path.with_suffix(".png")]
    save_png(picture(filled, inputs), written[0], NOTE)
    for number, sound in enumerate(filled.sounds, 1):
        end = "" if len(filled.sounds) == 1 else f"-{number}"
        save_recording(sound, filled.is_of_16_bits, target := path.with_name(f"{path.name}{end}.wav"))
        written.append(target)
    return written


def picture(filled: Filled, inputs: Inputs):
    """A row for each window: seen, hidden, each prediction, and the first one as it is heard."""
    rows, names, seconds = [], [], inputs.config.data.seconds
    for window in filled.windows:
        one = window.found
        views = [spectrogram_picture(one.original[0], one.is_hidden[0].cpu(), zoom=2)]
        heard = inputs.log_mel(window.heard[0][None])[0]
        views += [
            spectrogram_picture(each, zoom=2) for each in (one.original[0], *(part[0] for part in one.samples), heard)
        ]
        rows.append(views)
        names.append(f"{window.start_seconds:.2f}-{window.start_seconds + seconds:.2f} s")
    count = len(filled.sounds)
    predicted = ["predicted"] if count == 1 else [f"predicted {number + 1}" for number in range(count)]
    return sheet(rows, ["seen", "hidden: in the file", *predicted, "heard"], names=names, note=NOTE)


def save_recording(sound: Recording, is_of_16_bits: bool, path: Path) -> None:
    """A wav file at the sound's own rate: of 16 bits where all that is seen was, else of floats, so that it comes
    back to the bit.
    """
    import soundfile

    buffer = io.BytesIO()
    values: Float[np.ndarray, "T C"] = sound.samples.T
    scaled = np.rint(values * LOUDEST)
    if is_of_16_bits:
        soundfile.write(
            buffer, scaled.clip(-LOUDEST, LOUDEST - 1).astype(np.int16), sound.rate_hz, "PCM_16", format="WAV"
        )
    else:
        soundfile.write(buffer, values, sound.rate_hz, "FLOAT", format="WAV")
    write_whole(path, buffer.getvalue())
