"""Claims about the order of samples: who reads what, once an epoch, whatever the number of processes."""

import os
from itertools import chain, islice, product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmssl.errors import ConfigError, DataError, HangError
from mmssl.order import CYCLE, Order, Slots, batches
from mmssl.workers import Answered

SPLITS = [
    (processes, accumulate)
    for processes, accumulate in product((1, 2, 3), (1, 2))
    if 12 % (processes * accumulate) == 0
]


def read(index: np.ndarray) -> dict[str, list[torch.Tensor]]:
    """A view that says which sample it is."""
    return {"text": [torch.from_numpy(np.asarray(index))[:, None] * 10]}


def read_at_length(index: np.ndarray) -> dict[str, list[torch.Tensor]]:
    """A view of many tensors: the worker hands its batch over for some time."""
    return {"text": [torch.zeros(len(index), 100) for _ in range(400)]}


def die(index: np.ndarray) -> dict[str, list[torch.Tensor]]:
    """A reader whose worker is killed, as for want of memory."""
    os.kill(os.getpid(), 9)
    return read(index)


def refuse(index: np.ndarray) -> dict[str, list[torch.Tensor]]:
    """A reader that finds a sample it cannot use."""
    raise DataError(f"sample {index[0]}: broken: by all means; expected a whole one")


