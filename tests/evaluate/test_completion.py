"""What is seen comes back untouched; what is hidden comes from the model, in the input's own units."""

import pytest
import torch
from einops import rearrange
from tiny import MEDIA, part, tiny_batch, tiny_objective

from mmssl.drop import drop_right
from mmssl.evaluate.completion import Completed, completed, noise_of, predictive
from mmssl.models.target import EPSILON

PIXELS = ("mae", "audio_mae", "frame_prediction", "frame_prediction_latent")


def patches(picture: torch.Tensor) -> torch.Tensor:
    """(B, patches, pixels) of pictures cut into 4 x 4, a patch's channels first."""
    return rearrange(picture, "b c (y p) (x q) -> b (y x) (c p q)", p=4, q=4)


def one(method: str, samples: int = 2, **options) -> Completed:
    """What an untrained model makes of its only modality."""
    (found,) = completed(tiny_objective(method, **options), tiny_batch(method, num_views=1), samples=samples).values()
    return found


@pytest.mark.parametrize("method", PIXELS)
def test_what_is_seen_comes_back_bit_identical_and_what_is_hidden_does_not(method):
    found, batch = one(method), tiny_batch(method, num_views=1)
    ((view,),) = (batch.views[name] for name in MEDIA[method][0])
    assert torch.equal(found.original, view)
    assert len(found.samples) == (2 if method == "frame_prediction_latent" else 1)  # one answer where there is no z
    for sample in found.samples:
        assert torch.equal(sample[~found.is_hidden], view[~found.is_hidden])
        assert not (sample[found.is_hidden] == view[found.is_hidden]).any()


@pytest.mark.parametrize("method, ratio", [("mae", 0.75), ("audio_mae", 13 / 16), ("frame_prediction", 0.5)])
def test_as_much_is_hidden_as_the_method_hides(method, ratio):
    hidden = one(method).is_hidden.flatten(1).double().mean(1)
    assert hidden.tolist() == pytest.approx([ratio] * len(hidden))


@pytest.mark.parametrize("method", ["frame_prediction", "frame_prediction_latent"])
def test_of_a_clip_all_frames_after_the_seen_ones_are_hidden(method):
    by_frame = one(method).is_hidden.flatten(2)
    assert not by_frame[:, :4].any()
    assert by_frame[:, 4:].all()


def test_whole_patches_are_hidden_and_other_ones_of_each_picture():
    hidden = patches(one("mae").is_hidden)
    assert (hidden.all(-1) | ~hidden.any(-1)).all()
    assert len({tuple(row.tolist()) for row in hidden[..., 0]}) > 1


@torch.no_grad()
def test_hidden_patches_are_the_predictors_numbers():
    objective, batch = tiny_objective("mae", normalise_patches=False), tiny_batch("mae", num_views=1)
    found = completed(objective, batch, samples=1)["image"]
    _, seen, hidden = objective.corrupted(batch)
    prediction = objective.predict(seen, hidden)["image"]
    filled = patches(found.samples[0])
    for row, places in enumerate(hidden["image"].position):
        torch.testing.assert_close(filled[row, places], prediction[row], rtol=0, atol=0)


