"""Decoded samples become what an objective reads: augmented for training, plain for measuring."""

import pytest
import torch
from media_runs import media_config

from mmssl.augment import View, turns
from mmssl.augment_sounds import draw_start
from mmssl.batch import Batch
from mmssl.errors import ConfigError
from mmssl.inputs import Inputs
from mmssl.random import Draw
from mmssl.spectrogram import LogMel

TWO = (View(), View())
BOTH = ("image", "audio", "video")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return media_config(tmp_path_factory.mktemp("inputs"), "multimodal")


def raw(count: int = 6, first: int = 0, epoch: int = 0) -> Batch:
    """Samples as a reader gives them; sample n is the same in whatever batch."""
    views: dict[str, list] = {"image": [], "audio": [], "video": []}
    for number in range(first, first + count):
        generator = torch.Generator().manual_seed(number)
        views["image"].append(torch.randint(256, (3, 16, 16), generator=generator, dtype=torch.uint8))
        views["video"].append(torch.randint(256, (4, 3, 16, 16), generator=generator, dtype=torch.uint8))
        views["audio"].append(0.3 * torch.rand(4000, generator=generator) - 0.15)
    index = torch.arange(first, first + count)
    return Batch({name: [torch.stack(found)] for name, found in views.items()}, Draw(0, index * 0 + epoch, index))


def test_two_views_of_a_picture_differ_and_are_a_function_of_seed_epoch_and_index(config):
    inputs = Inputs(config, ("image",))
    first, second = inputs(raw(), wanted=TWO).views["image"]
    for row in range(6):
        assert not torch.equal(first[row], second[row])
    again = inputs(raw(), wanted=TWO).views["image"]
    assert torch.equal(torch.stack(again), torch.stack([first, second]))
    later = inputs(raw(epoch=1), wanted=TWO).views["image"]
    assert not torch.equal(later[0], first)
    # whatever batch a sample is read in
    for view, alone in zip((first, second), inputs(raw(2, first=3), wanted=TWO).views["image"], strict=True):
        assert torch.equal(alone, view[3:5])


def test_a_single_view_is_augmented_for_training_and_plain_for_measuring(config):
    inputs = Inputs(config, ("image", "video"))
    plain, trained = inputs(raw()), inputs(raw(), augmented=True)
    for name in ("image", "video"):
        expected = (raw().views[name][0].float() / 255 - 0.5) / 0.25
        torch.testing.assert_close(plain.views[name][0], expected)
        assert (trained.views[name][0] != plain.views[name][0]).flatten(1).any(1).all()
        assert len(plain.views[name]) == len(trained.views[name]) == 1


def test_views_are_made_as_they_are_wanted(config):
    inputs = Inputs(config, ("image",))
    wanted = (View(), View(size=8), View(pieces=2, size=6), View(is_rotated=True))
    found = inputs(raw(), wanted=wanted).views["image"]
    assert [view.shape[1:] for view in found] == [(3, 16, 16), (3, 8, 8), (4, 3, 6, 6), (3, 16, 16)]
    assert torch.equal(found[0], inputs(raw(), wanted=TWO).views["image"][0])
    upright = inputs(raw(), wanted=(View(),) * 4).views["image"][3]
    quarters = turns(raw().draw, 3).tolist()
    assert any(quarters)
    for row, quarter in enumerate(quarters):
        assert torch.equal(found[3][row], upright[row].rot90(quarter, (1, 2)))


def test_measuring_sees_the_whole_picture_whatever_a_single_view_is_wanted_to_be(config):
    inputs, wanted = Inputs(config, ("image",)), (View(size=8, pieces=2),)
    (plain,) = inputs(raw(), wanted=wanted).views["image"]
    assert torch.equal(plain, inputs(raw()).views["image"][0])
    (trained,) = inputs(raw(), wanted=wanted, augmented=True).views["image"]
    assert trained.shape == (6, 4, 3, 8, 8)


def test_pixels_from_black_to_white_become_numbers_from_minus_two_to_two(config):
    ends = raw()._replace(views={"image": [torch.tensor([0, 255], dtype=torch.uint8).repeat(6, 3, 16, 8)]})
    (found,) = Inputs(config, ("image",))(ends).views["image"]
    assert sorted(found.unique().tolist()) == [-2.0, 2.0]
    (trained,) = Inputs(config, ("image",))(raw(), augmented=True).views["image"]
    assert trained.abs().max() <= 2.0
    assert trained.dtype == torch.float32


