"""Claims about streams: pairings and latent variables equal loops, targets and absent samples get no gradient."""

from typing import Any

import pytest
import torch
from tiny import part, tiny_batch, tiny_objective
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from mmssl.batch import Batch
from mmssl.models.target import normalised
from mmssl.objectives import LatentStream, Predictive
from mmssl.tokens import Place, Tokens, in_place, in_turn, take

LATENT = "frame_prediction_latent"
COUNT = 4
KINDS = [{}, {"unit": "motion"}, {"unit": "motion", "moved_copies": 2, "reach": 3}]  # of what is predicted
PRESENT = torch.tensor([True, True, False, True])


def made(method: str, **options) -> Predictive:
    """A tiny objective."""
    found = tiny_objective(method, **({"latent_per": "clip"} if method == LATENT else {}), **options)
    assert isinstance(found, Predictive)
    return found


def lacking(batch: Batch, name: str, present: Tensor = PRESENT) -> Batch:
    """Some of its samples lack a modality."""
    return batch._replace(views={**batch.views, f"{name}.present": [present]})


def ragged() -> tuple[Tokens, Place]:
    """Three rows of five numbers, the last token of the third is padding; each hides two or three places."""
    position = torch.arange(5).expand(3, 5)
    document = torch.zeros(3, 5, dtype=torch.long)
    document[2, 4] = -1
    tokens = Tokens(torch.arange(15).reshape(3, 5, 1).float(), Place(position, document, (5,)))
    places = torch.tensor([[4, 0, 2], [1, 3, 0], [3, 4, 1]])
    return tokens, Place(places, torch.tensor([[0, 0, 0], [0, 0, -1], [0, -1, 0]]), (5,))


def test_in_place_asks_each_answer_at_the_places_of_the_question():
    tokens, hidden = ragged()
    answer, valid = in_place(tokens, hidden)
    assert answer.shape == (3, 3, 3, 1)
    for row in range(3):
        for column in range(3):
            for place in range(3):
                where = int(hidden.position[row, place])
                assert answer[row, column, place, 0] == 5 * column + where
                is_there = bool(hidden.valid[row, place] and tokens.place.valid[column, where])
                assert bool(valid[row, column, place]) is is_there
    assert not valid[0, 2, 0]  # place 4 of the third row is padding


def test_in_turn_asks_each_answer_for_what_it_hides_itself():
    tokens, hidden = ragged()
    answer, valid = in_turn(tokens, hidden)
    for row in range(3):
        for column in range(3):
            for place in range(3):
                assert answer[row, column, place, 0] == 5 * column + int(hidden.position[column, place])
                assert bool(valid[row, column, place]) is bool(hidden.valid[row, place] and hidden.valid[column, place])


@pytest.mark.parametrize("method", ["mae", "ijepa", "audio_mae", "frame_prediction", "vjepa"])
@torch.no_grad()
def test_energies_equal_a_loop_over_pairs(method):
    objective = made(method).eval()
    batch, answers = tiny_batch(method, COUNT), part(tiny_batch(method, 8), [4, 7, 5, 6])
    energies = objective.energies(batch, answers)
    _, seen, hidden = objective.corrupted(batch)
    ((name, stream),) = objective.by_name.items()
    prediction = objective.predict(seen, hidden)[name]
    target = objective.target(objective.tokens(answers))[name].value
    for row in range(COUNT):
        for column in range(COUNT):
            there = target[column, hidden[name].position[row]]
            torch.testing.assert_close(energies[row, column], stream.energy(prediction[row], there).mean())
    assert not torch.allclose(energies, energies.T, atol=1e-4)


