"""Claims about what a person looks at and listens to: what the files show, and that they are whole or not there."""

import base64
import io

import av
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from mmssl.errors import CheckpointError
from mmssl.report.films import IN_A_ROW, OUTLINES, Panel, film, save_gif, save_mp4
from mmssl.report.pictures import (
    GAP,
    HATCH,
    LINE,
    MARGIN,
    SMALL_LINE,
    WORDS_WIDTH,
    Line,
    data_uri,
    enlarged,
    save_png,
    save_wav,
    sheet,
    spectrogram_picture,
    words_picture,
)


def noise(*shape: int) -> torch.Tensor:
    """Bytes without any order."""
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def shown(clip: torch.Tensor) -> Panel:
    """A clip of a film."""
    return Panel("a", clip, "predicted")


def count(image: Image.Image, colour: str) -> int:
    """Pixels of exactly this colour."""
    wanted = Image.new("RGB", (1, 1), colour).getpixel((0, 0))
    return int((np.asarray(image) == np.array(wanted)).all(-1).sum())


@pytest.mark.parametrize("size, shown", [((32, 32), (96, 96)), ((20, 40), (200, 100)), ((224, 224), (224, 224))])
def test_a_small_picture_is_enlarged_by_whole_squares(size, shown):
    picture = noise(3, *size)
    image = enlarged(picture)
    assert image.size == shown
    factor = shown[1] // size[0]
    assert np.array_equal(np.asarray(image)[::factor, ::factor], picture.permute(1, 2, 0).numpy())
    assert np.array_equal(np.asarray(image)[factor - 1 :: factor, factor - 1 :: factor], picture.permute(1, 2, 0))


def test_words_are_drawn_whole_however_many_there_are():
    few, many = words_picture("a lion"), words_picture("a lion and " * 40)
    assert few.shape[1:] == (96, WORDS_WIDTH)
    assert many.shape[1] > 300
    for picture, rows in ((few, slice(2, 20)), (many, slice(-25, -2))):
        assert (picture[:, rows, 2:-2] < 128).any()  # the first line of the one, the last of the other
        assert (picture[:, 2:-2, -MARGIN:-2] == 255).all()  # no line is too wide
    assert not torch.equal(few, words_picture("a zebra"))


def test_a_sheet_shows_every_picture_whole_under_its_title():
    rows = [[noise(3, 32, 32), noise(3, 16, 32)], [noise(3, 100, 64)]]
    image = sheet(rows, ["seen", "predicted"])
    pixels = np.asarray(image)
    for row in rows:
        for picture in row:
            wanted = np.asarray(enlarged(picture))
            starts = np.argwhere((pixels == wanted[0, 0]).all(-1))
            fits = [np.array_equal(pixels[y : y + wanted.shape[0], x : x + wanted.shape[1]], wanted) for y, x in starts]
            assert sum(fits) == 1
    title = pixels[: MARGIN + 16]
    assert (title < 128).any(), "no title"
    assert (pixels[:, :MARGIN] == 255).all()
    assert (pixels[-MARGIN:] == 255).all()
    assert not np.array_equal(np.asarray(sheet(rows, ["seen", "hidden"])), pixels)


def test_small_print_stands_below_its_picture_and_is_cut_off_to_its_width():
    rows = [[noise(3, 32, 32), noise(3, 32, 32)]] * 2
    plain = sheet(rows, ["a", "b"])
    printed = sheet(rows, ["a", "b"], below=[[[Line("word", "#ff0000")], [Line("word " * 99), Line("b")]]] * 2)
    assert printed.width == plain.width
    assert printed.height == plain.height + 2 * 2 * SMALL_LINE
    pixels = np.asarray(printed).astype(int)
    below = pixels[MARGIN + LINE + 96 : MARGIN + LINE + 96 + 2 * SMALL_LINE]
    is_red = np.flatnonzero((below[..., 0] - below[..., 1] > 100).any(0))
    assert MARGIN < is_red.min() < is_red.max() < MARGIN + 96
    assert (below[:, MARGIN + 2 * 96 + GAP :] == 255).all()
    assert (below[:, MARGIN + 96 : MARGIN + 96 + GAP] == 255).all()