@torch.no_grad()
def test_predicted_patches_of_mae_get_the_mean_and_deviation_of_the_true_ones():
    objective, batch = tiny_objective("mae"), tiny_batch("mae", num_views=1)
    found = completed(objective, batch, samples=1)["image"]
    _, seen, hidden = objective.corrupted(batch)
    prediction = objective.predict(seen, hidden)["image"]
    truth, filled = patches(batch.views["image"][0]), patches(found.samples[0])
    for row, places in enumerate(hidden["image"].position):
        for place, guess in zip(places, prediction[row], strict=True):
            patch = truth[row, place]
            expected = guess * (patch.var() + EPSILON).sqrt() + patch.mean()
            torch.testing.assert_close(filled[row, place], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("normalise_patches", [True, False])
def test_a_model_that_predicts_its_target_rightly_gives_back_the_picture(monkeypatch, normalise_patches):
    objective, batch = tiny_objective("mae", normalise_patches=normalise_patches), tiny_batch("mae", num_views=1)
    tokens, _, hidden = objective.corrupted(batch)
    answer = objective.target(tokens)["image"].value
    index = hidden["image"].position[..., None].expand(-1, -1, answer.shape[-1])
    monkeypatch.setattr(objective, "predict", lambda seen, hidden, noise: {"image": answer.gather(1, index)})
    found = completed(objective, batch, samples=1)["image"]
    torch.testing.assert_close(found.samples[0], found.original, rtol=0, atol=1e-4)


def test_other_noise_gives_another_future_and_the_same_noise_the_same():
    first, second, third = one("frame_prediction_latent", 3).samples
    again = one("frame_prediction_latent", 2).samples
    hidden = one("frame_prediction_latent").is_hidden
    assert torch.equal(first, again[0])
    assert torch.equal(second, again[1])
    for a, b in ((first, second), (first, third), (second, third)):
        assert ((a - b)[hidden].abs() > 1e-6).double().mean() > 0.9
    # the control: without a latent variable there is one
    assert len(one("frame_prediction", 3).samples) == 1


def test_something_else_can_be_hidden_than_in_training():
    objective, batch = tiny_objective("mae"), tiny_batch("mae", num_views=1)
    found = completed(objective, batch, samples=1, hide=drop_right(0.5))["image"]
    assert found.is_hidden[..., 8:].all()
    assert not found.is_hidden[..., :8].any()
    assert torch.equal(found.seen[..., :8], batch.views["image"][0][..., :8])


@torch.no_grad()
def test_without_a_sample_a_future_is_the_mean_of_the_prior():
    objective, batch = tiny_objective("frame_prediction_latent"), tiny_batch("frame_prediction_latent")
    (mean,) = completed(objective, batch, samples=0)["video"].samples
    _, seen, hidden = objective.corrupted(batch)
    zero = objective.predict(seen, hidden, lambda width: torch.zeros(len(batch.draw.index), width))["video"]
    by_frame = rearrange(mean, "b (t p) c (y q) (x r) -> b (t y x) (c p q r)", p=2, q=4, r=4)
    torch.testing.assert_close(by_frame[:, -zero.shape[1] :], zero)
    assert not torch.allclose(mean, completed(objective, batch, samples=1)["video"].samples[0])


def test_noise_belongs_to_the_sample_and_not_to_the_batch():
    objective, batch = tiny_objective("frame_prediction_latent"), tiny_batch("frame_prediction_latent")
    whole = completed(objective, batch, samples=2)["video"].samples
    some = completed(objective, part(batch, [5, 2]), samples=2)["video"].samples
    for mine, theirs in zip(some, whole, strict=True):
        torch.testing.assert_close(mine, theirs[[5, 2]], rtol=0, atol=1e-5)
    assert not torch.equal(noise_of(batch, 0)(4), noise_of(batch, 1)(4))


@pytest.mark.parametrize(
    "method", ["simclr", "vicreg", "byol", "ijepa", "vjepa", "audio_visual_contrastive", "audio_visual_jepa", "bert"]
)
def test_what_predicts_nothing_that_one_can_look_at_gives_nothing(method):
    assert completed(tiny_objective(method), tiny_batch(method), samples=1) == {}


def test_of_several_objectives_the_one_of_pixels_is_completed():
    objective = tiny_objective("multimodal")
    assert predictive(objective) is objective.each()["future"]
    found = completed(objective, tiny_batch("multimodal", num_views=1), samples=1)
    assert list(found) == ["video"]


def test_completing_needs_no_gradient_and_draws_no_global_number():
    objective = tiny_objective("frame_prediction_latent").train()
    state = torch.get_rng_state()
    found = completed(objective, tiny_batch("frame_prediction_latent"), samples=3)["video"]
    assert torch.equal(torch.get_rng_state(), state)
    assert not found.samples[0].requires_grad
    assert not objective.training


def test_what_is_seen_is_grey_where_hidden_or_noisy():
    found = one("mae")
    assert torch.equal(found.seen, torch.where(found.is_hidden, 0.0, found.original))
    noisy = one("denoising_autoencoder")
    assert noisy.is_hidden.all()
    assert (noisy.seen == 0).float().mean() == 0.25
    assert torch.equal(noisy.seen[noisy.seen != 0], noisy.original[noisy.seen != 0])


@pytest.mark.parametrize("method", ["denoising_autoencoder", "simmim", "beit", "sparse_coding", "gan", "vqvae"])
def test_every_method_in_input_space_can_be_looked_at(method):
    found = one(method)
    assert all(torch.isfinite(sample).all() for sample in found.samples)
    assert len(found.samples) == (2 if tiny_objective(method).has_latent else 1)
