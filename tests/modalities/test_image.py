"""Claims about reading pictures."""

import resource

import numpy as np
import pytest
from making_media import huge_png, picture
from PIL import Image

from mmssl.modalities.bad_sample import BadSample
from mmssl.modalities.image import decode_image


def quarters(mode: str = "RGB") -> Image.Image:
    """16 x 16 pixels: red, green above blue, white."""
    image = Image.new("RGB", (16, 16), "white")
    for colour, place in (("red", (0, 0)), ("lime", (8, 0)), ("blue", (0, 8))):
        image.paste(colour, (*place, place[0] + 8, place[1] + 8))
    return image.convert(mode)


def corners(values: np.ndarray) -> list[tuple[int, ...]]:
    """The colours of the four corners: above left, above right, below left, below right."""
    return [tuple(int(v) for v in values[:, row, column]) for row in (0, -1) for column in (0, -1)]


RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def test_a_picture_of_the_right_size_keeps_every_pixel(tmp_path):
    path = picture(tmp_path / "a.png", size=(24, 24))
    np.testing.assert_array_equal(decode_image(path, 24), np.asarray(Image.open(path)).transpose(2, 0, 1))


def test_the_rest_of_a_wide_picture_is_cut_off_around_the_centre(tmp_path):
    path = picture(tmp_path / "a.png", size=(40, 24))
    whole = np.asarray(Image.open(path)).transpose(2, 0, 1)
    np.testing.assert_array_equal(decode_image(path, 24), whole[:, :, 8:32])


def test_a_smaller_picture_is_the_mean_and_not_a_choice_of_pixels(tmp_path):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "a.png")
    assert np.abs(decode_image(tmp_path / "a.png", 8)[:, 1:-1, 1:-1].astype(int) - 127).max() <= 8


@pytest.mark.parametrize("turn, expected", [
    (1, [RED, GREEN, BLUE, WHITE]), (2, [GREEN, RED, WHITE, BLUE]), (3, [WHITE, BLUE, GREEN, RED]),
    (4, [BLUE, WHITE, RED, GREEN]), (5, [RED, BLUE, GREEN, WHITE]), (6, [BLUE, RED, WHITE, GREEN]),
    (7, [WHITE, GREEN, BLUE, RED]), (8, [GREEN, WHITE, RED, BLUE]),
])  # fmt: skip
def test_the_orientation_in_exif_is_respected(tmp_path, turn, expected):
    exif = Image.Exif()
    exif[0x0112] = turn
    quarters().save(tmp_path / "a.png", exif=exif)
    assert corners(decode_image(tmp_path / "a.png", 16)) == expected


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tiff", "webp", "jpg"])
@pytest.mark.parametrize("size", [16, 8])
def test_every_format_gives_the_same_picture(tmp_path, suffix, size):
    quarters().save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    found = np.array(corners(decode_image(tmp_path / f"a.{suffix}", size))).astype(int)
    assert np.abs(found - np.array([RED, GREEN, BLUE, WHITE])).max() <= (16 if suffix == "jpg" else 0)


@pytest.mark.parametrize("mode, suffix", [
    ("L", "png"), ("LA", "png"), ("P", "png"), ("1", "png"), ("RGBA", "png"), ("CMYK", "jpg"), ("CMYK", "tiff"),
])  # fmt: skip
def test_every_mode_becomes_red_green_and_blue(tmp_path, mode, suffix):
    quarters(mode).save(tmp_path / f"a.{suffix}")
    expected = np.array(quarters(mode).convert("RGB")).transpose(2, 0, 1).astype(int)
    found = decode_image(tmp_path / f"a.{suffix}", 16).astype(int)
    assert np.abs(found - expected)[:, 2:6, 2:6].max() <= 3


def test_what_is_transparent_becomes_white(tmp_path):
    image = quarters("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((16, 16)).point(lambda value: 0 if value < 128 else 255))
    image.save(tmp_path / "a.png")
    image.convert("P").save(tmp_path / "p.png", transparency=image.convert("P").getpixel((0, 0)))
    assert corners(decode_image(tmp_path / "a.png", 16)) == [WHITE, WHITE, BLUE, WHITE]
    assert corners(decode_image(tmp_path / "a.png", 8)) == [WHITE, WHITE, BLUE, WHITE]
    assert corners(decode_image(tmp_path / "p.png", 16))[0] == WHITE


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tiff"])
def test_of_an_animation_the_first_picture_is_read(tmp_path, suffix):
    others = [Image.new("RGB", (16, 16), colour) for colour in ("black", "lime")]
    lossless = {"lossless": True} if suffix == "webp" else {}
    quarters().save(tmp_path / f"a.{suffix}", save_all=True, append_images=others, **lossless)
    assert corners(decode_image(tmp_path / f"a.{suffix}", 16)) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path, suffix):
    values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(
        decode_image(tmp_path / f"a.{suffix}", 16), np.arange(256).reshape(1, 16, 16).repeat(3, 0)
    )


