"""Claims about answers in codes: rounds make codes that depend on each other fit together, whatever the order."""

import sys

import pytest
import torch
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.energy import cross_entropy
from mmssl.models.mask import filled
from mmssl.models.target import Codes
from mmssl.objectives import SampledCodes, Stream
from mmssl.objectives.sampled_codes import inverse
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens, at, in_place, take

MASKED = -1.0
AGREE = 0.95  # the probability that the second of a pair of places holds the code of the first


class Numbers(nn.Module):
    """Stands for a tokenizer: a patch is one number, which is its code."""

    num_codes = 2

    def codes(self, tokens: Tokens) -> Tensor:
        """The number."""
        return tokens.value[..., 0].long()

    def patches(self, codes: Tensor, place: Place) -> Tensor:
        """The number."""
        return codes[..., None].float()


class Watched(nn.Module):
    """Stands for an encoder: embeddings are the tokens; counts how often it is asked, and of how many hidden places."""

    def __init__(self) -> None:
        super().__init__()
        self.masked: list[int] = []

    def forward(self, seen: dict[str, Tokens]) -> dict[str, Tokens]:
        self.masked.append(int((seen["image"].value == MASKED).sum(1).max()))
        return seen


class Pairs(nn.Module):
    """Stands for a trained predictor of places 2 k and 2 k + 1 that hold the same code with probability `AGREE`, each
    code being as frequent as the other.
    """

    def forward(self, sx: dict[str, Tokens], place: Place) -> Tensor:
        other = at(sx["image"], place._replace(position=place.position ^ 1))[..., 0]
        agree = torch.tensor([[AGREE, 1 - AGREE], [1 - AGREE, AGREE]]).log()
        return torch.where((other == MASKED)[..., None], 0.0, agree[other.clamp(min=0).long()])


def made(rounds: int, predictor: nn.Module | None = None) -> SampledCodes:
    """Pairs of places in a row of six, of which the first pair is seen."""
    stream = Stream(
        tokenize=lambda views: whole(views[0]), corrupt=lambda tokens, draw: split(tokens),
        predictor=predictor or Pairs(), energy=cross_entropy, pairing=in_place,
        fill=lambda seen, hidden: filled(seen, hidden, torch.tensor([MASKED])),
    )  # fmt: skip
    return SampledCodes(streams={"image": stream}, encoder=Watched(), target=Codes(Numbers()), rounds=rounds)


def whole(codes: Tensor) -> Tokens:
    """A row of numbers as tokens."""
    position = torch.arange(codes.shape[1]).expand(codes.shape)
    return Tokens(codes[..., None].float(), Place(position, torch.zeros_like(position), (codes.shape[1],)))


def split(tokens: Tokens) -> tuple[Tokens, Place]:
    """All but the first two are hidden."""
    index = torch.arange(2, tokens.value.shape[1]).expand(len(tokens.value), -1)
    return take(tokens, index[:, :2] - 2), take(tokens, index).place


def sampled(objective: SampledCodes, count: int = 4000, seed: int = 0) -> Tensor:
    """Codes of four hidden places, drawn for so many samples."""
    seen, hidden = split(whole(torch.zeros(count, 6, dtype=torch.long)))

    def noise(width: int) -> Tensor:
        return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))

    logits = objective.predict({"image": seen}, {"image": hidden}, noise)["image"]
    assert logits.softmax(-1).amax(-1).min() > 1 - 1e-6  # one code is nearly sure
    return logits.argmax(-1)


def frequencies(codes: Tensor) -> Tensor:
    """How often each of the four combinations comes in each of the two hidden pairs: (pairs, combinations)."""
    both = 2 * codes[:, ::2] + codes[:, 1::2]
    return torch.stack([(both == kind).float().mean(0) for kind in range(4)], 1)


def near(found: Tensor, expected: list[float], count: int = 4000) -> bool:
    """Whether frequencies are those expected, to four and a half standard errors."""
    truth = torch.tensor(expected)
    return bool(((found - truth).abs() < 4.5 * (truth * (1 - truth) / count).sqrt()).all())


