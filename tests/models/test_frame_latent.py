"""Claims about a latent variable for each time: its prior knows what came before, and is drawn one after another."""

import torch
from torch import Tensor

from mmssl.models.frame_latent import FramePrior, FrameReader, ToldByTime
from mmssl.models.latent import GaussianLatent, StandardNormal, divergence
from mmssl.tokens import Place, Tokens

TIMES, WIDTH = (2, 3, 4), 2  # of five times, and of z
SIZES = {"layers": 1, "width": 16, "heads": 2, "latent_width": WIDTH}
COUNT = 4


def seen() -> dict[str, Tokens]:
    """Two times of a clip of 1 x 2 cells."""
    position = torch.arange(4).expand(COUNT, 4)
    value = torch.randn(COUNT, 4, 8, generator=torch.Generator().manual_seed(0))
    return {"video": Tokens(value, Place(position, torch.zeros_like(position), (5, 1, 2)))}


def hidden() -> Place:
    """The other three."""
    position = torch.arange(4, 10).expand(COUNT, 6)
    return Place(position, torch.zeros_like(position), (5, 1, 2))


def noise(width: int = 3 * WIDTH, seed: int = 1) -> Tensor:
    """Normal numbers."""
    return torch.randn(COUNT, width, generator=torch.Generator().manual_seed(seed))


def made() -> GaussianLatent:
    """A latent of three times, with larger answers, so that differences show."""
    torch.manual_seed(0)
    widths = {"video": 8}
    prior, posterior = FramePrior(widths, 3, **SIZES), FrameReader({**widths, "answer": 6}, TIMES, 5, **SIZES)
    with torch.no_grad():
        for part in (prior.answer, prior.context.answer, posterior.question.answer):
            part.weight.mul_(20)
    latent = GaussianLatent(
        widths, 6, **{**SIZES, "latent_width": 3 * WIDTH}, weight=0.5, prior=prior, posterior=posterior
    )
    return latent.eval()


@torch.no_grad()
def test_the_prior_of_a_time_knows_the_earlier_z_and_no_other():
    prior = made().given(seen())
    z = noise()
    before = prior(z)
    for time in range(3):
        other = z.clone()
        other[:, time * WIDTH : (time + 1) * WIDTH] += 1
        after = prior(other)
        for old, new in zip(before, after, strict=True):
            changed = (old != new).any(0).unflatten(0, (3, WIDTH)).any(1)
            assert changed.tolist() == [later > time for later in range(3)]


@torch.no_grad()
def test_z_is_drawn_one_time_after_another():
    latent, sx, given = made(), seen(), noise()
    prior, z = latent.given(sx), torch.zeros(COUNT, 3 * WIDTH)
    for time in range(3):
        part = slice(time * WIDTH, (time + 1) * WIDTH)
        z[:, part] = prior(z).at(given)[:, part]
    torch.testing.assert_close(latent.drawn(sx, given), z)
    assert not torch.allclose(prior(torch.zeros_like(z)).at(given), z, atol=1e-3)  # the control: all at once
    likely = latent.drawn(sx)
    torch.testing.assert_close(prior(likely).mean, likely)


@torch.no_grad()
def test_the_divergence_is_the_sum_over_times_given_the_z_that_were_drawn():
    latent, sx, place = made(), seen(), hidden()
    answer = torch.randn(COUNT, 6, 6, generator=torch.Generator().manual_seed(2))
    q = latent.posterior({**sx, "answer": Tokens(answer, place)})
    found = latent(sx, answer, place, noise())
    torch.testing.assert_close(found.z, q.at(noise()))
    torch.testing.assert_close(found.nats, divergence(q, latent.given(sx)(found.z)))
    torch.testing.assert_close(found.cost, 0.5 * found.nats)
    assert not torch.allclose(latent(sx, answer, place).nats, found.nats, rtol=1e-3)  # the control: other z


@torch.no_grad()
def test_each_time_has_its_own_posterior_and_a_fixed_prior_is_standard():
    latent, sx, place = made(), seen(), hidden()
    answer = torch.randn(COUNT, 6, 6, generator=torch.Generator().manual_seed(2))
    mean = latent.posterior({**sx, "answer": Tokens(answer, place)}).mean.unflatten(1, (3, WIDTH))
    assert not torch.allclose(mean[:, 0], mean[:, 1], atol=1e-3)
    latent.prior = StandardNormal()
    assert torch.equal(latent.drawn(sx, noise()), noise())
    assert not latent.drawn(sx).any()


def test_a_predictor_is_told_the_z_of_the_time_of_each_place():
    class Tells(torch.nn.Module):
        """What it is told."""

        def forward(self, sx: dict[str, Tokens], place: Place, z: Tensor) -> Tensor:
            return z

    z = noise()
    by_time = z.unflatten(1, (3, WIDTH))
    position = torch.tensor([[9, 4, 6, 5]] * COUNT)  # of the last, first, second and first hidden time
    told = ToldByTime(Tells(), TIMES)(seen(), Place(position, torch.zeros_like(position), (5, 1, 2)), z)
    assert torch.equal(told, by_time[:, [2, 0, 1, 0]])


def test_both_players_get_gradient():
    latent, sx, place = made(), seen(), hidden()
    latent(
        sx, torch.randn(COUNT, 6, 6, generator=torch.Generator().manual_seed(2)), place, noise()
    ).cost.sum().backward()
    for part in (latent.prior, latent.posterior):
        silent = [name for name, weight in part.named_parameters() if weight.grad is None or not weight.grad.any()]
        assert [name for name in silent if "k_proj.bias" not in name] == []
