"""Claims about prediction in embedding space: targets equal a loop over samples and stock layers, blocks and masks do
not see each other, and without a teacher something must keep embeddings apart.
"""

from unittest.mock import patch

import pytest
import torch
from tiny import part, tiny_batch, tiny_objective
from torch import Tensor
from torch.nn.functional import mse_loss

from mmssl.batch import Batch
from mmssl.drop import drop_right
from mmssl.errors import ConfigError
from mmssl.models.export import stock_transformer
from mmssl.models.target import Teacher
from mmssl.models.transformer import TransformerEncoder
from mmssl.objectives import Predictive
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens

COUNT = 4


def made(method: str, **options) -> Predictive:
    """A method on an encoder of three layers, its teacher a step behind."""
    with patch.dict("tiny.VIT", {"layers": 3}):
        objective = tiny_objective(method, **options)
    assert isinstance(objective, Predictive)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in objective.encoder.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return objective.eval()


def noisy(method: str) -> Batch:
    """Pictures whose patches all differ."""
    pictures = torch.randn(COUNT, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    return tiny_batch(method, COUNT)._replace(views={"image": [pictures]})


def standardised(value: Tensor, axis: int, epsilon: float) -> Tensor:
    """Zero mean and unit variance along an axis."""
    return (value - value.mean(axis, keepdim=True)) / (value.var(axis, keepdim=True, correction=0) + epsilon).sqrt()


@torch.no_grad()
def by_stock_layers(encoder: torch.nn.Module, picture: Tensor) -> tuple[list[Tensor], Tensor]:
    """What each perceptron of a stock ViT says of each patch of one picture, and the last hidden states."""
    stock = stock_transformer(encoder)[0].eval()
    said = []
    x = stock.embeddings(picture[None])
    for layer in stock.layers:
        x = x + layer.attention(layer.layernorm_before(x))[0]
        said.append(layer.mlp(layer.layernorm_after(x)))
        x = x + said[-1]
    return [one[0, 1:] for one in said], stock.layernorm(x)[0, 1:]


def test_targets_of_ijepa_equal_a_loop_over_samples_and_stock_layers():
    objective, batch = made("ijepa"), noisy("ijepa")
    found = objective.target(objective.tokens(batch))["image"].value
    for row, picture in enumerate(batch.views["image"][0]):
        _, last = by_stock_layers(objective.target.module, picture)
        torch.testing.assert_close(found[row], standardised(last, -1, 1e-6), atol=1e-5, rtol=0)
        _, students = by_stock_layers(objective.encoder, picture)  # the control
        assert (found[row] - standardised(students, -1, 1e-6)).abs().max() > 0.1


@pytest.mark.parametrize("top", [1, 2, 3])
def test_targets_of_data2vec_equal_a_loop_over_samples_and_stock_layers(top):
    objective, batch = made("data2vec", top_layers=top), noisy("data2vec")
    found = objective.target(objective.tokens(batch))["image"].value
    for row, picture in enumerate(batch.views["image"][0]):
        said, _ = by_stock_layers(objective.target.module, picture)
        layers = [standardised(one, 0, 1e-5) for one in said[-top:]]  # each feature over the patches
        expected = standardised(torch.stack(layers).mean(0), -1, 1e-6)
        torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=0)
        other = standardised(torch.stack([standardised(one, 0, 1e-5) for one in said[:top]]).mean(0), -1, 1e-6)
        assert (found[row] - other).abs().max() > 0.1 or top == 3  # the control: the first layers


def test_more_layers_than_there_are_is_an_error_that_names_both():
    with pytest.raises(ConfigError, match=r"method\.top_layers 4: the encoder has 3 layers; expected no more"):
        made("data2vec", top_layers=4)


def asked(objective: Predictive, seen: Tokens, hidden: Place, row: int, block: Tensor) -> Tensor:
    """What the predictor alone says of some of the places of one sample."""
    mine = Tokens(seen.value[row : row + 1], part_of(seen.place, row))
    place = Place(block[None], torch.zeros_like(block)[None], hidden.grid)
    return objective.predict({"image": mine}, {"image": place})["image"][0]


def part_of(place: Place, row: int) -> Place:
    """The places of one sample."""
    return Place(place.position[row : row + 1], place.document[row : row + 1], place.grid)


