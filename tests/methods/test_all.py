"""Claims about every method, by its defaults on tiny sizes: it learns, tells pairs apart, resumes and is exported."""

from functools import cache
from typing import NamedTuple

import pytest
import torch
from tiny import MEDIA, SPEECH, TEXT_METHODS, begin, tiny_batch, tiny_objective, words_of_tests
from torch import Tensor
from transformers import AutoModel, AutoModelForMaskedLM

from mmssl.batch import Batch
from mmssl.checkpoint import restore, save
from mmssl.errors import ConfigError
from mmssl.methods import METHODS
from mmssl.models.encoder import VocabularyHead
from mmssl.models.export import export_encoder, export_text
from mmssl.models.export_autoencoder import export_objective
from mmssl.objectives import Objective
from mmssl.optimizer import optimizer, set_state, state_of
from mmssl.sections import TrainConfig
from mmssl.train import restore_weights, tensors_of

CASES = [(name, "vit") for name in METHODS] + [(name, "resnet") for name in ("simclr", "byol", "swav")]
CASES += [(name, "resnet_video") for name in ("frame_prediction", "frame_prediction_latent", "video_diffusion")]
STEPS = 50
# a contrast at temperature 0.5 cannot fall below log(1 + (2 B - 2) e^-2 ...): that of SimCLR falls by a sixth; eight
# samples cannot take the correlations out of 32 features
FALLS = {"simclr": 0.9, "barlow_twins": 0.75, "audio_visual_barlow": 0.75}
# their queue begins with random keys, and soon holds those of the very samples; DINO's teacher becomes surer; what one
# player of a game wins, the other loses
RISING = ("moco", "moco_v2", "dino", "gan", "frame_prediction_gan")
APART = (
    "siamese",
    "npid",
    "moco",
)  # a linear projection of random features tells the patterns apart before any training
# a squared distance up to a margin of 1; a critic that has seen each clip go on with its own last frame, well or badly
LEAST = {"siamese": 0.1, "frame_prediction_gan": 0.1}
LATENT = (  # a step draws z, energies take the posterior's mean or draws of their own
    "vae", "frame_prediction_latent", "multimodal", "conditional_vae", "jepa_with_latent", "vjepa_with_latent",
    "diffusion", "latent_diffusion", "video_diffusion", "audio_from_video", "video_from_audio",
)  # fmt: skip
MANY_PAIRS = (
    "byol",
    "simsiam",
    "moco_v3",
    "swav",
    "seer",
    "dino",
    "lejepa",
    "data2vec",
    "data2vec_audio",
    "vjepa",
    "contrastive_captions",
)  # more than one a sample
ONE_PAIR = [name for name in METHODS if name not in (*LATENT, *MANY_PAIRS, "npid", "audio_visual_jepa", "cav_mae")]


class Trained(NamedTuple):
    """A method after some steps on one batch."""

    objective: Objective
    optimizer: torch.optim.Optimizer
    batch: Batch
    losses: list[float]
    before: Tensor  # the energies before the first step


def made(method: str, encoder: str) -> tuple[Objective, torch.optim.Optimizer]:
    """An objective with the optimizer of the training loop."""
    objective = tiny_objective(method, encoder=encoder)
    return objective, optimizer(objective, TrainConfig(learning_rate=3e-3))


def train(objective: Objective, stepper: torch.optim.Optimizer, batch: Batch, steps: range) -> list[float]:
    """The losses of some steps of `STEPS`, each as in the training loop."""
    losses = []
    objective.train()
    for step in steps:
        loss = torch.stack([*objective(batch).terms.values()]).sum()
        loss.backward()
        stepper.step()
        stepper.zero_grad(set_to_none=True)
        objective.after_step((step + 1) / STEPS)
        losses.append(float(loss.detach()))
    return losses


@cache
def trained(method: str, encoder: str) -> Trained:
    """Made once; who trains it on works on a copy."""
    objective, stepper = made(method, encoder)
    batch = tiny_batch(method)
    begin(objective, batch)
    before = energies(objective, batch)
    return Trained(objective, stepper, batch, train(objective, stepper, batch, range(STEPS)), before)


