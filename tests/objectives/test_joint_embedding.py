"""Claims about joint embedding: energies of pairs, where gradient may not go, and samples that lack a modality."""

import pytest
import torch
from tiny import part, tiny_batch, tiny_objective
from torch import Tensor

from mmssl.batch import Batch
from mmssl.errors import ConfigError
from mmssl.objectives import JointEmbedding

CROSS = "audio_visual_contrastive"
HAS_SOUND = [True, False, True, True, False, True]


def made(method: str, **options) -> JointEmbedding:
    """A tiny objective."""
    found = tiny_objective(method, **options)
    assert isinstance(found, JointEmbedding)
    return found


def loss_of(objective: JointEmbedding, batch: Batch) -> Tensor:
    """The sum of its terms."""
    return torch.stack([*objective(batch).terms.values()]).sum()


def test_the_teacher_of_byol_gets_no_gradient_and_all_others_do():
    objective = made("byol")
    loss_of(objective, tiny_batch("byol")).backward()
    taught = [*objective.teacher.parameters()]
    assert len(taught) > 20
    assert all(weight.grad is None and not weight.requires_grad for weight in taught)
    silent = [name for name, weight in objective.named_parameters() if weight.requires_grad and not weight.grad.any()]
    # a softmax cancels a key's bias
    assert [name for name in silent if "k_proj.bias" not in name] == []


def test_the_teacher_of_byol_moves_only_after_a_step_and_by_its_momentum():
    objective, batch = made("byol", momentum=0.9), tiny_batch("byol")
    before = [weight.clone() for weight in objective.teacher.parameters()]
    with torch.no_grad():
        for weight in objective.embedder.parameters():
            weight.add_(1)
    loss_of(objective, batch).backward()
    assert all(torch.equal(*pair) for pair in zip(objective.teacher.parameters(), before, strict=True))
    objective.after_step(0.0)
    for weight, old in zip(objective.teacher.parameters(), before, strict=True):
        torch.testing.assert_close(weight, old + 0.1, atol=1e-5, rtol=1e-5)


def test_no_gradient_reaches_the_picture_through_the_keys():
    objective = made("byol")
    picture = tiny_batch("byol")
    for view in picture.views["image"]:
        view.requires_grad_()
    views, _ = objective.embedder(picture)
    keys = objective.keys(picture, "image")
    assert views.value.requires_grad
    assert not keys.value.requires_grad


@pytest.mark.parametrize("method", ["simclr", "vicreg", "byol", CROSS])
@torch.no_grad()
def test_energies_equal_a_loop_over_pairs(method):
    objective = made(method).eval()
    batch, others = tiny_batch(method, 4), part(tiny_batch(method, 7), [3, 6, 4, 5])
    for answers in (None, others):
        energies = objective.energies(batch, answers)
        queries = objective.queries(objective.embedder(batch)[0]).value[0]
        keys = objective.keys(batch if answers is None else answers, objective.answered[0]).value[0]
        for row in range(4):
            for column in range(4):
                expected = objective.energy(queries[row : row + 1], keys[column : column + 1])[0]
                torch.testing.assert_close(energies[row, column], expected, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(energies, energies.T, atol=1e-4)


@torch.no_grad()
def test_the_forward_energy_is_the_mean_over_all_ordered_pairs_of_views():
    objective = made("byol", num_views=3).eval()
    batch = tiny_batch("byol", 5, num_views=3)
    views, _ = objective.embedder(batch)
    queries, keys = objective.queries(views).value, objective.teacher(views, batch, (0, 1, 2)).value
    pairs = [objective.energy(queries[a], keys[b]) for a in range(3) for b in range(3) if a != b]
    torch.testing.assert_close(objective(batch).energy, torch.stack(pairs).mean(0))


@torch.no_grad()
def test_modalities_are_compared_both_ways_and_a_picture_with_its_other_view():
    objective, batch = made(CROSS).eval(), tiny_batch(CROSS, 4)
    there, back = (objective.energies_between(*names, batch) for names in (("video", "audio"), ("audio", "video")))
    torch.testing.assert_close(there, back.T)
    torch.testing.assert_close(there, objective.energies(batch))
    assert objective.compares("video", "audio")
    pictures = made("simclr")
    assert pictures.compares("image", "image")
    pair = tiny_batch("simclr", 4)
    torch.testing.assert_close(pictures.energies_between("image", "image", pair), pictures.energies(pair))
    assert not objective.compares("video", "video")
    with pytest.raises(ConfigError, match="does not compare image with audio; expected a cross-modal method"):
        pictures.energies_between("image", "audio", tiny_batch("simclr", 4))


def with_missing_sound(filling: float | None = None) -> Batch:
    """Six clips of which two lack their sound, which holds a number instead if asked."""
    batch = tiny_batch(CROSS, 6)
    has = torch.tensor(HAS_SOUND)
    sound = batch.views["audio"][0]
    if filling is not None:
        sound = torch.where(has[:, None, None], sound, filling)
    return batch._replace(views={**batch.views, "audio": [sound.requires_grad_()], "audio.present": [has]})


def test_a_sound_that_is_missing_costs_nothing_and_gets_no_gradient_whatever_it_holds():
    found = []
    for filling in (0.0, 7.0):
        objective, batch = made(CROSS), with_missing_sound(filling)
        output = objective(batch)
        output.terms["video_audio"].backward()
        has, gradient = torch.tensor(HAS_SOUND), batch.views["audio"][0].grad
        assert gradient is not None
        assert torch.isfinite(gradient).all()
        assert not gradient[~has].any()
        assert gradient[has].flatten(1).any(1).all()  # the control: the others' sounds do
        assert output.energy[~has].tolist() == [0, 0]
        assert (output.energy[has] != 0).all()
        found.append([output.terms["video_audio"].detach(), *(weight.grad for weight in objective.parameters())])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_the_embedding_and_energy_carry_no_gradient():
    output = made("byol")(tiny_batch("byol"))
    assert not output.energy.requires_grad
    assert not output.embedding.requires_grad
    assert output.terms["similarity"].requires_grad