def test_a_film_tells_seen_hidden_and_predicted_by_colour_and_by_dashes():
    clips = [torch.full((5, 3, 16, 16), 200, dtype=torch.uint8)] * 3
    kinds = {"true": "hidden", "sample 1": "predicted", "sample 2": "predicted"}
    frames = film(
        [Panel(title, clip, kind) for clip, (title, kind) in zip(clips, kinds.items(), strict=True)],
        [True] * 2 + [False] * 3,
    )
    assert len({frame.size for frame in frames}) == 1
    assert len(frames) == 5
    for time, frame in enumerate(frames):
        predicted, hidden = (count(frame, OUTLINES[kind].colour) for kind in ("predicted", "hidden"))
        assert (predicted > 500) == (hidden > 200) == (time >= 2)
        assert predicted > hidden or time < 2  # two clips are predicted, one is hidden
    assert len({outline.dash for outline in OUTLINES.values()}) == len({o.colour for o in OUTLINES.values()}) == 3
    for frame, seen in ((np.asarray(frames[0]), True), (np.asarray(frames[4]), False)):
        top = frame[MARGIN + 24, MARGIN : MARGIN + 100]
        assert (top == 255).all(-1).any() != seen  # the side of a frame is solid or has gaps


def test_films_of_unequal_length_are_refused():
    with pytest.raises(AssertionError, match="clips of"):
        film([shown(noise(3, 3, 8, 8)), shown(noise(4, 3, 8, 8))], [True] * 3)


def test_a_note_stands_below_and_many_clips_in_rows():
    panel = shown(noise(2, 3, 8, 8))
    plain, noted = (film([panel], [True] * 2, note)[0] for note in ("", "word " * 40))
    assert noted.width == plain.width
    added = np.asarray(noted)[plain.height : -3]
    assert len(added) >= 4 * SMALL_LINE
    assert (added < 128).any()
    assert (added[:, :MARGIN] == 255).all()
    one, two = (film([panel] * count, [True] * 2)[0] for count in (IN_A_ROW, IN_A_ROW + 1))
    assert (two.width, two.height) == (one.width, 2 * one.height)


def test_the_rows_of_a_sheet_have_names():
    rows = [[noise(3, 32, 32)], [noise(3, 32, 32)]]
    named, plain = np.asarray(sheet(rows, ["a"], names=["seen", "truth"])), np.asarray(sheet(rows, ["a"]))
    assert np.array_equal(named[:, -plain.shape[1] + MARGIN :], plain[:, MARGIN:])
    beside = named[:, : -plain.shape[1] + MARGIN]
    for top in (MARGIN + LINE, MARGIN + LINE + 96 + GAP):
        assert (beside[top : top + 96] < 128).any()


@pytest.fixture
def frames():
    """A film of odd width with a moving square."""
    clip = torch.zeros(6, 3, 33, 33, dtype=torch.uint8)
    for time in range(6):
        clip[time, 0, 10:20, 4 * time : 4 * time + 8] = 255
    found = film([Panel("true", clip, "hidden")], [True] * 6)
    return [frame.crop((0, 0, frame.width - 1 + frame.width % 2, frame.height)) for frame in found]


def test_a_gif_holds_all_frames_in_a_loop(tmp_path, frames):
    save_gif(frames, tmp_path / "film.gif", 4)
    with Image.open(tmp_path / "film.gif") as image:
        assert getattr(image, "n_frames") == 6  # noqa: B009
        assert image.info["duration"] == 250
        assert image.info["loop"] == 0
        for number, frame in enumerate(frames):
            image.seek(number)
            difference = np.abs(np.asarray(image.convert("RGB")).astype(int) - np.asarray(frame))
            assert difference.mean() < 3