def sharp(objective: Predictive) -> LatentStream:
    """Its stream, with a latent that says something."""
    stream = objective.by_name["video"]
    assert isinstance(stream, LatentStream)
    with torch.no_grad():
        for reader in (stream.latent.prior, stream.latent.posterior):
            reader.question.answer.weight.mul_(20)
    return stream


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_energies_of_a_latent_stream_equal_a_loop_over_pairs(kind):
    objective = made(LATENT, latent_weight=0.5, **kind).eval()
    stream = sharp(objective)
    batch, answers = tiny_batch(LATENT, COUNT), lacking(part(tiny_batch(LATENT, 8), [4, 7, 5, 6]), "video")
    energies = objective.energies(batch, answers)
    _, seen, hidden = objective.corrupted(batch)
    sx = objective.encoder(seen)["video"]
    values = objective.tokens(answers)["video"].value
    base = stream.base(seen["video"], hidden["video"])
    assert isinstance(base, Tensor)
    moved = batch.views["video"][0][:, :4].var(1, correction=0).mean((1, 2, 3))  # four frames are seen
    scale = (moved + 0.05**2).sqrt() if kind else torch.ones(COUNT)
    assert not kind or scale.std() > 1e-3
    costs = torch.zeros(COUNT, COUNT)
    for row in range(COUNT):
        x, place = {"video": Tokens(*one(sx, row))}, one(hidden["video"], row)
        shown = Tokens(*one(seen["video"], row))
        for column in range(COUNT):
            if PRESENT[column]:
                y = (values[column, place.position[0]][None] - base[row]) / scale[row]
                p = stream.latent.prior(x)
                q = stream.latent.posterior({**x, "answer": Tokens(y, place)})
                both = (Normal(part.mean, (part.log_variance / 2).exp()) for part in (q, p))
                costs[row, column] = 0.5 * kl_divergence(*both).sum()
                said = stream.paint(stream.predictor(x, place, q.mean), shown, place)
                costs[row, column] += (said - y).square().mean()
    torch.testing.assert_close(energies, costs, rtol=1e-4, atol=1e-5)
    assert not energies[:, 2].any()  # a clip that is not there fits everything
    torch.testing.assert_close(objective.energies_of_pairs(batch, answers), costs.diagonal(), rtol=1e-4, atol=1e-5)


def one(tokens_or_place, row: int):
    """One sample of a batch of tokens or places."""
    if isinstance(tokens_or_place, Place):
        return Place(tokens_or_place.position[row][None], tokens_or_place.document[row][None], tokens_or_place.grid)
    summary = None if tokens_or_place.summary is None else tokens_or_place.summary[row][None]
    return tokens_or_place.value[row][None], one(tokens_or_place.place, row), summary


@torch.no_grad()
def test_a_latent_stream_adds_the_weighted_divergence_to_its_loss_and_energy():
    batch = tiny_batch(LATENT, COUNT)
    found = {}
    for weight in (0.5, 1.0):
        objective = made(LATENT, latent_weight=weight)
        sharp(objective)
        output = objective(batch)
        torch.testing.assert_close(output.energy.mean(), output.terms["video"] + output.terms["video.z"])
        found[weight] = output.terms
    torch.testing.assert_close(2 * found[0.5]["video.z"], found[1.0]["video.z"])
    assert torch.equal(found[0.5]["video"], found[1.0]["video"])
    assert float(found[1.0]["video.z"]) > 0.01


