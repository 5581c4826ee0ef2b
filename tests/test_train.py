"""The loop: what it learns from, when it stops, and that nothing bad reaches the weights."""

import os
import signal

import pytest
import torch
from running import Pulled, Toy, heldout_panel, metrics, same, toy_run, weights_of

from mmssl.checkpoint import restore
from mmssl.errors import CheckpointError, ConfigError, NumericError, Preempted
from mmssl.train import train


def last_saved(folder):
    found = restore(folder / "run")
    assert found is not None
    return found


def test_train_lowers_the_loss(tmp_path):
    run, stream = toy_run(tmp_path, "train.steps=60", "train.learning_rate=0.05", objective=Toy(dropout=0.0))
    train(run, stream, until=60)
    losses = [line["loss"] for line in metrics(tmp_path / "run")]
    assert len(losses) == 60
    assert losses[-1] < 0.3 * losses[0]


def test_a_whole_step_is_split_into_micro_batches_without_changing_the_weights(tmp_path):
    found = []
    for accumulate in (1, 2, 4):
        folder = tmp_path / str(accumulate)
        folder.mkdir()
        run, stream = toy_run(folder, f"train.accumulate={accumulate}", objective=Toy(dropout=0.0))
        train(run, stream, until=6)
        assert run.objective.calls == 6 * accumulate
        found.append(weights_of(run))
    for other in found[1:]:
        for name, weight in found[0].items():
            torch.testing.assert_close(weight, other[name], rtol=0, atol=1e-6)


def test_the_learning_rate_warms_up_and_falls_as_worked_by_hand(tmp_path):
    run, stream = toy_run(tmp_path, "train.steps=4", "train.warmup_ratio=0.5", "train.learning_rate=0.1")
    train(run, stream, until=4)
    rates = [line["learning_rate"] for line in metrics(tmp_path / "run")]
    assert rates == pytest.approx([0.025, 0.075, 0.075, 0.025])  # read in the middle of each step


def test_the_gradient_norm_in_the_log_is_that_before_clipping(tmp_path):
    norms = []
    for clip in (1e3, 1e-3):
        folder = tmp_path / str(clip)
        folder.mkdir()
        run, stream = toy_run(folder, f"train.gradient_clip={clip}")
        train(run, stream, until=1)
        norms.append(metrics(folder / "run")[0]["gradient_norm"])
    assert norms[0] == norms[1] > 0.1


def test_after_step_hears_the_progress_of_each_step(tmp_path):
    run, stream = toy_run(tmp_path, "train.steps=4")
    train(run, stream, until=4)
    assert run.objective.progress == [0.25, 0.5, 0.75, 1.0]


def test_evaluations_run_when_asked_and_at_the_end_and_are_logged(tmp_path):
    run, stream = toy_run(tmp_path, "train.steps=5", "train.evaluate_every_steps=2", "train.log_every_steps=100")
    train(run, stream, until=5, evaluations=[lambda run: {"asked_at": run.step}])
    lines = metrics(tmp_path / "run")
    assert [(line["step"], line["asked_at"]) for line in lines] == [(2, 2), (4, 4), (5, 5)]
    assert lines[0].keys() >= {"samples_seen", "error", "loss", "learning_rate", "gradient_norm", "samples_per_second"}
    assert lines[-1]["samples_seen"] == 20


def test_a_line_of_the_log_is_the_mean_over_its_steps(tmp_path):
    every, third = tmp_path / "1", tmp_path / "3"
    for folder in (every, third):
        folder.mkdir()
        run, stream = toy_run(folder, f"train.log_every_steps={folder.name}")
        train(run, stream, until=6)
    losses = [line["loss"] for line in metrics(every / "run")]
    assert [line["loss"] for line in metrics(third / "run")] == pytest.approx(
        [sum(losses[:3]) / 3, sum(losses[3:]) / 3]
    )


def test_train_seconds_stops_the_run_with_its_schedule_at_the_end(tmp_path):
    sizes = ["train.steps=10000000", "train.log_every_steps=1000000", "train.save_every_steps=1000000"]
    run, stream = toy_run(tmp_path, "train.seconds=0.3", "train.evaluate_every_steps=1000000", *sizes)
    train(run, stream, until=10_000_000)
    (line,) = metrics(tmp_path / "run")
    assert 0.3 <= run.seconds < 3
    assert line["learning_rate"] < 0.1 * run.config.train.learning_rate
    assert last_saved(tmp_path).step == run.step
    again, stream = toy_run(tmp_path, "train.seconds=0.3", "train.evaluate_every_steps=1000000", *sizes)
    train(again, stream, until=10_000_000)
    assert again.step == run.step  # the time of both starts counts


def nan_at(*calls):
    """Multiplies the loss of these micro-batches (from 1) by NaN."""
    return lambda call, energy: energy * float("nan") if call in calls else energy


def nan_gradient_at(bad):
    """A finite loss whose gradient is 0 * infinity."""
    return lambda call, energy: energy + ((energy - energy).clamp(min=0).sqrt() if call == bad else 0)


@pytest.mark.parametrize("spoil", [nan_at(5), nan_at(6), nan_gradient_at(5), nan_gradient_at(6)])
def test_nan_in_either_micro_batch_leaves_the_weights_of_the_last_good_step(tmp_path, spoil):
    good_folder, bad_folder = tmp_path / "good", tmp_path / "bad"
    good_folder.mkdir()
    bad_folder.mkdir()
    good, stream = toy_run(good_folder, "train.save_every_steps=100")
    train(good, stream, until=2)
    bad, stream = toy_run(bad_folder, "train.save_every_steps=100", objective=Toy(spoil))
    with pytest.raises(
        NumericError, match=r"^step 3: .*nan.*; expected finite numbers.*last finite weights are saved"
    ) as raised:
        train(bad, stream, until=6)
    assert raised.value.exit_code == 5
    assert "\n" not in str(raised.value)
    assert same(weights_of(bad), weights_of(good))
    assert same(last_saved(bad_folder).tensors["optimizer"], last_saved(good_folder).tensors["optimizer"])
    assert last_saved(bad_folder).step == 2
    resumed, stream = toy_run(bad_folder)
    train(resumed, stream, until=6)
    assert resumed.step == 6


