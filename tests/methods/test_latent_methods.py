"""Claims about predictive models with z: one answer for each z, inference below the amortised energy, no leak of y."""

import pytest
import torch
from tiny import tiny_batch, tiny_objective
from torch import Tensor

from mmssl.batch import Batch
from mmssl.models.discrete import DiscreteLatent
from mmssl.models.limits import NarrowLatent, SparseLatent
from mmssl.objectives import LatentStream, Predictive
from mmssl.tokens import at

LIMITS = ("noise", "dimension", "sparsity", "codes")
JEPAS = [(method, {"limit": limit}) for method in ("jepa_with_latent", "vjepa_with_latent") for limit in LIMITS]
CASES = [*JEPAS, ("conditional_vae", {})]


def made(method: str, **options) -> Predictive:
    """A tiny objective whose z says something."""
    objective = tiny_objective(method, **options)
    assert isinstance(objective, Predictive)
    with torch.no_grad():
        for name, weight in objective.streams.named_parameters():
            if name.endswith("answer.weight"):
                weight.mul_(30 if "latent" in name else 20)
    return objective.eval()


def noise(objective: Predictive, shift: float = 0.0):
    """Standard normal numbers of the batch's samples."""
    return lambda width: tiny_batch("jepa_with_latent", 4).draw.normal("sample/0", width) + shift


@pytest.mark.parametrize("method, options", CASES)
@torch.no_grad()
def test_each_z_gives_another_prediction_from_what_is_seen_alone(method, options):
    objective, batch = made(method, **options), tiny_batch(method, 4)
    _, seen, hidden = objective.corrupted(batch)
    (name,) = seen
    first, again, *others = (
        objective.predict(seen, hidden, noise(objective, shift))[name] for shift in (0, 0, 4, -4)
    )  # a code that is nearly sure is drawn by most noise
    assert torch.equal(first, again)
    assert not all(torch.allclose(first, other, atol=1e-4) for other in others)
    assert objective.has_latent


@pytest.mark.parametrize("method, options", CASES)
@torch.no_grad()
def test_the_free_energy_by_inference_is_never_above_the_amortised_one(method, options):
    batch = tiny_batch(method, 4)
    amortised, inferred = (made(method, **options, inference_steps=steps).energies(batch) for steps in (0, 20))
    assert (inferred <= amortised + 1e-5).all()
    assert float((amortised - inferred).max()) > 1e-3


@pytest.mark.parametrize("method, options", CASES)
@torch.no_grad()
def test_bits_are_told_of_every_sample(method, options):
    objective, batch = made(method, **options), tiny_batch(method, 4)
    tokens, seen, hidden = objective.corrupted(batch)
    bits = objective.bits(seen, hidden, tokens)
    assert isinstance(bits, Tensor)
    assert bits.shape == (4,)
    assert torch.isfinite(bits).all()


@torch.no_grad()
def test_a_method_without_z_tells_no_bits():
    objective, batch = tiny_objective("ijepa").eval(), tiny_batch("ijepa", 4)
    tokens, seen, hidden = objective.corrupted(batch)
    assert objective.bits(seen, hidden, tokens) is None
    assert not objective.has_latent


def train(objective: Predictive, batch: Batch) -> None:
    """150 steps on one batch, its draws anew in each."""
    stepper = torch.optim.Adam([one for one in objective.parameters() if one.requires_grad], lr=3e-3)
    objective.train()
    for step in range(150):
        now = batch._replace(draw=batch.draw._replace(epoch=batch.draw.epoch + step))
        torch.stack([*objective(now).terms.values()]).sum().backward()
        stepper.step()
        stepper.zero_grad()
        objective.after_step(step / 150)


@pytest.mark.parametrize("limit", LIMITS)
def test_z_learns_what_the_seen_part_leaves_open(limit):
    """Two answers for one and the same question: only z can tell which."""
    objective, batch = of_pixels(limit), two_answers()
    train(objective, batch)
    _, seen, hidden = objective.eval().corrupted(batch)
    with torch.no_grad():
        # the mean of both answers is off by 1: with z the error is far below
        assert float(objective.energies(batch).diagonal().mean()) < 0.35
        drawn = torch.stack([
            objective.predict(seen, hidden, lambda width, k=k: batch.draw.normal(f"sample/{k}", width))["image"]
            for k in range(12)
        ]).mean((-1, -2))  # fmt: skip
    # the draws are of both kinds, and few lie between
    assert float((drawn > 0.5).float().mean()) > 0.15
    assert float((drawn < -0.5).float().mean()) > 0.15


@pytest.mark.parametrize("limit", LIMITS)
def test_z_learns_which_of_two_futures_comes(limit):
    """Clips with one and the same past: all that a teacher says of their futures is in z, or missed."""
    options = {"limit_weight": 5e-4, "latent_width": 2} if limit == "noise" else {"limit_weight": 1e-4}
    objective, batch = tiny_objective("vjepa_with_latent", limit=limit, **options), tiny_batch("vjepa_with_latent", 8)
    assert isinstance(objective, Predictive)
    clip = torch.zeros(8, 8, 3, 12, 12)
    clip[::2, 4:], clip[1::2, 4:] = 1.0, -1.0
    batch = batch._replace(views={"video": [clip]})
    train(objective, batch)
    with torch.no_grad():
        tokens, seen, hidden = objective.eval().corrupted(batch)
        answer = at(objective.target(tokens)["video"], hidden["video"])
        blurred = float(answer.var(0, correction=0).mean())  # the error of the mean of both futures
        assert blurred > 0.05
        assert float(objective.energies(batch).diagonal().mean()) < 0.5 * blurred
        drawn = torch.stack([
            objective.predict(seen, hidden, lambda width, k=k: batch.draw.normal(f"sample/{k}", width))["video"]
            for k in range(12)
        ])  # fmt: skip
    nearest = (drawn[:, :, None] - answer[:2]).square().mean((-1, -2)).argmin(-1).float().mean()
    assert 0.15 < float(nearest) < 0.85  # the draws are of both kinds


def of_pixels(limit: str) -> Predictive:
    """The JEPA's z on pixels as they are, which do not move while it learns."""
    pixels = tiny_objective("conditional_vae", mask="right", kl_weight=1e-3)
    assert isinstance(pixels, Predictive)
    given = pixels.by_name["image"]
    assert isinstance(given, LatentStream)
    shape = {"layers": 1, "width": 32, "heads": 2, "latent_width": 4}
    latents = {
        "noise": lambda: given.latent,
        "dimension": lambda: NarrowLatent({"image": 32}, 48, deviation=0.1, **shape),
        "sparsity": lambda: SparseLatent({"image": 32}, 48, deviation=0.1, weight=1e-3, **shape),
        "codes": lambda: DiscreteLatent({"image": 32}, 48, num_codes=4, **shape),
    }
    stream = LatentStream(
        tokenize=given.tokenize, corrupt=given.corrupt, predictor=given.predictor, energy=given.energy,
        pairing=given.pairing, latent=latents[limit](),
    )  # fmt: skip
    return Predictive(streams={"image": stream}, encoder=pixels.encoder)


def two_answers():
    """Eight pictures with the same left half; the right one is 1 in half of them and -1 in the others."""
    batch = tiny_batch("jepa_with_latent", 8)
    picture = torch.zeros(8, 3, 16, 16)
    picture[::2, :, :, 8:] = 1.0
    picture[1::2, :, :, 8:] = -1.0
    return batch._replace(views={"image": [picture]})
