"""Claims about noising: quantities convert by hand, and the best denoiser of a known distribution samples from it."""

from math import cos, pi, sin, sqrt

import pytest
import torch
from torch import Tensor

from mmssl.models.noising import Ddpm, Flow, Noising, Parts, Process, Quantity, Time

COUNT = 20_000
PROCESSES = {"flow": Flow(), "uniform flow": Flow(is_logit_normal=False), "ddpm": Ddpm()}
SAYS: tuple[Quantity, ...] = ("answer", "noise", "velocity")
MEAN, DEVIATION = 0.7, 0.6  # of the normal y


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in float64, so that only the method errs."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def best(process: Process, mean: float, deviation: float):
    """The denoiser of y ~ N(mean, deviation^2): E[y | x_t] by the rule for two normal variables, and the noise left."""

    def unmix(mixture: Tensor, time: Time) -> Parts:
        signal, spread = process.scales(time)
        gain = signal * deviation**2 / (signal**2 * deviation**2 + spread**2)
        answer = mean + gain * (mixture - signal * mean)
        return Parts(answer, (mixture - signal * answer) / spread)

    return unmix


def best_of_two(process: Process, centres: tuple[float, float], weights: tuple[float, float], deviation: float):
    """The same of a mixture of two normal distributions: the mean of both, each as likely as x_t makes it."""

    def unmix(mixture: Tensor, time: Time) -> Parts:
        signal, spread = process.scales(time)
        variance = signal**2 * deviation**2 + spread**2
        answers = [best(process, centre, deviation)(mixture, time).answer for centre in centres]
        logits = [
            torch.log(torch.tensor(weight)) - (mixture - signal * centre).square() / (2 * variance)
            for centre, weight in zip(centres, weights)
        ]
        share = torch.stack(logits).softmax(0)
        answer = share[0] * answers[0] + share[1] * answers[1]
        return Parts(answer, (mixture - signal * answer) / spread)

    return unmix


def test_a_flow_is_a_straight_line_by_hand():
    # y = 2, noise = -1, t = 0.25: x = 0.75 * 2 - 0.25 = 1.25, dx / dt = noise - y = -3
    parts, time = Parts(torch.full((1, 1, 1), 2.0), torch.full((1, 1, 1), -1.0)), torch.tensor([0.25])
    noising = Noising(Flow(), "velocity")
    assert noising.mixture(parts, time).item() == 1.25
    assert noising.quantity(parts, time).item() == -3.0
    found = noising.parts(torch.full((1, 1, 1), 1.25), torch.full((1, 1, 1), -3.0), time)
    assert (found.answer.item(), found.noise.item()) == (2.0, -1.0)


def test_ddpm_is_a_turn_by_hand():
    # eq. 17 of Nichol & Dhariwal at t = 0.5, and the velocity of Salimans & Ho: signal * noise - spread * y
    parts, time = Parts(torch.full((1, 1, 1), 2.0), torch.full((1, 1, 1), -1.0)), torch.tensor([0.5]).double()
    noising = Noising(Ddpm(), "velocity")
    signal = cos((0.5 + 0.008) / 1.008 * pi / 2) / cos(0.008 / 1.008 * pi / 2)
    spread = sqrt(1 - signal**2)
    x = signal * 2 - spread
    assert noising.mixture(parts, time).item() == pytest.approx(x)
    assert noising.quantity(parts, time).item() == -1.0
    found = noising.parts(torch.full((1, 1, 1), x), torch.full((1, 1, 1), -signal - spread * 2), time)
    assert (found.answer.item(), found.noise.item()) == pytest.approx((2.0, -1.0))
    assert Ddpm().scales(torch.tensor([0.0])).answer.item() == 1.0


@pytest.mark.parametrize("name", PROCESSES)
def test_each_quantity_tells_the_parts(name):
    process = PROCESSES[name]
    time = torch.linspace(process.ends[0], process.ends[1], 7).double()[:-1]  # at a flow's end noise tells nothing of y
    parts = Parts(normal(6, 3, 4), normal(6, 3, 4, seed=1))
    signal, spread = process.scales(time)
    rates = process.rates(time)
    torch.testing.assert_close(signal * rates.noise - spread * rates.answer, torch.ones_like(signal))
    said = {"answer": parts.answer, "noise": parts.noise, "velocity": parts.mixed(rates)}
    for says in SAYS:
        noising = Noising(process, says)
        found = noising.parts(noising.mixture(parts, time), said[says], time)
        torch.testing.assert_close(found.answer, parts.answer)
        torch.testing.assert_close(found.noise, parts.noise)
        torch.testing.assert_close(noising.quantity(found, time), said[process.compared])


@pytest.mark.parametrize("name", PROCESSES)
def test_the_noise_is_the_score_of_the_mixture(name):
    """d log p(x_t) / dx = -E[noise | x_t] / spread (Vincent 2011), here of a normal y, whose score is known."""
    process, mixture = PROCESSES[name], normal(5, 2, 3)
    time = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    signal, spread = process.scales(time)
    score = -(mixture - signal * MEAN) / (signal**2 * DEVIATION**2 + spread**2)
    found = best(process, MEAN, DEVIATION)(mixture, time).noise
    torch.testing.assert_close(-found / spread, score)


