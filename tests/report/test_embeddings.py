"""Neighbours are the nearest others by the cosine, the map is the plane of the largest variance; both say how."""

from pathlib import Path

import numpy as np
import pytest
import torch
from media_runs import media_config, parts_of
from PIL import Image
from sklearn.neighbors import NearestNeighbors
from torch.nn import functional

from mmssl.evaluate.media import features
from mmssl.modalities.media_reader import Reader
from mmssl.report import embeddings
from mmssl.report.embeddings import Embedded, coloured, draw_map, draw_neighbours, embedded, nearest_others


def directions(count: int, width: int = 5) -> torch.Tensor:
    """Unit vectors without any order."""
    return functional.normalize(torch.randn(count, width, generator=torch.Generator().manual_seed(0)), dim=1)


def painted(count: int) -> torch.Tensor:
    """Pictures of one colour each, no two alike."""
    levels = torch.arange(count, dtype=torch.uint8) * 7 + 3
    return levels[:, None, None, None].expand(count, 3, 96, 96)


def caption(path: Path) -> str:
    """What a file says of itself."""
    with Image.open(path) as image:
        return image.info["Description"]


def test_neighbours_are_scikit_learns_without_the_picture_itself():
    values = directions(40)
    near, cosine = nearest_others(values, 6)
    distance, found = NearestNeighbors(n_neighbors=7, metric="cosine").fit(values.numpy()).kneighbors(values.numpy())
    assert near.tolist() == found[:, 1:].tolist()
    assert np.allclose(cosine, 1 - distance[:, 1:], atol=1e-5)


def test_a_picture_is_no_neighbour_of_its_own_even_among_copies():
    near, cosine = nearest_others(directions(1).expand(5, -1), 4)
    assert near.tolist() == [[other for other in range(5) if other != row] for row in range(5)]
    assert torch.allclose(cosine, torch.ones(5, 4))


def test_each_row_of_the_sheet_is_a_picture_and_then_its_neighbours_nearest_first(tmp_path: Path):
    found = Embedded(painted(16), directions(16), [""] * 16)
    assert draw_neighbours(found, tmp_path / "near.png") == [tmp_path / "near.png"]
    near, _ = nearest_others(found.directions, 6)
    with Image.open(tmp_path / "near.png") as image:
        sheet = np.asarray(image.convert("L")).astype(int)
    rows = []
    for line in sheet:
        levels = [int(line[x]) for x in range(1, len(line)) if line[x] == line[x - 1] and line[x] % 7 == 3]
        order = [(level - 3) // 7 for level in dict.fromkeys(levels) if levels.count(level) == 95]
        if len(order) == 7 and order not in rows:
            rows.append(order)
    assert rows == [[query, *near[query].tolist()] for query in range(0, 16, 2)]
    assert "Labels" not in caption(tmp_path / "near.png")


def test_how_often_neighbours_share_a_label_is_said_beside_chance(tmp_path: Path):
    axes = torch.eye(2).repeat_interleave(2, dim=0)
    for labels, share in ((["a", "a", "b", "b"], "100%"), (["a", "b", "a", "b"], "0%")):
        found = Embedded(painted(4), axes, labels)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(embeddings, "NEIGHBOURS", 1)
            draw_neighbours(found, tmp_path / "near.png")
        assert f"agree with that on the left in {share} of the 1 nearest" in caption(tmp_path / "near.png")
        assert "by chance in 33%" in caption(tmp_path / "near.png")


def test_the_map_says_how_much_of_the_variance_it_shows(tmp_path: Path):
    x, y = torch.eye(3)[:2]
    values = torch.stack([x, -x, x, -x, x, -x, y, -y])
    assert draw_map(Embedded(painted(8), values, list("aabbccdd")), tmp_path / "map.png") == [tmp_path / "map.png"]
    assert "hold 75% and 25% of the variance" in caption(tmp_path / "map.png")
    assert "Colours are labels" in caption(tmp_path / "map.png")
    draw_map(Embedded(painted(8), values, [""] * 8), tmp_path / "plain.png")
    assert "label" not in caption(tmp_path / "plain.png")
    assert (tmp_path / "map.png").read_bytes() != (tmp_path / "plain.png").read_bytes()


def test_the_map_is_the_same_bytes_for_the_same_embeddings(tmp_path: Path):
    found = Embedded(painted(9), directions(9), list("aaabbbccc"))
    draw_map(found, tmp_path / "one.png")
    draw_map(found, tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_pictures_have_no_map_and_one_has_no_neighbours(count: int, tmp_path: Path):
    found = Embedded(painted(count), directions(count), [""] * count)
    assert draw_map(found, tmp_path / "map.png") == []
    assert len(draw_neighbours(found, tmp_path / "near.png")) == (count == 2)


def test_collapsed_embeddings_have_no_map(tmp_path: Path):
    found = Embedded(painted(9), directions(1).expand(9, -1), [""] * 9)
    assert draw_map(found, tmp_path / "map.png") == []


def test_labels_get_colours_as_long_as_they_can_be_told_apart():
    ten = [f"label {number}" for number in range(10)]
    assert coloured(ten) == ten
    assert coloured([*ten, *ten, "rare"]) == ten[:9]
    assert coloured([f"{number:03d}" for number in range(100)]) == []
    assert coloured(["", ""]) == []


class Gaps(Reader):
    """A reader that lacks every other picture."""

    def __call__(self, indices: np.ndarray) -> dict[str, list[torch.Tensor]]:
        views = super().__call__(indices)
        views["image.present"][0][1::2] = False
        return views


def test_pictures_are_taken_at_even_distances_with_their_own_embeddings_and_labels(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(embeddings, "SAMPLES", 5)
    config = media_config(tmp_path, "image_pretraining")
    _, data, inputs, objective = parts_of(config)
    assert data.heldout.size == 12
    found = embedded(objective.encoder, data.heldout, inputs, config)
    chosen = [0, 3, 6, 9]
    assert torch.equal(found.pictures, data.heldout(np.array(chosen))["image"][0])
    assert found.labels == [data.heldout.labels()[row] for row in chosen]
    whole = functional.normalize(features(objective.encoder, data.heldout, inputs, config, 12)["image"], dim=1)
    assert torch.allclose(found.directions, whole[chosen], atol=1e-5)

    reader = Gaps(data.heldout.parts, data.heldout.decoding, data.heldout.seed, data.heldout.run)
    without = embedded(objective.encoder, reader, inputs, config)
    assert torch.equal(without.pictures, found.pictures[::2])
    assert without.labels == found.labels[::2]
    assert len(without.directions) == 2


def test_a_label_in_other_letters_is_drawn_without_a_warning(tmp_path: Path):
    found = Embedded(painted(4), directions(4), ["猫", "<b>", "$x^2$", "\ud800"])
    for draw in (draw_map, draw_neighbours):
        assert draw(found, tmp_path / "a.png") == [tmp_path / "a.png"]
