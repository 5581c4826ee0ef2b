"""Claims about the residual network on frames: its tokens lie on the grid of patches and see their own time alone."""

import pytest
import torch
from einops import rearrange
from tiny import GRIDS, patterns, tiny_encoder, words_of_tests

from mmssl.drop import keep_times
from mmssl.errors import ConfigError
from mmssl.models.frame_convnet import FrameEncoder
from mmssl.random import Draw

CLIPS = {"video": GRIDS["video"]}


def made(**options) -> FrameEncoder:
    """A tiny one, on patches of 2 x 4 x 4, as it computes when it is asked."""
    encoder = tiny_encoder(CLIPS, "resnet_video", **options)
    assert isinstance(encoder, FrameEncoder)
    return encoder.eval()


@torch.no_grad()
def test_a_token_is_a_cell_of_the_feature_map_of_its_time():
    encoder = made()
    (clip,) = patterns("video", 3, 1)
    found = encoder({"video": encoder.cuts["video"].tokenize([clip])})["video"]
    assert found.place.grid == encoder.cuts["video"].grid == (4, 3, 3)
    assert found.value.shape == (3, 36, encoder.width)
    for time in range(4):
        frames = rearrange(clip[:, 2 * time : 2 * time + 2], "b p c h w -> b (c p) h w")
        expected = rearrange(encoder.stock(frames).last_hidden_state, "b d y x -> b (y x) d")
        torch.testing.assert_close(found.value[:, 9 * time : 9 * time + 9], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("times", [[0, 1], [2, 3], [0, 3]])
@torch.no_grad()
def test_hidden_frames_do_not_change_the_tokens_of_seen_ones(times):
    encoder = made()
    (clip,) = patterns("video", 3, 1)
    tokens = encoder.cuts["video"].tokenize([clip])
    seen, _ = keep_times(times)(tokens, Draw(0, torch.zeros(3).long(), torch.arange(3)))
    found = encoder({"video": seen})["video"]
    whole = encoder({"video": tokens})["video"]
    rows = [9 * time + cell for time in times for cell in range(9)]
    torch.testing.assert_close(found.value, whole.value[:, rows], atol=1e-5, rtol=1e-5)
    assert torch.equal(found.place.position, whole.place.position[:, rows])


def test_each_stage_halves_the_sides():
    assert made(widths=[4], depths=[2], frames=4).cuts["video"].patch == (4, 2, 2)
    assert made().cuts["video"].patch == (2, 4, 4)


def test_what_it_cannot_read_is_refused():
    with pytest.raises(ConfigError, match="got video, text; it reads clips only"):
        tiny_encoder({**CLIPS, "text": words_of_tests()}, "resnet_video")
    with pytest.raises(ConfigError, match=r"encoder\.depths \[1\]: expected as many"):
        made(depths=[1])
    with pytest.raises(ConfigError, match="cannot be cut into patches of 2 x 8 x 8"):
        made(widths=[4, 4, 4], depths=[1, 1, 1])
