"""Methods that predict one modality from another, from a config to what a user's files are answered with."""

import json
from pathlib import Path

import pytest
from making_media import sound, tone, video
from media_runs import SMALL, write_media_config
from running import call

LATENT = f"latent_width: 4, latent_layers: 1, {SMALL}"
METHODS = {
    "audio_from_video": LATENT,
    "video_from_audio": LATENT,
    "audio_visual_jepa": f"pairs: [audio_to_video, video_to_video, video_to_audio], {SMALL}",
}
WAYS = ("video_to_audio", "audio_to_video")


@pytest.fixture(scope="module", autouse=True)
def _small():
    """Fewer pictures and fits than a user gets: what is claimed here does not depend on how many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmssl.media_task.EXAMPLES", 2)
        patch.setattr("mmssl.media_task.CANDIDATES", 4)
        patch.setattr("mmssl.media_task.FITTED", 8)
        patch.setattr("mmssl.evaluate.media.CANDIDATES", 6)
        patch.setattr("mmssl.evaluate.media.PAIRED", 6)
        patch.setattr("mmssl.evaluate.probe.STRENGTHS", (1.0,))
        patch.setattr("mmssl.spectrogram.ITERATIONS", 2)
        yield


@pytest.fixture(scope="module", params=METHODS)
def finished(request, tmp_path_factory) -> tuple[str, Path]:
    """(method, the folder of its finished run), made once."""
    folder = tmp_path_factory.mktemp(request.param)
    method = f"method={{name: {request.param}, {METHODS[request.param]}}}"
    config = write_media_config(folder, "audio_visual")
    assert call("pretrain", config, f"run={folder / 'run'}", method, "train.steps=2") == 0
    return request.param, folder / "run"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Sounds and videos of a user, of which one is silent."""
    folder = tmp_path_factory.mktemp("files")
    for number, name in enumerate("ab"):
        sound(folder / f"{name}.wav", 2.0, 300.0 + 200 * number)
        video(folder / f"{name}.mp4", range(20 * number, 200, 12), fps=8, sound=tone(2.0, 500.0 + 100 * number))
    video(folder / "silent.mp4", range(0, 200, 12), fps=8)
    return folder


def test_it_is_measured_both_ways(finished):
    _, run = finished
    found = json.loads((run / "evaluation.json").read_text())
    for way in WAYS:
        assert 0 <= found[f"retrieval.{way}.r1"] <= 1
        assert {f"energy.{way}.ladder.{kind}" for kind in ("other", "shifted")} <= found.keys()
    assert found["random_init.energy.video_to_audio.auroc"] >= 0


def test_both_a_sound_and_a_clip_can_be_looked_for(finished, files, capsys):
    _, run = finished
    for x, y in (("mp4", "wav"), ("wav", "mp4")):
        capsys.readouterr()
        candidates = [files / f"{name}.{y}" for name in "ab"]
        assert call("score", run, files / f"a.{x}", *candidates, "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert sorted(one["y"] for one in found) == sorted(map(str, candidates))
        assert found[0]["energy"] < found[1]["energy"]


def test_of_a_file_without_the_other_modality_that_one_is_predicted(finished, files, tmp_path):
    method, run = finished
    for given, predicted in (("silent.mp4", "audio"), ("a.wav", "video")):
        out = tmp_path / given
        assert call("predict", run, files / given, "--samples", 2, "--out", out) == 0
        drawn = {path.name for path in out.iterdir()}
        stem = Path(given).stem
        assert any(name.startswith(f"{predicted}-{stem}") for name in drawn) is (
            method == "audio_visual_jepa" or method.startswith(predicted)
        )
        assert f"audio-{stem}-truth.wav" not in drawn or given.endswith(".wav")
        assert [name for name in drawn if name.startswith("neighbours-")]
