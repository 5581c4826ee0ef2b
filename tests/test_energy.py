"""Claims about per-token energies: they equal PyTorch's own losses, and all pairs equal a loop over pairs."""

import pytest
import torch
from torch.nn import functional

from mmssl.energy import cosine, cross_entropy, smooth_l1, squared_error

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = 3 * torch.randn(4, 5, 11, generator=GENERATOR)
IDS = torch.randint(0, 11, (4, 5), generator=GENERATOR)
PREDICTION = 2 * torch.randn(4, 5, 6, generator=GENERATOR)
ANSWER = 2 * torch.randn(4, 5, 6, generator=GENERATOR)

REFERENCES = {
    squared_error: lambda a, b: functional.mse_loss(a, b, reduction="none").mean(-1),
    smooth_l1: lambda a, b: functional.smooth_l1_loss(a, b, reduction="none").mean(-1),
    cosine: lambda a, b: 1 - functional.normalize(a, dim=-1).mul(functional.normalize(b, dim=-1)).sum(-1),
}


def test_cross_entropy_equals_pytorchs():
    expected = functional.cross_entropy(LOGITS.flatten(0, 1), IDS.flatten(), reduction="none")
    torch.testing.assert_close(cross_entropy(LOGITS, IDS).flatten(), expected)


def test_cross_entropy_is_in_nats():
    assert cross_entropy(torch.zeros(1, 1, 4), torch.tensor([[2]])).item() == pytest.approx(1.3862944)  # ln 4


@pytest.mark.parametrize("energy", REFERENCES)
def test_energy_equals_its_reference(energy):
    torch.testing.assert_close(energy(PREDICTION, ANSWER), REFERENCES[energy](PREDICTION, ANSWER))


@pytest.mark.parametrize("energy", [cross_entropy, *REFERENCES])
def test_all_pairs_equal_a_loop_over_pairs(energy):
    prediction, answer = (LOGITS, IDS) if energy is cross_entropy else (PREDICTION, ANSWER)
    pairs = energy(prediction[:, None], answer[None])
    assert pairs.shape == (4, 4, 5)
    for row in range(4):
        for column in range(4):
            torch.testing.assert_close(pairs[row, column], energy(prediction[row], answer[column]))
    assert not torch.allclose(pairs, pairs.transpose(0, 1))  # the control: rows and columns are not the same thing


@pytest.mark.parametrize("energy", [cross_entropy, *REFERENCES])
def test_energy_is_computed_in_float32_whatever_comes(energy):
    prediction = (LOGITS if energy is cross_entropy else PREDICTION).bfloat16()
    answer = IDS if energy is cross_entropy else ANSWER.bfloat16()
    value = energy(prediction, answer)
    assert value.dtype == torch.float32
    upcast = answer if energy is cross_entropy else answer.float()
    assert torch.equal(value, energy(prediction.float(), upcast))


@pytest.mark.parametrize("energy", REFERENCES)
def test_energy_is_lowest_where_prediction_and_answer_agree(energy):
    torch.testing.assert_close(energy(ANSWER, ANSWER), torch.zeros(4, 5))
    assert (energy(PREDICTION, ANSWER) > 0.01).all()


def test_smooth_l1_bends_at_one():
    zero = torch.zeros(1, 1)
    for difference, expected in ((0.5, 0.125), (1.0, 0.5), (-3.0, 2.5)):
        assert smooth_l1(torch.tensor([[difference]]), zero).item() == pytest.approx(expected)
