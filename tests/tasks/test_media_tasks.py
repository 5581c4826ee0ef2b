"""Every command on one tiny finished run of each task of pictures, sounds and videos."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet
import pytest
import torch
from making_media import picture, sound, tone, video
from media_runs import MODALITIES, write_media_config
from PIL import Image
from running import call, metrics

from mmssl.checkpoint import restore

TASKS = tuple(MODALITIES)
BASE = {  # the keys of evaluation.json that hold for all of them
    "energy.auroc", "energy.gap", "energy.ladder.other", "collapse.verdict", "collapse.effective_rank", "collapse.std",
    "collapse.alpha_req", "knn.accuracy", "probe.accuracy", "random_init.energy.auroc", "random_init.knn.accuracy",
    "random_init.probe.accuracy", "samples_seen", "seconds",
}  # fmt: skip
FUTURES = {
    "video.psnr", "video.best_of.20.psnr", "video.copy_last.psnr", "uncertainty.coverage", "uncertainty.precision",
    "uncertainty.total_variation", "energy.ladder.time_reversed",
}  # fmt: skip
STOCK = {"image_pretraining": "ViTMAEModel", "audio_pretraining": "ViTModel", "video_prediction": "VivitModel"}
KEYS = {
    "image_pretraining": set(),
    "audio_pretraining": set(),
    "video_prediction": FUTURES,
    "audio_visual": {
        "retrieval.video_to_audio.r1", "retrieval.audio_to_video.r10", "energy.ladder.sound_shifted",
        "video.collapse.verdict", "audio.collapse.verdict", "video.knn.accuracy", "audio.probe.accuracy",
        "collapse.modalities", "retrieval.video_to_audio.distinct.r1", "energy.video_to_audio.auroc",
        *(f"energy.audio_to_video.ladder.{kind}" for kind in ("other", "other_class", "shifted")),
        *(f"absent.{name}.{kind}.accuracy" for name in ("video", "audio") for kind in ("knn", "probe")),
    },
    "multimodal": FUTURES | {
        "text.cross_entropy", "text.accuracy", "text.perplexity", "words.energy.auroc", "future.energy.auroc",
        "contrast.energy.auroc", *(f"retrieval.text_to_{name}.r5" for name in ("image", "audio", "video")),
    },
}  # fmt: skip
CLIP = {".gif", ".mp4", ".png"}
PICTURES = {"image_pretraining": {".png"}, "audio_pretraining": {".png", ".wav"}, "video_prediction": CLIP,
            "audio_visual": {".png"}, "multimodal": CLIP}  # fmt: skip
FILES = {"image_pretraining": "a.png", "audio_pretraining": "a.wav", "video_prediction": "a.mp4",
         "audio_visual": "a.mp4", "multimodal": "a.mp4"}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _small():
    """Fewer pictures, fits and rounds than a user gets: what is claimed here does not depend on how many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmssl.media_task.EXAMPLES", 2)
        patch.setattr("mmssl.evaluate.futures.CLIPS", 3)
        patch.setattr("mmssl.evaluate.probe.STRENGTHS", (1.0,))
        patch.setattr("mmssl.spectrogram.ITERATIONS", 2)
        yield


