"""Clusters of frames: what describes a frame is the sound around it, and clusters are those of k-means."""

from typing import Any
from unittest.mock import patch

import pytest
import torch
from tiny import WAVEFORM, begin, tiny_batch, tiny_encoder, tiny_modalities, tiny_objective

from mmssl.errors import ConfigError
from mmssl.methods import METHODS
from mmssl.modalities.grids import Waveform
from mmssl.models import ENCODERS
from mmssl.models.frame_clusters import Cepstra, CodewordHead, FrameClusters, LayerFeatures
from mmssl.tokens import Place, Tokens

SPEECH_FRAMES = {"conv_sizes": [10, 3, 3, 3, 2, 2], "conv_steps": [5, 2, 2, 2, 2, 2], "conv_widths": [4] * 6}
SMALL = {"layers": 1, "width": 16, "heads": 2, "intermediate": 16, "position_size": 4, "position_groups": 2}


def test_a_click_lies_in_the_frames_that_it_is_heard_in():
    sound = Waveform("audio", 8000, 8000)
    encoder = ENCODERS["wav2vec2"]({"audio": sound}, **SMALL, **SPEECH_FRAMES)
    assert encoder.hop == 160  # 20 ms
    describe = Cepstra(encoder)
    number = 20
    middle = number * encoder.hop + encoder.reach // 2
    noise = 1e-3 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    noise[0, middle - 2 : middle + 2] += 1.0
    found = describe(sound.tokenize([noise]))
    assert found.shape == (1, encoder.frames(8000), 39)
    assert int(found[0, :, 0].argmax()) == number  # the first coefficient is the loudness
    # its difference in time rises before and falls after
    assert found[0, number - 1, 13] > 0 > found[0, number + 1, 13]


def test_clusters_are_those_of_kmeans_and_stay():
    objective: Any = tiny_objective("hubert")
    batch = tiny_batch("hubert")
    assert objective.num_codes == 6
    begin(objective, batch)
    codes = objective.codes_of(batch)
    assert codes.shape == (8, 21, 1)
    assert codes.unique().tolist() == list(range(6))
    # each frame belongs to the centre that is nearest to its standardised description
    target = objective.target
    value = target.describe(objective.tokens(batch)["audio.samples"])
    flat = value.flatten(0, 1)
    standard = (value - flat.mean(0)) / flat.std(0, correction=0)
    torch.testing.assert_close(
        torch.cdist(standard, target.centres.expand(8, -1, -1)).argmin(-1), codes[..., 0], rtol=0, atol=0
    )
    # the frames of chirps that rise and of those that fall are told apart
    assert codes[0].flatten().tolist() != codes[1].flatten().tolist()


def test_at_most_so_many_frames_are_clustered():
    objective: Any = tiny_objective("hubert")
    batch = tiny_batch("hubert")
    tokens = objective.tokens(batch)
    assert len(objective.target.chosen(tokens)) == 8 * 21
    with patch("mmssl.models.frame_clusters.MOST", 8 * 21 // 3):
        assert len(objective.target.chosen(tokens)) == 8 * 7


@torch.no_grad()
def test_the_second_time_clusters_are_of_a_layer_of_the_first_run():
    torch.manual_seed(1)
    objective: Any
    other = tiny_encoder(tiny_modalities("hubert"), "wav2vec2", layers=2, dropout=0.5)
    encoder = tiny_encoder(tiny_modalities("hubert"), "wav2vec2")
    with patch("mmssl.methods.speech.encoder_of_run", lambda folder, modalities: other):
        objective = METHODS["hubert"](encoder, {"audio": WAVEFORM}, pretrained="run", layer=2, num_clusters=4,
                                      span_frames=3)  # fmt: skip
        with pytest.raises(ConfigError, match=r"method\.layer 3: run has 2"):
            METHODS["hubert"](encoder, {"audio": WAVEFORM}, pretrained="run", layer=3)
        coarse = tiny_encoder(tiny_modalities("hubert"), "wav2vec2", conv_steps=[5, 2, 3])
        with pytest.raises(ConfigError, match="run has other frames"):
            METHODS["hubert"](coarse, {"audio": WAVEFORM}, pretrained="run", layer=1)
    describe = objective.train().target.describe
    assert isinstance(describe, LayerFeatures)
    batch = tiny_batch("hubert")
    found = describe(WAVEFORM.tokenize(batch.views["audio"]))
    # post-norm layers: what the last one answers is what the encoder does
    torch.testing.assert_close(found, other({"audio": WAVEFORM.tokenize(batch.views["audio"])})["audio"].value)
    assert not any(weight.requires_grad for weight in objective.target.parameters())


def test_a_number_that_never_varies_tells_nothing():
    encoder: Any = tiny_encoder(tiny_modalities("hubert"), "wav2vec2")
    clusters = FrameClusters(Cepstra(encoder), 2)
    value = torch.zeros(40, 39)
    value[:20, 3] = 1.0
    clusters.regroup(value)
    assert clusters.centres.isfinite().all()
    assert sorted(clusters.centres[:, 3].tolist()) == pytest.approx([-1.0, 1.0])


def test_logits_are_cosines_over_the_temperature():
    head = CodewordHead(4, 3, width=4, temperature=0.1)
    with torch.no_grad():
        head.project.weight.copy_(torch.eye(4))
        head.project.bias.zero_()
        head.codewords.copy_(torch.eye(4)[:3] * 7)
    place = Place(torch.tensor([[1]]), torch.zeros(1, 1).long(), (2,))
    whole = Place(torch.arange(2)[None], torch.zeros(1, 2).long(), (2,))
    value = torch.tensor([[[0.0, 0, 0, 1], [3.0, 4, 0, 0]]])
    found = head({"audio": Tokens(value, whole)}, place)
    torch.testing.assert_close(found, torch.tensor([[[6.0, 8.0, 0.0]]]))
