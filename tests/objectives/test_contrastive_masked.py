"""Claims about CAV-MAE: both losses from one pass of what is seen, weights that may be 0, nothing for the absent."""

from typing import Any

import pytest
import torch
from tiny import GRIDS, MEDIA, tiny_batch, tiny_encoder, tiny_objective
from torch.nn.functional import cross_entropy, normalize

from mmssl.errors import ConfigError
from mmssl.methods import METHODS
from mmssl.modalities.grids import Modality
from mmssl.models.separate import SeparateEncoder
from mmssl.objectives import ContrastiveMasked

METHOD, NAMES = "cav_mae", ("video", "audio")
PRESENT = torch.tensor([True, False, True, True])


def made(**options) -> ContrastiveMasked:
    """A tiny objective."""
    found = tiny_objective(METHOD, **options)
    assert isinstance(found, ContrastiveMasked)
    return found


@torch.no_grad()
def test_the_masked_terms_are_those_of_the_part_by_itself():
    objective, batch = made(masked_weight=2.0), tiny_batch(METHOD)
    terms, part = objective(batch).terms, objective.by_name["masked"](batch).terms
    for name in NAMES:
        torch.testing.assert_close(terms[f"masked/{name}"], 2 * part[name])


@torch.no_grad()
def test_the_contrast_is_of_what_is_seen_of_each_modality_alone():
    objective, batch = made(contrast_weight=1.0, temperature=0.2), tiny_batch(METHOD)
    _, seen, _ = objective.by_name["masked"].corrupted(batch)
    assert [part.value.shape[1] for part in seen.values()] == [9, 4]  # a quarter of 36 and of 16
    # each alone through the whole encoder, by CLIP's code
    means = [normalize(objective.encoder({name: seen[name]})[name].value.mean(1), dim=1) for name in NAMES]
    logits = means[0] @ means[1].T / 0.2
    labels = torch.arange(len(logits))
    expected = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
    torch.testing.assert_close(objective(batch).terms["contrast/video_audio"], expected)


def test_the_own_layers_run_once_a_step_and_the_shared_ones_for_both_and_for_each():
    objective, batch, counts = made(), tiny_batch(METHOD), {"own": 0, "shared": 0}
    encoder = objective.encoder
    assert isinstance(encoder, SeparateEncoder)

    def counting(kind: str):
        def hook(*_):
            counts[kind] += 1

        return hook

    for part in encoder.own.values():
        part.register_forward_hook(counting("own"))
    encoder.layers.register_forward_hook(counting("shared"))
    objective(batch)
    assert counts == {"own": 2, "shared": 3}


@pytest.mark.parametrize("masked, contrast", [(1.0, 0.0), (0.0, 1.0)])
def test_a_weight_of_0_takes_a_loss_away(masked, contrast):
    objective = made(masked_weight=masked, contrast_weight=contrast)
    terms = objective(tiny_batch(METHOD)).terms
    torch.stack([*terms.values()]).sum().backward()
    predictor: Any = objective.typed[1].by_name["video"].predictor
    assert (float(terms["masked/video"].detach()) > 0) is (masked > 0)
    assert (float(terms["contrast/video_audio"].detach()) > 0) is (contrast > 0)
    assert bool(predictor.mask.grad.any()) is (masked > 0)


def test_a_clip_without_sound_costs_nothing_of_it_and_is_no_negative():
    found = []
    for filling in (0.0, 7.0):
        objective, batch = made(), tiny_batch(METHOD, 4)
        sound = batch.views["audio"][0].clone()
        sound[~PRESENT] = filling
        sound.requires_grad_()
        views = {**batch.views, "audio": [sound], "audio.present": [PRESENT]}
        terms = objective(batch._replace(views=views)).terms
        torch.stack([*terms.values()]).sum().backward()
        assert sound.grad is not None
        assert sound.grad.flatten(1).any(1).tolist() == PRESENT.tolist()
        found.append([*(term.detach() for term in terms.values()), *(one.grad for one in objective.parameters())])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_an_encoder_whose_modalities_do_not_see_each_other_is_refused():
    modalities: dict[str, Modality] = {name: GRIDS[name] for name in NAMES}
    with pytest.raises(ConfigError, match=r"expected encoder\.fused=true"):
        METHODS[METHOD](tiny_encoder(modalities), modalities, **MEDIA[METHOD][1])


def test_the_mask_of_a_picture_does_not_tell_that_of_its_sound():
    count = 256
    batch = tiny_batch(METHOD, count)
    _, seen, _ = made().by_name["masked"].corrupted(batch)
    is_seen = [(part.place.position == 0).any(1).double() for part in seen.values()]
    assert all(0.1 < float(part.mean()) < 0.4 for part in is_seen)
    together = torch.corrcoef(torch.stack(is_seen))[0, 1]
    assert abs(float(together)) < 4 / count**0.5
    plain = [made().by_name["masked"].by_name[name].corrupt for name in NAMES]  # type: ignore[union-attr]
    tokens = made().by_name["masked"].tokens(batch)
    alike = [
        (corrupt(tokens[name], batch.draw)[0].place.position == 0).any(1).double()
        for name, corrupt in zip(NAMES, plain)
    ]
    assert float(torch.corrcoef(torch.stack(alike))[0, 1]) > 0.5  # the control: by one draw