@torch.no_grad()
def energies(objective: Objective, batch: Batch) -> Tensor:
    """Those of all pairs."""
    return objective.eval().energies(batch)


def gap(values: Tensor) -> float:
    """How much higher mismatched pairs lie than matched ones."""
    others = values[~torch.eye(len(values), dtype=torch.bool)]
    return float(others.mean() - values.diagonal().mean())


@pytest.mark.parametrize("method, encoder", [case for case in CASES if case[0] not in RISING])
def test_the_loss_falls_on_one_batch(method, encoder):
    losses = trained(method, encoder).losses
    assert losses[-1] < FALLS.get(method, 0.7) * losses[0]


@pytest.mark.parametrize("method, encoder", CASES)
def test_matched_pairs_come_to_have_less_energy_than_others(method, encoder):
    run = trained(method, encoder)
    values = energies(run.objective, run.batch)
    assert values.shape == (8, 8)
    assert torch.isfinite(values).all()
    least = LEAST.get(method, 0.25)
    assert gap(values) > least
    # the control: before the training they were nearer
    assert gap(run.before) < gap(values) - min(0.15, least) or method in APART


@torch.no_grad()
def of_forward(objective: Objective, batch: Batch) -> Tensor:
    """The energy that a forward answers."""
    return objective.eval()(batch).energy


@pytest.mark.parametrize("method", METHODS)
def test_the_energies_of_pairs_are_the_diagonal(method):
    run = trained(method, "vit")
    others = run.batch._replace(
        views={name: [view.roll(1, 0) for view in views] for name, views in run.batch.views.items()}
    )
    with torch.no_grad():
        found = run.objective.eval().energies_of_pairs(run.batch, others)
        matrix = run.objective.energies(run.batch, others)
    torch.testing.assert_close(found, matrix.diagonal(), rtol=1e-4, atol=1e-5)
    # the control: with its own answer a sample has another energy
    assert not torch.allclose(found, energies(run.objective, run.batch).diagonal(), rtol=1e-3)


@pytest.mark.parametrize("method", ONE_PAIR)
def test_the_diagonal_is_the_energy_of_the_forward_where_one_pair_of_views_is_compared(method):
    run = trained(method, "vit")
    torch.testing.assert_close(energies(run.objective, run.batch).diagonal(), of_forward(run.objective, run.batch))


def test_the_forward_of_byol_is_the_mean_of_both_ways():
    run = trained("byol", "vit")
    swapped = run.batch._replace(views={"image": run.batch.views["image"][::-1]})
    ways = [energies(run.objective, batch).diagonal() for batch in (run.batch, swapped)]
    assert not torch.allclose(ways[0], ways[1])
    torch.testing.assert_close((ways[0] + ways[1]) / 2, of_forward(run.objective, run.batch))


def test_the_forward_of_an_audio_visual_jepa_takes_a_modality_away_and_its_energies_do_not():
    batch = tiny_batch("audio_visual_jepa")
    for share, same in ((0.0, True), (1.0, False)):
        objective = tiny_objective("audio_visual_jepa", drop_modality=share)
        diagonal = energies(objective, batch).diagonal()
        assert torch.allclose(diagonal, of_forward(objective, batch), atol=1e-5) is same


@pytest.mark.parametrize("method", LATENT)
def test_the_forward_of_a_latent_method_draws_z_where_its_energies_take_the_mean(method):
    run = trained(method, "vit")
    diagonal, forward = energies(run.objective, run.batch).diagonal(), of_forward(run.objective, run.batch)
    assert not torch.allclose(diagonal, forward, atol=1e-3)


def after(objective: Objective, stepper: torch.optim.Optimizer, batch: Batch) -> dict[str, Tensor]:
    """All weights and statistics after three more steps."""
    train(objective, stepper, batch, range(3, 6))
    return {name: value.clone() for name, value in tensors_of(objective).items()}


