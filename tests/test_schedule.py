"""Claims about learning-rate schedules: values worked by hand."""

from itertools import pairwise

import pytest

from mmssl.schedule import SCHEDULES, scale


@pytest.mark.parametrize(
    "name, values",  # at 0, 1/3, 1/2, 1 of the run
    [
        ("linear", (1.0, 2 / 3, 0.5, 0.0)),
        ("cosine", (1.0, 0.75, 0.5, 0.0)),  # cos(pi / 3) = 1/2
        ("constant", (1.0, 1.0, 1.0, 1.0)),
    ],
)
def test_schedule_has_the_values_of_its_formula(name, values):
    for progress, value in zip((0.0, 1 / 3, 0.5, 1.0), values, strict=True):
        assert SCHEDULES[name](progress) == pytest.approx(value)
        assert scale(name, progress, 0.0) == pytest.approx(value)


def test_warm_up_rises_in_a_straight_line_and_the_schedule_takes_the_rest():
    assert [scale("linear", progress, 0.2) for progress in (0.0, 0.05, 0.1, 0.2)] == pytest.approx([0, 0.25, 0.5, 1])
    assert scale("linear", 0.6, 0.2) == pytest.approx(0.5)  # half of the remaining 0.8
    assert scale("cosine", 0.2 + 0.8 / 3, 0.2) == pytest.approx(0.75)
    assert [scale(name, 1.0, 0.2) for name in ("linear", "cosine", "constant")] == pytest.approx([0, 0, 1])


def test_a_run_that_is_all_warm_up_is_defined_to_its_end():
    assert scale("constant", 0.5, 1.0) == 0.5
    assert scale("constant", 1.0, 1.0) == 1.0


@pytest.mark.parametrize("name", SCHEDULES)
def test_scale_never_leaves_the_unit_interval_nor_jumps(name):
    values = [scale(name, step / 1000, 0.1) for step in range(1001)]
    assert min(values) >= 0
    assert max(values) <= 1
    assert max(abs(after - before) for before, after in pairwise(values)) <= 0.0101
