"""Gate: a loss or gradient that is not finite on one process, a loss that leaps up and an induced collapse leave the
weights of the last good step, alike on all processes; the alarm hears each of them, and nothing in healthy runs.
"""

import pytest
import torch
from cases import TWO, ends
from record import record
from running import Pulled, Toy, heldout_panel, metrics, same, toy_run, weights_of

from mmssl.checkpoint import read, restore
from mmssl.errors import NumericError
from mmssl.evaluate.spike import DEVIATIONS, LEAST_STEPS, Spikes
from mmssl.schedule import scale
from mmssl.train import train

EACH = ["train.hang_seconds=5", "train.keep_checkpoints=100", "train.steps=20",
        "train.evaluate_every_steps=100", "train.schedule=constant"]  # fmt: skip
GOOD = {**TWO, "overrides": [*EACH, "train.save_every_steps=1"]}
STEP = 19  # at which something goes wrong: call 38 of two micro-batches each
BROKEN = {f"{what} of rank {rank}": (what, rank) for what in ("loss", "gradient", "leap") for rank in (0, 1)}
SPIKES = "train.stop_on_spike=true"
CONTROLS = {"decides alone": "decides_alone", "is not checked": "is_not_checked"}
SEEDS = [5, pytest.param(20, marks=pytest.mark.slow)]
LONG = ("train.steps=200", "train.accumulate=1", "train.save_every_steps=1000", "train.log_every_steps=5",
        "train.evaluate_every_steps=20", "train.learning_rate=0.1")  # fmt: skip


def broken(what: str, rank: int) -> dict:
    """A case in which something goes wrong on one of two processes."""
    return {**GOOD, "overrides": [*EACH, SPIKES], "gate": {what: 2 * STEP, "rank": rank}}


def all_cases() -> dict[str, dict]:
    """What is let happen, with the mechanisms and without."""
    controls = {name: {**broken("loss", 1), "off": off, "bound": 12.0} for name, off in CONTROLS.items()}
    collapse = {**GOOD, "overrides": [*EACH, *LONG, "train.stop_on_collapse=true"], "gate": {"collapses": True}}
    return {"good": GOOD, **{name: broken(*what) for name, what in BROKEN.items()}, "collapse": collapse, **controls}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """How all cases on two processes ended."""
    return ends(tmp_path_factory.mktemp("numeric_guard"), all_cases())


def difference(end, good) -> float:
    """The largest of all weights and moments between the newest checkpoint and the good run's of that step."""
    mine = restore(end.folder)
    assert mine is not None
    theirs = read(good.folder / "checkpoints" / f"step-{mine.step:09d}", "cpu")
    pairs = [
        (mine.tensors[group][name], theirs.tensors[group][name])
        for group in mine.tensors
        for name in mine.tensors[group]
    ]
    return max(float((a.double() - b.double()).abs().nan_to_num(torch.inf).max()) for a, b in pairs)


def is_guarded(end, good) -> bool:
    """Whether both processes ended alike, with what the step before had left."""
    mine = restore(end.folder)
    return end.codes == [5, 5] and mine is not None and mine.step == STEP - 1 and difference(end, good) == 0


@pytest.mark.parametrize("name", BROKEN)
def test_what_goes_wrong_on_one_process_ends_both_before_it_reaches_the_weights(found, name):
    end = found[name]
    assert found["good"].codes == [0, 0]
    assert is_guarded(end, found["good"]), end
    assert end.log.count(f"mmssl: step {STEP}: ") == 2
    assert end.seconds < 30
    record(
        "numeric_guard",
        broken=len(BROKEN),
        largest_difference=max(difference(found[one], found["good"]) for one in BROKEN),
    )


@pytest.mark.parametrize("name", CONTROLS)
def test_without_a_common_decision_or_the_check_it_would_not(found, name):
    assert not is_guarded(found[name], found["good"])


def test_a_collapse_ends_both_processes_alike(found):
    end = found["collapse"]
    assert end.codes == [5, 5], end
    assert end.log.count("embeddings collapse (complete)") >= 2
    mine = restore(end.folder)
    assert mine is not None
    assert mine.step == metrics(end.folder)[-1]["step"] < 200