def test_all_frames_of_a_clip_are_changed_alike(config):
    still = raw()
    still = still._replace(views={"video": [still.views["video"][0][:, :1].repeat(1, 4, 1, 1, 1)]})
    (found,) = Inputs(config, ("video",))(still, augmented=True).views["video"]
    assert torch.equal(found, found[:, :1].expand_as(found))


def test_a_single_sound_becomes_a_spectrogram_of_the_promised_shape_and_is_not_augmented(config):
    inputs = Inputs(config, ("audio",))
    (found,) = inputs(raw(), augmented=True).views["audio"]
    assert found.shape == (6, *inputs.modalities["audio"].size) == (6, 16, 16)  # 2 s / 0.125 s, 16 bands
    assert torch.equal(found, LogMel(2000, 16, 0.125)(raw().views["audio"][0]))


def test_a_modality_that_is_missing_stays_silent(config):
    batch, present = raw(), torch.tensor([True, False, True, True, False, True])
    for name in BOTH:
        batch.views[name][0][~present] = 0
        batch.views[f"{name}.present"] = [present]
    found = Inputs(config, BOTH)(batch, wanted=(View(),))
    silence = found.views["audio"][0][~present]
    assert torch.equal(silence, torch.full_like(silence, -1.75))
    assert (found.views["audio"][0][present].flatten(1) > -1.75).any(1).all()
    assert (found.views["image"][0][~present] == -2).all()  # black; whoever reads it asks `present`
    for name in BOTH:
        assert torch.equal(found.present(name), present)


def test_grids_are_those_of_the_config(config):
    inputs = Inputs(config, BOTH)
    assert {name: (grid.size, grid.channels) for name, grid in inputs.modalities.items()} == {
        "image": ((16, 16), 3), "audio": ((16, 16), 1), "video": ((4, 16, 16), 3),
    }  # fmt: skip
    found = inputs(raw())
    for name, grid in inputs.modalities.items():
        assert found.views[name][0].numel() == 6 * grid.channels * torch.tensor(grid.size).prod()


def test_only_some_modalities_are_prepared_and_the_others_left_alone(config):
    inputs = Inputs(config, BOTH)
    some = inputs.only("audio", "image")
    assert list(some.modalities) == ["audio", "image"]
    assert list(inputs.modalities) == list(BOTH)
    batch = raw()
    found = some(batch)
    assert torch.equal(found.views["image"][0], inputs(raw()).views["image"][0])
    assert torch.equal(found.views["video"][0], raw().views["video"][0])
    # the batch that was given is not changed
    assert torch.equal(batch.views["image"][0], raw().views["image"][0])


def test_words_stay_as_they_are(config, savanna_vocabulary):
    inputs = Inputs(config, ("text", "image"), savanna_vocabulary)
    batch = raw()
    ids = torch.arange(12).reshape(6, 2)
    found = inputs(batch._replace(views=batch.views | {"text": [ids]}), wanted=TWO, augmented=True)
    assert torch.equal(found.views["text"][0], ids)


def test_words_without_a_vocabulary_are_a_config_error(config):
    with pytest.raises(ConfigError, match="text needs a vocabulary; expected data with captions"):
        Inputs(config, ("text", "image"))


def test_training_batches_are_augmented_as_they_come(config):
    inputs, device = Inputs(config, ("image",)), torch.device("cpu")
    stream = inputs.stream(iter([raw(), raw(first=6)]), device, (View(),))
    for first, found in zip((0, 6), stream, strict=True):
        expected = inputs(raw(first=first), augmented=True)
        assert torch.equal(found.views["image"][0], expected.views["image"][0])


