"""Claims about draws: the generator's published values, and what a number does and does not depend on."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmssl.random import Draw, hashed, on_device, permutation, philox

# Random123's kat_vectors for philox4x32, 10 rounds: counter, key, answer
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> list[int]:
    """Hexadecimal words as numbers."""
    return [int(word, 16) for word in text.split()]


def draw(*index: int, seed: int = 3, epoch: int = 0) -> Draw:
    """The draws of some samples."""
    return Draw(seed, torch.full((len(index),), epoch), torch.tensor(index))


@pytest.mark.parametrize("counter, key, answer", KNOWN)
def test_philox_gives_the_known_answers_of_random123(counter, key, answer):
    first, second = words(key)
    for kind in (np.uint64, np.int64):
        given_counter = [np.array([word] * 3).astype(np.uint64) for word in words(counter)]
        held = given_counter if kind is np.uint64 else [torch.from_numpy(one.astype(np.int64)) for one in given_counter]
        assert [one.tolist() for one in philox(held, (first, second))] == [[word] * 3 for word in words(answer)]


def test_a_wrong_key_or_counter_misses_the_known_answer():
    for counter, key, answer in KNOWN:
        first, second = words(key)
        held = [np.array([word], dtype=np.uint64) for word in words(counter)]
        assert [int(one[0]) for one in philox(held, (first ^ 1, second))] != words(answer)
        assert [int(one[0]) for one in philox([one ^ 1 for one in held], (first, second))] != words(answer)


def test_an_accelerator_makes_the_same_numbers():
    given = draw(0, 5, 2**31, 2**40 + 3, epoch=7)
    number = hashed(given.seed, "mask")
    made = on_device(given.epoch, given.index, 4, (number & 0xFFFFFFFF, number >> 32))
    assert torch.equal(made, given.uniform("mask", 16))
    assert torch.equal(made[:, :14].reshape(-1, 2, 7), given.uniform("mask", 2, 7))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("count", [5, 2**16])
def test_draws_on_cuda_are_those_of_the_processor(count):
    given = draw(0, 5, 2**40 + 3, epoch=7)
    assert torch.equal(given.to(torch.device("cuda")).uniform("noise", count).cpu(), given.uniform("noise", count))


@given(st.permutations(range(12)), st.integers(1, 11))
def test_a_draw_depends_neither_on_the_batch_nor_on_the_order(order, cut):
    whole = draw(*range(12)).uniform("mask", 5)
    parts = torch.cat([draw(*order[:cut]).uniform("mask", 5), draw(*order[cut:]).uniform("mask", 5)])
    assert torch.equal(parts, whole[torch.tensor(order)])


def test_a_draw_does_not_depend_on_the_dtype_of_the_index():
    index = torch.arange(6)
    answers = [
        Draw(1, index.to(dtype), index.to(dtype)).uniform("crop", 2, 3)
        for dtype in (torch.uint8, torch.int16, torch.int32, torch.int64)
    ]
    assert all(torch.equal(answers[0], answer) for answer in answers)


def test_a_longer_draw_begins_with_the_shorter_one():
    assert torch.equal(draw(4, 9).uniform("mask", 11)[:, :3], draw(4, 9).uniform("mask", 3))


@pytest.mark.parametrize("other", ["seed", "epoch", "index", "high word of the index", "name"])
def test_a_draw_depends_on_seed_epoch_index_and_name(other):
    reference = draw(7).uniform("mask", 8)
    changed = {
        "seed": draw(7, seed=4).uniform("mask", 8),
        "epoch": draw(7, epoch=1).uniform("mask", 8),
        "index": draw(8).uniform("mask", 8),
        "high word of the index": draw(7 + 2**32).uniform("mask", 8),
        "name": draw(7).uniform("crop", 8),
    }[other]
    assert (reference != changed).all()


def test_draws_ignore_the_hash_seed_of_the_process_while_pythons_hash_does_not():
    program = (
        "import torch; from mmssl.random import Draw, hashed, permutation; d = Draw(3, torch.zeros(2).long(), "
        "torch.tensor([5, 6])); print(hashed(3, 'mask'), d.uniform('mask', 4).tolist(), "
        "permutation(3, 1, 9).tolist()); print(hash('mask'))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    said = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    here = f"{hashed(3, 'mask')} {draw(5, 6).uniform('mask', 4).tolist()} {permutation(3, 1, 9).tolist()}"
    assert said[0] == here
    assert int(said[1]) != hash("mask")  # the control: this process has another hash seed


def test_hashed_separates_parts_and_types():
    assert len({hashed("ab", "c"), hashed("a", "bc"), hashed("abc"), hashed("a", "b", "c")}) == 4
    assert hashed(1) != hashed("1")
    numbers = [hashed(number) for number in range(1000)]
    assert min(numbers) >= 0
    assert max(numbers) < 2**63


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    """How two sets of numbers go together, in standard deviations of what independent ones would show."""
    centred = (a.flatten().double() - 0.5) * (b.flatten().double() - 0.5)
    return float(centred.sum() / (len(centred) ** 0.5 / 12))


def test_uniform_numbers_are_uniform():
    values = draw(*range(2000)).uniform("mask", 50).double().flatten()
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 4 * (1 / 12) ** 0.5 / len(values) ** 0.5
    expected = len(values) / 64
    chi_square = ((torch.histc(values, 64, 0, 1) - expected) ** 2 / expected).sum()
    assert abs(chi_square - 63) < 4 * (2 * 63) ** 0.5


def test_numbers_of_other_names_samples_epochs_and_places_are_independent():
    values = draw(*range(2001)).uniform("mask", 50)
    assert abs(correlation(values, draw(*range(2001)).uniform("crop", 50))) < 4
    assert abs(correlation(values, draw(*range(2001), epoch=1).uniform("mask", 50))) < 4
    assert abs(correlation(values[1:], values[:-1])) < 4
    assert abs(correlation(values[:, 1:], values[:, :-1])) < 4
    assert correlation(values, values) > 40  # the control: the same numbers are found out


def test_integers_reach_every_value_below_the_bound_alike():
    counts = torch.bincount(draw(*range(3000)).integers("word", 7, 10).flatten(), minlength=7)
    assert len(counts) == 7
    assert ((counts - 30000 / 7).abs() < 4 * (30000 / 7 * 6 / 7) ** 0.5).all()


def test_permutation_holds_each_number_once_and_changes_with_each_part_of_its_key():
    reference = permutation(0, 0, 100)
    assert sorted(reference.tolist()) == list(range(100))
    for other in (permutation(1, 0, 100), permutation(0, 1, 100), permutation(0, 0, 100, "groups")):
        assert not np.array_equal(reference, other)
    assert np.array_equal(reference, permutation(0, 0, 100))


def test_normal_numbers_have_the_moments_of_a_normal_distribution():
    values = draw(*range(2000)).normal("noise", 50)
    assert values.dtype == torch.float32
    assert values.isfinite().all()
    values = values.double().flatten()
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((values**power).mean() - moment) < 4 * (variance / len(values)) ** 0.5
    below = torch.distributions.Normal(0.0, 1.0).cdf(values)  # uniform, if they are normal
    expected = len(values) / 64
    assert abs(((torch.histc(below, 64, 0, 1) - expected) ** 2 / expected).sum() - 63) < 4 * (2 * 63) ** 0.5


def test_normal_numbers_depend_neither_on_the_batch_nor_on_uniform_ones_of_the_same_name():
    whole = draw(*range(2000)).normal("noise", 6)
    assert torch.equal(draw(8, 3).normal("noise", 6), whole[[8, 3]])
    assert torch.equal(draw(8).normal("noise", 2, 2).flatten(), whole[8, :4])
    uniform = draw(*range(2000)).uniform("noise", 6)
    below = torch.distributions.Normal(0.0, 1.0).cdf(whole)
    assert abs(correlation(below, uniform)) < 4
    assert abs(correlation(below[:, 1:], below[:, :-1])) < 4
    assert abs(correlation(below[1:], below[:-1])) < 4


def test_the_draws_of_modalities_are_others_and_each_the_same_again():
    whole = Draw(3, torch.zeros(200, dtype=torch.long), torch.arange(200))
    video, audio = (whole.of(name).uniform("mask") for name in ("video", "audio"))
    assert torch.equal(video, whole.of("video").uniform("mask"))
    for one, other in ((video, audio), (video, whole.uniform("mask"))):
        assert abs(float(torch.corrcoef(torch.stack([one, other]))[0, 1])) < 4 / 200**0.5
