"""Claims about the way from a config's sources to batches of decoded samples."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from making_media import picture, sound, tone, video

from mmssl import savanna
from mmssl.config import Config, load_config
from mmssl.data import documents
from mmssl.errors import ConfigError, DataError
from mmssl.modalities.image import decode_image
from mmssl.modalities.labelled_media import labelled_media, read_inputs
from mmssl.modalities.media_cache import replacements
from mmssl.modalities.media_data import MediaData, Reader, prepare_media, reopen_media
from mmssl.modalities.media_samples import samples_at
from mmssl.order import Order, Slots, batches
from mmssl.random import hashed
from mmssl.savanna import encounters


def config_of(folder: Path, *overrides: str) -> Config:
    """A small config below `folder`."""
    (folder / "run").mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(
        f"task: masked_language\nrun: {folder / 'run'}\nimage: {{size: 16}}\naudio: {{rate_hz: 8000}}\n"
        "video: {size: 16, frames: 4}\ndata: {samples: 40, heldout: 0.25}\n"
    )
    return load_config(folder / "config.yaml", overrides)


def prepared(config: Config, *modalities: str) -> tuple[MediaData, list[dict]]:
    """The data of a config, and what was reported."""
    reports: list[dict] = []
    return prepare_media(config, Path(config.run), reports.append, modalities), reports


def everything(reader: Reader) -> dict[str, torch.Tensor]:
    """All samples of a reader."""
    return {name: view for name, (view,) in reader(np.arange(reader.size)).items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether two answers hold the same."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def pictures(tmp_path) -> Path:
    """12 good pictures with two labels."""
    for number in range(12):
        picture(tmp_path / "source" / "ab"[number % 2] / f"{number:02d}.png", number)
    return tmp_path / "source"


@pytest.fixture
def mixed(tmp_path) -> Path:
    """Pictures, sounds and videos, some with sound."""
    for number in range(4):
        picture(tmp_path / "mixed" / f"picture{number}.png", number)
        sound(tmp_path / "mixed" / f"sound{number}.wav", 1.0 + number, 300.0 + 100 * number)
        track = tone(1.9, 500.0) if number % 2 else None
        video(tmp_path / "mixed" / f"video{number}.mp4", range(0, 200, 4), sound=track)
    return tmp_path / "mixed"


def test_a_reader_answers_with_every_picture_once(tmp_path, pictures):
    data, reports = prepared(config_of(tmp_path, f"data.source={pictures}"), "image")
    found = torch.cat([everything(data.train)["image"], everything(data.heldout)["image"]])
    expected = [torch.from_numpy(decode_image(path, 16)) for path in pictures.rglob("*.png")]
    assert found.dtype == torch.uint8
    assert sorted(image.sum().item() for image in found) == sorted(image.sum().item() for image in expected)
    assert (sum(data.sizes), data.num_heldout) == (data.train.size, data.heldout.size)
    assert data.num_heldout > 0
    assert everything(data.train)["image.present"].all()
    assert data.missing == {"image": 0}
    assert not reports
    assert sorted(data.train.labels() + data.heldout.labels()) == ["a"] * 6 + ["b"] * 6


@pytest.mark.parametrize("modalities", [("image", "audio", "video"), ("video", "audio"), ("audio",)])
def test_what_is_kept_on_the_disk_is_what_is_decoded_while_reading(tmp_path, mixed, modalities, capsys):
    overrides = (f"data.source={mixed}", "data.heldout=0.0")
    kept, _ = prepared(config_of(tmp_path, *overrides), *modalities)
    assert capsys.readouterr().err.count("decoding") == 1
    read, _ = prepared(config_of(tmp_path, *overrides, "data.decoded_bytes=0"), *modalities)
    assert "decoding" not in capsys.readouterr().err
    assert all(part.decoded for part in kept.train.parts)
    assert not any(part.decoded for part in read.train.parts)
    found = everything(kept.train)
    assert equal(found, everything(read.train))
    some = np.array([5, 0, 5, 3])
    assert equal(
        {name: view for name, (view,) in read.train(some).items()}, {name: view[some] for name, view in found.items()}
    )
    assert (kept.fingerprint, kept.sizes, kept.missing) == (read.fingerprint, read.sizes, read.missing)


def test_an_absent_modality_is_zeros_and_said_to_be_absent(tmp_path, mixed):
    data, _ = prepared(config_of(tmp_path, f"data.source={mixed}", "data.heldout=0.0"), "image", "audio", "video")
    found = everything(data.train)
    shapes = {"image": (3, 16, 16), "audio": (8000,), "video": (4, 3, 16, 16)}
    for name, shape in shapes.items():
        view, present = found[name], found[f"{name}.present"]
        assert tuple(view.shape) == (22, *shape)
        assert (view.flatten(1).abs().amax(1) > 0).tolist() == present.tolist()
        assert data.missing[name] == (~present).sum()
    # 4 pictures, sounds of 1, 2, 3 and 4 s, 4 videos of 2 s, half of them with sound
    assert {name: int(found[f"{name}.present"].sum()) for name in shapes} == {"image": 4, "audio": 14, "video": 8}
    assert "18 without image" in data.summary()


def test_the_decoded_samples_are_found_again(tmp_path, pictures, monkeypatch):
    config = config_of(tmp_path, f"data.source={pictures}")
    first, _ = prepared(config, "image")
    monkeypatch.setattr("mmssl.modalities.media_samples.decode_image", None)
    again, _ = prepared(config, "image")
    assert again == first
    monkeypatch.undo()
    next(pictures.rglob("*.png")).touch()
    changed, _ = prepared(config, "image")
    assert changed.train.parts != first.train.parts or changed.heldout.parts != first.heldout.parts
    assert changed.fingerprint == first.fingerprint  # the same files, written anew
    assert not list((tmp_path / "run" / "cache").glob(".*"))


def test_a_run_is_opened_again_without_its_sources_and_wherever_it_lies(tmp_path, pictures):
    config = config_of(tmp_path, f"data.source={pictures}")
    first, _ = prepared(config, "image")
    found = everything(first.train)
    shutil.rmtree(pictures)
    shutil.move(tmp_path / "run", tmp_path / "moved")
    again = reopen_media(config, tmp_path / "moved", ("image",))
    assert again is not None
    assert equal(everything(again.train), found)
    assert (again.sizes, again.num_heldout, again.fingerprint) == (first.sizes, first.num_heldout, first.fingerprint)
    assert reopen_media(config, tmp_path / "moved", ("image", "audio")) is None
    assert reopen_media(config_of(tmp_path, f"data.source={pictures}", "image.size=8"), tmp_path, ("image",)) is None
    shutil.rmtree(tmp_path / "moved" / "cache")
    assert reopen_media(config, tmp_path / "moved", ("image",)) is None


@pytest.mark.parametrize("kept", [True, False])
def test_a_bad_file_is_replaced_by_a_fixed_other_one_and_recorded(tmp_path, pictures, kept):
    names = sorted(path.name for path in pictures.rglob("*.png"))
    (bad,) = pictures.rglob(names[3])
    bad.write_bytes(bad.read_bytes()[:200])
    config = config_of(tmp_path, f"data.source={pictures}", "data.heldout=0.0", f"data.decoded_bytes={10**9 * kept}")
    data, reports = prepared(config, "image")
    assert data.sizes == (12,)
    found = everything(data.train)["image"]
    columns = json.loads(data.train.parts[0].table.read_text())["columns"]["path"]
    place = columns.index(str(bad))
    (other, *_) = (
        number for number in replacements(config.seed, place, samples_at(data.train.parts[0].table)) if number != place
    )
    assert torch.equal(found[place], found[other])
    assert sum(torch.equal(image, found[place]) for image in found) == 2
    log = tmp_path / "run" / "bad_samples.jsonl"
    recorded = reports if kept else [json.loads(line) for line in log.read_text().splitlines()]
    assert [(entry["path"], entry["replaced_by"]) for entry in recorded] == [(str(bad), other)]
    assert recorded[0]["reason"]
    assert prepared(config, "image")[1] == reports  # found again, reported again
    if kept:
        assert data.train.labels()[place] == Path(columns[other]).parent.name


def test_the_replacement_is_a_function_of_the_seed_and_the_sample(tmp_path, pictures):
    data, _ = prepared(config_of(tmp_path, f"data.source={pictures}", "data.heldout=0.0"), "image")
    samples = samples_at(data.train.parts[0].table)
    tried = [*replacements(0, 5, samples)]
    assert tried[:8] == [(5 + hashed("replacement", 0, 5, k)) % 12 for k in range(1, 9)]
    assert sorted(tried[8:]) == list(range(12))  # the first of each file, and each has one
    assert tried != [*replacements(1, 5, samples)]


@pytest.mark.parametrize("kept", [True, False])
def test_too_many_bad_pictures_are_an_error_that_names_the_first(tmp_path, pictures, kept):
    for number in range(17):
        (pictures / "a" / f"bad{number:02d}.png").write_bytes(b"text")
    config = config_of(tmp_path, f"data.source={pictures}", "data.heldout=0.0", f"data.decoded_bytes={10**9 * kept}")
    with pytest.raises(DataError, match=r"17 of 29 files cannot be used, the first is .*bad.*not a picture"):
        everything(prepared(config, "image")[0].train)
    assert not list((tmp_path / "run" / "cache").glob("*decoded-*"))


def test_no_good_picture_at_all_is_an_error(tmp_path):
    for number in range(3):
        picture(tmp_path / "source" / f"{number}.png").write_bytes(b"")
    for kept in (0, 10**9):
        config = config_of(tmp_path, f"data.source={tmp_path / 'source'}", f"data.decoded_bytes={kept}")
        with pytest.raises(DataError, match="cannot be used"):
            everything(prepared(config, "image")[0].train)


def test_workers_read_what_this_process_reads(tmp_path, mixed):
    config = config_of(tmp_path, f"data.source={mixed}", "data.decoded_bytes=0", "data.heldout=0.0")
    data, _ = prepared(config, "video", "audio")
    order, slots = Order(data.sizes, 0), Slots(4)
    alone, together = batches(data.train, order, slots), batches(data.train, order, slots, workers=1)
    for _ in range(2):
        a, b = next(alone), next(together)
        assert all(torch.equal(a.views[name][0], b.views[name][0]) for name in a.views)


def test_windows_of_one_file_are_on_one_side(tmp_path):
    for number in range(10):
        sound(tmp_path / "source" / f"{number}.wav", 3.0, 200.0 + 50 * number)
    data, _ = prepared(config_of(tmp_path, f"data.source={tmp_path / 'source'}"), "audio")
    sides = [
        set(json.loads(reader.parts[0].table.read_text())["columns"]["path"]) for reader in (data.train, data.heldout)
    ]
    assert not sides[0] & sides[1]
    assert (data.train.size, data.heldout.size) == (3 * len(sides[0]), 3 * len(sides[1]))


def test_a_list_is_a_mixture_and_held_out_may_be_a_source_of_its_own(tmp_path, pictures):
    for number in range(3):
        picture(tmp_path / "other" / f"{number}.png", 100 + number)
        picture(tmp_path / "test" / f"{number}.png", 200 + number)
    sources = f"data.source=[{pictures},{tmp_path / 'other'},savanna]"
    data, _ = prepared(config_of(tmp_path, sources, f"data.heldout={tmp_path / 'test'}"), "image")
    assert (data.sizes, data.num_heldout) == ((12, 3, 40), 3)
    assert torch.equal(
        everything(data.heldout)["image"][1], torch.from_numpy(decode_image(tmp_path / "test" / "1.png", 16))
    )
    folders, _ = prepared(
        config_of(tmp_path, f"data.source={pictures}", "data.heldout=0.0", "data.groups=folder"), "image"
    )
    assert folders.sizes == (6, 6)


def test_a_paired_sound_belongs_to_its_picture(tmp_path, pictures):
    sound(tmp_path / "sounds" / "a" / "02.wav", 1.0, 1000.0)
    config = config_of(tmp_path, f"data.source={pictures}", f"data.paired={tmp_path / 'sounds'}", "data.heldout=0.0")
    data, _ = prepared(config, "image", "audio")
    found = everything(data.train)
    assert found["audio.present"].sum() == 1
    (place,) = found["audio.present"].nonzero()[:, 0].tolist()
    assert torch.equal(found["image"][place], torch.from_numpy(decode_image(pictures / "a" / "02.png", 16)))
    assert found["audio"][place].abs().max() == pytest.approx(0.5, abs=0.02)
    assert data.missing == {"image": 0, "audio": 11}


def test_a_modality_that_no_sample_has_is_an_error(tmp_path, pictures):
    with pytest.raises(DataError, match="no sample has audio"):
        prepared(config_of(tmp_path, f"data.source={pictures}"), "image", "audio")


def test_the_built_in_world_is_read_whole_and_held_out_samples_are_fresh(tmp_path):
    config = config_of(tmp_path)
    data, _ = prepared(config, "text", "image", "audio", "video")
    assert (data.sizes, data.num_heldout) == ((40,), 10)
    for reader, seed in ((data.train, config.seed), (data.heldout, hashed(config.seed, "heldout"))):
        indices = np.arange(reader.size)
        scenes = savanna.scenes(seed, indices)
        found = everything(reader)
        np.testing.assert_array_equal(found["image"].numpy(), savanna.pictures(scenes, 16))
        np.testing.assert_array_equal(found["video"].numpy(), savanna.videos(scenes, 16, 4, 1.0))
        sounds = savanna.sounds(scenes, 8000, 1.0).mean(axis=1).clip(-1, 1)
        np.testing.assert_allclose(found["audio"].numpy(), sounds, atol=1e-4)
        assert data.vocabulary is not None
        for ids, caption in zip(found["text"], savanna.captions(seed, indices), strict=True):
            (encoded,) = data.vocabulary.encode([caption])
            filled = [data.vocabulary.first, *encoded, data.vocabulary.last]
            assert ids.tolist() == filled + [data.vocabulary.pad] * (16 - len(filled))
        numbers = savanna.event_numbers(seed, indices)
        assert reader.labels() == [savanna.events()[number][0].predator for number in numbers]
    again = reopen_media(config, Path(config.run), ("text", "image", "audio", "video"))
    assert again is not None
    assert again.train == data.train
    assert (tmp_path / "run" / "tokenizer" / "tokenizer.json").exists()


def test_the_built_in_world_is_the_same_while_reading(tmp_path):
    kept, _ = prepared(config_of(tmp_path), "text", "image", "audio")
    read, _ = prepared(config_of(tmp_path, "data.decoded_bytes=0"), "text", "image", "audio")
    assert equal(everything(kept.train), everything(read.train))


def test_more_seconds_than_the_built_in_world_has_are_an_error(tmp_path):
    with pytest.raises(ConfigError, match="savanna"):
        prepared(config_of(tmp_path, "data.seconds=100.0"), "video")


def test_labelled_pictures_are_the_samples_of_the_run(tmp_path, pictures):
    config = config_of(tmp_path, f"data.source={pictures}")
    data, _ = prepared(config, "image")
    found = labelled_media(config, Path(config.run), print, ("image",))
    assert found is not None
    assert found.names == ["a", "b"]
    assert (found.train, found.test) == (data.train, data.heldout)
    assert [found.names[number] for number in found.train_labels] == data.train.labels()
    picture(pictures / "no label.png")
    assert (
        labelled_media(config_of(tmp_path, f"data.source={pictures}"), Path(config.run), print, ("image",)) is not None
    )
    unlabelled = config_of(
        tmp_path, f"data.source={pictures}", "data.heldout=0.3"
    )  # not what data.json was written for
    assert labelled_media(unlabelled, Path(config.run), print, ("image",)) is None


def test_another_labelled_source_is_split_and_thinned(tmp_path, pictures):
    for number in range(60):
        picture(tmp_path / "other" / "xy"[number % 2] / f"{number}.png", number)
    config = config_of(tmp_path, f"evaluate.source={tmp_path / 'other'}", "evaluate.documents=16")
    found = labelled_media(config, Path(config.run), print, ("image",))
    assert found is not None
    assert found.names == ["x", "y"]
    assert 0 < found.test.size <= 16
    assert 0 < found.train.size <= 16
    assert len(found.train_labels) == found.train.size
    picture(tmp_path / "other" / "no label.png")
    with pytest.raises(DataError, match=r"no label[.]png has no label"):
        labelled_media(config, Path(config.run), print, ("image",))


def test_labelled_samples_of_the_built_in_world_are_fresh(tmp_path):
    found = labelled_media(config_of(tmp_path, "evaluate.documents=20"), tmp_path / "run", print, ("image",))
    assert found is not None
    assert (found.train.size, found.test.size) == (20, 20)
    expected = savanna.pictures(savanna.scenes(hashed(0, "test"), np.arange(20)), 16)
    np.testing.assert_array_equal(everything(found.test)["image"].numpy(), expected)


def test_a_users_files_are_read_like_samples(tmp_path, mixed):
    config = config_of(tmp_path)
    found = read_inputs(
        [str(mixed / "picture1.png"), str(mixed / "video1.mp4"), str(mixed / "sound0.wav")],
        config,
        ("image", "audio", "video"),
    )
    assert {name: view.tolist() for name, (view,) in found.items() if name.endswith("present")} == {
        "image.present": [True, False, False], "audio.present": [False, True, True],
        "video.present": [False, True, False],
    }  # fmt: skip
    assert torch.equal(found["image"][0][0], torch.from_numpy(decode_image(mixed / "picture1.png", 16)))
    assert found["video"][0].shape == (3, 4, 3, 16, 16)
    (tmp_path / "bad.png").write_bytes(b"text")
    for name in ("bad.png", "none.png", "a.txt"):
        with pytest.raises(DataError, match=name):
            read_inputs([str(tmp_path / name)], config, ("image",))


def test_mixed_held_out_samples_are_the_same_in_another_order(tmp_path, pictures):
    data, _ = prepared(config_of(tmp_path, f"data.source={pictures}", "data.heldout=0.6"), "image")
    mixed, count = data.mixed().heldout, data.heldout.size
    assert sorted(mixed.order) == list(range(count))
    assert mixed.order.tolist() != list(range(count))
    assert mixed.paths() == [data.heldout.paths()[place] for place in mixed.order]
    assert mixed.labels() == [data.heldout.labels()[place] for place in mixed.order]
    some = np.array([2, 0, 1])
    assert torch.equal(mixed(some)["image"][0], data.heldout(mixed.order[some])["image"][0])
    assert data.mixed().heldout.order.tolist() == mixed.order.tolist()


def test_samples_of_the_built_in_world_keep_their_numbers(tmp_path):
    data, _ = prepared(config_of(tmp_path, "data.source=savanna"), "image")
    assert data.mixed().heldout.order.tolist() == list(range(data.heldout.size))


def test_encounters_are_a_source_of_pictures_labelled_by_their_preys(tmp_path):
    config = config_of(tmp_path, "data.source=encounters", "evaluate.documents=20")
    data, reports = prepared(config, "image")
    assert (data.train.size, data.num_heldout, reports) == (40, 10, [])
    for reader, seed in ((data.train, 0), (data.heldout, hashed(0, "heldout"))):
        indices = np.arange(reader.size)
        np.testing.assert_array_equal(everything(reader)["image"].numpy(), encounters.pictures(seed, indices, 16))
        assert reader.labels() == encounters.prey_names(seed, indices)
    assert data.heldout.paths()[3] == "encounters:3"
    assert reopen_media(config, tmp_path / "run", ("image",)) == data
    found = labelled_media(config, tmp_path / "run", print, ("image",))
    assert found is not None
    expected = encounters.pictures(hashed(0, "test"), np.arange(20), 16)
    np.testing.assert_array_equal(everything(found.test)["image"].numpy(), expected)


@pytest.mark.parametrize("modality", ["audio", "video"])
def test_encounters_have_pictures_only(tmp_path, modality):
    with pytest.raises(
        ConfigError, match=f"data.source encounters: has no {modality}; expected a task that reads imag"
    ):
        prepared(config_of(tmp_path, "data.source=encounters"), modality)
    with pytest.raises(ConfigError, match="at least 16 pixels wide and high, and even, not 17"):
        prepared(config_of(tmp_path, "data.source=encounters", "image.size=17"), "image")


def test_encounters_have_no_text(tmp_path):
    config = config_of(tmp_path)
    with pytest.raises(ConfigError, match=r"data[.]source encounters: has no text; expected a task that reads image"):
        documents("encounters", config.data, tmp_path)
