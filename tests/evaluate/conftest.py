"""One small masked language model, trained for seconds on the built-in world, and the same with random weights."""

from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from mmssl.config import Config, load_config
from mmssl.methods import METHODS
from mmssl.modalities.text import Vocabulary
from mmssl.modalities.text_data import TextData, prepare
from mmssl.models import ENCODERS
from mmssl.objectives import Objective
from mmssl.order import Order, Slots, batches

STEPS = 200


class World(NamedTuple):
    """A run's parts, without its run folder's checkpoints."""

    config: Config
    data: TextData
    trained: Objective
    random: Objective

    @property
    def vocabulary(self) -> Vocabulary:
        """The run's."""
        return self.data.vocabulary


def unreported(entry: dict) -> None:
    """Nothing may be reported."""
    raise AssertionError(entry)


def build(config: Config, words: Vocabulary) -> Objective:
    """An objective with weights that depend on the seed only."""
    torch.manual_seed(config.seed)
    encoder = ENCODERS[config.encoder.name](words, **config.encoder.arguments())
    return METHODS[config.method.name](encoder, words, **config.method.arguments()).eval()


def config_of(folder: Path, *overrides: str) -> Config:
    """A small config on the built-in world."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(
        "task: masked_language\n"
        f"run: {folder / 'run'}\n"
        "data: {source: savanna, samples: 4000, row_length: 64, document: line}\n"
        "tokenizer: {vocabulary_size: 600, kind: word}\n"
        "method: {name: bert, mask_ratio: 1.0, random_ratio: 0.0}\n"
        "encoder: {name: bert, layers: 2, width: 48, heads: 4, intermediate: 96, dropout: 0.0, max_positions: 64}\n"
        "evaluate: {documents: 64}\n"
    )
    return load_config(folder / "config.yaml", overrides)


def train(objective: Objective, data: TextData, steps: int) -> None:
    """Plain AdamW on the rows, 32 at a time."""
    objective.train()
    optimizer = torch.optim.AdamW(objective.parameters(), lr=4e-3)
    stream = batches(data.train, Order(data.sizes, 0), Slots(32))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * min(1.0, step / 20) * (1 - step / steps)
        torch.stack([*objective(next(stream)).terms.values()]).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    objective.eval()


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    """The built-in world's captions, and a model that has learnt some of it."""
    config = config_of(tmp_path_factory.mktemp("world"))
    data = prepare(config, Path(config.run), unreported)
    trained, random = build(config, data.vocabulary), build(config, data.vocabulary)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a model is slower on more
    train(trained, data, STEPS)
    torch.set_num_threads(threads)
    return World(config, data, trained, random)
