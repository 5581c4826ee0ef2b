"""Gate 3: a sample is the same bytes, as it is decoded, augmented and masked, whoever reads it, beside whom and when.

The samples are of all four modalities at once. What is mixed into a sound is another sound of its batch, so that it is
left out here: see `mmssl.augment_sounds`.
"""

import time
from collections.abc import Callable
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import killing
import numpy as np
import pytest
import torch
from media_runs import media_config, parts_of
from record import record
from tiny import part, tiny_batch, tiny_objective

import mmssl.order
from mmssl.augment import View
from mmssl.batch import Batch
from mmssl.order import Order, Slots, batches
from mmssl.random import Draw

BATCH = 8
ALONE = Slots(BATCH)
Digests = dict[tuple[int, int], str]  # (epoch, index) -> of the bytes
VIEWS = ("views.solarise_ratio=0.3", "views.blur_ratio=0.3", "sounds.largest_mix=0", "sounds.noise_ratio=0.5",
         "sounds.time_masks=1", "sounds.band_masks=1")  # fmt: skip
MASKING = ("bert", "mae", "ijepa", "data2vec", "gan", "audio_mae", "hubert", "wav2vec2", "vjepa", "frame_prediction",
           "audio_visual_jepa")  # fmt: skip


class Backwards(Order):
    """The same samples of an epoch from the last one to the first."""

    def at(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return super().at(sum(self.sizes) - 1 - positions)


class Pipeline:
    """From decoded samples to what an objective of all modalities sees of them and hides."""

    def __init__(self, folder: Path, count: int) -> None:
        # not kept on the disk, so that each reader decodes
        config = media_config(folder, "multimodal", f"data.samples={count}", "data.decoded_bytes=0", *VIEWS)
        _, self.data, self.inputs, self.objective = parts_of(config)
        self.order, self.count = Order(self.data.sizes, config.seed), count

    def digests(self, *, order: Order | None = None, slots: Slots = ALONE, seen: int = 0, workers: int = 0):
        """Of all samples of an epoch from the position `seen` on that this process reads."""
        read = batches(self.data.train, order or self.order, slots, samples_seen=seen, workers=workers)
        num_batches = -(-(self.count - seen) // slots.batch_size)
        found: Digests = {}
        for batch in islice(read, num_batches):
            found |= self.of_batch(batch)
        return found

    def of_batch(self, batch: Batch) -> Digests:
        """Of the samples as they are decoded, in two views, and what is seen and hidden of them."""
        torch.rand(3)  # other code may draw from the global generator
        shown = self.inputs(batch, wanted=(View(), View()), augmented=True)
        values = [*tensors_of(batch.views), *tensors_of(shown.views)]
        for one in self.objective.each().values():
            if one.hides:
                values += tensors_of(one.corrupted(shown))
        names = zip(batch.draw.epoch.tolist(), batch.draw.index.tolist())
        return {name: digest([value[row] for value in values]) for row, name in enumerate(names)}


def tensors_of(value: Any) -> list[torch.Tensor]:
    """All tensors within tuples, lists and mappings."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = [value[name] for name in sorted(value)]
    return [one for each in value for one in tensors_of(each)] if isinstance(value, tuple | list) else []


def digest(values: list[torch.Tensor]) -> str:
    """Of the bytes of some tensors."""
    return sha256(b"".join(value.contiguous().numpy().tobytes() for value in values)).hexdigest()


READERS: dict[str, Callable[[Pipeline], Digests]] = {
    "again": lambda pipeline: pipeline.digests(),
    "in another order": lambda pipeline: pipeline.digests(order=Backwards(*pipeline.order)),
    "by one worker": lambda pipeline: pipeline.digests(workers=1),
    "by three workers": lambda pipeline: pipeline.digests(workers=3),
    "after a restart": lambda pipeline: pipeline.digests(seen=BATCH),
    "by two processes": lambda pipeline: (
        pipeline.digests(slots=Slots(2 * BATCH, 1, 0, 2)) | pipeline.digests(slots=Slots(2 * BATCH, 1, 1, 2))
    ),
    "in smaller batches": lambda pipeline: pipeline.digests(slots=Slots(BATCH // 2)),
}


@pytest.fixture(scope="module", params=[32, pytest.param(1000, marks=pytest.mark.slow)])
def pipeline(request, tmp_path_factory) -> Pipeline:
    """So many samples, and the way through which all go."""
    return Pipeline(tmp_path_factory.mktemp("draws"), request.param)


@pytest.fixture(scope="module")
def reference(pipeline) -> Digests:
    """The digests of an epoch that is read in one go by this process."""
    found = pipeline.digests()
    assert {index for epoch, index in found if epoch == 0} == {*range(pipeline.count)}
    assert len({*found.values()}) == len(found)
    return found


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("reader", READERS)
def test_a_sample_is_the_same_bytes(pipeline, reference, monkeypatch, reader):
    if pipeline.count < 1000:
        monkeypatch.setattr(mmssl.order, "DataLoader", killing.forked)
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")  # a forked process has none of its threads
    began = time.monotonic()
    found = READERS[reader](pipeline)
    different = [name for name, value in found.items() if reference.get(name, value) != value]
    compared = len(found.keys() & reference.keys())
    record("draw_invariance", **{f"{reader}, {pipeline.count} samples": {
        "compared": compared, "different": len(different), "seconds": round(time.monotonic() - began, 1)}})  # fmt: skip
    assert compared >= pipeline.count - BATCH
    assert different == []


def test_with_numbers_of_the_global_generator_a_sample_is_other_bytes(pipeline, reference, monkeypatch):
    monkeypatch.setattr(Draw, "uniform", lambda self, name, *shape: torch.rand(len(self.index), *shape))
    batch = next(batches(pipeline.data.train, pipeline.order, Slots(BATCH)))
    found = pipeline.of_batch(batch)
    assert [name for name, value in found.items() if reference[name] == value] == []


def hidden_of(method: str, rows: list[int]) -> dict[int, str]:
    """What a method hides of each of some samples that are one batch."""
    batch = part(tiny_batch(method, 12), rows)
    _, _, places = tiny_objective(method).corrupted(batch)
    found = {}
    for row, index in enumerate(batch.draw.index.tolist()):
        kept = [place.position[row][place.valid[row]].sort().values for _, place in sorted(places.items())]
        found[index] = digest(kept)
    return found


@pytest.mark.parametrize("method", MASKING)
def test_what_a_method_hides_of_a_sample_does_not_depend_on_its_batch(method):
    whole = hidden_of(method, [*range(12)])
    assert {**hidden_of(method, [7, 3, 0, 11]), **hidden_of(method, [5, 1])}.items() <= whole.items()
    assert len({*whole.values()}) > 3 or method == "frame_prediction"  # which hides the future of all
