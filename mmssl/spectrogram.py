"""Log-mel spectrograms, in batch on the device, and a way back to sound for people to listen to."""

import math

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torchaudio.functional import griffinlim, melscale_fbanks
from torchaudio.transforms import InverseMelScale

from mmssl.errors import ConfigError
from mmssl.random import hashed

WINDOW_HOPS = 2.5  # length of the window: 25 ms at a hop of 10 ms
FLOOR_DECIBELS = -80.0  # what is softer counts as silence
MEAN_DECIBELS, DEVIATION_DECIBELS = -45.0, 20.0  # of ordinary speech, by the measure of `LogMel`
AT_ONCE = 2**19  # samples on a CPU: the frames of more take new pages from the system each time, half of the time
ITERATIONS, MOMENTUM = 64, 0.99  # of Griffin-Lim (Perraudin et al. 2013)


class LogMel:
    """Waveforms in [-1, 1] -> mel bands from 0 Hz to rate_hz / 2, in decibels, shifted and scaled by constants.

    A band is the mean power of its frequencies, so that white noise of variance v has about 10 log10(v) dB in each
    band, whatever the rate, the hop and the number of bands. MEAN_DECIBELS and DEVIATION_DECIBELS bring ordinary speech
    near mean 0 and variance 1; silence is -1.75. Column j is centred on j * hop_seconds, beyond the ends is silence.
    """

    def __init__(self, rate_hz: int, bands: int, hop_seconds: float) -> None:
        self.rate_hz, self.bands, self.hop = rate_hz, bands, rate_hz * hop_seconds  # the hop in samples, not rounded
        if self.hop < 1:
            raise ConfigError(f"audio.hop_seconds: {hop_seconds}; expected at least a sample, 1 / {rate_hz} seconds")
        self.step = math.floor(self.hop + 1e-6)  # of the columns that are computed, in whole samples
        self.window = max(2, round(WINDOW_HOPS * self.hop))
        self.num_fft = _num_fft(rate_hz, bands, self.window)
        self.bank = melscale_fbanks(self.num_fft // 2 + 1, 0.0, rate_hz / 2, bands, rate_hz, norm="slaney")
        window = torch.hann_window(self.window)
        # from the sum over a band's frequencies, each for 1 Hz and seen through the window, to the mean power
        self.scale = rate_hz / self.num_fft / float(window.square().sum())
        self.inverse: nn.Module = InverseMelScale(self.num_fft // 2 + 1, bands, rate_hz, norm="slaney", driver="gelsd")

    def frames(self, length: int) -> int:
        """Columns that so many samples become: round(seconds / hop_seconds), and one at least."""
        return max(1, round(length / self.hop))

    def samples(self, frames: int) -> int:
        """Samples that become so many columns."""
        return round(frames * self.hop)

    def __call__(self, waveform: Float[Tensor, "B *C T"]) -> Float[Tensor, "B *C frames bands"]:
        """Float32, under autocast too; each channel by itself."""
        with torch.autocast(waveform.device.type, enabled=False):
            power = self._power(waveform.float()) * self.scale
            # where the hop is no whole number of samples, the column nearest to the right time
            at = torch.arange(self.frames(waveform.shape[-1]), device=power.device) * (self.hop / self.step)
            power = power.index_select(-2, at.round().long().clamp(max=power.shape[-2] - 1))
            decibels = 10 * power.clamp(min=10 ** (FLOOR_DECIBELS / 10)).log10()
            return (decibels - MEAN_DECIBELS) / DEVIATION_DECIBELS

    def _power(self, waveform: Float[Tensor, "*B T"]) -> Float[Tensor, "*B frames bands"]:
        """Through the window, summed over each band's frequencies; on a CPU some sounds after others."""
        sounds = waveform.flatten(0, -2)
        at_once = AT_ONCE // sounds.shape[1] if sounds.device.type == "cpu" else len(sounds)
        parts = [self._power_of(part) for part in sounds.split(max(1, at_once))]
        return torch.cat(parts).unflatten(0, waveform.shape[:-1])

    def _power_of(self, sounds: Float[Tensor, "B T"]) -> Float[Tensor, "B frames bands"]:
        """The same of a batch; the numbers of a column lie side by side."""
        window = torch.hann_window(self.window, device=sounds.device)
        spectrum = torch.stft(
            sounds, self.num_fft, self.step, self.window, window, pad_mode="constant", return_complex=True
        ).mT
        power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
        return power @ self.bank.to(power.device)

    def to_waveform(self, logmel: Float[Tensor, "B frames bands"]) -> Float[Tensor, "B T"]:
        """A sound with about this spectrogram, T = round(frames * hop): least squares for the frequencies of the bands,
        Griffin-Lim for the phases. The same on every call; computed on the CPU.
        """
        logmel = rearrange(logmel.detach().cpu().float(), "b frames bands -> b bands frames")
        length = round(logmel.shape[-1] * self.hop)
        at = torch.arange(length // self.step + 1) * (self.step / self.hop)
        logmel = logmel.index_select(-1, at.round().long().clamp(max=logmel.shape[-1] - 1))
        magnitude = self.magnitude(rearrange(logmel, "b bands frames -> b frames bands"))
        window = torch.hann_window(self.window)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(hashed("griffin-lim"))
            return griffinlim(
                magnitude, window, self.num_fft, self.step, self.window, power=1.0, n_iter=ITERATIONS,
                momentum=MOMENTUM, length=length, rand_init=True,
            )  # fmt: skip

    def magnitude(self, logmel: Float[Tensor, "*B frames bands"]) -> Float[Tensor, "*B frequencies frames"]:
        """The magnitudes of the frequencies that have about these bands: least squares; computed on the CPU."""
        decibels = (logmel * DEVIATION_DECIBELS + MEAN_DECIBELS).clamp(max=60)
        silence = 10 ** (FLOOR_DECIBELS / 10)
        power = ((10 ** (decibels / 10)) - silence).clamp(min=0) / self.scale
        return self.inverse(rearrange(power, "... frames bands -> ... bands frames")).sqrt()


def _num_fft(rate_hz: int, bands: int, window: int) -> int:
    """The smallest power of two that holds the window and gives the lowest, narrowest band a frequency of its own."""
    highest = 2595 * math.log10(1 + rate_hz / 2 / 700)  # in mel
    end = 700 * (10 ** (2 * highest / (bands + 1) / 2595) - 1)  # of the lowest band, in Hz
    return 2 ** math.ceil(math.log2(max(window, 1.01 * rate_hz / end)))
