"""What is measured of pictures alone: wrong pictures of each kind, and the other view among those of all."""

import numpy as np
import pytest
import torch
from media_runs import media_config, parts_of

from mmssl.batch import Batch
from mmssl.evaluate.across import retrieval_results
from mmssl.evaluate.energy import auroc
from mmssl.evaluate.media import compared_at_once, model_results
from mmssl.evaluate.media_features import prepared
from mmssl.evaluate.negatives import noise, patches_shuffled
from mmssl.inputs import Inputs
from mmssl.random import Draw

CPU = torch.device("cpu")


def ladder(results: dict) -> set[str]:
    """The kinds of negatives that were measured."""
    return {key.removeprefix("energy.ladder.") for key in results if key.startswith("energy.ladder.")}


def pictures(*shape: int, index: list[int] | None = None) -> Batch:
    """Views of pictures that belong to samples of these numbers."""
    numbers = torch.arange(shape[1]) if index is None else torch.tensor(index)
    views = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    return Batch({"image": list(views)}, Draw(0, numbers * 0, numbers))


def pieces_of(picture: torch.Tensor) -> set[tuple[float, ...]]:
    """The 16 pieces of a picture whose sides are multiples of 4."""
    rows = (part.chunk(4, -1) for part in picture.chunk(4, -2))
    return {tuple(piece.flatten().tolist()) for row in rows for piece in row}


def test_shuffled_patches_are_the_same_ones_in_an_order_of_each_samples_own():
    batch = pictures(2, 3, 3, 8, 8)
    first, second = batch.views["image"]
    shuffled = patches_shuffled(batch).views["image"]
    assert torch.equal(shuffled[0], first)
    for sample in range(3):
        assert not torch.equal(shuffled[1][sample], second[sample])
        assert pieces_of(shuffled[1][sample]) == pieces_of(second[sample])
    # one picture as two samples
    two, three = (patches_shuffled(pictures(1, 1, 3, 8, 8, index=[number])).views["image"][0] for number in (2, 3))
    assert not torch.equal(two, three)


def test_of_sides_that_are_no_multiple_of_four_the_rest_stays():
    batch = pictures(1, 2, 3, 10, 13)
    (before,), (after,) = batch.views["image"], patches_shuffled(batch).views["image"]
    assert torch.equal(after[..., 8:, :], before[..., 8:, :])
    assert torch.equal(after[..., 12:], before[..., 12:])
    assert pieces_of(after[0, :, :8, :12]) == pieces_of(before[0, :, :8, :12])


def test_noise_has_the_mean_and_the_deviation_of_each_channel_of_the_picture():
    batch = pictures(1, 2, 3, 64, 64)
    scale, offset = torch.tensor([0.5, 2.0, 0.0]), torch.tensor([1.0, -3.0, 2.0])
    batch.views["image"][0] = batch.views["image"][0] * scale[:, None, None] + offset[:, None, None]
    (found,) = noise(batch).views["image"]
    torch.testing.assert_close(found.mean((2, 3)), offset.expand(2, 3), rtol=0, atol=0.15)
    torch.testing.assert_close(found.std((2, 3)), scale.expand(2, 3), rtol=0.05, atol=1e-6)
    assert abs(float(torch.corrcoef(torch.stack([found[0, 0], batch.views["image"][0][0, 0]]).flatten(1))[0, 1])) < 0.1
    assert not torch.equal(found[0], found[1])


def test_many_pictures_are_compared_at_once_unless_they_are_large(tmp_path):
    for size, count in ((32, 64), (128, 32), (224, 16)):
        config = media_config(tmp_path, "image_pretraining", f"image.size={size}")
        assert compared_at_once(Inputs(config, ("image",))) == count
    assert compared_at_once(Inputs(config, ("image", "audio"))) == 16


@pytest.fixture(scope="module")
def contrast(tmp_path_factory):
    """Pictures, and an untrained contrast of two views of them."""
    method = "method={name: simclr, projector_width: 16, embedding_width: 8}"
    config = media_config(tmp_path_factory.mktemp("contrast"), "image_pretraining", method)
    return config, *parts_of(config)


def test_the_other_view_of_a_picture_is_looked_for_among_those_of_all(contrast):
    config, task, data, inputs, objective = contrast
    found = model_results(objective, inputs, config, data.heldout, task.negatives(config))
    batch = next(prepared(data.heldout, inputs, config, 12, CPU, objective.views, at_once=12))
    with torch.no_grad():
        energies = objective.energies(batch)
    rank = [sum(bool(other <= row[number]) for other in row) for number, row in enumerate(energies)]
    assert found["retrieval.candidates"] == 12
    for most in (1, 5, 10):
        expected = np.mean([place <= most for place in rank])
        assert found[f"retrieval.image_to_image.r{most}"] == pytest.approx(expected)
    # the control: of one view there is no other
    single = batch._replace(views={"image": batch.views["image"][:1]})
    assert retrieval_results(objective, single, ["image"]) == {}


def test_the_ladder_of_pictures_changes_the_second_view_and_knows_the_classes(contrast):
    config, task, data, inputs, objective = contrast
    found = model_results(objective, inputs, config, data.heldout, task.negatives(config))
    assert ladder(found) == {"other", "same_class", "patches_shuffled", "noise"}
    batch = next(prepared(data.heldout, inputs, config, 12, CPU, objective.views, at_once=12))
    with torch.no_grad():
        energies, shuffled = (objective.energies(batch, each) for each in (batch, patches_shuffled(batch)))
    own, labels = energies.diagonal(), data.heldout.labels()
    alike = [energies[i, j] for i in range(12) for j in range(12) if i != j and labels[i] == labels[j]]
    assert found["energy.ladder.same_class"] == pytest.approx(auroc(own, torch.stack(alike)))
    assert found["energy.ladder.patches_shuffled"] == pytest.approx(auroc(own, shuffled.diagonal()))


def test_a_masked_autoencoder_hides_patches_of_the_changed_picture(tmp_path):
    config = media_config(tmp_path, "image_pretraining")
    task, data, inputs, objective = parts_of(config)
    found = model_results(objective, inputs, config, data.heldout, task.negatives(config))
    assert ladder(found) == {"other", "same_class", "patches_shuffled", "noise"}
    assert not [key for key in found if key.startswith("retrieval") or "compared" in key]
