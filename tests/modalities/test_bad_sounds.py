"""Claims about sounds that cannot be used, or only look so: one line, no NaN, a fixed stand-in."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from making_media import sound, tone, video
from media_runs import media_config, parts_of, records

from mmssl.config import Config
from mmssl.errors import DataError
from mmssl.evaluate.heldout import batch_of
from mmssl.modalities.audio import decode_audio, probe_audio
from mmssl.modalities.bad_sample import BadSample
from mmssl.modalities.media_data import MediaData

SIMCLR = "method={name: simclr, projector_width: 32, embedding_width: 16}"
RATE_HZ = 2000  # of the config


def values_in(path: Path, values: np.ndarray, subtype: str = "FLOAT", rate_hz: int = 16000) -> Path:
    """A sound of these samples."""
    soundfile.write(path, values, rate_hz, subtype=subtype)
    return path


def of_bytes(path: Path, content: bytes) -> Path:
    """A file of these bytes."""
    path.write_bytes(content)
    return path


def with_value(path: Path, value: float, subtype: str = "FLOAT") -> Path:
    """A tone of 2 s of which each second holds one sample that is no number of sound."""
    values = tone(2.0, 440, 16000)
    values[[8000, 24000]] = value
    return values_in(path, values, subtype)


def with_header(path: Path, field: bytes, offset: int, kind: str, number: int) -> Path:
    """A wav of 2 s whose header says something else, `offset` bytes behind the name of a field."""
    data = bytearray(sound(path, 2.0, 440, 16000).read_bytes())
    struct.pack_into(kind, data, data.index(field) + offset, number)
    path.write_bytes(data)
    return path


def with_length(path: Path, length: int) -> Path:
    """A wav of 2 s, 64000 bytes, whose header says another length."""
    return with_header(path, b"data", 4, "<I", length)


def behind(path: Path, garbage: bytes) -> Path:
    """A tone of 2 s behind bytes that are none of it."""
    path.write_bytes(garbage + sound(path.with_name(f"whole{path.suffix}"), 2.0, 440, 16000).read_bytes())
    path.with_name(f"whole{path.suffix}").unlink()
    return path


def part_of(path: Path, share: float) -> Path:
    """The beginning of a file of 2 s."""
    data = sound(path, 2.0, 440, 16000).read_bytes()
    path.write_bytes(data[: round(share * len(data))])
    return path


NOISE = np.random.default_rng(0).bytes(70000)
BAD: dict[str, tuple[Callable[[Path], Path], str]] = {  # name -> how it is made, the reason
    "no byte.wav": (lambda path: of_bytes(path, b""), "Format not recognised"),
    "no sample.wav": (lambda path: values_in(path, np.zeros(0)), "no sample"),
    "header alone.wav": (lambda path: part_of(path, 44 / 64044), "no sample"),
    "half a header.wav": (lambda path: part_of(path, 20 / 64044), "Malformed"),
    "length of nothing.wav": (lambda path: with_length(path, 0), "no sample"),
    "not a number.wav": (lambda path: with_value(path, np.nan), "samples that are not finite"),
    "infinite.wav": (lambda path: with_value(path, -np.inf), "samples that are not finite"),
    "too large.wav": (lambda path: with_value(path, 1e300, "DOUBLE"), "samples that are not finite"),
    "no channel.wav": (lambda path: with_header(path, b"fmt ", 10, "<H", 0), "Channel count is zero"),
    "many channels.wav": (lambda path: with_header(path, b"fmt ", 10, "<H", 1000), "1000 channels, more than 64"),
    "no rate.wav": (lambda path: with_header(path, b"fmt ", 12, "<I", 0), "SF_INFO"),
    "slow.wav": (lambda path: values_in(path, np.full(99, 0.1), rate_hz=50), "a rate of 50 Hz"),
    "fast.wav": (lambda path: values_in(path, np.full(99, 0.1), rate_hz=2_000_000), "a rate of 2000000 Hz"),
    "garbage in front.wav": (lambda path: behind(path, NOISE[:400]), "Format not recognised"),
    "much garbage.mp3": (lambda path: behind(path, NOISE), "no MPEG frame in the first 64 KiB"),
    "garbage alone.mp3": (lambda path: of_bytes(path, NOISE), "no MPEG frame"),
    "no sound.mp4": (lambda path: video(path, [0, 90] * 25), "no sound stream"),
    "half.m4a": (lambda path: half_of_a_video(path), "Invalid data"),
}  # fmt: skip
FINE: dict[str, Callable[[Path], Path]] = {
    "one sample.wav": lambda path: values_in(path, np.full(1, 0.25)),
    "window - 1.wav": lambda path: values_in(path, tone(2.0, 440, 16000)[:31999]),
    "silence.wav": lambda path: values_in(path, np.zeros(32000), "PCM_16"),
    "six channels.wav": lambda path: sound(path, 2.0, 440, 48000, channels=6),
    "8 kHz.wav": lambda path: sound(path, 2.0, 440, 8000),
    "192 kHz.flac": lambda path: sound(path, 2.0, 440, 192000),
    "8 bits.wav": lambda path: values_in(path, tone(2.0, 440, 16000), "PCM_U8"),
    "64 bits.wav": lambda path: values_in(path, tone(2.0, 440, 16000), "DOUBLE"),
    "length of a stream.wav": lambda path: with_length(path, 0xFFFFFFFF),
    "garbage in front.mp3": lambda path: behind(path, NOISE[:5000]),
    "track.m4a": lambda path: video(path.with_suffix(".mp4"), [0], sound=tone(2.0)).rename(path),
    "video.mp4": lambda path: video(path, [0, 90] * 25, sound=tone(2.0)),
}


def half_of_a_video(path: Path) -> Path:
    """Sound whose table of contents, at its end, is missing."""
    data = video(path.with_suffix(".mp4"), [0], sound=tone(2.0)).read_bytes()
    path.with_suffix(".mp4").unlink()
    path.write_bytes(data[: len(data) // 2])
    return path


def config_of(folder: Path, *overrides: str) -> Config:
    """A config of sounds of 2 s, nothing held out."""
    (folder / "run").mkdir(parents=True)
    return media_config(folder, "audio_pretraining", "data.heldout=0.0", SIMCLR, *overrides)


def read(config: Config) -> tuple[MediaData, torch.Tensor]:
    """The data of a config, and all its sounds."""
    _, data, _, _ = parts_of(config)
    return data, data.train(np.arange(data.train.size))["audio"][0]


@pytest.fixture
def good(tmp_path) -> Path:
    """A folder with three good sounds of 2 s."""
    for number in range(3):
        sound(tmp_path / "source" / f"good{number}.wav", 2.0, 300.0 + 100 * number)
    return tmp_path / "source"


@pytest.mark.parametrize("name", BAD)
def test_a_bad_sound_has_a_reason_and_is_never_decoded(tmp_path, name):
    make, reason = BAD[name]
    path = make(tmp_path / name)
    with pytest.raises(BadSample, match=reason) as error:
        assert probe_audio(path) < decode_audio(path, 16000, 0.0, 1.0).max()
    assert "\n" not in str(error.value)
    assert str(tmp_path) not in str(error.value)  # the record has the path already


def test_bad_sounds_are_a_record_each_and_their_samples_are_fixed_other_ones(tmp_path, good):
    some = [name for name in BAD if name not in ("half a header.wav", "no rate.wav")]  # more than 16 end a run
    paths = {str(BAD[name][0](good / name)): BAD[name][1] for name in some}
    found = []
    for kept in (True, False):
        config = config_of(tmp_path / f"kept {kept}", f"data.source={good}", f"data.decoded_bytes={10**9 * kept}")
        data, sounds = read(config)
        found.append(sounds)
        entries = {entry["path"]: entry["reason"] for entry in records(config)}
        assert entries.keys() == paths.keys()
        assert all(paths[path] in reason for path, reason in entries.items())
        assert data.train.size == 3 + 3  # three hold samples that are not finite: that is not seen before they are read
    assert torch.equal(*found)
    assert torch.isfinite(found[0]).all()
    own = found[0][found[0].flatten(1).std(1) > 0]
    assert len(own) == 6
    assert len(own.unique(dim=0)) == 3  # stand-ins are samples of the good ones


def test_a_sound_that_only_looks_odd_is_read(tmp_path, good):
    for make in (lambda name=name: FINE[name](good / name) for name in FINE):
        make()
    config = config_of(tmp_path / "run", f"data.source={good}")
    data, sounds = read(config)
    assert records(config) == []
    assert sounds.shape == (3 + len(FINE), 2 * RATE_HZ)
    names = [Path(path).name for path in data.train.paths()]
    by_name = dict(zip(names, sounds, strict=True))
    assert not by_name["silence.wav"].any()
    assert by_name["one sample.wav"].abs().max() <= 0.25
    for name in set(FINE) - {"silence.wav", "one sample.wav"}:
        assert float(by_name[name][200:3800].square().mean().sqrt()) == pytest.approx(0.5 / 2**0.5, rel=0.02), name


def test_a_step_on_silence_and_on_one_sample_is_finite(tmp_path, good):
    for name in ("silence.wav", "one sample.wav", "window - 1.wav"):
        FINE[name](good / name)
    config = config_of(tmp_path / "run", f"data.source={good}", "sounds.noise_ratio=1.0", "sounds.time_masks=2")
    _, data, inputs, objective = parts_of(config)
    batch = inputs(batch_of(data.train, 0, np.arange(6), torch.device("cpu")), wanted=objective.views)
    assert all(torch.isfinite(view).all() for view in batch.views["audio"])
    loss = torch.stack([*objective.train()(batch).terms.values()]).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(weight.grad).all() for weight in objective.parameters() if weight.grad is not None)


def test_sounds_that_are_all_bad_are_an_error_of_one_line(tmp_path):
    path = BAD["no sample.wav"][0](tmp_path / "a.wav")
    with pytest.raises(DataError, match=r"1 of 1 files cannot be used, the first is .*a\.wav \(no sample\)") as error:
        read(config_of(tmp_path / "run", f"data.source={path}"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("length, seconds", [(10**6, 2.0), (0xFFFFFFFF, 2.0), (32000, 1.0), (32001, 1.0)])
def test_a_wav_with_a_wrong_length_is_read_as_far_as_header_and_file_go(tmp_path, length, seconds):
    path = with_length(tmp_path / "a.wav", length)
    assert probe_audio(path) == seconds
    samples = decode_audio(path, 16000, 0.0, 2.0)
    np.testing.assert_allclose(samples[: round(16000 * seconds)], tone(seconds, 440, 16000), atol=1e-4)
    assert not samples[round(16000 * seconds) :].any()


@pytest.mark.parametrize("size", [1, 100, 5000])
@pytest.mark.parametrize("kind", ["noise", "zeros", "ones", "text"])
def test_an_mp3_behind_garbage_is_read_whole(tmp_path, kind, size):
    garbage = {"noise": NOISE, "zeros": bytes(size), "ones": b"\xff" * size, "text": b"hello, a text " * size}[kind]
    path = behind(tmp_path / "a.mp3", garbage[:size])
    np.testing.assert_array_equal(
        decode_audio(path, 16000, 0.3, 1.0), decode_audio(behind(tmp_path / "b.mp3", b""), 16000, 0.3, 1.0)
    )


@pytest.mark.parametrize(
    "subtype, error",
    [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-22), ("PCM_32", 2**-22), ("DOUBLE", 1e-7), ("ULAW", 0.02)],
)
def test_samples_of_any_width_are_read_to_their_last_bit(tmp_path, subtype, error):
    path = values_in(tmp_path / "a.wav", tone(1.0, 440, 16000), subtype)
    np.testing.assert_allclose(decode_audio(path, 16000, 0.0, 1.0), tone(1.0, 440, 16000), rtol=0, atol=error)
