from importlib import import_module
from itertools import combinations

import numpy as np
import pytest

from mmssl.savanna import HABITATS, SPECIES, scenes
from mmssl.savanna.bodies import extent
from mmssl.savanna.habitats import landscape
from mmssl.savanna.pictures import pictures, videos
from mmssl.savanna.scenes import SECONDS, extents, positions, rows
from mmssl.savanna.sprites import animal_sprites
from mmssl.savanna.tables import events

SIZE = 32


@pytest.fixture(scope="module")
def world():
    return scenes(0, np.arange(64))


def difference(one, other):
    """The largest difference of two pictures."""
    return np.abs(one.astype(int) - other.astype(int)).max()


def test_a_picture_does_not_depend_on_the_batch(world):
    together = pictures(world, SIZE)
    for index in range(0, 64, 20):
        assert (pictures(scenes(0, np.array([index])), SIZE)[0] == together[index]).all()
    reverse = pictures(scenes(0, np.arange(64)[::-1]), SIZE)[::-1]
    assert (reverse == together).all()


def test_a_video_does_not_depend_on_the_batch(world):
    together = videos(world, SIZE, 8)
    for index in range(0, 64, 20):
        assert (videos(scenes(0, np.array([index])), SIZE, 8)[0] == together[index]).all()


def test_a_picture_does_not_depend_on_the_chunk(world, monkeypatch):
    together = videos(world, SIZE, 4)
    monkeypatch.setattr(import_module("mmssl.savanna.pictures"), "PIXELS", 3 * 4 * SIZE * SIZE)
    assert (videos(world, SIZE, 4) == together).all()


def test_another_seed_shows_another_picture(world):
    assert (pictures(world, SIZE) != pictures(scenes(1, np.arange(64)), SIZE)).any(axis=(1, 2, 3)).all()


def test_a_frame_shows_the_picture_of_its_time(world):
    video = videos(world, SIZE, 8)
    for frame in (0, 3, 7):
        still = pictures(world._replace(moment_seconds=np.full(64, (frame + 0.5) * SECONDS / 8)), SIZE)
        assert (video[:, frame] == still).all()


def test_a_shorter_video_shows_the_beginning(world):
    assert (videos(world, SIZE, 8)[:, :4] == videos(world, SIZE, 4, SECONDS / 2)).all()


@pytest.mark.parametrize("size", [16, 50, 130])
def test_pictures_come_in_every_size(world, size):
    some = rows(world, slice(0, 2))
    assert pictures(some, size).shape == (2, 3, size, size)
    assert videos(some, size, 3).shape == (2, 3, 3, size, size)


def test_a_mirrored_chase_shows_the_mirrored_animals(world):
    other = world._replace(heading=-world.heading, fork=-world.fork, view=(world.view + 0.5) % 1)
    # the landscape of the other half of `view` is the mirrored one
    seen, mirrored = pictures(world, SIZE)[..., ::-1], pictures(other, SIZE)
    assert np.mean(np.abs(seen.astype(int) - mirrored.astype(int))) < 6


def test_both_animals_are_seen_where_they_stand(world):
    still = pictures(world, SIZE)
    centre = positions(world, world.moment_seconds[:, None])[:, 0]
    box = extents()[world.event]
    for animal in range(2):
        away = world.start_y.copy()
        away[:, animal] += np.where(world.heading * world.fork > 0, 0.1, -0.1)  # away from where it runs
        moved = pictures(world._replace(start_y=away), SIZE)
        changed = (still != moved).any(axis=1)
        for row in range(64):
            _, x = np.nonzero(changed[row])
            assert len(x) > 8
            assert abs(x.mean() / SIZE - centre[row, animal, 0]) < box[row, animal, 0] / 2


def test_the_species_look_different():
    looks = {}
    for name in SPECIES:
        sprites = animal_sprites(name, "ocean", SIZE)
        paint = np.zeros((3, 20, 24))
        height, width = sprites.paint.shape[-2:]
        paint[:, :height, :width] = sprites.paint[0] / 255
        looks[name] = paint
    for one, other in combinations(looks, 2):
        assert np.abs(looks[one] - looks[other]).sum() / 3 > 1_000, (one, other)


def test_predators_of_different_species_look_different_in_one_scene(world):
    numbers = [number for number, (each, _) in enumerate(events()) if each.prey == "gnu"]
    predators = {events()[number][0].predator for number in numbers}
    one = rows(world, np.zeros(len(numbers), dtype=int))._replace(event=np.array(numbers))
    seen = pictures(one, SIZE)
    assert len(predators) == len(numbers) >= 3
    for first, second in combinations(range(len(numbers)), 2):
        assert difference(seen[first], seen[second]) > 40


def test_no_habitat_looks_like_another():
    for one, other in combinations(HABITATS, 2):
        first, second = (landscape(habitat, SIZE).astype(float) for habitat in (one, other))
        assert np.abs(first - second).mean() > 25
        assert np.abs(first.mean(axis=(1, 2)) - second.mean(axis=(1, 2))).max() > 25


def test_the_legs_move():
    sprites = animal_sprites("lion", "savanna", SIZE)
    each = sprites.paint.shape[0] // 6
    for pose in range(1, 6):
        assert (sprites.paint[0] != sprites.paint[pose * each]).any()


def test_sprites_keep_their_proportions():
    for name in ("lion", "mouse", "orca"):
        width, height = extent(name)
        high, wide = animal_sprites(name, "arctic", 130).paint.shape[-2:]
        assert 0 <= high - height * 130 <= 2
        assert 0 <= wide - width * 130 <= 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda found: videos(found, SIZE, 0), "at least 1 frame"),
        (lambda found: videos(found, SIZE, 8, SECONDS + 1), "seconds"),
        (lambda found: pictures(found, 8), "at least 16 pixels"),
    ],
)
def test_what_cannot_be_drawn_is_refused(world, call, message):
    with pytest.raises(ValueError, match=message):
        call(world)
