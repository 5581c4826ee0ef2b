"""Claims about what is said of memory before training: it is true, and saying it changes nothing."""

import pytest
import torch
from running import Toy, metrics, same, toy_config, toy_run, weights_of
from tiny import MEDIA, TEXT_METHODS, tiny_batch, tiny_objective
from torch import nn

from mmssl.batch import Batch
from mmssl.footprint import activations, footprint, kept_bytes, remembered, tokens_of, untouched
from mmssl.losses.criterion import Criterion
from mmssl.objectives import Objective
from mmssl.objectives.base import Output
from mmssl.pretraining import measured
from mmssl.random import Draw
from mmssl.train import train


class Small(Objective):
    """tanh of a matrix product; its criterion notes how often it was asked."""

    class Noting(Criterion):
        noted = 0

        def forward(self, queries, keys, index):
            self.noted += self.training
            return {}

    def __init__(self, groups: float = 0.0) -> None:
        super().__init__()
        self.encoder, self.criterion, self.regroup_epochs = nn.Linear(4, 4), self.Noting(), groups

    def forward(self, batch: Batch) -> Output:
        x = torch.tanh(self.encoder(batch.views["x"][0]))
        self.criterion(None, None, None)
        energy = x.square().mean(1)
        return Output({"error": energy.mean()}, energy.detach(), x.detach())


def batch_of(count: int) -> Batch:
    """Samples of four numbers."""
    index = torch.arange(count)
    return Batch({"x": [torch.randn(count, 4)]}, Draw(0, torch.zeros_like(index), index))


def test_bytes_kept_for_the_backward_worked_by_hand():
    # the input, for the matrix; what tanh answers, once, although both tanh and the square keep it
    assert kept_bytes(Small(), batch_of(10)) == 2 * 10 * 4 * 4
    for count in (1, 2, 3, 4, 5, 64):
        assert activations(Small(), batch_of(count)) == 2 * count * 4 * 4


@pytest.mark.parametrize("method, encoder", [("mae", "vit"), ("byol", "resnet"), ("simclr", "vit"), ("bert", "bert")])
def test_four_samples_say_what_a_whole_batch_keeps(method, encoder):
    batch = tiny_batch(method, 24)
    objective = tiny_objective(method) if method == "bert" else tiny_objective(method, encoder=encoder)
    whole = kept_bytes(objective.train(), batch)
    assert activations(objective, batch) == pytest.approx(whole, rel=0.1)


def test_lines_worked_by_hand(tmp_path):
    objective, batch = tiny_objective("byol"), tiny_batch("byol", 12)
    student = sum(weight.numel() for part in (objective.embedder, objective.predictor) for weight in part.parameters())
    teacher = sum(weight.numel() for weight in objective.embedder.parameters())
    encoder = sum(weight.numel() for weight in objective.encoder.parameters())
    first, second = footprint(objective, toy_config(tmp_path), 2, batch)
    assert first == (
        f"model: {student + teacher:,} parameters, {encoder:,} in the encoder, {student:,} trained, "
        f"{teacher:,} in teachers"
    )
    state = sum(4 * buffer.numel() * (2 if buffer.ndim == 0 else 1) for buffer in objective.buffers())
    assert second.startswith(
        f"memory: each of 2 processes: weights {(4 * student + state) / 1e6:.1f} MB, teachers {4 * teacher / 1e6:.1f} "
        f"MB, gradients {4 * student / 1e6:.1f} MB, optimizer {8 * student / 1e6:.1f} MB, activations "
    )
    assert second.endswith(" MB for 12 samples")


def test_what_an_optimizer_remembers_of_the_weights(tmp_path):
    objective = tiny_objective("byol", encoder="vit")
    trained = sum(weight.numel() for weight in objective.parameters() if weight.requires_grad)
    inner = [weight for layer in objective.encoder.layers.modules() for weight in layer.parameters(recurse=False)]
    turned = sum(weight.numel() for weight in inner if weight.ndim > 1)
    found = {
        name: remembered(objective, toy_config(tmp_path, f"train.optimizer={name}"))
        for name in ("adamw", "muon", "lars")
    }
    assert found == {"adamw": 8 * trained, "muon": 8 * trained - 4 * turned, "lars": 4 * trained}
    assert turned > 0


@pytest.mark.parametrize("method", [*MEDIA, *TEXT_METHODS])
def test_every_method_is_measured_and_left_as_it_was(method, tmp_path):
    objective, batch = tiny_objective(method), tiny_batch(method, 6)
    modes = [part.training for part in objective.eval().modules()]
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    drawn = torch.get_rng_state()
    lines = footprint(objective, toy_config(tmp_path), 1, batch)
    assert len(lines) == 2
    assert "activations" in lines[1]
    assert torch.equal(torch.get_rng_state(), drawn)
    assert same(before, objective.state_dict())
    assert [part.training for part in objective.modules()] == modes
    assert all(weight.grad is None for weight in objective.parameters())


def test_statistics_and_notes_would_change_without_that_care():
    objective, batch = tiny_objective("byol", encoder="resnet").train(), tiny_batch("byol", 4)
    before = {name: value.clone() for name, value in objective.named_buffers()}
    kept_bytes(objective, batch)
    assert not same(before, dict(objective.named_buffers()))
    small = Small()
    with untouched(small):
        small(batch_of(2))
    assert small.criterion.noted == 0
    small(batch_of(2))
    assert small.criterion.noted == 1


def test_too_little_room_is_said(tmp_path, monkeypatch):
    config, batch = toy_config(tmp_path), batch_of(1000)
    needed = 4 * 20 * 4 + 2 * 1000 * 16  # weights, gradients, two moments of 20 numbers; activations
    for room, count in ((None, 2), (needed, 2), (needed - 1, 3)):
        monkeypatch.setattr("mmssl.footprint.room_on", lambda device, room=room: room)
        assert len(lines := footprint(Small(), config, 1, batch)) == count
    assert lines[2].startswith("warning: that is 0.0 MB, the GPU has 0.0 MB free; expected less")


def test_samples_without_a_group_are_not_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(Small, "forward", lambda self, batch: pytest.fail("asked before the first grouping"))
    assert "activations: not known" in footprint(Small(groups=1.0), toy_config(tmp_path), 1, batch_of(4))[1]


def test_layers_that_are_computed_again_are_named(tmp_path):
    for flag, more in (("true", True), ("false", False)):
        config = toy_config(tmp_path, f"train.activation_checkpointing={flag}")
        assert footprint(Small(), config, 1, batch_of(4))[1].endswith("and those of one layer more") is more


def test_a_run_that_was_measured_trains_alike(tmp_path, capsys):
    found = []
    for name, prepare in (("plain", lambda run, stream: stream), ("measured", measured)):
        (tmp_path / name).mkdir()
        run, stream = toy_run(tmp_path / name, objective=Toy())
        train(run, prepare(run, stream), until=3)
        found.append((weights_of(run), [line["loss"] for line in metrics(tmp_path / name / "run")]))
        assert (capsys.readouterr().out.count("\nmemory: ") == 1) == (name == "measured")
    assert same(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


def test_tokens_of_a_sample_are_those_that_the_encoder_answers():
    for method in ("mae", "multimodal", "wav2vec2", "hubert"):
        objective, batch = tiny_objective(method).eval(), tiny_batch(method, 2)
        cuts = {name: cut for name, cut in objective.encoder.cuts.items() if name != "text"}
        found = [objective.encoder({name: cut.tokenize(batch.views[name])})[name] for name, cut in cuts.items()]
        assert tokens_of(objective) == sum(tokens.value.shape[1] for tokens in found) > 0