@torch.no_grad()
def test_energies_of_ijepa_equal_a_loop_over_samples_and_blocks():
    objective, batch = made("ijepa"), tiny_batch("ijepa", COUNT)
    tokens, seen, hidden = objective.corrupted(batch)
    target = objective.target(tokens)["image"].value
    found = objective(batch).energy
    for row in range(COUNT):
        losses, together = [], []
        for block in hidden["image"].position[row].reshape(4, -1):
            said = asked(objective, seen["image"], hidden["image"], row, block)
            losses.append(mse_loss(said, target[row, block]))
        everywhere = hidden["image"].position[row].unique()
        together.append(asked(objective, seen["image"], hidden["image"], row, everywhere))
        torch.testing.assert_close(found[row], torch.stack(losses).mean(), atol=1e-5, rtol=0)
        # the control: asked for all blocks at once, the predictor says something else
        first = hidden["image"].position[row, 0]
        alone = asked(objective, seen["image"], hidden["image"], row, hidden["image"].position[row].reshape(4, -1)[0])
        assert (together[0][everywhere == first] - alone[:1]).abs().max() > 1e-4


@torch.no_grad()
def test_each_mask_of_data2vec_is_a_step_of_its_own():
    objective, batch = made("data2vec", num_masks=3), tiny_batch("data2vec", COUNT)
    output = objective(batch)
    one = made("data2vec", num_masks=1)
    epochs = [3 * batch.draw.epoch + turn for turn in range(3)]
    alone = [one(batch._replace(draw=Draw(batch.draw.seed, epoch, batch.draw.index))) for epoch in epochs]
    for name in ("energy", "embedding"):
        expected = torch.stack([getattr(single, name) for single in alone])
        torch.testing.assert_close(getattr(output, name), expected.mean(0), atol=1e-5, rtol=0)
        assert (expected[0] - expected[1]).abs().max() > 1e-4  # the control: masks differ
    torch.testing.assert_close(output.terms["image"], output.energy.mean())


def test_one_mask_draws_as_ever():
    batch = tiny_batch("data2vec", COUNT)
    assert batch.times(1) is batch


def test_masks_of_a_sample_do_not_depend_on_its_batch():
    batch = tiny_batch("data2vec", COUNT)
    several = batch.times(3).draw.uniform("mask", 5).reshape(3, COUNT, 5)
    alone = part(batch, [2]).times(3).draw.uniform("mask", 5)
    assert torch.equal(alone, several[:, 2])
    assert len(several.reshape(-1, 5).unique(dim=0)) == 3 * COUNT