def steps(order: Order, processes: int, accumulate: int, count: int, *, seen: int = 0) -> list[list[int]]:
    """The samples of each step, sorted, over all processes and micro-batches."""
    streams = [
        batches(read, order, Slots(12, accumulate, rank, processes), samples_seen=seen) for rank in range(processes)
    ]
    found = []
    for _ in range(count):
        parts = [batch.draw.index for stream in streams for batch in islice(stream, accumulate)]
        assert all(len(part) == 12 // (processes * accumulate) for part in parts)
        found.append(sorted(torch.cat(parts).tolist()))
    return found


@given(st.lists(st.integers(0, 300), min_size=1, max_size=20), st.sampled_from([1.0, 0.3]))
def test_the_sample_at_a_position_depends_on_nothing_else(positions, exponent):
    order = Order((40, 7), seed=3, exponent=exponent)
    epoch, index = order.at(np.arange(301))
    some_epoch, some_index = order.at(np.array(positions))
    assert np.array_equal(some_epoch, epoch[positions])
    assert np.array_equal(some_index, index[positions])


def test_each_epoch_holds_each_sample_once_in_another_order():
    epoch, index = Order((25,), seed=1).at(np.arange(100))
    assert epoch.tolist() == sorted([0, 1, 2, 3] * 25)
    epochs = index.reshape(4, 25)
    assert all(sorted(one) == list(range(25)) for one in epochs.tolist())
    assert len({tuple(one) for one in epochs.tolist()}) == 4
    assert not np.array_equal(index, Order((25,), seed=2).at(np.arange(100))[1])


@pytest.mark.parametrize("processes, accumulate", SPLITS)
def test_the_samples_of_a_step_do_not_depend_on_processes_and_micro_batches(processes, accumulate):
    order = Order((60,), seed=4)
    one = steps(order, 1, 1, 10)
    assert steps(order, processes, accumulate, 10) == one
    for epoch in range(2):
        assert sorted(chain.from_iterable(one[5 * epoch : 5 * epoch + 5])) == list(range(60))


def test_processes_that_shuffle_alone_would_read_other_samples():
    one = steps(Order((60,), seed=4), 1, 1, 5)
    apart = [steps(Order((60,), seed=4 + rank), 1, 1, 5) for rank in range(2)]
    assert [sorted(first[:6] + second[:6]) for first, second in zip(*apart, strict=True)] != one


def test_a_run_goes_on_where_it_stopped_by_one_number_alone():
    order = Order((50,), seed=4)
    assert steps(order, 2, 3, 6, seen=12 * 4) == steps(order, 1, 1, 10)[4:]


def test_a_data_set_smaller_than_a_batch_is_read_again_within_the_batch():
    order = Order((5,), seed=0)
    (batch,) = islice(batches(read, order, Slots(12)), 1)
    assert batch.draw.epoch.tolist() == [0] * 5 + [1] * 5 + [2] * 2
    assert sorted(batch.draw.index[:5].tolist()) == sorted(batch.draw.index[5:10].tolist()) == [0, 1, 2, 3, 4]


def test_a_batch_holds_the_views_of_its_samples_and_their_draws():
    (batch,) = islice(batches(read, Order((30,), seed=9), Slots(6), samples_seen=30), 1)
    assert torch.equal(batch.views["text"][0][:, 0], batch.draw.index * 10)
    assert batch.draw.seed == 9
    assert batch.draw.epoch.tolist() == [1] * 6


@pytest.mark.parametrize("slots", [Slots(10, 1, 0, 3), Slots(10, 4), Slots(10, 2, 0, 2)])
def test_a_batch_that_cannot_be_split_evenly_is_refused(slots):
    with pytest.raises(ConfigError, match=r"train\.batch_size 10 cannot be split .* expected a multiple of"):
        slots.size()
    assert Slots(12, slots.accumulate, 0, slots.processes).size() in (3, 4)


@pytest.mark.parametrize("sizes", [(), (0,), (0, 0)])
def test_no_sample_at_all_is_an_error(sizes):
    with pytest.raises(DataError, match="no sample"):
        batches(read, Order(sizes, seed=0), Slots(4))


SIZES = (5000, 700, 40)


def test_groups_are_mixed_by_their_sizes_to_the_power_with_exact_counts_in_each_cycle():
    weight = np.array(SIZES) ** 0.3
    exact = weight / weight.sum() * CYCLE
    ends = np.cumsum(SIZES)
    _, index = Order(SIZES, seed=2, exponent=0.3).at(np.arange(2 * CYCLE))
    for cycle in np.split(index, 2):
        counts = np.bincount(np.searchsorted(ends, cycle, side="right"), minlength=3)
        assert counts.sum() == CYCLE
        assert (np.abs(counts - exact) < 1).all()
    proportional = np.array(SIZES) / sum(SIZES) * CYCLE
    assert np.abs(counts - proportional).max() > 1000  # the control: without the power the shares are others


def test_within_a_group_each_epoch_holds_each_sample_once():
    epoch, index = Order(SIZES, seed=2, exponent=0.3).at(np.arange(2 * CYCLE))
    for start, size in zip(np.cumsum([0, *SIZES]), SIZES, strict=False):
        mine = (index >= start) & (index < start + size)
        read_so_far, epochs = index[mine] - start, epoch[mine]
        whole = len(read_so_far) // size * size
        assert np.array_equal(epochs[:whole], np.arange(whole) // size)
        for one in read_so_far[:whole].reshape(-1, size):
            assert np.array_equal(np.sort(one), np.arange(size))


def test_exponent_one_reads_all_groups_as_one():
    assert np.array_equal(Order((30, 20), seed=5).at(np.arange(99)), Order((50,), seed=5).at(np.arange(99)))


def test_an_empty_group_takes_no_share():
    epoch, index = Order((30, 0, 20), seed=5, exponent=0.3).at(np.arange(CYCLE))
    assert set(index.tolist()) == set(range(50))
    assert epoch.max() > 0


def test_a_group_that_is_small_beyond_measure_still_has_a_share():
    shares = Order((10**12, 1), seed=0, exponent=0.9).shares()
    assert shares.tolist() == [CYCLE - 1, 1]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_read_the_same_batches():
    order, slots = Order((20, 9), seed=6, exponent=0.3), Slots(4, 2, 1, 2)
    alone = list(islice(batches(read, order, slots, samples_seen=8), 5))
    stream = batches(read, order, slots, samples_seen=8, workers=2)
    together = list(islice(stream, 5))
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one.views["text"][0], other.views["text"][0])
        assert torch.equal(one.draw.index, other.draw.index)
        assert torch.equal(one.draw.epoch, other.draw.epoch)


def test_a_worker_leaves_quietly_while_it_hands_a_batch_over():
    stream = batches(read_at_length, Order((100,), seed=0), Slots(4), workers=1)
    assert isinstance(stream, Answered)
    assert len(next(stream).views["text"]) == 400
    del stream.loader
    (worker,) = stream.workers
    worker.join()
    assert worker.exitcode == 0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the stream misses it as it is closed
def test_a_worker_that_is_killed_ends_the_run_with_one_line():
    stream = batches(die, Order((8,), seed=0), Slots(4), workers=1)
    with pytest.raises(HangError, match=r"data\.workers: .* (exited|killed)"):
        next(stream)


def test_an_error_in_a_worker_is_the_line_that_it_would_be_without():
    stream = batches(refuse, Order((8,), seed=0), Slots(4), workers=1)
    with pytest.raises(DataError, match=r"^sample \d: broken: by all means; expected a whole one$"):
        next(stream)
