"""Claims about `predict --hide`: nothing hidden is looked at, all else stays, and what is filled in is the model's."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from media_runs import media_config, parts_of
from tiny import GRIDS, MEDIA, tiny_encoder

from mmssl.drop import drop_random
from mmssl.energy import squared_error
from mmssl.errors import ConfigError
from mmssl.evaluate.missing import Grain, common_step, filled_in, interpolated, windows_of
from mmssl.inputs import Inputs
from mmssl.methods import METHODS
from mmssl.methods.jepa import embedding_stream
from mmssl.modalities.grids import Cut
from mmssl.models.target import Teacher
from mmssl.objectives import Objective, Predictive
from mmssl.recording import Range, Recording, recording
from mmssl.report.segments import write_filled
from mmssl.tokens import Place, Tokens

RATE = 2000  # of the run: 16 columns of 0.125 s in 2 seconds, 4 of them in a patch
RANGES = [Range(0.9, 1.1)]
GRAIN = Grain(step_seconds=0.01, patch_seconds=0.1, reach_seconds=0.03)


def tone(hertz: float, seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    at = np.arange(round(seconds * rate)) / rate
    return np.stack([0.3 * np.sin(2 * math.pi * hertz * at + channel) for channel in range(channels)]).astype(
        np.float32
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Objective, Inputs]:
    """An untrained masked autoencoder."""
    config = media_config(tmp_path_factory.mktemp("run"), "audio_pretraining")
    _, _, inputs, objective = parts_of(config)
    return objective, inputs


def as_16_bits(samples: np.ndarray) -> np.ndarray:
    return np.rint(samples * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16)


def written(run, folder: Path, samples: np.ndarray, rate: int, subtype: str = "PCM_16", **options) -> Path:
    """The wav that comes of a file of these samples."""
    folder.mkdir(exist_ok=True)
    soundfile.write(folder / "x.wav", as_16_bits(samples.T) if subtype == "PCM_16" else samples.T, rate, subtype)
    sound = recording(str(folder / "x.wav"))
    filled = filled_in(run[0], run[1], sound, options.get("ranges", RANGES), samples=1)
    *_, path = write_filled(filled, run[1], folder / "out")
    return path


@pytest.mark.parametrize("rate, channels, subtype", [(RATE, 1, "PCM_16"), (5512, 2, "PCM_16"), (8000, 2, "FLOAT")])
def test_hidden_samples_change_nothing_in_what_is_written_and_seen_ones_stay_to_the_bit(
    run, tmp_path, rate, channels, subtype
):
    whole = tone(300.0, 2.0, rate, channels)
    hidden = Recording(whole, rate).inside(RANGES)
    one = written(run, tmp_path / "a", whole, rate, subtype)
    changed = np.where(hidden, np.random.default_rng(0).uniform(-1, 1, whole.shape), whole).astype(np.float32)
    other = written(run, tmp_path / "b", changed, rate, subtype)
    kind = "int16" if subtype == "PCM_16" else "float32"

    def samples(path: Path) -> np.ndarray:  # a file of floats says when it was written, too
        return soundfile.read(path, dtype=kind, always_2d=True)[0].T

    given, found = samples(tmp_path / "a" / "x.wav"), samples(one)
    assert np.array_equal(samples(other), found)
    assert np.array_equal(found[:, ~hidden], given[:, ~hidden])
    assert np.abs(found[:, hidden]).max() > 0
    assert soundfile.info(one).samplerate == rate
    # the control: a seen sample matters
    whole[:, : rate // 4] *= 0.1
    assert not np.array_equal(samples(written(run, tmp_path / "c", whole, rate, subtype))[:, hidden], found[:, hidden])


def test_the_prediction_knows_nothing_of_what_is_hidden_not_even_its_loudness(run):
    whole = tone(300.0, 2.0, RATE)
    hidden = Recording(whole, RATE).inside(RANGES)
    panels = []
    for scale in (1.0, 0.0, 3.0):
        changed = Recording(np.where(hidden, scale * whole, whole).astype(np.float32), RATE)
        (window,) = filled_in(run[0], run[1], changed, RANGES, samples=1).windows
        panels.append(window.found)
    for other in panels[1:]:
        assert torch.equal(other.samples[0], panels[0].samples[0])
        assert torch.equal(other.seen, panels[0].seen)
        assert not torch.equal(other.original, panels[0].original)  # which is only drawn


class Knowing(Predictive):
    """A model that says the true patches of a sound it was told of."""

    def __init__(self, like: Predictive, columns: torch.Tensor) -> None:
        super().__init__(streams=like.by_name, encoder=like.encoder)
        self.columns = columns
        self.cut = like.encoder.cuts["audio"]  # type: ignore[index]

    def predict(self, seen, hidden, noise=None):
        place = hidden["audio"]
        truth = self.cut.tokenize([self.columns])
        return {"audio": truth.value.gather(1, place.position[..., None].expand(-1, -1, truth.value.shape[-1]))}


@pytest.mark.parametrize("rate", [RATE, 6000])
def test_a_perfect_model_fills_a_tone_with_the_tone_and_without_a_click(run, rate):
    objective, inputs = run
    whole = Recording(tone(300.0, 2.0, rate), rate)
    model = tone(300.0, 2.0, RATE)
    perfect = Knowing(objective, inputs.log_mel(torch.from_numpy(model))).eval()
    (sound,) = filled_in(perfect, inputs, whole, RANGES, samples=1).sounds
    hidden = whole.inside(RANGES)
    part = sound.samples[0, hidden]
    power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2
    near = np.abs(np.fft.rfftfreq(len(part), 1 / rate) - 300) < 60
    assert power[near].sum() / power.sum() > 0.8
    assert part.std() == pytest.approx(0.21, rel=0.3)
    first, last = np.flatnonzero(hidden)[[0, -1]]
    jumps = np.abs(np.diff(sound.samples[0]))
    usual = 0.3 * 2 * math.pi * 300 / rate
    assert max(jumps[first - 1], jumps[last]) < 1.3 * usual
    # the control: silence in place of it would click, and an untrained model says another sound
    assert np.abs(whole.samples[0, first]) > 0 or np.abs(whole.samples[0, last]) > 0


def test_of_a_long_sound_each_range_has_a_window_around_it(run):
    sound = Recording(tone(300.0, 7.0, 4400), 4400)
    ranges = [Range(1.0, 1.2), Range(2.0, 2.1), Range(6.5, 7.0)]
    filled = filled_in(run[0], run[1], sound, ranges, samples=1)
    starts = [window.start_seconds for window in filled.windows]
    assert starts == pytest.approx([0.25, 1.0, 5.0], abs=0.3)
    assert len(filled.sounds) == 1
    hidden = sound.inside(ranges)
    assert np.array_equal(filled.sounds[0].samples[:, ~hidden], sound.samples[:, ~hidden])
    for one in ranges:
        assert filled.sounds[0].samples[:, sound.inside([one])].std() > 1e-3


def test_ranges_that_lie_in_one_window_are_hidden_together():
    assert list(windows_of(1.5, [Range(0.1, 0.2), Range(1.2, 1.3)], 2.0, GRAIN)) == [
        (0.0, [Range(0.1, 0.2), Range(1.2, 1.3)])
    ]
    found = list(windows_of(9.0, [Range(3.9, 4.1), Range(4.5, 4.6), Range(8.9, 9.0)], 2.0, GRAIN))
    assert [start for start, _ in found] == pytest.approx([3.0, 7.0], abs=0.06)
    assert (3.9 - 0.03 - found[0][0]) / 0.1 == pytest.approx(round((3.9 - 0.03 - found[0][0]) / 0.1), abs=1e-6)
    assert [len(mine) for _, mine in found] == [2, 1]
    # an instant at which both 4410 and 2100 Hz have a sample
    ((start, _),) = windows_of(9.0, [Range(4.113, 4.2)], 2.0, GRAIN._replace(step_seconds=common_step(4410, 2100)))
    assert start * 210 == pytest.approx(round(start * 210), abs=1e-9)


def test_a_method_with_z_gives_several_sounds_and_one_without_gives_one(run, tmp_path):
    objective, inputs = run
    vae = METHODS["vae"](objective.encoder, None, latent_width=8, decoder_layers=1, decoder_width=32, decoder_heads=2)
    sound = Recording(tone(300.0, 2.0, RATE), RATE)
    filled = filled_in(vae.eval(), inputs, sound, RANGES, samples=3)
    hidden = sound.inside(RANGES)
    parts = [one.samples[:, hidden] for one in filled.sounds]
    assert len(parts) == 3
    assert not np.allclose(parts[0], parts[1], atol=1e-4)
    names = [path.name for path in write_filled(filled, inputs, tmp_path / "x")]
    assert names == ["x.png", "x-1.wav", "x-2.wav", "x-3.wav"]
    assert len(filled_in(objective, inputs, sound, RANGES, samples=3).sounds) == 1


def test_a_range_that_leaves_nothing_to_see_and_methods_that_predict_no_spectrogram_are_refused(run):
    objective, inputs = run
    sound = Recording(tone(300.0, 2.0, RATE), RATE)
    with pytest.raises(ConfigError, match=r"nothing is left to see of the 2 s .*expected shorter ranges"):
        filled_in(objective, inputs, sound, [Range(0.4, 1.6)], samples=1)
    stream = embedding_stream(objective.encoder, "audio", drop_random(0.5), squared_error, layers=1, width=32, heads=2)
    jepa = Predictive(streams={"audio": stream}, encoder=objective.encoder, target=Teacher(objective.encoder, 0.9))
    with pytest.raises(ConfigError, match="predicts embeddings, which nobody can hear"):
        filled_in(jepa.eval(), inputs, sound, RANGES, samples=1)
    mae = METHODS["mae"](tiny_encoder({"image": GRIDS["image"]}), None, **MEDIA["mae"][1])
    with pytest.raises(ConfigError, match="hides no part of a spectrogram"):
        filled_in(mae.eval(), inputs, sound, RANGES, samples=1)


def test_the_level_of_a_hidden_patch_lies_between_those_before_and_after():
    # 5 times x 2 bands of patches of 3 numbers: the mean is 10 * time + band, the deviation 1 + time
    time, band = (torch.arange(10) // 2).float(), (torch.arange(10) % 2).float()
    value = (10 * time + band)[:, None] + (1 + time)[:, None] * torch.tensor([-1.0, 0.0, 1.0])
    whole = Tokens(value[None], Place(torch.arange(10)[None], torch.zeros(1, 10, dtype=torch.long), (5, 2)))
    for hidden, mean, deviation in (
        ([2, 3], [10, 11], [2, 2]), ([0, 1, 8, 9], [10, 11, 30, 31], [2, 2, 4, 4]),
        ([2, 3, 4, 5], [10, 11, 20, 21], [2, 2, 3, 3]),
    ):  # fmt: skip
        seen = [number for number in range(10) if number not in hidden]
        index = torch.tensor([seen])
        part = Tokens(whole.value[:, seen], Place(index, torch.zeros_like(index), (5, 2)))
        asked = torch.tensor([hidden])
        found = interpolated(part, Place(asked, torch.zeros_like(asked), (5, 2)))[0]
        torch.testing.assert_close(found.mean(-1), torch.tensor(mean).float())
        torch.testing.assert_close(found.std(-1), torch.tensor(deviation).float())


def test_as_much_is_hidden_as_hears_the_segment_and_no_more(run):
    objective, inputs = run
    sound = Recording(tone(300.0, 2.0, RATE), RATE)
    cut = objective.encoder.cut("audio")
    assert isinstance(cut, Cut)
    (window,) = filled_in(objective, inputs, sound, [Range(0.9, 0.95)], samples=1).windows
    # columns every 0.125 s hear 0.156 s on both sides: those at 0.75, 0.875 and 1.0 s, so patches from 0.5 s to 1.5 s
    assert window.found.is_hidden[0, :, 0].nonzero()[:, 0].tolist() == list(range(4, 12))
    # of a longer sound the window begins so that they lie in one patch of 0.5 s
    longer = Recording(tone(300.0, 6.0, RATE), RATE)
    (window,) = filled_in(objective, inputs, longer, [Range(2.9, 2.95)], samples=1).windows
    assert int(window.found.is_hidden[0, :, 0].sum()) == 4
