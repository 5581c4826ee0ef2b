"""Runs of a few seconds that many tests share: a toy objective, and the command line called in this process."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.cli import main
from mmssl.config import Config, load_config
from mmssl.evaluate.collapse import panel
from mmssl.objectives import Objective
from mmssl.objectives.base import Output
from mmssl.order import Order, batches
from mmssl.train import Run, launch, reseed, start

TINY = """
task: masked_language
run: run
data: {source: savanna, samples: 600, document: line, row_length: 64}
encoder: {name: bert, layers: 1, width: 32, heads: 2, intermediate: 64, dropout: 0.1, max_positions: 64}
tokenizer: {kind: word, vocabulary_size: 300}
train:
  steps: 6
  batch_size: 4
  accumulate: 2
  precision: fp32
  save_every_steps: 2
  evaluate_every_steps: 6
  log_every_steps: 1
evaluate: {documents: 32}
"""
SAMPLES = torch.randn(40, 4, generator=torch.Generator().manual_seed(1))


class Toy(Objective):
    """A denoising autoencoder of one layer; `spoil(call number, energy)` may put a NaN into a micro-batch."""

    def __init__(self, spoil: Callable[[int, Tensor], Tensor] = lambda call, energy: energy, dropout: float = 0.1):
        super().__init__()
        self.encoder, self.dropout = nn.Linear(4, 4), nn.Dropout(dropout)
        self.spoil, self.calls = spoil, 0
        self.progress: list[float] = []

    def forward(self, batch: Batch) -> Output:
        self.calls += 1
        sample = batch.views["x"][0]
        embedding = self.encoder(self.dropout(sample))
        energy = self.spoil(self.calls, (embedding - sample).square().mean(1))
        return Output({"error": energy.mean()}, energy.detach(), embedding.detach())

    def after_step(self, progress: float) -> None:
        self.progress.append(progress)


class Pulled(Toy):
    """All embeddings are pulled to one point, as by a joint embedding without anything that keeps them apart."""

    def forward(self, batch):
        embedding = self.encoder(batch.views["x"][0])
        energy = (embedding - 1).square().mean(1)
        return Output({"error": energy.mean()}, energy.detach(), embedding.detach())


def read_samples(indices) -> dict[str, list[Tensor]]:
    """The views of these samples."""
    return {"x": [SAMPLES[indices]]}


def heldout_panel(run):
    """The collapse panel of all samples."""
    with torch.no_grad():
        return panel(run.objective.encoder(SAMPLES))


def write_config(folder: Path) -> str:
    """The tiny config as a file."""
    path = folder / "tiny.yaml"
    path.write_text(TINY)
    return str(path)


def toy_config(folder: Path, *overrides: str) -> Config:
    """The tiny config with a run folder below `folder`."""
    (folder / "run").mkdir(exist_ok=True)
    return load_config(write_config(folder), [f"run={folder / 'run'}", *overrides])


def toy_run(folder: Path, *overrides: str, objective: Toy | None = None, data: str = "") -> tuple[Run, Iterator[Batch]]:
    """A started (or resumed) run of the toy with the stream that belongs to it."""
    config = toy_config(folder, *overrides)
    forget_processes()
    made = Toy() if objective is None else objective
    reseed(config.seed)
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(std=0.5)
    run = start(made, config, launch(config), data=data)
    order = Order((len(SAMPLES),), config.seed)
    return run, batches(read_samples, order, run.slots, samples_seen=run.samples_seen)


def weights_of(run: Run) -> dict[str, Tensor]:
    """A copy of the weights."""
    return {name: weight.detach().clone() for name, weight in run.objective.named_parameters()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two groups of tensors hold the same bits."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def forget_processes() -> None:
    """Let the next Accelerator choose its own device and precision."""
    AcceleratorState._reset_state(reset_partial_state=True)


def call(*arguments: object) -> int:
    """The exit code of `mmssl ARGUMENTS`, run in this process."""
    forget_processes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["mmssl", *map(str, arguments)])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


@contextmanager
def training_only() -> Iterator[None]:
    """Within it a run ends without probes and without a report, which take longer than its few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmssl.evaluate.labelled.labelled_text", lambda *arguments: None)
        patch.setattr("mmssl.report.write_report", lambda runs: "not written")
        yield


def metrics(folder: Path) -> list[dict]:
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@cache
def finished_run(root: Path) -> Path:
    """The folder of a tiny finished run below the session's folder, made once; who changes it works on a copy."""
    folder = root / "finished"
    folder.mkdir()
    assert call("pretrain", write_config(folder), f"run={folder / 'run'}") == 0
    return folder / "run"