@torch.no_grad()
def test_the_noise_of_z_belongs_to_the_sample():
    objective = made(LATENT)
    sharp(objective)
    batch = tiny_batch(LATENT, COUNT)
    whole = objective(batch).energy
    alone = [objective(part(batch, [row])).energy[0] for row in range(COUNT)]
    torch.testing.assert_close(torch.stack(alone), whole)
    later = batch._replace(draw=batch.draw._replace(epoch=batch.draw.epoch + 1))  # the control
    assert not torch.allclose(objective(later).energy, whole)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_prediction_takes_the_priors_mean_or_what_the_noise_chooses(kind):
    objective = made(LATENT, **kind).eval()
    stream = sharp(objective)
    _, seen, hidden = objective.corrupted(tiny_batch(LATENT, COUNT))
    sx = objective.encoder(seen)
    prior = stream.latent.prior(sx)
    base, scale = (part(seen["video"], hidden["video"]) for part in (stream.base, stream.unit))
    assert isinstance(scale, Tensor) is bool(kind)

    def painted(z: Tensor) -> Tensor:
        return stream.paint(stream.predictor(sx, hidden["video"], z), seen["video"], hidden["video"])

    mean = (objective.predict(seen, hidden)["video"] - base) / scale
    torch.testing.assert_close(mean, painted(prior.mean), atol=1e-5, rtol=1e-5)
    ones = (objective.predict(seen, hidden, lambda width: torch.ones(COUNT, width))["video"] - base) / scale
    higher = painted(prior.mean + (prior.log_variance / 2).exp())
    torch.testing.assert_close(ones, higher, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(mean, ones, atol=1e-4)


@pytest.mark.parametrize("method", ["frame_prediction", LATENT])
@torch.no_grad()
def test_a_predictor_that_says_nothing_predicts_the_last_frame(method):
    objective, batch = made(method).eval(), tiny_batch(method, COUNT)
    stream = objective.by_name["video"]
    for weight in stream.predictor.answer.parameters():
        weight.zero_()
    _, seen, hidden = objective.corrupted(batch)
    clip = batch.views["video"][0]
    frozen = stream.tokenize([clip[:, 3:4].expand(clip.shape).contiguous()]).value  # four frames are seen
    prediction = objective.predict(seen, hidden)["video"]
    assert torch.equal(prediction, frozen[:, hidden["video"].position[0]])
    # so its energy is that of a clip that stands still
    rest = (objective.tokens(batch)["video"].value - frozen)[:, hidden["video"].position[0]]
    cost = 1e-3 if method == LATENT else 1e-6  # z's
    torch.testing.assert_close(objective(batch).energy, rest.square().mean((1, 2)), atol=cost, rtol=1e-5)


def gradient_at(method: str, name: str, **options: Any) -> tuple[Predictive, Tensor, Tensor]:
    """The objective, and the gradient of its loss at the patches that are hidden and at those that are seen."""
    objective, batch = made(method, **options), tiny_batch(method, COUNT)
    view = batch.views[name][0].requires_grad_()
    torch.stack([*objective(batch).terms.values()]).sum().backward()
    assert view.grad is not None
    _, seen, hidden = objective.corrupted(batch)
    gradient = objective.by_name[name].tokenize([view.grad])
    return (objective, *(take(gradient, place.position).value for place in (hidden[name], seen[name].place)))


@pytest.mark.parametrize("method, name, options", [("ijepa", "image", {}), ("vjepa", "video", {"num_masks": 1})])
def test_the_target_of_a_jepa_gets_no_gradient(method, name, options):
    objective, at_hidden, at_seen = gradient_at(method, name, **options)
    assert all(weight.grad is None and not weight.requires_grad for weight in objective.target.parameters())
    assert not at_hidden.any()  # what is hidden reaches the loss through the target only
    assert at_seen.flatten(1).any(1).all()


def test_pixels_as_targets_would_get_gradient():
    assert gradient_at("mae", "image")[1].any()


def test_the_target_of_a_jepa_is_its_slow_copy_on_all_tokens():
    objective, batch = made("ijepa"), tiny_batch("ijepa", COUNT)
    tokens = objective.tokens(batch)
    expected = normalised(objective.encoder(tokens)["image"].value)
    torch.testing.assert_close(objective.target(tokens)["image"].value, expected.detach())
    with torch.no_grad():
        for weight in objective.encoder.parameters():
            weight.add_(0.1)
    before = [weight.clone() for weight in objective.target.parameters()]
    objective.after_step(0.0)
    after = zip(objective.target.parameters(), before, objective.encoder.parameters(), strict=True)
    for weight, old, student in after:
        torch.testing.assert_close(weight, 0.996 * old + 0.004 * student)


@pytest.mark.parametrize("method, name", [("mae", "image"), ("ijepa", "image"), (LATENT, "video")])
def test_a_sample_that_lacks_the_modality_costs_nothing_and_gets_no_gradient(method, name):
    found = []
    for filling in (0.0, 7.0):
        objective, batch = made(method), tiny_batch(method, COUNT)
        view = batch.views[name][0]
        view[~PRESENT] = filling
        view.requires_grad_()
        output = objective(lacking(batch, name))
        torch.stack([*output.terms.values()]).sum().backward()
        assert output.energy[~PRESENT].tolist() == [0]
        assert (output.energy[PRESENT] > 0).all()
        assert view.grad is not None
        assert not view.grad[~PRESENT].any()
        assert view.grad[PRESENT].flatten(1).any(1).all()
        # the others' terms are those that they have alone, in a mean over all
        alone = objective(part(batch, PRESENT.nonzero()[:, 0].tolist())).terms
        for key, term in output.terms.items():
            torch.testing.assert_close(term, alone[key] * 3 / 4, rtol=1e-4, atol=1e-6)
        found.append([weight.grad for weight in objective.parameters() if weight.requires_grad])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