@pytest.fixture(scope="module", params=TASKS)
def finished(request, tmp_path_factory) -> tuple[str, Path]:
    """(task, the folder of its finished run), made once; all on one task come one after the other."""
    folder = tmp_path_factory.mktemp(request.param)
    config = write_media_config(folder, request.param)
    assert call("pretrain", config, f"run={folder / 'run'}") == 0
    return request.param, folder / "run"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A picture, sounds and videos of a user."""
    folder = tmp_path_factory.mktemp("files")
    for number, name in enumerate("abc"):
        picture(folder / f"{name}.png", number)
        sound(folder / f"{name}.wav", 2.0, 300.0 + 200 * number)
        video(folder / f"{name}.mp4", range(20 * number, 200, 12), fps=8, sound=tone(2.0, 500.0 + 100 * number))
    return folder


def evaluation(run: Path) -> dict:
    """What was measured."""
    return json.loads((run / "evaluation.json").read_text())


def the_line(capsys) -> str:
    """The only line on stderr besides notes."""
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note: ")]
    return line


def test_a_run_leaves_the_promised_keys_and_files(finished):
    task, run = finished
    found = evaluation(run)
    assert found.keys() >= BASE | KEYS[task]
    assert found["samples_seen"] == 16
    assert found["collapse.verdict"] in ("healthy", "partial", "complete")
    assert not [key for key in found if key.startswith("retrieval")] or len(MODALITIES[task]) > 1
    assert {path.name for path in run.iterdir()} >= {"config.yaml", "environment.json", "metrics.jsonl", "report.html"}
    assert [line["step"] for line in metrics(run)] == [1, 2, 3, 4]
    assert metrics(run)[-1]["heldout.loss"] > 0


def test_pictures_are_drawn_where_the_method_predicts_pixels(finished):
    task, run = finished
    drawn = {path.suffix for path in run.glob("pictures/*")}
    assert drawn == PICTURES[task]
    for path in run.glob("pictures/*.png"):
        with Image.open(path) as image:
            assert min(image.size) >= 16


def test_run_again_on_the_same_folder_it_finishes_without_a_step(finished, capsys, monkeypatch):
    _, run = finished
    monkeypatch.setattr("mmssl.media_task.evaluate_media", lambda *arguments: {"energy.auroc": 0.5})
    monkeypatch.setattr("mmssl.media_task.write_report", lambda runs: "not written")
    before, results = restore(run), evaluation(run)
    assert call("pretrain", run / "config.yaml") == 0
    assert "step 4" not in capsys.readouterr().err
    after = restore(run)
    assert before is not None
    assert after is not None
    assert after.step == before.step == 4
    assert all(torch.equal(after.tensors["model"][name], value) for name, value in before.tensors["model"].items())
    assert len(metrics(run)) == 4
    (run / "evaluation.json").write_text(json.dumps(results))


def test_evaluate_says_what_was_said_at_the_end_of_training(finished, capsys):
    _, run = finished
    before = evaluation(run)
    (run / "evaluation.json").unlink()
    assert call("evaluate", run) == 0
    found = evaluation(run)
    assert found.keys() == before.keys()
    for key, value in before.items():
        if isinstance(value, float) and key != "seconds":
            assert found[key] == pytest.approx(value, abs=1e-5), key
    assert "energy AUROC" in capsys.readouterr().out


def test_of_words_and_of_a_picture_no_film_is_made_that_shows_nothing(finished, files, tmp_path):
    task, run = finished
    if task != "multimodal":
        pytest.skip("it reads no words")
    for number, given in enumerate(("The shark chases the tuna in the ocean.", files / "a.png", files / "a.mp4")):
        assert call("predict", run, given, "--out", tmp_path / str(number)) == 0
        films = [path.name for path in (tmp_path / str(number)).iterdir() if path.suffix == ".mp4"]
        assert films == ([] if number < 2 else ["video-a.mp4"])  # the control


def test_files_of_one_name_do_not_overwrite_each_other(finished, files, tmp_path, capsys):
    task, run = finished
    (tmp_path / FILES[task]).symlink_to(files / FILES[task])
    assert call("predict", run, files / FILES[task], tmp_path / FILES[task], "--out", tmp_path / "out") == 0
    written = capsys.readouterr().out.split()
    assert len(written) == len(set(written)) > 1
    assert {*written} == {*map(str, (tmp_path / "out").iterdir())}


def test_predict_fills_in_a_users_files(finished, files, tmp_path, capsys):
    task, run = finished
    given = files / FILES[task]
    code = call("predict", run, given, "--samples", 2, "--out", tmp_path / "out")
    assert code == 0
    written = capsys.readouterr().out.split()
    assert {Path(path).suffix for path in written} == PICTURES[task]
    assert all(Path(path).stat().st_size > 0 for path in written)
    assert {Path(path).parent for path in written} == {tmp_path / "out"}


def test_a_missing_segment_is_filled_in_of_sounds_alone(finished, files, tmp_path, capsys):
    task, run = finished
    code = call("predict", run, files / "a.wav", "--hide", "0.9-1.1", "--out", tmp_path / "out")
    if task != "audio_pretraining":
        assert code == 2
        assert f"predict --hide: task {task} reads more than sounds, or none" in the_line(capsys)
        return
    assert code == 0
    assert [Path(path).name for path in capsys.readouterr().out.split()] == [
        "audio-a-filled.png", "audio-a-filled.wav",
    ]  # fmt: skip
    for given, hide, code, said in (
        ("a.wav", "1.9-2.5", 2, "--hide: 1.9-2.5 ends after"), ("a.wav", "half", 2, "--hide: got 'half'; expected"),
        ("a.wav", "0.4-1.6", 2, "nothing is left to see"), ("a.png", "0.1-0.2", 3, "not of a kind that is read here"),
        ("none.wav", "0.1-0.2", 3, "no such file"),
    ):  # fmt: skip
        assert call("predict", run, files / given, "--hide", hide) == code
        assert said in the_line(capsys)


def test_predict_of_what_cannot_be_read_is_one_line(finished, files, tmp_path, capsys):
    task, run = finished
    suffix = Path(FILES[task]).suffix
    (tmp_path / f"bad{suffix}").write_text("no media")
    assert call("predict", run, tmp_path / f"bad{suffix}") == 3
    assert f"bad{suffix} cannot be used" in the_line(capsys)
    assert call("predict", run, tmp_path / f"none{suffix}") == 3
    assert f"none{suffix}" in the_line(capsys)
    assert call("predict", run, tmp_path / "text.txt") == 3
    refused = (
        "no such file: {}; expected one of" if "text" in MODALITIES[task] else "{}: not of a kind that is read here"
    )
    assert refused.format(tmp_path / "text.txt") in the_line(capsys)


def test_embed_writes_the_features_of_a_folder(finished, files, tmp_path):
    task, run = finished
    if task == "multimodal":
        pytest.skip("it needs captions, which the built-in world has only")
    suffix = Path(FILES[task]).suffix
    for number, name in enumerate("abc"):
        label = tmp_path / "data" / ("first" if number < 2 else "second")
        label.mkdir(parents=True, exist_ok=True)
        shutil.copy(files / f"{name}{suffix}", label)
    assert call("embed", run, tmp_path / "data", "--out", tmp_path / "out" / "features.parquet") == 0
    table = pyarrow.parquet.read_table(tmp_path / "out" / "features.parquet").to_pydict()
    assert list(table) == ["path", "label", "feature"]
    assert [Path(path).name for path in table["path"]] == [f"{name}{suffix}" for name in "abc"]
    assert table["label"] == ["first", "first", "second"]
    assert {len(feature) for feature in table["feature"]} == {32 * len(MODALITIES[task])}
    assert len({tuple(feature) for feature in table["feature"]}) == 3


def test_embed_writes_the_features_of_the_built_in_world(finished, tmp_path):
    _, run = finished
    assert call("embed", run, "savanna", "--out", tmp_path / "features.parquet", "data.samples=5") == 0
    table = pyarrow.parquet.read_table(tmp_path / "features.parquet").to_pydict()
    assert len(table["path"]) == 5


def test_export_writes_a_stock_class_or_says_that_there_is_none(finished, tmp_path, capsys):
    from transformers import AutoModel

    task, run = finished
    code = call("export", run, tmp_path / "stock")
    if len(MODALITIES[task]) > 1:
        assert code == 2
        assert f"an encoder of {', '.join(MODALITIES[task])} has no stock class in transformers" in the_line(capsys)
        return
    assert code == 0
    stock = AutoModel.from_pretrained(tmp_path / "stock")
    assert type(stock).__name__ == STOCK[task]
    assert stock.config.hidden_size == 32
    assert (tmp_path / "stock" / "preprocessor_config.json").exists() == (task == "image_pretraining")


def test_data_shows_what_the_model_will_see_and_makes_no_run(finished, tmp_path, capsys):
    task, _ = finished
    config = write_media_config(tmp_path, task)
    assert call("data", config, f"run={tmp_path / 'run'}", "--out", tmp_path / "sheet") == 0
    drawn = {path.stem: path for path in (tmp_path / "sheet").iterdir()}
    assert drawn.keys() == {*MODALITIES[task]} - {"text"}
    printed = capsys.readouterr().out
    for path in drawn.values():
        assert str(path) in printed
        with Image.open(path) as image:
            assert image.width > image.height / 6
    assert not (tmp_path / "run").exists()


def scores(run: Path, capsys, *arguments: object) -> list[dict]:
    """What `mmssl score --json` prints."""
    capsys.readouterr()
    assert call("score", run, *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_score_orders_candidate_files_by_their_energy(finished, files, capsys):
    task, run = finished
    x = files / FILES[task]
    kind = ".wav" if len(MODALITIES[task]) > 1 else x.suffix
    candidates = [files / f"{name}{kind}" for name in "cab"]
    found = scores(run, capsys, x, *candidates)
    assert sorted(one["y"] for one in found) == sorted(map(str, candidates))
    energies = [one["energy"] for one in found]
    assert energies == sorted(energies)
    assert len(set(energies)) == 3
    # each alone has the energy that it has among others
    for one in found:
        (alone,) = scores(run, capsys, x, one["y"])
        assert alone["energy"] == pytest.approx(one["energy"], abs=1e-5)


def test_score_of_one_kind_against_itself_needs_a_method_that_compares_it(finished, files, capsys):
    task, run = finished
    if len(MODALITIES[task]) == 1:
        pytest.skip("that is what it does")
    assert call("score", run, files / "a.mp4", files / "b.mp4") == 2
    assert "does not compare video with video; expected a cross-modal method" in the_line(capsys)
    assert call("score", run, files / "a.mp4", files / "a.wav", files / "b.mp4") == 3
    assert "candidates of audio and video; expected one kind" in the_line(capsys)


def test_score_of_a_kind_that_is_not_read_is_a_data_error(finished, files, tmp_path, capsys):
    task, run = finished
    (tmp_path / "a.txt").write_text("a lion")
    (tmp_path / "a.md").write_text("a lion")
    refused = [tmp_path / "a.md"] if "text" in MODALITIES[task] else [tmp_path / "a.txt", "a lion"]
    for given in refused:
        assert call("score", run, files / FILES[task], given) == 3
        assert f"{given}: not of a kind that is read here; expected ." in the_line(capsys)


def test_captions_are_scored_and_looked_for_where_they_are_read(finished, files, tmp_path, capsys):
    task, run = finished
    if "text" not in MODALITIES[task]:
        pytest.skip("it reads no captions")
    (tmp_path / "a.txt").write_text("The zebra runs from the hungry lion.")
    for kind in ("png", "wav", "mp4"):
        found = scores(run, capsys, "The lion chases the zebra.", *(files / f"{name}.{kind}" for name in "ab"))
        assert found[0]["energy"] < found[1]["energy"]
        assert len(scores(run, capsys, files / f"a.{kind}", "The lion.", tmp_path / "a.txt")) == 2
    assert call("predict", run, "The lion chases the zebra.", "--out", tmp_path / "out") == 0
    drawn = {path.name for path in (tmp_path / "out").glob("neighbours-*")}
    assert drawn == {f"neighbours-text-to-{name}.png" for name in MODALITIES[task][1:]}
