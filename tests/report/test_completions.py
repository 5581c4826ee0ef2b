"""A sheet shows what is seen, hidden and predicted; of several predictions also what they share and do not."""

from typing import Any

import av
import pytest
import torch
from media_runs import media_config
from PIL import Image

from mmssl.augment import to_pixels
from mmssl.evaluate.completion import Completed
from mmssl.inputs import Inputs
from mmssl.modalities.grids import Cut
from mmssl.report.completions import bounded, draw_film, draw_picture
from mmssl.report.films import Panel
from mmssl.report.pictures import LEAST

HIDDEN = (torch.arange(16) >= 8).expand(1, 3, 16, 16)


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """The titles and pictures of a sheet, and the caption of its file."""

    def of(values: list[float], **options):
        kept: dict[str, Any] = {}

        def keep_sheet(rows, titles, note):
            kept.update(zip(titles, rows[0], strict=True))
            kept.update(note=note)
            return Image.new("RGB", (8, 8))

        def keep_caption(image, path, caption):
            kept.update(caption=caption)

        original = torch.full((1, 3, 16, 16), 1.0)
        samples = [torch.where(HIDDEN, value, original) for value in values]
        inputs = Inputs(media_config(tmp_path, "image_pretraining"), ("image",))
        one = Completed(
            Cut("image", (16, 16), (8, 8), 3), original, torch.where(HIDDEN, 0.0, original), HIDDEN, samples, **options
        )
        monkeypatch.setattr("mmssl.report.completions.sheet", keep_sheet)
        monkeypatch.setattr("mmssl.report.completions.save_png", keep_caption)
        assert draw_picture(one, 0, inputs, tmp_path / "a") == [tmp_path / "a.png"]
        return kept

    return of


def left_and_right(picture: torch.Tensor) -> tuple[int, int]:
    """The grey levels of the two halves."""
    assert picture.shape == (3, 16, 16)
    assert len(picture[..., :8].unique()) == len(picture[..., 8:].unique()) == 1
    return int(picture[0, 0, 0]), int(picture[0, 0, -1])


def level(value: float) -> int:
    return int(to_pixels(torch.full((3, 1, 1), float(value)))[0, 0, 0])


def test_several_predictions_are_shown_with_their_mean_and_spread(drawn):
    found = drawn([-1.0, 1.0, 1.5])
    names = ["seen", "hidden: the truth", "predicted 1", "predicted 2", "predicted 3", "predicted: mean"]
    assert list(found) == [*names, "predicted: spread", "note", "caption"]
    assert left_and_right(found["seen"]) == (level(1), level(0))
    assert left_and_right(found["hidden: the truth"]) == (level(0), level(1))
    assert left_and_right(found["predicted 1"]) == (level(1), level(-1))
    assert left_and_right(found["predicted: mean"]) == (level(1), level(0.5))
    assert left_and_right(found["predicted: spread"]) == (0, 255)
    # deviations of (0, 255, 255) and so on would be white: here they are those of -1, 1 and 1.5
    white = torch.tensor([float(level(value)) for value in (-1, 1, 1.5)]).std()
    assert f"white is {white:.0f} of 255" in found["note"]
    assert found["caption"] == ""


def test_a_single_prediction_has_no_mean_and_no_spread(drawn):
    assert list(drawn([0.5])) == ["seen", "hidden: the truth", "predicted", "note", "caption"]


def test_pixels_that_are_not_the_models_own_are_called_decoded_beside_the_best_that_they_can_be(drawn):
    found = drawn([0.0, 1.0], limit=torch.full((1, 3, 16, 16), 0.5))
    assert list(found)[2:7] == ["decoded: the truth", "decoded 1", "decoded 2", "decoded: mean", "decoded: spread"]
    assert left_and_right(found["decoded: the truth"]) == (level(0.5),) * 2
    for said in (found["caption"], found["note"]):
        assert "drawn by a decoder (a linear map) fitted afterwards to frozen features" in said


FUTURE = (torch.arange(4) >= 2)[None, :, None, None, None].expand(1, 4, 3, 16, 16)
RIGHT = HIDDEN[:, None].expand(1, 4, 3, 16, 16)