def test_without_the_finite_check_nan_would_reach_the_weights(tmp_path, monkeypatch):
    monkeypatch.setattr("mmssl.train.torch.isfinite", lambda value: torch.ones_like(value, dtype=torch.bool))
    run, stream = toy_run(tmp_path, objective=Toy(nan_at(5)))
    train(run, stream, until=3)
    assert not all(torch.equal(weight, weight) for weight in weights_of(run).values())


class Interrupted(Toy):
    """Gets signals, as from a scheduler, amid the third step."""

    def __init__(self, *numbers):
        super().__init__()
        self.numbers = numbers

    def forward(self, batch):
        output = super().forward(batch)
        for number in self.numbers if self.calls == 5 else ():
            os.kill(os.getpid(), number)
        return output


@pytest.mark.parametrize(
    "numbers", [(signal.SIGTERM,), (signal.SIGINT,), (signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM)]
)
def test_a_signal_ends_the_step_saves_it_and_the_run_resumes_to_the_same_weights(tmp_path, capsys, numbers):
    whole_folder, folder = tmp_path / "whole", tmp_path / "interrupted"
    whole_folder.mkdir()
    folder.mkdir()
    whole, stream = toy_run(whole_folder, "train.save_every_steps=100")
    train(whole, stream, until=6)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    run, stream = toy_run(folder, "train.save_every_steps=100", objective=Interrupted(*numbers))
    with pytest.raises(Preempted, match="stopped at step 3") as raised:
        train(run, stream, until=6)
    assert raised.value.exit_code == 75
    assert capsys.readouterr().err.count("stopping after this step") == 1
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert last_saved(folder).step == 3
    resumed, stream = toy_run(folder, "train.save_every_steps=100")
    assert resumed.step == 3
    train(resumed, stream, until=6)
    assert same(weights_of(resumed), weights_of(whole))
    assert [line["step"] for line in metrics(folder / "run")] == [1, 2, 3, 4, 5, 6]


def test_a_signal_in_the_last_step_is_a_finished_run(tmp_path):
    run, stream = toy_run(tmp_path, "train.steps=3", objective=Interrupted(signal.SIGTERM))
    train(run, stream, until=3)
    assert last_saved(tmp_path).step == 3


def test_start_refuses_a_batch_that_cannot_be_split(tmp_path, monkeypatch):
    monkeypatch.setattr("mmssl.train.Accelerator.num_processes", 3)
    with pytest.raises(ConfigError, match="batch_size 4 cannot be split over 3 processes x 2 micro-batches"):
        toy_run(tmp_path)


def test_start_refuses_other_data_than_the_checkpoint_saw(tmp_path):
    run, stream = toy_run(tmp_path, data="these")
    train(run, stream, until=2)
    with pytest.raises(CheckpointError, match=r"data changed since \(these -> others\)"):
        toy_run(tmp_path, data="others")
    assert toy_run(tmp_path, data="these")[0].step == 2


def test_start_refuses_a_checkpoint_of_another_shape(tmp_path):
    run, stream = toy_run(tmp_path)
    train(run, stream, until=2)
    other = Toy()
    other.encoder = torch.nn.Linear(4, 5)
    with pytest.raises(CheckpointError, match=r"model of the checkpoint does not fit: encoder\.weight is float32"):
        toy_run(tmp_path, objective=other)


def test_the_first_weights_are_a_function_of_the_seed(tmp_path):
    first, again, other = (weights_of(toy_run(tmp_path, f"seed={seed}")[0]) for seed in (3, 3, 4))
    assert same(first, again)
    assert not same(first, other)


LONG = (
    "train.steps=100",
    "train.accumulate=1",
    "train.learning_rate=0.1",
    "train.save_every_steps=1000",
    "train.log_every_steps=5",
)


def warnings_of(capsys) -> list[str]:
    """The alarm's lines on stderr."""
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]


@pytest.mark.parametrize("every, evaluations", [(20, (heldout_panel,)), (1000, ())])
def test_a_collapse_ends_the_run_where_it_is_asked_to(tmp_path, every, evaluations):
    asked = (*LONG, f"train.evaluate_every_steps={every}")
    run, stream = toy_run(tmp_path, *asked, "train.stop_on_collapse=true", objective=Pulled())
    with pytest.raises(
        NumericError, match=r"^step \d+: embeddings collapse \(complete\): .*weights are saved"
    ) as raised:
        train(run, stream, until=100, evaluations=evaluations)
    assert raised.value.exit_code == 5
    assert "\n" not in str(raised.value)
    assert 20 <= run.step < 100
    assert last_saved(tmp_path).step == run.step
    resumed, stream = toy_run(tmp_path, *asked, objective=Pulled())  # which may go on without it
    assert resumed.step == run.step
    train(resumed, stream, until=100, evaluations=evaluations)
    assert resumed.step == 100


def test_batches_of_one_sample_say_nothing_of_collapse(tmp_path, capsys):
    run, stream = toy_run(tmp_path, "train.batch_size=2", "train.steps=6")
    train(run, stream, until=6)
    assert not [line for line in metrics(tmp_path / "run") if "collapse.batch_std" in line]
    assert warnings_of(capsys) == []
