"""The alarm speaks once of each change, believes a few low readings, and ends a run only where that is wanted."""

import pytest
import torch

from mmssl.evaluate import alarm as module
from mmssl.evaluate.alarm import Alarm, reading
from mmssl.evaluate.collapse import panel, standard_deviation, with_compared
from mmssl.objectives.base import Output


def gaussian(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def output(embedding: torch.Tensor, compared: torch.Tensor | None = None) -> Output:
    return Output({}, torch.zeros(len(embedding)), embedding, compared)


def heard(alarm: Alarm, capsys, *lines: dict) -> list[tuple[bool, str]]:
    """What the alarm says to each line: whether to end, and its warning."""
    return [(alarm.hear(step, line), capsys.readouterr().err) for step, line in enumerate(lines, 1)]


def readings(*values: float) -> list[dict]:
    return [{"collapse.batch_std": value} for value in values]


def alarm(*, stops: bool = True, is_main: bool = True) -> Alarm:
    return Alarm(stops=stops, is_main=is_main)


def test_the_reading_is_the_lesser_standard_deviation_of_embeddings_and_of_what_is_compared():
    wide, narrow = gaussian(16, 8), 1 + 0.1 * gaussian(16, 8)
    for found in (output(wide, narrow), output(narrow, wide), output(narrow)):
        assert float(reading(found)["collapse.batch_std"]) == pytest.approx(standard_deviation(narrow), rel=1e-5)
    assert float(reading(output(torch.ones(16, 8)))["collapse.batch_std"]) == pytest.approx(0.0, abs=1e-6)
    assert reading(output(wide[:1])) == {}  # one sample is always one point


def test_three_low_readings_in_turn_end_the_run_and_two_do_not(capsys):
    found = heard(alarm(), capsys, *readings(0.8, 0.01, 0.01, 0.8, 0.01, 0.01, 0.01))
    assert [ends for ends, _ in found] == [False] * 6 + [True]
    assert [step for step, (_, said) in enumerate(found, 1) if said] == [2, 5]  # once for each change
    assert found[1][1].startswith("warning: step 2: embeddings collapse (complete): std 0.01 within the training")
    assert found[1][1].count("\n") == 1


def test_embeddings_that_were_near_each_other_from_the_start_are_no_collapse(capsys):
    assert heard(alarm(), capsys, *readings(0.04, 0.03, 0.025, 0.03, 0.2)) == [(False, "")] * 5
    # the control: the same readings after one that is far above
    assert any(said for _, said in heard(alarm(), capsys, *readings(0.2, 0.04, 0.03, 0.025)))


def test_a_held_out_verdict_is_told_once_with_its_numbers(capsys):
    flat = panel(gaussian(64, 1) * torch.ones(64) + 0.01 * gaussian(64, 64))
    few = panel(gaussian(64, 3) @ gaussian(3, 64))
    healthy = panel(gaussian(64, 64))
    assert [one["collapse.verdict"] for one in (flat, few, healthy)] == ["complete", "partial", "healthy"]
    found = heard(alarm(), capsys, healthy, few, few, flat, flat, few, healthy, flat)
    assert [step for step, (_, said) in enumerate(found, 1) if said] == [2, 4, 6, 8]
    assert found[1][1].startswith("warning: step 2: embeddings collapse (partial): effective rank 2.9 of 63 reachable")
    assert [ends for ends, _ in found] == [False, False, False, True, True, False, False, True]


def test_what_is_compared_is_named_where_only_that_collapses(capsys):
    line = with_compared(panel(gaussian(64, 64)), torch.ones(64, 8))
    ((ends, said),) = heard(alarm(), capsys, line)
    assert ends
    assert "of what is compared effective rank 0.0 of 8 reachable, std 0" in said


def test_a_verdict_stands_until_the_next_evaluation(capsys):
    found = heard(alarm(), capsys, {"collapse.verdict": "partial"}, *readings(0.9), {"collapse.verdict": "partial"})
    assert [bool(said) for _, said in found] == [True, False, False]


def test_it_only_warns_unless_the_run_is_to_stop_and_only_the_main_process_speaks(capsys):
    lines = [{"collapse.verdict": "complete"}, *readings(0.9, 0.0, 0.0, 0.0)]
    assert [(ends, bool(said)) for ends, said in heard(alarm(stops=False), capsys, *lines)] == [
        (False, step == 0) for step in range(5)
    ]
    assert not any(said for _, said in heard(alarm(is_main=False), capsys, *lines))


def test_all_processes_decide_as_the_one_that_measured(capsys, monkeypatch):
    monkeypatch.setattr(module, "largest", lambda *values: [1.0])
    assert alarm(is_main=False).hear(1, {})
    assert not alarm(stops=False).hear(1, {})


def test_few_samples_and_features_that_were_near_each_other_before_raise_no_alarm(capsys):
    few = with_compared(panel(gaussian(4, 64)), gaussian(4, 8)) | {"collapse.verdict": "complete"}
    assert heard(alarm(), capsys, few) == [(False, "")]
    near = panel(gaussian(64, 64) + 30)
    assert near["collapse.verdict"] == "complete"
    assert [bool(said) for _, said in heard(alarm(), capsys, *readings(0.03), near | readings(0.03)[0])] == [False] * 2
    # the control: once they were apart
    fell = heard(alarm(), capsys, *readings(0.9), near | readings(0.03)[0])
    assert [bool(said) for _, said in fell] == [False, True]
