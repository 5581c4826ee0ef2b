"""The expected calibration error agrees with hand values and with torchmetrics."""

import pytest
import torch
from torchmetrics.classification import BinaryCalibrationError, MulticlassCalibrationError

from mmssl.errors import ConfigError, DataError, NumericError
from mmssl.evaluate.calibration import calibration


def doubles(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_calibration_of_a_worked_example():
    # Two bins. Low: confidence 0.2, 0.4, one of two right. High: 0.7, 0.8, 0.9, two of three right.
    # Error: 2/5 * |1/2 - 0.3| + 3/5 * |2/3 - 0.8| = 0.08 + 0.08.
    result = calibration(doubles(0.2, 0.7, 0.4, 0.8, 0.9), torch.tensor([True, True, False, False, True]), bins=2)
    assert result.error == pytest.approx(0.16)
    assert result.confidence.tolist() == pytest.approx([0.3, 0.8])
    assert result.accuracy.tolist() == pytest.approx([0.5, 2 / 3])
    assert result.count.tolist() == [2, 3]


def test_calibration_puts_an_edge_into_the_bin_below_and_zero_into_the_first():
    result = calibration(doubles(0.0, 0.25, 0.5, 0.75, 1.0), torch.ones(5, dtype=torch.bool), bins=4)
    assert result.count.tolist() == [2, 1, 1, 1]


def test_calibration_of_an_empty_bin_is_zero_and_adds_nothing():
    result = calibration(doubles(0.95, 0.95), torch.tensor([True, True]), bins=10)
    assert result.error == pytest.approx(0.05)
    assert result.count.tolist() == [0] * 9 + [2]
    assert result.accuracy.tolist() == [0.0] * 9 + [1.0]
    assert result.confidence[:9].tolist() == [0.0] * 9


def test_calibration_is_zero_where_confidence_is_accuracy_and_large_where_it_boasts():
    correct = torch.arange(100) < 80
    assert calibration(torch.full((100,), 0.8), correct).error == pytest.approx(0.0, abs=1e-6)
    assert calibration(torch.full((100,), 1.0), correct).error == pytest.approx(0.2)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_equals_binary_torchmetrics(bins: int):
    generator = torch.Generator().manual_seed(2)
    confidence = torch.rand(500, generator=generator)
    correct = torch.rand(500, generator=generator) < confidence**2
    oracle = BinaryCalibrationError(n_bins=bins, norm="l1")(confidence, correct.int())
    assert calibration(confidence, correct, bins).error == pytest.approx(float(oracle), abs=1e-6)


def test_calibration_equals_multiclass_torchmetrics():
    generator = torch.Generator().manual_seed(3)
    probabilities = (2 * torch.randn(400, 7, generator=generator)).softmax(dim=1)
    label = torch.randint(7, (400,), generator=generator)
    confidence, predicted = probabilities.max(dim=1)
    oracle = MulticlassCalibrationError(num_classes=7, n_bins=15, norm="l1")(probabilities, label)
    assert calibration(confidence, predicted == label).error == pytest.approx(float(oracle), abs=1e-6)


def test_calibration_ignores_the_order_of_samples():
    generator = torch.Generator().manual_seed(4)
    confidence, order = torch.rand(64, generator=generator), torch.randperm(64, generator=generator)
    correct = torch.arange(64) % 3 == 0
    assert calibration(confidence[order], correct[order]).error == pytest.approx(calibration(confidence, correct).error)


def test_calibration_refuses_what_is_no_probability():
    correct = torch.tensor([True, False])
    with pytest.raises(NumericError, match=r"got a confidence of 1\.5, expected probabilities"):
        calibration(doubles(0.5, 1.5), correct)
    with pytest.raises(NumericError, match="1 of 2 values are not finite"):
        calibration(doubles(0.5, float("nan")), correct)
    with pytest.raises(DataError, match="got an empty tensor"):
        calibration(torch.empty(0), torch.empty(0, dtype=torch.bool))
    with pytest.raises(ConfigError, match="got bins=0"):
        calibration(doubles(0.5, 0.5), correct, bins=0)