@pytest.mark.parametrize("num_masks", [1, 4])
def test_the_teacher_computes_once_for_all_masks(num_masks):
    objective, batch = made("data2vec", num_masks=num_masks), tiny_batch("data2vec", COUNT)
    rows = []
    stock = TransformerEncoder.together

    def counted(self: TransformerEncoder, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        rows.append((self is objective.encoder, len(seen["image"].value)))
        return stock(self, seen)

    with patch.object(TransformerEncoder, "together", counted):
        objective(batch)
    assert rows == [(True, num_masks * COUNT), (False, COUNT)]


@pytest.mark.parametrize("method", ["ijepa", "data2vec"])
def test_no_gradient_reaches_a_teacher_of_pictures(method):
    objective, batch = made(method), tiny_batch(method, COUNT)
    objective.train()
    objective(batch).terms["image"].backward()
    assert all(weight.grad is None and not weight.requires_grad for weight in objective.target.parameters())
    assert all(weight.grad is not None for weight in objective.encoder.parameters())


@pytest.mark.parametrize("method", ["ijepa", "data2vec"])
@torch.no_grad()
def test_hidden_pixels_do_not_change_what_is_said_of_the_seen_ones(method):
    objective, batch = made(method), tiny_batch(method, COUNT)
    tokens, seen, hidden = objective.corrupted(batch)
    before = objective.encoder(seen)["image"].value, objective.predict(seen, hidden)["image"]
    for place, same in ((hidden["image"], True), (seen["image"].place, False)):  # the control: seen ones do
        noise = torch.zeros_like(tokens["image"].value[..., 0]).scatter(1, place.position, 5.0)
        changed = objective.by_name["image"].tokenize(batch.views["image"])
        value = changed.value + noise[..., None] * torch.linspace(-1, 1, changed.value.shape[-1])
        view = objective.encoder.cuts["image"].paste(value)
        _, again, asked_again = objective.corrupted(batch._replace(views={"image": [view]}))
        after = objective.encoder(again)["image"].value, objective.predict(again, asked_again)["image"]
        assert all(torch.equal(*pair) for pair in zip(before, after, strict=True)) is same


@pytest.mark.parametrize("method", ["ijepa", "data2vec"])
@torch.no_grad()
def test_the_right_half_is_predicted_whatever_was_hidden_in_training(method):
    objective, batch = made(method), tiny_batch(method, COUNT)
    tokens = objective.tokens(batch)
    seen, hidden = drop_right(0.5)(tokens["image"], batch.draw)
    assert objective.predict({"image": seen}, {"image": hidden})["image"].shape == (COUNT, 8, 32)
    energies = objective.energies_of({"image": seen}, {"image": hidden}, tokens)
    assert energies.shape == (COUNT, COUNT)
    assert torch.isfinite(energies).all()
    # and a method that is trained on it hides it
    made_for = tiny_objective(method, mask="right", hidden_ratio=0.5)
    assert torch.equal(made_for.corrupted(batch)[2]["image"].position, hidden.position)


def spread(objective: Predictive, batch: Batch) -> float:
    """The deviation over samples of the target's embeddings, mean over places and features."""
    with torch.no_grad():
        value = objective.eval().target(objective.tokens(batch))["image"].value
    return float(value.std(0).mean())


def after_steps(keeps_apart: str, steps: int = 30) -> float:
    """The spread after some steps of Adam."""
    weight = {"sigreg": 0.02, "vicreg": 1.0}.get(keeps_apart, 0.0)
    objective = tiny_objective("ijepa", keeps_apart=keeps_apart, regularizer_weight=weight)
    batch, stepper = tiny_batch("ijepa", 8), torch.optim.Adam(objective.parameters(), 1e-2)
    for step in range(steps):
        objective.train()
        torch.stack([*objective(batch).terms.values()]).sum().backward()
        stepper.step()
        stepper.zero_grad()
        objective.after_step(step / steps)
    return spread(objective, batch)


def test_without_a_teacher_embeddings_stay_apart_by_sigreg_or_vicreg_and_collapse_by_nothing():
    start = spread(tiny_objective("ijepa", keeps_apart="nothing"), tiny_batch("ijepa", 8))
    found = {kind: after_steps(kind) for kind in ("sigreg", "vicreg", "nothing")}
    assert start > 0.3
    assert found["nothing"] < 0.2 * start
    assert min(found["sigreg"], found["vicreg"]) > 0.9 * start


@pytest.mark.parametrize("kind", ["sigreg", "vicreg"])
def test_embeddings_that_tell_places_apart_but_not_samples_are_punished(kind):
    objective, batch = tiny_objective("ijepa", keeps_apart=kind, regularizer_weight=1.0), tiny_batch("ijepa", 64)
    (regularizer,) = objective.all_regularizers
    generator = torch.Generator().manual_seed(0)
    tokens = objective.tokens(batch)["image"]
    of_samples = torch.randn(64, 16, 32, generator=generator)
    of_places = of_samples[:1].expand(64, 16, 32)
    losses = []
    for value in (of_samples, of_places):
        terms = regularizer({}, {"image": Tokens(value, tokens.place)}, batch)
        losses.append(float(torch.stack([*terms.values()]).sum()))
    assert losses[1] > 3 * losses[0]


def test_own_embeddings_take_two_passes_and_gradient():
    objective, batch = tiny_objective("ijepa", keeps_apart="sigreg"), tiny_batch("ijepa", COUNT)
    passes = []
    stock = TransformerEncoder.together
    with patch.object(TransformerEncoder, "together", lambda self, seen: passes.append(self) or stock(self, seen)):
        objective(batch)
    assert passes == [objective.encoder] * 2
    view = batch.views["image"][0].requires_grad_()
    objective(batch).terms["image"].backward()
    assert view.grad is not None
    gradient = objective.by_name["image"].tokenize([view.grad]).value
    hidden = objective.corrupted(batch)[2]["image"].position
    assert all(gradient[row, place].any(1).all() for row, place in enumerate(hidden))
    assert not isinstance(objective.target, Teacher)


def test_directions_of_sigreg_are_new_at_each_step():
    objective = tiny_objective("ijepa", keeps_apart="sigreg")
    criterion = objective.all_regularizers[0].criterion
    before = criterion.directions(torch.zeros(1, 2, 32))
    objective.after_step(0.5)
    assert not torch.equal(criterion.directions(torch.zeros(1, 2, 32)), before)
