"""A sheet shows what is seen, hidden and predicted; of several predictions also what they share and do not."""

from typing import Any

import pytest
import torch
from media_runs import media_config
from PIL import Image

from mmssl.augment import to_pixels
from mmssl.evaluate.completion import Completed
from mmssl.inputs import Inputs
from mmssl.modalities.grids import Cut
from mmssl.report.completions import draw_picture

HIDDEN = (torch.arange(16) >= 8).expand(1, 3, 16, 16)


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """The titles and pictures of a sheet, and the caption of its file."""

    def of(values: list[float], **options):
        kept: dict[str, Any] = {}

        def keep_sheet(rows, titles):
            kept.update(zip(titles, rows[0], strict=True))
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
    assert list(found) == [*names, "predicted: spread", "caption"]
    assert left_and_right(found["seen"]) == (level(1), level(0))
    assert left_and_right(found["hidden: the truth"]) == (level(0), level(1))
    assert left_and_right(found["predicted 1"]) == (level(1), level(-1))
    assert left_and_right(found["predicted: mean"]) == (level(1), level(0.5))
    assert left_and_right(found["predicted: spread"]) == (0, 255)
    assert found["caption"] == ""


def test_a_single_prediction_has_no_mean_and_no_spread(drawn):
    assert list(drawn([0.5])) == ["seen", "hidden: the truth", "predicted", "caption"]


def test_pixels_that_are_not_the_models_own_are_called_decoded(drawn):
    found = drawn([0.0, 1.0], is_decoded=True)
    assert list(found)[2:6] == ["decoded 1", "decoded 2", "decoded: mean", "decoded: spread"]
    assert "The model predicts embeddings" in found["caption"]
