"""Claims about captions: a run reads the modalities that the config names, and compares text with each of them, or by
the method `multimodal` all with all; a user gives words as well as files.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from making_media import picture, sound
from PIL import Image
from running import call

from mmssl.config import load_config
from mmssl.errors import ConfigError
from mmssl.savanna import captions

TEXT = """
task: captions
run: run
data: {source: savanna, samples: 24, heldout: 0.5, seconds: 2.0, modalities: [text, audio]}
image: {size: 16}
audio: {rate_hz: 2000, bands: 16, hop_seconds: 0.125}
method: {name: contrastive_captions, embedding_width: 16}
encoder: {name: vit, layers: 1, width: 32, heads: 2, intermediate: 64, patch: 8, audio_patch: [4, 8]}
train: {steps: 2, batch_size: 4, precision: fp32, evaluate_every_steps: 2}
evaluate: {documents: 16}
"""
FIRST, SECOND = captions(0, np.arange(2))  # of samples that the runs are trained on: each word is known


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a finished run on captions, pictures and sounds, made once."""
    folder = tmp_path_factory.mktemp("captions")
    (folder / "captions.yaml").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmssl.media_task.evaluate_media", lambda *arguments: {})
        patch.setattr("mmssl.media_task.show_media_results", print)
        overrides = (f"run={folder / 'run'}", "data.modalities=[text, image, audio]")
        assert call("pretrain", folder / "captions.yaml", *overrides) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Pictures and sounds of a user, a caption as a file, and files that are none."""
    folder = tmp_path_factory.mktemp("files")
    for number, name in enumerate("ab"):
        picture(folder / f"{name}.png", number)
        sound(folder / f"{name}.wav", 2.0, 300.0 + 200 * number)
    (folder / "first.txt").write_text(f"{FIRST}\n")
    (folder / "empty.txt").write_text(" \n")
    (folder / "bytes.txt").write_bytes(b"The lion \xff")
    (folder / "notes.md").write_text(FIRST)
    return folder


def scores(capsys, run: Path, *arguments: object) -> dict[str, float]:
    """The energies that `mmssl score --json` prints, in its order."""
    capsys.readouterr()
    assert call("score", run, *arguments, "--json") == 0
    return {one["y"]: one["energy"] for one in json.loads(capsys.readouterr().out)}


@pytest.mark.parametrize("suffix", ["png", "wav"])
def test_captions_are_ranked_for_a_file_and_files_for_a_caption(finished, files, capsys, suffix):
    names = [str(files / f"{name}.{suffix}") for name in "ab"]
    found = scores(capsys, finished, names[0], FIRST, SECOND)
    assert found.keys() == {FIRST, SECOND}
    assert [*found.values()] == sorted(found.values())
    assert found[FIRST] != found[SECOND]
    other_way = scores(capsys, finished, FIRST, *names)
    assert [*other_way.values()] == sorted(other_way.values())
    assert other_way.keys() == {*names}
    assert other_way[names[0]] == pytest.approx(found[FIRST], abs=1e-5)  # a cosine is the same from both sides


def test_a_text_file_is_read_as_its_words(finished, files, capsys):
    words = scores(capsys, finished, files / "a.png", FIRST)
    assert scores(capsys, finished, files / "a.png", files / "first.txt") == {
        str(files / "first.txt"): pytest.approx(words[FIRST], abs=1e-6)
    }


def test_words_that_were_never_read_are_unknown_and_said(finished, files, capsys):
    assert call("score", finished, files / "a.png", f"{FIRST} spaceship") == 0
    assert "spaceship: 1 unknown word(s), which no caption of the run has" in capsys.readouterr().err


@pytest.mark.parametrize(
    "x, y, code, said",
    [
        ("a.png", "none.png", 3, "no such file: none.png; expected one of"),
        ("none.png", FIRST, 3, "no such file: none.png; expected one of"),
        ("none.txt", "a.png", 3, "no such file: none.txt; expected one of .bmp, "),
        ("a.png", " ", 3, "'' holds no word that the run knows; expected words of its captions"),
        ("a.png", "spaceship", 3, "'spaceship' holds no word that the run knows"),
        ("empty.txt", "a.png", 3, "'' holds no word that the run knows"),
        ("bytes.txt", "a.png", 3, "bytes.txt cannot be used: byte 9 is not UTF-8 text; expected a readable text"),
        ("a.png", "the " * 200, 3, f"'{'the ' * 10}...': a text of 200 tokens; expected at most 14"),
        ("a.png", "notes.md", 3, "notes.md: not of a kind that is read here; expected .bmp, "),
        ("a.png", "a.mp4", 3, "a.mp4: not of a kind that is read here; expected .bmp, "),
        (FIRST, SECOND, 2, "does not compare text with text; expected a cross-modal method"),
    ],
)  # fmt: skip
def test_what_is_no_file_and_no_caption_is_one_line(finished, files, capsys, monkeypatch, x, y, code, said):
    monkeypatch.chdir(files)
    capsys.readouterr()
    assert call("score", finished, x, y) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_candidates_of_words_and_files_are_not_one_kind(finished, files, capsys):
    assert call("score", finished, files / "a.wav", FIRST, files / "a.png") == 3
    assert "score: candidates of image and text; expected one kind" in capsys.readouterr().err


def test_the_nearest_of_a_caption_and_the_captions_nearest_to_a_file_are_drawn(finished, files, tmp_path, capsys):
    assert call("predict", finished, FIRST, files / "a.png", files / "first.txt", "--out", tmp_path) == 0
    written = capsys.readouterr().out.split()
    assert {Path(path).stem for path in written} == {
        f"neighbours-{way}" for way in ("text-to-image", "text-to-audio", "image-to-text", "image-to-audio")
    }
    for path in written:
        with Image.open(path) as image:
            assert image.height > 96 * (1 + ("text-to" in path))  # a row for each that has words
    assert call("predict", finished, "none.png", "--out", tmp_path) == 3
    assert "no such file: none.png; expected one of" in capsys.readouterr().err


def test_captions_are_compared_with_the_modalities_of_the_config(tmp_path):
    path = tmp_path / "captions.yaml"
    path.write_text(TEXT)
    assert call("pretrain", path, f"run={tmp_path / 'run'}") == 0
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    ways = {key.split(".")[1] for key in found if key.startswith("retrieval.") and key.endswith(".r1")}
    assert ways == {"text_to_audio", "audio_to_text"}
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert any("text_audio" in line for line in lines)


@pytest.mark.parametrize("names", ["[text]", "[text, smell]"])
def test_too_few_or_unknown_modalities_are_a_config_error(tmp_path, names):
    path = tmp_path / "captions.yaml"
    path.write_text(TEXT)
    with pytest.raises(ConfigError, match=r"data\.modalities"):
        load_config(path, [f"data.modalities={names}"])


@pytest.mark.parametrize(("names", "terms"), [
    ("image, audio", {"contrast/image_audio"}),
    ("video, audio", {"future/video", "future/video.z", "contrast/video_audio"}),
    ("text, image", {"words/text", "contrast/text_image"}),
])  # fmt: skip
def test_any_modalities_are_learnt_together_each_by_what_it_is_made_for(tmp_path, names, terms):
    path, run = tmp_path / "some.yaml", tmp_path / "run"
    path.write_text(TEXT)
    method = "{name: multimodal, seen_frames: 2, embedding_width: 16, latent_width: 4, predictor_layers: 1}"
    asked = [f"run={run}", f"data.modalities=[{names}]", f"method={method}", "video={size: 16, frames: 4}"]
    assert call("pretrain", path, *asked) == 0
    line = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    assert {key for key in line if "/" in key} == terms
    found = json.loads((run / "evaluation.json").read_text())
    ways = {key.split(".")[1] for key in found if key.startswith("retrieval.") and key.endswith(".r1")}
    first, second = names.split(", ")
    assert ways == {f"{first}_to_{second}", f"{second}_to_{first}"}


def test_pictures_alone_are_too_few_for_all_with_all(tmp_path, capsys):
    path = tmp_path / "pictures.yaml"
    path.write_text(TEXT.replace("task: captions", "task: image_pretraining"))
    assert call("pretrain", path, f"run={tmp_path / 'run'}", "method={name: multimodal}") == 2
    assert "method multimodal: the task reads image alone; expected several modalities" in capsys.readouterr().err