@pytest.fixture
def filmed(monkeypatch, tmp_path):
    """The files of a clip of 4 frames in 2 seconds, the panels of its film and the rows of its sheet."""

    def of(hidden: torch.Tensor, values: list[float], **options):
        kept: dict[str, Any] = {}

        def keep_film(panels: list[Panel], seen: list[bool], note: str, least: int):
            kept.update(panels={panel.title: panel for panel in panels}, seen=seen, note=note)
            return [Image.new("RGB", (8, 8), color) for color in ("red", "green", "blue", "white")]

        def keep_sheet(rows, titles, least, names, note):
            kept.update(rows=dict(zip(names, rows, strict=True)), titles=titles)
            return Image.new("RGB", (8, 8))

        original = torch.full((1, 4, 3, 16, 16), 1.0)
        samples = [torch.where(hidden, value, original) for value in values]
        one = Completed(
            Cut("video", (4, 16, 16), (2, 8, 8), 3), original, torch.where(hidden, 0.0, original), hidden, samples,
            **options,
        )  # fmt: skip
        monkeypatch.setattr("mmssl.report.completions.film", keep_film)
        monkeypatch.setattr("mmssl.report.completions.sheet", keep_sheet)
        inputs = Inputs(media_config(tmp_path, "video_prediction"), ("video",))
        written = draw_film(one, 0, inputs, tmp_path / "a")
        assert written == [tmp_path / f"a{suffix}" for suffix in (".gif", ".mp4", ".png")]
        return kept

    return of


def test_futures_stand_beside_the_true_one_and_a_sheet_has_a_row_for_each(filmed):
    found = filmed(FUTURE, [-1.0, 1.0])
    assert {title: panel.kind for title, panel in found["panels"].items()} == {
        "truth": "hidden", "predicted 1": "predicted", "predicted 2": "predicted", "predicted: spread": "predicted",
    }  # fmt: skip
    assert found["seen"] == [True, True, False, False]
    assert "Orange dashes: what it says" in found["note"]
    names = ["seen", "hidden: the truth", "predicted 1", "predicted 2", "predicted: mean", "predicted: spread"]
    assert list(found["rows"]) == names
    assert found["titles"] == ["0.25 s, seen", "0.75 s, seen", "1.25 s", "1.75 s"]
    means = [[int(frame[0, 0, 0]) for frame in found["rows"][name]] for name in names]
    one, grey, low = level(1), level(0), level(-1)
    assert means[:4] == [[one, one, grey, grey], [grey, grey, one, one], [one, one, low, low], [one] * 4]
    assert means[5] == [0, 0, 255, 255]


def test_a_clip_hidden_in_part_is_shown_with_what_is_left_of_it(filmed):
    found = filmed(RIGHT, [0.5])
    assert list(found["panels"]) == ["seen", "truth", "predicted"]
    assert found["panels"]["seen"].kind == "seen"
    assert found["seen"] == [False] * 4
    assert left_and_right(found["panels"]["seen"].clip[3]) == (level(1), level(0))


def test_where_nobody_knows_what_comes_nothing_is_called_the_truth(filmed):
    found = filmed(FUTURE, [-1.0, 1.0], unknown=frozenset({0}))
    assert list(found["panels"]) == ["seen", "predicted 1", "predicted 2", "predicted: spread"]
    assert list(found["rows"]) == ["seen", "predicted 1", "predicted 2", "predicted: mean", "predicted: spread"]
    assert int(found["panels"]["seen"].clip[3].unique()) == level(0)
    assert found["panels"]["seen"].kind == "hidden"


def test_a_film_of_decoded_embeddings_says_so(filmed):
    found = filmed(RIGHT, [0.5], limit=torch.zeros(1, 4, 3, 16, 16))
    assert list(found["panels"]) == ["seen", "truth", "decoded: the truth", "decoded"]
    assert "drawn by a decoder (a linear map) fitted afterwards to frozen features" in found["note"]


def test_a_film_has_the_speed_of_its_clip(filmed, tmp_path):
    filmed(FUTURE, [0.5])
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].average_rate == 2
    with Image.open(tmp_path / "a.gif") as image:
        assert image.info["duration"] == 500


def test_a_large_clip_is_shrunk_by_a_whole_number_and_a_small_one_left_as_it_is():
    clip = torch.arange(2 * 3 * 8 * 8).reshape(2, 3, 8, 8).to(torch.uint8)
    (small,), least = bounded([Panel("a", clip, "seen")], 5)
    assert (small.clip.shape, least) == ((2, 3, 4, 4), 1)
    assert float(small.clip[1, 2, 0, 0]) == round(float(clip[1, 2, :2, :2].float().mean()))
    (same,), least = bounded([Panel("a", clip, "seen")], 8)
    assert (torch.equal(same.clip, clip), least) == (True, LEAST)