@pytest.mark.parametrize("method, encoder", CASES)
def test_a_restored_run_takes_the_same_steps_to_the_bit(method, encoder, tmp_path):
    objective, stepper = made(method, encoder)
    batch = tiny_batch(method)
    begin(objective, batch)
    train(objective, stepper, batch, range(3))
    names = {id(weight): name for name, weight in objective.named_parameters()}
    save(tmp_path, 3, {"model": tensors_of(objective), "optimizer": state_of(stepper, names)}, {}, keep=2)
    whole = after(objective, stepper, batch)
    found = restore(tmp_path)
    assert found is not None
    for with_optimizer in (True, False):  # the control: without the optimizer's state the steps are others
        other, other_stepper = made(method, encoder)
        restore_weights(other, found.tensors["model"])
        if with_optimizer:
            names = {id(weight): name for name, weight in other.named_parameters()}
            set_state(other_stepper, names, found.tensors["optimizer"])
        again = after(other, other_stepper, batch)
        assert again.keys() == whole.keys()
        assert all(torch.equal(again[name], whole[name]) for name in whole) is with_optimizer


STOCK = {
    **dict.fromkeys([name for name, (reads, _) in MEDIA.items() if reads == ("image",)], "ViTModel"),
    "mae": "ViTMAEModel",
    **dict.fromkeys([name for name, (reads, _) in MEDIA.items() if reads == ("audio",)], "ViTModel"),
    **dict.fromkeys(SPEECH, "Wav2Vec2Model"),
    **dict.fromkeys([name for name, (reads, _) in MEDIA.items() if reads == ("video",)], "VivitModel"),
}
SEVERAL = [name for name, (reads, _) in MEDIA.items() if len(reads) > 1]


@pytest.mark.parametrize("method", STOCK)
@torch.no_grad()
def test_the_encoder_is_exported_where_a_stock_class_exists(method, tmp_path):
    run = trained(method, "vit")
    (name,) = MEDIA[method][0]
    encoder = run.objective.encoder.eval()
    export_objective(run.objective, tmp_path)
    stock = AutoModel.from_pretrained(tmp_path).eval()
    assert type(stock).__name__ == STOCK[method]
    whole = {}
    if STOCK[method] == "ViTMAEModel":  # which else drops patches, and shuffles the others
        stock.config.mask_ratio, whole = 0.0, {"noise": torch.arange(16).expand(8, 16).float()}
    views = run.batch.views[name]
    view = views[min(1, len(views) - 1)]  # the second view of a picture is whole
    tokens = encoder.cuts[name].tokenize([view])
    if method in SPEECH:  # without class token
        found = stock(tokens.value[..., 0]).last_hidden_state
    else:
        found = stock(view[:, None] if name == "audio" else view, **whole).last_hidden_state[:, 1:]
    expected = encoder({name: tokens})[name].value
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", [name for name in TEXT_METHODS if name != "collobert_weston"])
@torch.no_grad()
def test_the_encoder_of_text_is_exported_with_its_head(method, tmp_path):
    run, words = trained(method, "vit"), words_of_tests()
    encoder = run.objective.encoder.eval()
    export_text(encoder, words, tmp_path)
    stock = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    row = run.batch.views["text"][0][:1]
    end = int((row == words.last).nonzero()[1, 1]) + 1  # the first document of the row, in two halves
    ids = row[:, :end]
    tokens = run.objective.by_name["text"].tokenize([ids])
    place = tokens.place
    types = {"token_type_ids": encoder.token_types(ids, place)} if encoder.has_types else {}
    expected = VocabularyHead(encoder)(encoder({"text": tokens}), place)
    torch.testing.assert_close(stock(input_ids=ids, **types).logits, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", SEVERAL)
def test_an_encoder_of_several_modalities_is_not_exported(method, tmp_path):
    objective = tiny_objective(method)
    with pytest.raises(ConfigError, match=f"an encoder of {', '.join(MEDIA[method][0])} has no stock class"):
        export_encoder(objective.encoder, tmp_path)
    assert not list(tmp_path.iterdir())


def test_every_method_is_among_those_that_are_exported_or_refused():
    assert set(METHODS) == {*STOCK, *TEXT_METHODS, "collobert_weston", *SEVERAL}
