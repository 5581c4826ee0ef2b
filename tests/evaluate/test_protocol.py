"""Beside the figures of a model of videos stands what they were measured of, whatever it predicts."""

import pytest
from media_runs import SMALL, media_config, parts_of
from scripted_networks import Difference, saved

from mmssl.evaluate.judges import hash_of_weights
from mmssl.evaluate.media import PAIRED, is_baseline
from mmssl.evaluate.protocol import OF_FRAMES, video_protocol


def protocol_of(config):
    """Of an untrained model, and its encoder."""
    _, data, _, objective = parts_of(config)
    found = video_protocol(objective, config, data.heldout, PAIRED)
    return found.get("video.protocol"), objective.encoder


def config_of(folder, method, *overrides):
    """Clips of digits, 16 of them held out."""
    return media_config(
        folder, "video_prediction", f"method={{name: {method}, {SMALL}}}", "data.source=digits", "video.frames=4",
        "data.samples=40", "data.heldout=0.4", "evaluate.documents=400", *overrides,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("method", "samples", "draws"),
    [("frame_prediction, seen_frames: 2", 1, 1), ("frame_prediction_latent, seen_frames: 2", 30, 20)],
)
def test_pixels_have_clips_draws_seed_and_the_hash_of_the_encoder(tmp_path, method, samples, draws):
    config = config_of(tmp_path, method, "evaluate.futures=30")
    found, encoder = protocol_of(config)
    expected = {
        "source": "digits", "clips": 16, "clips_of_energies": 16, "clips_of_coverage": 16, "frames": 4, "size": 16,
        "seconds": 2.0, "seed": config.seed, "seen_frames": 2, "predicts": "future", "samples": samples,
        "draws_of_coverage": draws, "encoder": hash_of_weights(encoder), **OF_FRAMES,
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected


def test_embeddings_have_it_too(tmp_path):
    found, encoder = protocol_of(config_of(tmp_path, "vjepa_with_latent, seen_frames: 2"))
    assert found["draws_of_coverage"] == found["samples"] == 20
    assert found["encoder"] == hash_of_weights(encoder)
    assert found["method"]["name"] == "vjepa_with_latent"


def test_masks_stand_in_it_where_no_frame_is_hidden_whole(tmp_path):
    found, _ = protocol_of(config_of(tmp_path, "videomae, hidden_ratio: 0.5"))
    assert found["method"]["hidden_ratio"] == 0.5
    assert not {"seen_frames", "psnr"} & found.keys()


def test_outside_the_worlds_nothing_is_said_of_coverage(tmp_path):
    config = config_of(tmp_path, "frame_prediction, seen_frames: 2")
    _, data, _, objective = parts_of(config)
    elsewhere = config.model_copy(update={"data": config.data.model_copy(update={"source": "elsewhere"})})
    found = video_protocol(objective, elsewhere, data.heldout, PAIRED)["video.protocol"]
    assert not {"clips_of_coverage", "draws_of_coverage"} & found.keys()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_the_users_networks_are_named_by_their_hash(tmp_path):
    weights = saved(Difference(), tmp_path / "lpips")
    config = config_of(tmp_path, "frame_prediction, seen_frames: 2", f"evaluate.lpips_weights={weights}")
    assert protocol_of(config)[0]["files"].keys() == {"lpips"}


def test_sounds_alone_have_none_and_random_weights_none_of_their_own(tmp_path):
    assert protocol_of(media_config(tmp_path, "audio_pretraining"))[0] is None
    assert not is_baseline("video.protocol")