def test_pictures_stored_larger_than_the_model_sees_are_shrunk_to_its_size(tmp_path):
    config = media_config(tmp_path, "image_pretraining", "image.stored_size=32")
    inputs = Inputs(config, ("image",))
    large = raw()._replace(views={"image": [raw().views["image"][0].repeat_interleave(2, -1).repeat_interleave(2, -2)]})
    (plain,) = inputs(large).views["image"]
    (own,) = inputs(raw()).views["image"]
    assert plain.shape == own.shape == (6, 3, 16, 16)
    assert torch.nn.functional.cosine_similarity(plain.flatten(1), own.flatten(1)).min() > 0.9
    small, turned = inputs(large, wanted=(View(size=8), View(is_rotated=True))).views["image"]
    assert (small.shape[-1], turned.shape[-1]) == (8, 16)


def with_sounds(config, **changed):
    """The config with another section `sounds`."""
    return config.model_copy(update={"sounds": config.sounds.model_copy(update=changed)})


def test_two_views_of_a_sound_differ_and_are_a_function_of_seed_epoch_and_index(config):
    inputs = Inputs(with_sounds(config, largest_mix=0.0, noise_ratio=1.0, time_masks=1), ("audio",))
    first, second = inputs(raw(), wanted=TWO).views["audio"]
    assert first.shape == second.shape == (6, 16, 16)
    assert ((first - second).abs().amax((1, 2)) > 0.1).all()
    torch.testing.assert_close(inputs(raw(), wanted=TWO).views["audio"][0], first)
    assert not torch.allclose(inputs(raw(epoch=1), wanted=TWO).views["audio"][0], first)
    for view, alone in zip((first, second), inputs(raw(2, first=3), wanted=TWO).views["audio"], strict=True):
        torch.testing.assert_close(alone, view[3:5], rtol=0, atol=1e-5)


def test_a_single_view_of_a_sound_is_augmented_where_the_config_says_so_and_only_for_training(config):
    for crop in ("resized", "cut"):
        inputs = Inputs(with_sounds(config, single_view="augmented", crop=crop), ("audio",))
        (plain,), (trained,) = (inputs(raw(), augmented=value).views["audio"] for value in (False, True))
        assert torch.equal(plain, LogMel(2000, 16, 0.125)(raw().views["audio"][0]))
        assert trained.shape == plain.shape
        assert (trained != plain).flatten(1).any(1).all()


def test_small_views_of_a_sound_are_shorter_windows_and_cut_ones_of_one_length(config):
    wanted = (View(), View(), View(size=(4, 16)))
    shapes = {}
    for crop in ("resized", "cut"):
        inputs = Inputs(with_sounds(config, crop=crop, smallest_length=0.75), ("audio",))
        shapes[crop] = [tuple(view.shape[1:]) for view in inputs(raw(), wanted=wanted).views["audio"]]
    assert shapes == {"resized": [(16, 16), (16, 16), (4, 16)], "cut": [(12, 16), (12, 16), (4, 16)]}
    plain = {"gain_decibels": 0.0, "largest_mix": 0.0, "smallest_bands": 1.0, "crop": "cut", "smallest_length": 0.5}
    (small,) = Inputs(with_sounds(config, **plain), ("audio",))(raw(), wanted=(*TWO, wanted[2])).views["audio"][2:]
    start = draw_start(raw().draw, 2, 3000)  # a window of 4 columns of 250 samples
    windows = [sound[s : s + 1000] for sound, s in zip(raw().views["audio"][0], start.tolist(), strict=True)]
    expected = LogMel(2000, 16, 0.125)(torch.stack(windows))
    torch.testing.assert_close(small, expected, rtol=0, atol=1e-4)


def test_both_channels_of_a_sound_become_spectrograms(config):
    stereo = config.model_copy(update={"audio": config.audio.model_copy(update={"channels": 2})})
    inputs, batch = Inputs(stereo, ("audio",)), raw()
    assert inputs.modalities["audio"].channels == 2
    left = batch.views["audio"][0]
    batch = batch._replace(views={"audio": [torch.stack([left, left.flip(0)], 1)]})
    (found,) = inputs(batch).views["audio"]
    mono = LogMel(2000, 16, 0.125)(left)
    assert found.shape == (6, 2, 16, 16)
    torch.testing.assert_close(found[:, 0], mono)
    torch.testing.assert_close(found[:, 1], mono.flip(0))
    assert [view.shape for view in inputs(batch, wanted=TWO).views["audio"]] == [(6, 2, 16, 16)] * 2
