"""Claims about captions: a run reads the modalities that the config names, and compares text with each of them."""

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
