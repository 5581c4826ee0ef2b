"""Claims about fine-tuning: it learns what can be learnt, and leaves the encoder as it was."""

import time

import numpy as np
import torch

from mmssl.evaluate.finetune import BATCH, finetune, rates, tuned_accuracy
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


def numbers_of(samples: torch.Tensor, sizes: list[int] | None = None):
    """The features of rows of numbers by a linear encoder; notes how many are asked for."""

    def embed(encoder: torch.nn.Module, chosen: list[int]) -> torch.Tensor:
        if sizes is not None:
            sizes.append(len(chosen))
        return encoder(samples[chosen])

    return embed


def blind() -> tuple[torch.nn.Linear, torch.Tensor, torch.Tensor]:
    """An encoder that does not see the feature which tells the label, samples, and their labels."""
    generator = torch.Generator().manual_seed(0)
    samples, classes = torch.randn(900, 4, generator=generator), torch.randint(0, 2, (900,), generator=generator)
    samples[:, 0] = 100.0 * (2 * classes - 1)
    encoder = torch.nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        encoder.weight.copy_(torch.eye(4))
        encoder.weight[:, 0] = 0
    return encoder, samples, classes


def test_the_encoder_is_tuned_and_not_the_head_alone():
    encoder, samples, classes = blind()
    parts = numbers_of(samples[:600]), classes[:600], numbers_of(samples[600:]), classes[600:]
    assert tuned_accuracy(encoder, *parts, seconds=20.0, seed=0) > 0.95
    assert not encoder.weight[:, 0].any()
    # the control: an encoder without weights of its own to tune
    frozen = encoder.requires_grad_(False)
    assert 0.3 < tuned_accuracy(frozen, *parts, seconds=20.0, seed=0) < 0.7


def test_no_batch_has_one_sample_only():
    encoder, samples, classes = blind()
    count, sizes = 2 * BATCH + 1, []
    train = numbers_of(samples[:count], sizes)
    tuned_accuracy(encoder, train, classes[:count], numbers_of(samples), classes, seconds=20.0, seed=0)
    assert sizes == [1] + [BATCH] * 20  # the first only tells the width; ten epochs


def test_the_rate_falls_to_zero_over_the_epochs_or_the_time():
    found = [rate for _, rate in rates(64, 1e9, 0)]
    assert len(found) == 20
    assert found[2:] == sorted(found[2:], reverse=True)  # after a warm-up of a tenth
    assert found[-1] < 0.1 * max(found)
    assert list(rates(64, 1e-9, 0)) == []
