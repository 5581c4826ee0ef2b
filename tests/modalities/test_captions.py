"""Claims about captions of a user's own files: which belongs to which, what their words become, what is bad."""

from pathlib import Path

import numpy as np
import pytest
import torch
from making_media import picture, sound, video

from mmssl.config import Config, load_config
from mmssl.errors import DataError
from mmssl.inputs import Inputs
from mmssl.modalities.image import decode_image
from mmssl.modalities.media_data import MediaData, prepare_media, reopen_media

WORDS = ("red", "green", "blue", "small", "large", "round")


def config_of(folder: Path, *overrides: str) -> Config:
    """A small config below `folder`."""
    (folder / "run").mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(
        f"task: text_to_image\nrun: {folder / 'run'}\nimage: {{size: 16}}\naudio: {{rate_hz: 8000}}\n"
        "video: {size: 16, frames: 4}\ndata: {heldout: 0.0}\n"
    )
    return load_config(folder / "config.yaml", overrides)


def prepared(config: Config, *modalities: str) -> tuple[MediaData, list[dict]]:
    """The data of a config, and what was reported."""
    reports: list[dict] = []
    return prepare_media(config, Path(config.run), reports.append, modalities), reports


def said(number: int) -> str:
    """The caption of a picture."""
    return f"A {WORDS[number % 3]} and {WORDS[3 + number % 2]} thing, {WORDS[number % 6]}!"


@pytest.fixture
def source(tmp_path):
    """Eight pictures; the caption of each but the last beside it."""
    for number in range(8):
        picture(tmp_path / "source" / f"{number}.png", number)
        if number < 7:
            (tmp_path / "source" / f"{number}.txt").write_text(f"\ufeff {said(number)}\r\n\n", "utf-8")
    (tmp_path / "source" / "readme.txt").write_text("no caption of a picture")
    return tmp_path / "source"


def everything(data: MediaData) -> dict[str, torch.Tensor]:
    """All training samples."""
    return {name: view for name, (view,) in data.train(np.arange(data.train.size)).items()}


@pytest.mark.parametrize("kept", [True, False])
def test_the_caption_of_a_picture_is_the_text_of_its_name(tmp_path, source, kept, capsys):
    config = config_of(tmp_path, f"data.source={source}", f"data.decoded_bytes={10**9 * kept}")
    data, reports = prepared(config, "text", "image")
    found, words = everything(data), data.vocabulary
    assert words is not None
    assert found["text.present"].tolist() == [True] * 7 + [False]
    for number in range(7):
        assert torch.equal(found["image"][number], torch.from_numpy(decode_image(source / f"{number}.png", 16)))
        ids = found["text"][number][found["text"][number] != words.pad].tolist()
        assert (ids[0], ids[-1]) == (words.first, words.last)
        assert words.decode(ids[1:-1]).replace(" ", "") == said(number).lower().replace(" ", "")
    assert data.missing == {"text": 1, "image": 0}
    assert "1 without text" in data.summary()
    assert not reports
    assert "ignored 1 .txt" in capsys.readouterr().err  # the readme, which belongs to no picture
    again = reopen_media(config, Path(config.run), ("text", "image"))
    assert again is not None
    assert again.train == data.train


def test_captions_of_sounds_and_videos_are_those_of_each_of_their_windows(tmp_path):
    for name in ("a", "b"):
        video(tmp_path / "source" / f"{name}.mp4", range(0, 200, 4))
        sound(tmp_path / "source" / f"tone {name}.wav", 2.0)
        (tmp_path / "source" / f"{name}.txt").write_text(f"a film of {name}")
        (tmp_path / "source" / f"tone {name}.txt").write_text("a tone")
    config = config_of(tmp_path, f"data.source={tmp_path / 'source' / '*.*'}")
    data, _ = prepared(config, "text", "video", "audio")
    found = everything(data)
    assert data.vocabulary is not None
    texts = [data.vocabulary.decode([i for i in row.tolist() if i > 4]) for row in found["text"]]
    assert texts == ["a film of a"] * 2 + ["a film of b"] * 2 + ["a tone"] * 4
    assert found["text.present"].all()


def test_words_are_trained_on_as_the_section_says(tmp_path, source):
    pieces, _ = prepared(config_of(tmp_path / "pieces", f"data.source={source}"), "text", "image")
    whole, _ = prepared(config_of(tmp_path / "whole", f"data.source={source}", "tokenizer.kind=word"), "text", "image")
    assert pieces.vocabulary is not None
    assert whole.vocabulary is not None
    assert any(token.startswith("##") for token in pieces.vocabulary.tokenizer.get_vocab())
    assert not any(token.startswith("##") for token in whole.vocabulary.tokenizer.get_vocab())
    assert {*WORDS, "thing"} <= whole.vocabulary.tokenizer.get_vocab().keys()


def test_a_given_vocabulary_is_kept(tmp_path, source):
    first, _ = prepared(config_of(tmp_path / "a", f"data.source={source}"), "text", "image")
    for path in source.glob("*.txt"):
        path.write_text("other words")
    config = config_of(tmp_path / "b", f"data.source={source}")
    data = prepare_media(config, Path(config.run), print, ("text", "image"), first.vocabulary)
    assert data.vocabulary is not None
    assert first.vocabulary is not None
    assert data.vocabulary.tokenizer.get_vocab() == first.vocabulary.tokenizer.get_vocab()