def test_a_picture_of_one_pixel_fills_the_square(tmp_path):
    Image.new("RGB", (1, 1), (10, 20, 30)).save(tmp_path / "a.png")
    assert np.ptp(decode_image(tmp_path / "a.png", 32), axis=(1, 2)).max() == 0
    assert corners(decode_image(tmp_path / "a.png", 32))[0] == (10, 20, 30)


def test_a_picture_of_400_million_pixels_is_refused_in_little_memory(tmp_path):
    path = huge_png(tmp_path / "a.png", 20_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadSample, match="pixels"):
        decode_image(path, 32)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB
    assert decode_image(huge_png(tmp_path / "b.png", 2000), 32).max() == 0


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp", "tiff"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.95])
def test_a_truncated_picture_is_bad(tmp_path, suffix, share):
    data = picture(tmp_path / f"whole.{suffix}", size=(64, 64)).read_bytes()
    (tmp_path / f"a.{suffix}").write_bytes(data[: int(share * len(data))])
    with pytest.raises(BadSample):
        decode_image(tmp_path / f"a.{suffix}", 16)


@pytest.mark.parametrize("content", [b"hello, I am a text", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x00" * 1000])
def test_what_is_no_picture_is_bad_whatever_its_suffix(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(BadSample, match="not a picture"):
        decode_image(tmp_path / "a.jpg", 16)


def test_a_missing_file_is_bad(tmp_path):
    with pytest.raises(BadSample, match="No such file"):
        decode_image(tmp_path / "none.png", 16)


def test_a_picture_is_read_by_what_it_is_and_not_by_its_suffix(tmp_path):
    quarters().save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert corners(decode_image(tmp_path / "a.jpg", 16)) == [RED, GREEN, BLUE, WHITE]


def test_damaged_bytes_never_end_in_anything_but_a_picture_or_a_bad_sample(tmp_path):
    generator, refused = np.random.default_rng(0), 0
    for suffix in ("png", "jpg", "webp", "gif", "tiff"):
        data = np.frombuffer(picture(tmp_path / f"whole.{suffix}").read_bytes(), np.uint8)
        for _ in range(40):
            changed = data.copy()
            changed[generator.integers(0, len(data), 8)] = generator.integers(0, 256, 8)
            (tmp_path / "a.bin").write_bytes(changed.tobytes())
            try:
                assert decode_image(tmp_path / "a.bin", 16).shape == (3, 16, 16)
            except BadSample:
                refused += 1
    assert refused > 20


@pytest.mark.parametrize("size, box", [
    ((80, 48), (0, 0, 80, 48)), ((120, 48), (20, 0, 100, 48)), ((80, 160), (0, 56, 80, 104)), ((81, 48), (0, 0, 80, 48))
])  # fmt: skip
def test_of_a_rectangle_all_that_has_its_aspect_is_kept_around_the_centre(tmp_path, size, box):
    path = picture(tmp_path / "a.png", size=size)
    whole = Image.open(path)
    for height, width in ((48, 80), (24, 40)):
        expected = np.asarray(whole.crop(box).resize((width, height), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
        found = decode_image(path, (height, width))
        assert found.shape == (3, height, width)
        # a window between two pixels is resampled, so that it is near only
        assert np.abs(found.astype(int) - expected).mean() < (60 if size[0] == 81 else 0.5)


@pytest.mark.parametrize("mode, suffix", [("L", "png"), ("LA", "png"), ("P", "png"), ("RGBA", "png"), ("CMYK", "jpg")])
def test_every_mode_fills_a_rectangle(tmp_path, mode, suffix):
    quarters(mode).save(tmp_path / f"a.{suffix}")
    expected = np.array(quarters(mode).convert("RGB")).transpose(2, 0, 1).astype(int)[:, 4:12]
    assert np.abs(decode_image(tmp_path / f"a.{suffix}", (8, 16)).astype(int) - expected)[:, 1:3, 2:6].max() <= 3
