"""Claims about captions: a run reads the modalities that the config names, and compares text with each of them, or by
the method `multimodal` all with all.
"""

import json

import pytest
from running import call

from mmssl.config import load_config
from mmssl.errors import ConfigError

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
