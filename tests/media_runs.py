"""Configs of a few seconds for the tasks of pictures, sounds and videos, on the built-in world."""

import json
from pathlib import Path

from mmssl.config import Config, load_config
from mmssl.inputs import Inputs
from mmssl.media_task import MediaTask
from mmssl.modalities.media_data import MediaData
from mmssl.objectives import Objective
from mmssl.runs import task_of

SMALL = "predictor_layers: 1, predictor_width: 32, predictor_heads: 2"
METHODS = {  # task -> its method, small
    "image_pretraining": f"name: mae, {SMALL}",
    "audio_pretraining": f"name: audio_mae, {SMALL}",
    "video_prediction": f"name: frame_prediction_latent, seen_frames: 2, latent_width: 4, latent_layers: 1, {SMALL}",
    "audio_visual": "name: audio_visual_contrastive, projector_width: 32, embedding_width: 16",
    "multimodal": f"name: multimodal, seen_frames: 2, latent_width: 4, embedding_width: 16, {SMALL}",
}
MODALITIES = {
    "image_pretraining": ("image",),
    "audio_pretraining": ("audio",),
    "video_prediction": ("video",),
    "audio_visual": ("video", "audio"),
    "multimodal": ("text", "image", "audio", "video"),
}


def media_text(task: str) -> str:
    """The config of a task: 4 steps on pictures of 16 pixels, clips of 4 of them, sounds at 2000 Hz."""
    return f"""
task: {task}
run: run
data: {{source: savanna, samples: 24, heldout: 0.5, seconds: 2.0}}
image: {{size: 16}}
audio: {{rate_hz: 2000, bands: 16, hop_seconds: 0.125}}
video: {{size: 16, frames: 4}}
method: {{{METHODS[task]}}}
encoder: {{name: vit, layers: 1, width: 32, heads: 2, intermediate: 64, patch: 8, audio_patch: [4, 8]}}
train:
  steps: 4
  batch_size: 4
  precision: fp32
  save_every_steps: 2
  evaluate_every_steps: 4
  log_every_steps: 1
evaluate: {{documents: 16}}
"""


def write_media_config(folder: Path, task: str) -> Path:
    """The config of a task as a file."""
    path = folder / f"{task}.yaml"
    path.write_text(media_text(task))
    return path


def media_config(folder: Path, task: str, *overrides: str) -> Config:
    """The config of a task, its run below `folder`."""
    return load_config(write_media_config(folder, task), [f"run={folder / 'run'}", *overrides])


def parts_of(config: Config) -> tuple[MediaTask, MediaData, Inputs, Objective]:
    """A run's task, data, inputs and untrained objective."""
    task: MediaTask = task_of(config).TASK
    data = task.read(config)
    inputs = Inputs(config, task.modalities, data.vocabulary)
    return task, data, inputs, task.build(config, inputs, data.train.size).eval()


def records(config: Config) -> list[dict]:
    """What was recorded as bad."""
    path = Path(config.run) / "bad_samples.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