def test_the_velocity_is_the_slope_of_a_path():
    parts, time, step = Parts(normal(5, 2, 3), normal(5, 2, 3, seed=1)), torch.linspace(0.1, 0.9, 5).double(), 1e-6
    for process, per_time in ((Flow(), 1.0), (Ddpm(), None)):
        noising = Noising(process, "velocity")
        slope = (noising.mixture(parts, time + step) - noising.mixture(parts, time - step)) / (2 * step)
        if per_time is None:  # the angle turns faster at first, as the cosine is scaled to begin at 1
            angle = [process.scales(time + sign * step).answer.arccos() for sign in (1, -1)]
            slope = slope / ((angle[0] - angle[1]) / (2 * step))
        torch.testing.assert_close(slope, parts.mixed(process.rates(time)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["uniform flow", "ddpm"])
def test_samples_of_the_best_denoiser_have_the_mean_and_the_deviation_of_the_data(name):
    process = PROCESSES[name]._replace(ends=(0.005, PROCESSES[name].ends[1]))
    found = Noising(process, "answer").sampled(best(process, MEAN, DEVIATION), normal(COUNT, 1, 1), 100)
    # four standard errors of each, and 1 % for the steps' size
    assert float(found.mean()) == pytest.approx(MEAN, abs=4 * DEVIATION / sqrt(COUNT) + 0.01)
    assert float(found.std()) == pytest.approx(DEVIATION, abs=4 * DEVIATION / sqrt(2 * COUNT) + 0.01)
    # the control: a denoiser of other data
    other = Noising(process, "answer").sampled(best(process, MEAN, 2 * DEVIATION), normal(COUNT, 1, 1), 100)
    assert abs(float(other.std()) - DEVIATION) > 0.3


@pytest.mark.parametrize("name", ["flow", "ddpm"])
def test_two_modes_are_sampled_as_often_as_they_are_likely(name):
    process = PROCESSES[name]
    unmix = best_of_two(process, (-1.0, 1.0), (0.3, 0.7), 0.1)
    found = Noising(process, "answer").sampled(unmix, normal(COUNT, 1, 1), 50).flatten()
    assert float(((found.abs() - 1).abs() < 0.5).double().mean()) > 0.99
    error = sqrt(0.3 * 0.7 / COUNT)
    assert float((found < 0).double().mean()) == pytest.approx(0.3, abs=4 * error + 0.01)


def test_a_flow_has_less_of_an_error_than_its_first_order_has():
    exact = MEAN + DEVIATION * normal(200, 1, 1)  # for normal data, a path keeps its place among the others
    errors = []
    for order in (True, False):
        process = Flow(is_logit_normal=False, ends=(0.02, 1.0), is_second_order=order)
        found = Noising(process, "answer").sampled(best(process, MEAN, DEVIATION), normal(200, 1, 1), 20)
        errors.append(float((found - exact).abs().mean()))
    assert errors[0] < 0.3 * errors[1]


def test_a_step_of_ddpm_is_ddim_s():
    # Song et al. 2020, eq. 12 with sigma = 0, written out
    process, x = Ddpm(), normal(4, 2, 3)
    calls = []

    def unmix(mixture: Tensor, time: Time) -> Parts:
        calls.append(time)
        noise = 0.1 * mixture + 0.2
        signal, spread = process.scales(time)
        return Parts((mixture - spread * noise) / signal, noise)

    found = Noising(process, "noise").sampled(unmix, x, 2)
    first, last = (float(time[0]) for time in calls)
    a, b = (process.scales(torch.tensor([time]).double()) for time in (first, last))
    noise = 0.1 * x + 0.2
    middle = b.answer * (x - (1 - a.answer**2).sqrt() * noise) / a.answer + (1 - b.answer**2).sqrt() * noise
    noise = 0.1 * middle + 0.2
    torch.testing.assert_close(found, (middle - (1 - b.answer**2).sqrt() * noise) / b.answer, rtol=1e-5, atol=1e-5)


def test_times_of_training_lie_where_they_are_said_to():
    uniform = torch.linspace(0, 1 - 2**-24, 10_001)
    for process in PROCESSES.values():
        times = process.times(uniform)
        assert bool((times[1:] >= times[:-1]).all())
        assert process.ends[0] <= float(times[0]) < float(times[-1]) <= process.ends[1]
    middle = float(Flow().times(torch.tensor([0.5])))
    assert middle == pytest.approx(0.05 + 0.95 / (1 + 2.718281828**-0.8))  # the median of a logit-normal


@pytest.mark.parametrize("name", PROCESSES)
def test_a_path_asks_for_no_time_that_training_does_not_reach(name):
    process, asked = PROCESSES[name], []

    def unmix(mixture: Tensor, time: Time) -> Parts:
        asked.append(float(time[0]))
        return Parts(mixture, mixture)

    Noising(process, "answer").sampled(unmix, normal(1, 1, 1), 10)
    trained = process.times(torch.rand(100_000, generator=torch.Generator().manual_seed(0)))
    assert max(asked) == pytest.approx(process.ends[1])
    # a thousandth of the times in training is nearer to the data, but for four standard errors
    assert float((trained < min(asked)).double().mean()) == pytest.approx(1e-3, abs=4 * sqrt(1e-3 / 100_000))
    assert min(asked) == pytest.approx({"flow": 0.20023, "uniform flow": 0.05095, "ddpm": 0.001979}[name], abs=1e-5)


def test_an_angle_is_sampled_from_where_something_is_left_of_the_signal():
    assert float(Ddpm().scales(torch.tensor([Ddpm().ends[1]])).answer) == pytest.approx(
        sin(pi / 2 * 0.02 / 1.008), rel=1e-3
    )