def test_long_captions_are_cut_between_first_and_last_token_and_counted(tmp_path, source):
    (source / "3.txt").write_text("red green blue " * 20)
    config = config_of(tmp_path, f"data.source={source}", "data.caption_tokens=12")
    data, _ = prepared(config, "text", "image")
    row = everything(data)["text"][3]
    assert data.vocabulary is not None
    assert len(row) == 12
    assert (row[0], row[-1]) == (data.vocabulary.first, data.vocabulary.last)
    assert "14% of the captions cut to data.caption_tokens=12" in data.summary()
    assert "cut to" not in prepared(config_of(tmp_path, f"data.source={source}", "data.caption_tokens=80"), "text",
                                    "image")[0].summary()  # fmt: skip


def test_a_caption_that_is_no_text_is_absent_and_reported(tmp_path, source):
    (source / "0.txt").write_bytes(b"caf\xe9")
    (source / "1.txt").write_bytes(b"a" * 2_000_000)
    (source / "2.txt").write_text(" \n")
    data, reports = prepared(config_of(tmp_path, f"data.source={source}"), "text", "image")
    assert everything(data)["text.present"].tolist() == [False] * 3 + [True] * 4 + [False]
    assert {entry["path"]: entry["reason"] for entry in reports} == {
        str(source / "0.txt"): "byte 3 is not UTF-8 text",
        str(source / "1.txt"): "a caption of more than 1048576 bytes",
    }


def test_another_caption_is_another_table_and_another_fingerprint(tmp_path, source):
    config = config_of(tmp_path, f"data.source={source}")
    before, _ = prepared(config, "text", "image")
    (source / "0.txt").write_text("quite another one")
    after, _ = prepared(config, "text", "image")
    assert after.fingerprint != before.fingerprint
    assert not torch.equal(everything(after)["text"], everything(before)["text"])


def elsewhere(source: Path) -> Path:
    """The folder that all captions of the source are moved to."""
    folder = source.parent / "said"
    folder.mkdir()
    for path in source.glob("*.txt"):
        path.rename(folder / path.name)
    return folder


def test_captions_in_a_folder_of_their_own_are_those_beside_the_files(tmp_path, source):
    beside, _ = prepared(config_of(tmp_path / "beside", f"data.source={source}"), "text", "image")
    folder = elsewhere(source)
    config = config_of(tmp_path / "paired", f"data.source={source}", f"data.paired={folder}")
    paired, reports = prepared(config, "text", "image")
    before, after = everything(beside), everything(paired)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert int(after["text.present"].sum()) == 7
    assert paired.missing == beside.missing == {"text": 1, "image": 0}
    assert paired.fingerprint == beside.fingerprint
    assert not reports


def test_another_caption_elsewhere_is_another_fingerprint(tmp_path, source):
    folder = elsewhere(source)
    config = config_of(tmp_path, f"data.source={source}", f"data.paired={folder}")
    before, _ = prepared(config, "text", "image")
    (folder / "0.txt").write_text("quite another one")
    after, _ = prepared(config, "text", "image")
    assert after.fingerprint != before.fingerprint
    assert not torch.equal(everything(after)["text"], everything(before)["text"])


def test_a_caption_elsewhere_that_is_no_text_is_absent_and_reported(tmp_path, source):
    folder = elsewhere(source)
    (folder / "0.txt").write_bytes(b"caf\xe9")
    config = config_of(tmp_path, f"data.source={source}", f"data.paired={folder}")
    data, reports = prepared(config, "text", "image")
    assert data.missing == {"text": 2, "image": 0}
    assert reports == [{"path": str(folder / "0.txt"), "reason": "byte 3 is not UTF-8 text"}]


def test_captions_elsewhere_under_other_names_are_a_line_that_says_where_they_are_looked_for(tmp_path, source):
    folder = elsewhere(source)
    for path in [*folder.glob("*.txt")]:
        path.rename(folder / f"caption {path.name}")
    with pytest.raises(DataError, match=r"no sample has text; expected one .* beside it or in data.paired"):
        prepared(config_of(tmp_path, f"data.source={source}", f"data.paired={folder}"), "text", "image")


def test_pictures_without_any_caption_are_a_line_that_says_where_it_is_looked_for(tmp_path):
    picture(tmp_path / "source" / "a.png")
    with pytest.raises(
        DataError, match=r"no sample has text; expected one at least \(of x.jpg in x.txt .*, or in a manifest"
    ):
        prepared(config_of(tmp_path, f"data.source={tmp_path / 'source'}"), "text", "image")


def test_inputs_hand_captions_on(tmp_path, source):
    config = config_of(tmp_path, f"data.source={source}")
    data, _ = prepared(config, "text", "image")
    assert {*Inputs(config, ("text", "image"), data.vocabulary).modalities} == {"text", "image"}


def test_the_name_of_a_class_may_be_the_caption(tmp_path):
    for number in range(6):
        picture(tmp_path / "classes" / ("grey_wolf", "zebra")[number % 2] / f"{number}.png", number)
    picture(tmp_path / "classes" / "stray.png", 7)  # of no class
    data, reports = prepared(
        config_of(tmp_path, f"data.source={tmp_path / 'classes'}", "data.captions=label"), "text", "image"
    )
    assert not reports
    assert data.vocabulary is not None
    found = everything(data)
    words = [data.vocabulary.tokenizer.decode(row.tolist(), skip_special_tokens=True) for row in found["text"]]
    assert sorted(words) == ["", *["grey wolf"] * 3, *["zebra"] * 3]
    assert int(found["text.present"].sum()) == 6
