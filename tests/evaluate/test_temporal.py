"""Claims about the frames of a clip: alike frames are called constant, whatever positions a model adds to all clips."""

import pytest
import torch
from media_runs import media_config, parts_of

from mmssl.errors import DataError
from mmssl.evaluate.temporal import by_time, temporal_panel, temporal_results
from mmssl.models.transformer import TransformerEncoder

CLIPS, TIMES, WIDTH = 40, 12, 30


def gaussian(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def found(frames: torch.Tensor) -> tuple[str, float, float]:
    """Verdict, rank and share."""
    panel = temporal_panel(frames)
    return panel["collapse.temporal_verdict"], panel["collapse.temporal_rank"], panel["collapse.temporal_share"]


def test_frames_of_their_own_are_healthy_and_reach_nearly_the_rank_that_there_is():
    frames = gaussian(CLIPS, TIMES, WIDTH)
    verdict, rank, share = found(frames)
    assert verdict == "healthy"
    assert 0.8 * (TIMES - 1) < rank <= TIMES - 1
    assert share == pytest.approx(1 - 1 / TIMES, abs=0.02)  # a clip's mean over 12 times has a twelfth of the variance
    assert temporal_panel(frames)["collapse.temporal_reachable_rank"] == TIMES - 1


def test_frames_that_are_the_same_at_all_times_are_constant_whatever_the_positions():
    clip, place = gaussian(CLIPS, 1, WIDTH), gaussian(1, TIMES, WIDTH, seed=1)
    assert found((clip + 3 * place).expand(CLIPS, TIMES, WIDTH).clone()) == ("constant", 0.0, 0.0)
    # the control: something of their own
    assert found(clip + 3 * place + gaussian(CLIPS, TIMES, WIDTH, seed=2))[0] == "healthy"
    # a tenth of the deviation is just not enough
    verdict, rank, share = found(clip + 0.09 * gaussian(CLIPS, TIMES, WIDTH, seed=2))
    assert verdict == "constant"
    assert rank > 8
    assert share < 0.01


def test_what_all_clips_say_alike_tells_nothing_of_any():
    place = gaussian(1, TIMES, WIDTH)
    assert found(place.expand(CLIPS, TIMES, WIDTH).clone()) == ("constant", 0.0, 0.0)


def test_frames_along_one_line_are_constant_and_along_few_of_many_partial():
    line = gaussian(CLIPS, TIMES, 1) * gaussian(1, 1, WIDTH, seed=1)
    verdict, rank, _ = found(line)
    assert verdict == "constant"
    assert rank == pytest.approx(1, abs=1e-3)
    three = gaussian(CLIPS, 60, 3) @ gaussian(3, 200, seed=1)
    assert found(three)[0] == "partial"  # about 3 of 59


def test_the_rank_of_two_equal_directions_is_two():
    # four times: +a, -a, +b, -b, the signs by clip so that no place has anything in common
    frames = torch.zeros(2, 4, 3)
    frames[0, :, :2] = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]])
    frames[1] = -frames[0]
    assert temporal_panel(frames)["collapse.temporal_rank"] == pytest.approx(2)


@pytest.mark.parametrize("shape", [(1, 4, 3), (4, 1, 3)])
def test_one_clip_or_one_time_is_refused(shape):
    with pytest.raises(DataError, match="expected at least 2 of 2"):
        temporal_panel(torch.ones(shape))


def test_a_time_is_the_mean_of_its_bands():
    value = torch.arange(12.0).reshape(1, 6, 2)  # 3 times x 2 bands
    assert by_time(value, 3)[0].tolist() == [[1, 2], [5, 6], [9, 10]]


@pytest.mark.parametrize("task, prefix", [("audio_pretraining", ""), ("audio_visual", "audio.")])
def test_a_model_of_sounds_is_asked_and_one_whose_layers_see_only_positions_is_constant(tmp_path, task, prefix):
    config = media_config(tmp_path, task)
    _, data, inputs, objective = parts_of(config)
    encoder = objective.encoder.eval()
    assert isinstance(encoder, TransformerEncoder)
    healthy = temporal_results(encoder, data.heldout, inputs, config)
    assert healthy[f"{prefix}collapse.temporal_verdict"] == "healthy"
    assert healthy[f"{prefix}collapse.temporal_reachable_rank"] == 3  # 4 patches of 4 columns of 0.125 s
    with torch.no_grad():
        next(encoder.embed["audio"].parameters()).zero_()  # the weight
    silent = temporal_results(encoder, data.heldout, inputs, config)
    assert silent[f"{prefix}collapse.temporal_verdict"] == "constant"


def test_pictures_have_no_times(tmp_path):
    config = media_config(tmp_path, "image_pretraining")
    _, data, inputs, objective = parts_of(config)
    assert temporal_results(objective.encoder, data.heldout, inputs, config) == {}
