"""Claims about a user's own captions: what is words and what a path, and that words are read as those of samples."""

from pathlib import Path

import numpy as np
import pytest
import torch
from media_runs import media_config

from mmssl.errors import DataError
from mmssl.modalities.given_text import caption_rows, is_words, names_of
from mmssl.modalities.labelled_media import batch_of
from mmssl.modalities.media_data import prepare_media
from mmssl.savanna import captions

COUNT = 8


def test_what_is_a_file_or_ends_like_one_is_no_caption(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("lion").write_text("a file")
    Path("zebra").mkdir()
    for given in ("x.png", "X.WAV", "no folder/x.mp4", "x.gif", "x.txt", "lion", str(tmp_path / "lion")):
        assert not is_words(given)
    for given in ("a lion", "The lion chases the zebra.", "zebra", "it weighs 3.5 kg", "", "very " * 1000):
        assert is_words(given)


def test_files_are_called_by_their_stem_and_words_by_their_place():
    assert names_of(["b/x.png", "a/b lion", "y.txt"]) == ["x", "caption-2", "y"]


def test_no_two_files_are_called_alike():
    assert names_of(["a/x.png", "x-2.png", "b/x.png", "x.jpg"]) == ["x", "x-2", "x-3", "x-4"]


def test_a_users_captions_become_the_rows_of_the_samples_of_which_they_are_said(tmp_path):
    config = media_config(tmp_path, "multimodal", f"data.samples={COUNT}", "data.heldout=0.0")
    data = prepare_media(config, Path(config.run), print, ("text", "image"))
    expected = data.train(np.arange(COUNT))["text"][0]
    said = captions(config.seed, np.arange(COUNT))
    (tmp_path / "last.txt").write_text(f"\ufeff{said[-1]}\r\n", "utf-8")
    batch = batch_of([*said[:-1], str(tmp_path / "last.txt")], config, ("text", "image"))
    assert torch.equal(batch.views["text"][0], expected)
    assert batch.present("text").all()
    assert not batch.present("image").any()


def test_a_caption_fills_its_row_to_the_last_token_and_none_is_cut(savanna_vocabulary):
    text = "the lion chases the zebra"
    rows = caption_rows([text, "the lion"], savanna_vocabulary, 7)
    assert (rows[0] != savanna_vocabulary.pad).all()
    assert (rows[1] != savanna_vocabulary.pad).sum() == 4
    with pytest.raises(DataError, match=r"^'the lion chases the zebra': a text of 5 tokens; expected at most 4 "):
        caption_rows(["the lion", text], savanna_vocabulary, 6)
