"""Variant (d) of `benchmark.py text`: the same lines, tokenizer, rows and model, through mmssl as a user runs it."""

import json
import math
import time
from pathlib import Path

import benchmark_text as peers
import torch
from benchmark_step import whole_step
from benchmark_text import Budget, Measured, Validation
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from mmssl.config import load_config
from mmssl.methods import METHODS
from mmssl.modalities.text_data import TextData, prepare
from mmssl.models import ENCODERS
from mmssl.order import Order, batches
from mmssl.tokens import Place, Tokens
from mmssl.train import Run, launch, reseed, start

LEARNING_RATE = 1e-3  # ours, as in configs/masked_language_bert_folder.yaml; the peers keep run_mlm's kind of recipe


def overrides(workspace: Path) -> dict:
    """The sections of a config that say what the other variants do."""
    sizes = {"layers": peers.LAYERS, "width": peers.WIDTH, "heads": peers.HEADS, "intermediate": peers.INNER}
    return {
        "task": "masked_language", "run": str(workspace / "run"),
        "data": {
            "source": str(workspace / "train.txt"), "document": "line", "heldout": 0.0, "row_length": peers.LENGTH,
        },
        "tokenizer": {"name": str(workspace / "tokenizer")}, "method": {"hidden_ratio": peers.MASK_RATIO},
        "encoder": sizes,
        "train": {"batch_size": peers.ROWS, "precision": "bf16", "learning_rate": LEARNING_RATE},
    }  # fmt: skip


def begin(workspace: Path) -> tuple[Run, TextData]:
    """A run on the lines that are not held out, from the files that all variants share."""
    (workspace / "train.txt").write_text("\n".join(peers.split_lines(workspace)[0]), "utf-8")
    names = {token.strip("[]").lower() + "_token": token for token in peers.SPECIAL}
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(workspace / "tokenizer.json"), **names)
    tokenizer.save_pretrained(workspace / "tokenizer")
    (workspace / "config.yaml").write_text(json.dumps(overrides(workspace)))
    config = load_config(workspace / "config.yaml")
    accelerator = launch(config)
    data = prepare(config, workspace / "run", lambda entry: None)
    reseed(config.seed)
    encoder = ENCODERS[config.encoder.name](data.vocabulary, **config.encoder.arguments())
    objective = METHODS[config.method.name](encoder, data.vocabulary, **config.method.arguments())
    return start(objective, config, accelerator, tokens_per_sample=data.tokens_per_sample), data


def logits_of(run: Run, part: Validation) -> Float[Tensor, "B M K"]:
    """Logits at the hidden positions of held-out blocks, in float32 and without dropout."""
    run.objective.eval()
    position = torch.arange(part.ids.shape[1]).expand_as(part.ids)
    grid = (part.ids.shape[1],)
    seen = Tokens(part.ids, Place(position, part.document, grid))
    hidden = Place(part.hidden, part.document.gather(1, part.hidden), grid)
    return run.objective.predict({"text": seen}, {"text": hidden})["text"]


def ours(workspace: Path, budget: Budget) -> Measured:
    """Train by the loop's own step, until the time is over or the target reached."""
    run, data = begin(workspace)
    stream = batches(data.train, Order(data.sizes, run.config.seed, 1.0), run.slots)
    validation = peers.validation_of(workspace)
    began, paused, steps, elapsed, checked, loss = time.perf_counter(), 0.0, 0, 0.0, 0.0, math.nan
    reached = math.nan
    while elapsed < budget.seconds:
        if run.step == peers.WARMUP_STEPS:
            began, paused = time.perf_counter(), 0.0
        whole_step(run, stream, elapsed / budget.seconds)
        if run.step <= peers.WARMUP_STEPS:
            continue
        steps += 1
        elapsed = time.perf_counter() - began - paused
        if budget.evaluate_seconds and elapsed - checked >= min(budget.evaluate_seconds, budget.seconds - checked):
            pause = time.perf_counter()
            loss = peers.validation_loss(lambda part: logits_of(run, part), validation)
            paused, checked = paused + time.perf_counter() - pause, elapsed
            if loss <= budget.target and math.isnan(reached):
                reached = elapsed
                break
    slots = steps * peers.ROWS * peers.LENGTH
    return Measured(round(steps * peers.ROWS * data.tokens_per_sample), slots, steps, elapsed, loss, reached)
