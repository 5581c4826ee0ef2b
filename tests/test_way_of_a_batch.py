"""A batch of any kind is followed from its reading to its loss through few files: README, "the way of a batch"."""

import sys
from pathlib import Path

import pytest
from media_runs import SMALL, media_config, parts_of

import mmssl
from mmssl.order import Order, Slots, batches

PACKAGE = Path(mmssl.__file__).parent
MOST = 11
# what the files of the way call on and come back from: the types, keys and draws, where decoded samples lie, the
# arithmetic of pixels, spectrograms and attention, and the choice of what is shown of a sample
LEAVES = {
    "batch.py", "tokens.py", "random.py", "sections.py", "modalities/decoding.py", "modalities/world_samples.py",
    "modalities/media_cache.py", "modalities/shards.py", "augment.py", "augment_sounds.py", "crop.py", "colour.py",
    "spectrogram.py", "attention.py", "objectives/pairs.py",
}  # fmt: skip
README = (PACKAGE.parent / "README.md").read_text()
AUDIO_VISUAL_JEPA = (
    f"method={{name: audio_visual_jepa, {SMALL}}}",
    "encoder={name: vit, layers: 1, width: 32, heads: 2, intermediate: 64, patch: 8, audio_patch: [4, 8], fused: true}",
)
WAYS = {"mae": ("image_pretraining",), "audio_visual_jepa": ("audio_visual", *AUDIO_VISUAL_JEPA)}


def visited(folder: Path, task: str, *overrides: str) -> list[str]:
    """The files of the package through which a training batch goes, in the order of the first visit."""
    config = media_config(folder, task, *overrides)
    _, data, inputs, objective = parts_of(config)
    objective.train()
    stream = batches(data.train, Order(data.sizes, 0), Slots(4))
    found: dict[str, None] = {}

    def note(frame, event, argument):
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            found.setdefault(path.relative_to(PACKAGE).as_posix())

    prepared = inputs.stream(stream, next(objective.parameters()).device, objective.views)
    next(prepared)  # what is read once, such as the table of samples, is no part of a batch's way
    sys.setprofile(note)
    try:
        objective(next(prepared))
    finally:
        sys.setprofile(None)
    return list(found)


@pytest.mark.parametrize("method", WAYS)
def test_a_batch_is_handed_on_through_few_files_that_the_readme_names(method, tmp_path):
    files = visited(tmp_path, *WAYS[method])
    way = {*files, "train.py"} - LEAVES
    assert len(way) <= MOST, f"{len(way)} files: {', '.join(files)}"
    (line,) = [line for line in README.splitlines() if line.startswith(f"- `{method}`: ")]
    assert set(line.split("`")[3::2]) == way
    assert all(f"`{leaf}`" in README for leaf in LEAVES)
