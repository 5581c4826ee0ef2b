"""Claims about fine-tuning: it learns what can be learnt, and leaves the encoder as it was."""

import time

import numpy as np
import torch

from mmssl.evaluate.finetune import finetune
from mmssl.savanna import captions, labels

TRAIN, TEST = np.arange(600), np.arange(600, 700)


def task(texts: list[str], seed: int = 0) -> tuple[list[str], torch.Tensor]:
    """Each text with an animal that tells its label, at a place that does not."""
    classes = np.random.default_rng(seed).integers(0, 2, len(texts))
    named = [f"{text} the {('owl', 'shark')[label]}" for text, label in zip(texts, classes, strict=True)]
    return named, torch.from_numpy(classes)


def test_it_learns_what_can_be_learnt_and_not_what_cannot(world):
    train, test = task(captions(1, TRAIN)), task(captions(1, TEST), 1)
    options = {"longest": 64, "seconds": 30.0, "seed": 0}
    assert finetune(world.trained.encoder, world.vocabulary, *train, *test, **options) > 0.95
    # the control: labels that have nothing to do with the texts
    shuffled = torch.from_numpy(np.random.default_rng(2).integers(0, 2, len(TEST)))
    assert 0.3 < finetune(world.trained.encoder, world.vocabulary, *train, test[0], shuffled, **options) < 0.7


def test_it_leaves_the_encoder_as_it_was(world):
    before = {name: value.clone() for name, value in world.trained.encoder.state_dict().items()}
    texts, classes = captions(1, TRAIN[:40]), torch.from_numpy(labels(1, TRAIN[:40]))
    finetune(world.trained.encoder, world.vocabulary, texts, classes, texts, classes, longest=64, seconds=1.0, seed=0)
    assert not world.trained.encoder.training
    for name, value in world.trained.encoder.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_it_keeps_to_its_time(world):
    texts, classes = captions(1, np.arange(3000)), torch.from_numpy(labels(1, np.arange(3000)))
    began = time.monotonic()
    finetune(
        world.trained.encoder, world.vocabulary, texts, classes, texts[:20], classes[:20], longest=64, seconds=0.5,
        seed=0,
    )  # fmt: skip
    assert time.monotonic() - began < 4  # all ten epochs would take more


def test_texts_are_cut_at_the_longest(world):
    texts, classes = task([" ".join(captions(1, np.arange(20)))] * 8)
    found = finetune(
        world.random.encoder, world.vocabulary, texts, classes, texts, classes, longest=32, seconds=0.2, seed=0
    )
    assert 0 <= found <= 1