JOINT = [AGREE / 2, (1 - AGREE) / 2, (1 - AGREE) / 2, AGREE / 2]


def test_as_many_rounds_as_places_draw_from_the_joint_distribution():
    for rounds in (4, 100):  # more than there are places are as many
        assert near(frequencies(sampled(made(rounds))), JOINT)


def test_one_round_draws_places_that_do_not_know_of_each_other():
    found = frequencies(sampled(made(1)))
    assert near(found, [0.25] * 4)
    assert not near(found, JOINT)


def test_two_rounds_of_a_random_order_know_of_each_other_where_a_pair_is_split():
    # of two places of four that are drawn first, the partner of a place is the second with probability 1/3
    together = 1 / 3
    mixed = [together / 4 + (1 - together) * joint for joint in JOINT]
    assert near(frequencies(sampled(made(2))), mixed)


def test_two_places_in_two_rounds_are_perfectly_correlated_where_they_must_be(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "AGREE", 1.0)
    codes = sampled(made(4))
    assert torch.equal(codes[:, ::2], codes[:, 1::2])
    assert 0.45 < codes.float().mean() < 0.55
    assert not torch.equal(*sampled(made(1))[:, :2].T)  # the control


@pytest.mark.parametrize(
    "rounds, masked", [(1, [4]), (2, [4, 2]), (3, [4, 2, 1]), (4, [4, 3, 2, 1]), (9, [4, 3, 2, 1])]
)
def test_what_is_drawn_is_seen_in_the_next_round(rounds, masked):
    objective = made(rounds)
    sampled(objective, 8)
    assert objective.encoder.masked == masked


class Known(nn.Module):
    """Says that place p holds code p - 2 modulo 2."""

    def forward(self, sx: dict[str, Tokens], place: Place) -> Tensor:
        return 50.0 * nn.functional.one_hot(place.position % 2, 2)


@pytest.mark.parametrize("rounds", [1, 3, 4])
def test_codes_come_in_the_order_of_the_hidden_places(rounds):
    assert sampled(made(rounds, Known()), 16).tolist() == [[0, 1, 0, 1]] * 16


def test_the_same_noise_gives_the_same_codes_and_other_noise_others():
    objective = made(4)
    assert torch.equal(sampled(objective), sampled(objective))
    assert not torch.equal(sampled(objective), sampled(objective, seed=1))


def test_without_noise_each_place_has_its_own_distribution():
    objective = made(4)
    assert objective.has_latent
    seen, hidden = split(whole(torch.zeros(3, 6, dtype=torch.long)))
    assert not objective.predict({"image": seen}, {"image": hidden})["image"].any()
    assert objective.bits({"image": seen}, {"image": hidden}, {"image": whole(torch.zeros(3, 6).long())}) is None


def test_the_energy_is_the_mean_cross_entropy_of_the_codes():
    codes = torch.randint(0, 2, (3, 6), generator=torch.Generator().manual_seed(0))
    batch = Batch({"image": [codes]}, Draw(0, torch.zeros(3).long(), torch.arange(3)))
    objective = made(4, nn.Module())
    logits = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(1))
    objective.by_name["image"].predictor.forward = lambda sx, place: logits
    expected = -logits.log_softmax(-1).gather(-1, codes[:, 2:, None])[..., 0].mean(1)
    torch.testing.assert_close(objective(batch).energy, expected)
    torch.testing.assert_close(objective.energies(batch).diagonal(), expected)


def test_a_number_below_the_cumulative_probability_chooses_its_code():
    logits = torch.tensor([0.2, 0.5, 0.3]).log().expand(1, 5, 3)
    chance = torch.tensor([[0.0, 0.19, 0.21, 0.69, 1.0]]).double()
    assert inverse(logits, chance).tolist() == [[0, 0, 1, 1, 2]]
