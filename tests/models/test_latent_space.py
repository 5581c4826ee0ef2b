"""Claims about the space of a frozen autoencoder: it has unit variance, and leads back to the patches."""

import pytest
import torch
from tiny import GRIDS, tiny_autoencoder, tiny_batch, tiny_objective
from torch import Tensor, nn

from mmssl.errors import ConfigError
from mmssl.methods.generative import space_of_run
from mmssl.models.latent_space import LatentSpace
from mmssl.objectives.diffusion import Diffusion
from mmssl.tokens import Place, Tokens, take

GRID = (2, 3)


class Doubling(nn.Module):
    """Latents are twice the patches plus 5; decoding asks for all places, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.asked: list[Place] = []

    def latents(self, tokens: Tokens) -> Tensor:
        return self.weight * tokens.value + 5

    def decoded(self, latents: Tensor, place: Place) -> Tensor:
        self.asked.append(place)
        return (latents - 5) / self.weight


def patches(seed: int = 0, count: int = 8) -> Tokens:
    """Pictures of six patches of three numbers, of mean 1 and deviation 4."""
    value = 1 + 4 * torch.randn(count, 6, 3, generator=torch.Generator().manual_seed(seed))
    position = torch.arange(6).expand(count, 6)
    return Tokens(value, Place(position, torch.zeros_like(position), GRID))


def test_what_was_measured_has_mean_0_and_deviation_1():
    space = LatentSpace(Doubling())
    raw = space(patches()).value
    assert float(raw.std()) > 4  # the control: not yet measured
    space.measure(iter([patches(), patches(1)]))
    both = torch.cat([space(patches()).value, space(patches(1)).value])
    assert float(both.mean()) == pytest.approx(0, abs=1e-5)
    assert float(both.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert {"mean", "deviation"} <= space.state_dict().keys()


def test_padding_is_not_measured():
    tokens = patches()
    document = tokens.place.document.clone()
    document[:, 4:] = -1
    space, cut = LatentSpace(Doubling()), LatentSpace(Doubling())
    spoilt = tokens.value.clone()
    spoilt[:, 4:] = 1000
    space.measure(iter([Tokens(spoilt, tokens.place._replace(document=document))]))
    cut.measure(iter([take(tokens, torch.arange(4).expand(8, 4))]))
    torch.testing.assert_close(space.deviation, cut.deviation)


def test_latents_lead_back_to_the_hidden_patches_beside_the_seen_ones():
    autoencoder = Doubling()
    space, tokens = LatentSpace(autoencoder), patches()
    space.measure(iter([tokens]))
    latent = space(tokens)
    seen = take(tokens, torch.tensor([0, 2, 3]).expand(8, 3))
    order = torch.tensor([5, 1, 4]).expand(8, 3)
    hidden = take(latent, order)
    torch.testing.assert_close(space.patches(hidden.value, hidden.place, seen), take(tokens, order).value)
    assert autoencoder.asked[-1].position[0].tolist() == [5, 1, 4, 0, 2, 3]
    nothing = take(tokens, torch.zeros(8, 0, dtype=torch.long))
    torch.testing.assert_close(space.patches(latent.value, latent.place, nothing), tokens.value)


def test_the_autoencoder_stays_as_it_is():
    objective = tiny_objective("latent_diffusion")
    assert isinstance(objective, Diffusion)
    batch = tiny_batch("latent_diffusion")
    objective.regroup(iter([batch]))
    objective.train()
    objective(batch).terms["image"].backward()
    frozen = {name for name, weight in objective.named_parameters() if weight.grad is None}
    assert frozen
    assert all(name.startswith("space.autoencoder.") for name in frozen)
    assert float(objective.space.deviation) != 1.0
    assert objective.regroup_epochs > 0
    assert tiny_objective("diffusion").regroup_epochs == 0  # its space needs no measuring


def test_a_run_without_latents_of_patches_is_refused(monkeypatch):
    modalities = {"image": GRIDS["image"]}
    others = {"mae": tiny_objective("mae"), "one z": tiny_objective("vae")}
    for name, other in others.items():
        monkeypatch.setattr("mmssl.methods.generative.objective_of_run", lambda folder, read, other=other: other)
        with pytest.raises(ConfigError, match="has no latents of patches; expected a run of vae with spatial=true"):
            space_of_run(name, modalities, (4, 4))
    monkeypatch.setattr("mmssl.methods.generative.objective_of_run", lambda folder, read: tiny_autoencoder(read))
    assert isinstance(space_of_run("right", modalities, (4, 4)), LatentSpace)
    with pytest.raises(ConfigError, match="right has patches of 4 x 4; expected 8 x 8"):
        space_of_run("right", modalities, (8, 8))
