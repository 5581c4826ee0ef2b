"""What a method predicts in embeddings is drawn for a user by a decoder fitted afterwards, and is said to be so."""

from pathlib import Path

import pytest
from making_media import video
from media_runs import SMALL, write_media_config
from running import call

from mmssl.report import completions

METHODS = {
    "vjepa": f"{{name: vjepa, {SMALL}}}",
    "vjepa_with_latent": f"{{name: vjepa_with_latent, seen_frames: 2, latent_width: 4, latent_layers: 1, {SMALL}}}",
    "frame_prediction": f"{{name: frame_prediction, seen_frames: 2, {SMALL}}}",  # the control: it predicts pixels
}


@pytest.fixture(scope="module", params=METHODS)
def finished(request, tmp_path_factory) -> tuple[str, Path]:
    """(method, the folder of its finished run)."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mmssl.media_task.EXAMPLES", 2)
        patch.setattr("mmssl.evaluate.futures.CLIPS", 3)
        patch.setattr("mmssl.evaluate.probe.STRENGTHS", (1.0,))
        config = write_media_config(folder, "video_prediction")
        assert call("pretrain", config, f"run={folder / 'run'}", f"method={METHODS[request.param]}") == 0
    return request.param, folder / "run"


def test_predict_draws_a_users_clip_and_says_who_drew_it(finished, tmp_path, capsys, monkeypatch):
    method, run = finished
    video(tmp_path / "a.mp4", range(0, 200, 12), fps=8)
    sheets, draw = [], completions.frames_sheet

    def noted(shown, seen, seconds, note):
        sheets.append(([panel.title for panel in shown], note))
        return draw(shown, seen, seconds, note)

    monkeypatch.setattr(completions, "frames_sheet", noted)
    capsys.readouterr()
    assert call("predict", run, tmp_path / "a.mp4", "--samples", 3, "--out", tmp_path / "out") == 0
    written = [Path(path) for path in capsys.readouterr().out.split()]
    assert {path.name for path in written} == {"video-a.gif", "video-a.mp4", "video-a.png"}
    assert all(path.stat().st_size > 0 for path in written)

    ((titles, note),) = sheets
    is_decoded, several = method != "frame_prediction", method == "vjepa_with_latent"
    word = "decoded" if is_decoded else "predicted"
    answers = [f"{word} {number}" for number in (1, 2, 3)] if several else [word]
    assert titles[2 + is_decoded :] == answers + ([f"{word}: mean", f"{word}: spread"] if several else [])
    assert ("decoded: the truth" in titles) is is_decoded
    assert ("a decoder (a linear map) fitted afterwards to frozen features" in note) is is_decoded