def test_a_video_holds_all_frames_at_its_rate_and_in_even_sides(tmp_path, frames):
    assert frames[0].width % 2 == 1
    save_mp4(frames, tmp_path / "film.mp4", 4)
    with av.open(str(tmp_path / "film.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 4
        assert stream.pix_fmt == "yuv420p"
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(decoded) == 6
    for shown, frame in zip(decoded, frames, strict=True):
        assert shown.shape[1] == frame.width + 1
        assert np.abs(shown[: frame.height, : frame.width].astype(int) - np.asarray(frame)).mean() < 8


def test_a_spectrogram_has_low_frequencies_below_and_time_to_the_right():
    logmel = torch.full((10, 6), -1.75)
    logmel[7, 1] = 2.0
    picture = spectrogram_picture(logmel, zoom=2)
    assert picture.shape == (3, 12, 20)
    bright = picture.sum(0) == picture.sum(0).max()
    assert bright.nonzero().tolist() == [[y, x] for y in (8, 9) for x in (14, 15)]


def test_of_a_stereo_sound_the_left_channel_is_above_the_right_one():
    logmel, hidden = torch.randn(2, 10, 6), torch.rand(2, 10, 6) < 0.3
    picture = spectrogram_picture(logmel, hidden, zoom=3)
    assert picture.shape == (3, 36, 30)
    assert torch.equal(spectrogram_picture(logmel, zoom=3)[:, :18], spectrogram_picture(logmel[0], zoom=3))
    assert torch.equal(spectrogram_picture(logmel, zoom=3)[:, 18:], spectrogram_picture(logmel[1], zoom=3))
    assert torch.equal(picture[:, :18], spectrogram_picture(logmel[0], hidden[0], zoom=3))


def test_brightness_grows_with_loudness_on_a_scale_that_is_the_same_for_all():
    loudness = torch.linspace(-3, 4, 50)[:, None].repeat(1, 2)
    luma = (spectrogram_picture(loudness, zoom=1).float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
    assert (luma.diff(dim=1) > -1).all()
    assert luma[0, -1] - luma[0, 0] > 200
    both = spectrogram_picture(torch.cat([loudness, loudness / 2]), zoom=1)
    assert torch.equal(both[..., 50:], spectrogram_picture(loudness / 2, zoom=1))


def test_hidden_parts_are_hatched_and_the_others_are_kept():
    logmel, hidden = torch.randn(20, 12), torch.zeros(20, 12, dtype=torch.bool)
    hidden[5:9, :6] = True
    plain, covered = spectrogram_picture(logmel, zoom=3), spectrogram_picture(logmel, hidden, zoom=3)
    changed = (plain != covered).any(0)
    assert changed[18:, 15:27].all()
    assert changed.sum() == 18 * 12
    found = {tuple(colour) for colour in covered[:, 18:, 15:27].flatten(1).T.tolist()}
    assert found == set(HATCH)


def test_what_is_not_finite_is_drawn_as_silence():
    logmel = torch.tensor([[float("nan"), -1.75]])
    picture = spectrogram_picture(logmel, zoom=1)
    assert torch.equal(picture[:, 0], picture[:, 1])


def test_a_wav_holds_the_sound(tmp_path):
    waveform = torch.linspace(-1.5, 1.5, 999)
    save_wav(waveform, tmp_path / "sound.wav", 11025)
    samples, rate_hz = soundfile.read(tmp_path / "sound.wav")
    assert rate_hz == 11025
    assert np.abs(samples - waveform.clamp(-1, 1).numpy()).max() < 1e-4
    save_wav(torch.stack([waveform, -waveform]), tmp_path / "stereo.wav", 11025)
    assert np.abs(soundfile.read(tmp_path / "stereo.wav")[0] - np.stack([samples, -samples], 1)).max() < 1e-4


def test_a_data_uri_holds_the_file(tmp_path):
    save_png(enlarged(noise(3, 8, 8)), tmp_path / "a.png")
    uri = data_uri(tmp_path / "a.png")
    start, content = uri.split(",")
    assert start == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        assert image.size == (96, 96)
    with pytest.raises(CheckpointError, match=r"b\.gif: No such file"):
        data_uri(tmp_path / "b.gif")
    with pytest.raises(AssertionError, match="expected one of"):
        data_uri(tmp_path / "a.exe")


WRITERS = {
    "a.png": lambda path: save_png(enlarged(noise(3, 8, 8)), path),
    "a.gif": lambda path: save_gif(film([shown(noise(2, 3, 8, 8))], [True] * 2), path, 4),
    "a.mp4": lambda path: save_mp4(film([shown(noise(2, 3, 8, 8))], [True] * 2), path, 4),
    "a.wav": lambda path: save_wav(torch.zeros(100), path, 8000),
}


@pytest.mark.parametrize("name", list(WRITERS))
def test_a_file_is_written_whole_into_a_new_folder_or_not_at_all(tmp_path, name):
    WRITERS[name](tmp_path / "new" / name)
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]
    assert (tmp_path / "new" / name).stat().st_size > 50
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="expected a file that can be written"):
        WRITERS[name](tmp_path / "file" / name)


def test_a_failed_write_leaves_what_was_there_and_no_rest(tmp_path):
    (tmp_path / "a.png").mkdir()
    (tmp_path / "a.png" / "kept").write_text("")
    with pytest.raises(CheckpointError, match=r"a\.png"):
        WRITERS["a.png"](tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png" / "kept").exists()