def warned(folder, capsys, seed: int, objective: Toy, *overrides: str) -> list[str]:
    """The warnings of 200 steps."""
    (folder / str(seed)).mkdir()
    run, stream = toy_run(folder / str(seed), *LONG, f"seed={seed}", *overrides, objective=objective)
    capsys.readouterr()
    train(run, stream, until=200, evaluations=[heldout_panel])
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]


@pytest.mark.parametrize("seeds", SEEDS)
def test_healthy_runs_raise_no_alarm(tmp_path, capsys, seeds):
    found = [warned(tmp_path, capsys, seed, Toy()) for seed in range(seeds)]
    assert found == [[]] * seeds
    record("numeric_guard", healthy_seeds=seeds, false_alarms=sum(map(len, found)))


@pytest.mark.parametrize("seeds", SEEDS)
def test_an_induced_collapse_is_told_within_200_steps(tmp_path, capsys, seeds):
    steps = []
    for seed in range(seeds):
        said = [line for line in warned(tmp_path, capsys, seed, Pulled()) if "embeddings collapse (complete)" in line]
        assert said
        steps.append(int(said[0].split()[2].strip(":")))
    record("numeric_guard", collapsed_seeds=seeds, told_at_step=max(steps))


@pytest.mark.parametrize("seeds", SEEDS)
def test_a_learning_rate_100_times_too_high_is_told_within_5_steps(tmp_path, capsys, monkeypatch, seeds):
    late = []
    for seed in range(seeds):
        monkeypatch.setattr("mmssl.train.scale", lambda *way: scale(*way) * (100 if way[1] > 0.5 else 1))
        said = [line for line in warned(tmp_path, capsys, seed, Toy()) if "the loss leaps" in line]
        assert said
        late.append(int(said[0].split()[2].strip(":")) - 101)
    assert 0 < min(late) <= max(late) <= 5
    record("numeric_guard", steep_seeds=seeds, steps_until_told=max(late))


def test_a_leap_ends_the_run_where_it_is_asked_to_with_the_weights_before_it(tmp_path):
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
    good, stream = toy_run(tmp_path / "good", *LONG, objective=Toy(dropout=0.0))
    train(good, stream, until=49)
    bad, stream = toy_run(
        tmp_path / "bad", *LONG, SPIKES, objective=Toy(lambda call, energy: energy * (1000 if call == 50 else 1), 0.0)
    )
    with pytest.raises(NumericError, match=r"^step 50: the loss leaps to .*; the weights before it are saved"):
        train(bad, stream, until=200)
    assert same(weights_of(bad), weights_of(good))
    assert restored_step(tmp_path / "bad" / "run") == 49


def restored_step(folder) -> int:
    """The step of the newest checkpoint."""
    found = restore(folder)
    assert found is not None
    return found.step


def test_a_spike_is_far_above_the_median_and_above_what_came_before():
    spikes = Spikes()
    losses = [1.0, 1.1, 0.9, 1.0] * 8  # their median is 1, the median deviation 0.05
    assert not any(spikes.hear(loss) for loss in losses)
    limit = 1 + DEVIATIONS * 1.4826 * 0.05
    assert spikes.limit() == pytest.approx(limit)
    assert spikes.hear(limit + 0.001)  # which widens it
    assert not spikes.hear(limit + 0.001)
    young = Spikes()
    assert not any(young.hear(loss) for loss in [1.0] * (LEAST_STEPS - 1) + [100.0])
    for highest, most in ((4.0, 5.0), (4.75, 6.25)):  # a quarter of 4; thrice the highest excess
        for loss, is_spike in ((most - 0.01, False), (most + 0.01, True)):
            flat = Spikes()
            assert not any(flat.hear(one) for one in [*[4.0] * 20, highest])
            assert flat.hear(loss) == is_spike


def test_a_leap_is_told_once_while_it_lasts():
    spikes = Spikes()
    for _ in range(20):
        spikes.hear(1.0)
    assert spikes.hear(9.0)
    said = [spikes.sentence(step, leap) for step, leap in enumerate([9.0, 9.0, -torch.inf, 9.0], 1)]
    assert [bool(one) for one in said] == [True, False, False, True]
    assert said[0].startswith("step 1: the loss leaps to 9, where 1.25 was the most to expect; try a lower")
