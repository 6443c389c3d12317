"""Forgeries of voices by copy-synthesis: a real recording taken apart and put together again by a vocoder.

Words, speaker, room, length and level stay the recording's, so nothing but the synthesis tells the two apart (the
approach of Wang and Yamagishi, "Spoofed training data for speech spoofing countermeasure can be efficiently created
using neural vocoders", ICASSP 2023). All are signal processing: they stand for classical vocoders, not for neural.

| family | leaves |
|---|---|
| `griffin_lim` | the magnitudes, with phases that only agree among themselves: smeared onsets, a metallic ring |
| `mel_inversion` | the same, and harmonics blurred to mel bands above some 2 kHz |
| `lpc` | a buzzing voice: one pulse per period or white noise through an all-pole filter |
| `phase` | magnitudes kept, phases disturbed or made minimal: hoarseness, or a pulse in every frame |
| `sinusoidal` | exact harmonics of a smooth pitch with phases that run free, noise above them |
| `world` | one minimum-phase pulse per period, shaped by a smooth envelope, and noise by band |

Kept out of training, for validation only: `HELD_OUT`.

The pulses of `lpc`, `phase` and `world` peak higher over their root mean square than the recording does, 1.25 times: an
all-pass spreads each pulse over a few milliseconds, as far as brings the peak nearest to the recording's (`dispersed`).
The share of power above 5 kHz tells none (AUC .47 to .56, of 200 stretches of LibriSpeech each).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.media.limits import SAMPLE_RATE_HZ
from training.forgeries.voice_analysis import (
    BINS,
    FLOOR,
    HANN,
    HOP,
    WINDOW,
    Frames,
    Samples,
    Spectrum,
    envelope,
    framed,
    istft,
    linear_prediction,
    mel_filters,
    minimum_phase,
    overlapped,
    per_sample,
    pitch_hz,
    stft,
)

ITERATIONS = (8, 60)  # of Griffin and Lim: from plainly audible to nearly converged
MOMENTUM = 0.99  # the fast variant's (Perraudin, Balazs and Sondergaard, WASPAA 2013)
MEL_BANDS = (64, 80, 100)
INVERSION_STEPS = 30
ORDERS = (14, 24)  # of linear prediction at 16 kHz: about two per kHz
BREATH = (0.02, 0.2)  # noise beside the pulses of a voiced frame
CUTOFF_HZ = (2500, 5500)  # above it a voiced frame is noise rather than harmonics
SPREADS_S = (0.001, 0.002, 0.004)  # of group delay between bands, tried until peaks are as high as the recording's
HELD_OUT = "world"

Vocoder = Callable[[Samples, np.random.Generator], Samples]


def copy_synthesis(samples: Samples, family: str, rng: np.random.Generator) -> Samples:
    """Put a recording through one vocoder.

    Args:
        samples: `(S,)` float32 mono at 16 kHz; not modified.
        family: a key of `FAMILIES`.
        rng: every random choice comes from it, so equal seeds give equal sounds.

    Returns:
        `(S,)` float32, aligned with `samples` and of the same root mean square; peaks may exceed 1.
    """
    return levelled(dispersed(FAMILIES[family](samples, rng), samples, rng), samples)


def levelled(samples: Samples, like: Samples) -> Samples:
    """The samples with the root mean square of others; both `(S,)` float32."""
    ours, theirs = (float(np.sqrt(np.mean(np.square(part, dtype=np.float64)))) for part in (samples, like))
    return (samples * (theirs / max(ours, FLOOR))).astype(np.float32)


def dispersed(samples: Samples, like: Samples, rng: np.random.Generator) -> Samples:
    """The samples through the all-pass, or none, that brings their peak over RMS nearest to that of others."""
    wanted, cycles, turn = _crest(like), rng.uniform(1, 4), rng.uniform(0, 2 * np.pi)
    tried = [samples, *(_spread(samples, spread_s, cycles, turn) for spread_s in SPREADS_S)]
    return min(tried, key=lambda sound: abs(np.log(_crest(sound) / wanted)))


def _crest(samples: Samples) -> float:
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    return max(float(np.abs(samples).max()), FLOOR) / max(rms, FLOOR)


def _spread(samples: Samples, spread_s: float, cycles: float, turn: float) -> Samples:
    """Each frequency later or earlier by up to half of `spread_s`, along a sine over the band."""
    size = len(samples) + WINDOW
    hz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ)
    steps = 2 * np.pi * cycles / (SAMPLE_RATE_HZ / 2)  # of the sine's angle per Hz
    phase_of_delay = np.pi * spread_s * (np.cos(steps * hz + turn) - np.cos(turn)) / steps
    turned = np.fft.rfft(samples, size) * np.exp(1j * phase_of_delay)
    return np.fft.irfft(turned, size)[: len(samples)].astype(np.float32)


def griffin_lim(samples: Samples, rng: np.random.Generator) -> Samples:
    """Keep the magnitudes, find phases that fit them."""
    return _with_found_phases(np.abs(stft(samples)), len(samples), rng)


def mel_inversion(samples: Samples, rng: np.random.Generator) -> Samples:
    """Magnitudes to mel bands and back, by Lee and Seung's multiplicative steps, then as `griffin_lim`."""
    filters = mel_filters(int(rng.choice(MEL_BANDS)))
    mel = np.abs(stft(samples)) @ filters.T
    guess = mel @ filters + FLOOR
    wanted, gram = mel @ filters, filters.T @ filters
    for _ in range(INVERSION_STEPS):
        guess *= wanted / np.maximum(guess @ gram, FLOOR)
    return _with_found_phases(guess, len(samples), rng)


def lpc(samples: Samples, rng: np.random.Generator) -> Samples:
    """Linear prediction's filter, driven by pulses and noise (Atal and Hanauer, 1971)."""
    windowed = framed(samples) * HANN
    filters = linear_prediction(windowed, int(rng.integers(*ORDERS)))
    response = 1 / np.fft.rfft(filters, WINDOW, axis=1)
    excitation = _pulses_and_noise(pitch_hz(samples), len(samples), rng.uniform(*BREATH), rng)
    made = np.fft.irfft(stft(excitation) * response, WINDOW, axis=1).astype(np.float32)
    return overlapped(_as_loud(made, windowed) * HANN, len(samples))


def phase(samples: Samples, rng: np.random.Generator) -> Samples:
    """Keep the magnitudes; disturb the phases, or make each frame a minimum-phase pulse at its middle."""
    spectrum = stft(samples)
    if rng.random() < 0.5:  # noqa: PLR2004 - a fair coin
        widest = np.pi * rng.uniform(0.5, 1)
        turned = spectrum * np.exp(1j * rng.uniform(-widest, widest, spectrum.shape))
        return istft(turned.astype(np.complex64), len(samples))
    return istft(_centred(minimum_phase(np.abs(spectrum))), len(samples))


def sinusoidal(samples: Samples, rng: np.random.Generator) -> Samples:
    """Harmonics by oscillators, the rest by noise (McAulay and Quatieri 1986; Serra and Smith 1990)."""
    magnitude, pitch = np.abs(stft(samples)), pitch_hz(samples)
    cutoff_hz = rng.uniform(*CUTOFF_HZ)
    noise = _shaped_noise(magnitude * np.sqrt(_noisiness(pitch, cutoff_hz)), len(samples), rng)
    return noise + _harmonics(envelope(magnitude), pitch, cutoff_hz, len(samples), rng)


def world(samples: Samples, rng: np.random.Generator) -> Samples:
    """Pulse by pulse, after Morise, Yokomori and Ozawa, "WORLD", IEICE 2016, with simpler analysis."""
    smooth, pitch = envelope(np.abs(stft(samples))), pitch_hz(samples)
    noisiness = _noisiness(pitch, rng.uniform(*CUTOFF_HZ))
    at, periods = _pulses(pitch, len(samples), rng)
    near = np.minimum(np.rint(at / HOP).astype(int), len(smooth) - 1)
    shapes = minimum_phase(smooth[near] * np.sqrt(1 - noisiness[near]) * _per_pulse(periods))
    grains = np.fft.irfft(shapes, WINDOW, axis=1).astype(np.float32)
    voiced = np.zeros(len(samples) + WINDOW, np.float32)
    for start, grain in zip(at, grains, strict=True):
        voiced[start : start + WINDOW] += grain
    return voiced[: len(samples)] + _shaped_noise(smooth * np.sqrt(noisiness), len(samples), rng)


FAMILIES: dict[str, Vocoder] = {
    "griffin_lim": griffin_lim,
    "mel_inversion": mel_inversion,
    "lpc": lpc,
    "phase": phase,
    "sinusoidal": sinusoidal,
    "world": world,
}
TRAINING_FAMILIES = tuple(name for name in FAMILIES if name != HELD_OUT)


def _with_found_phases(magnitude: Frames, length: int, rng: np.random.Generator) -> Samples:
    """Griffin and Lim's iteration with momentum, from random phases."""
    turns = rng.uniform(0, 2 * np.pi, magnitude.shape)
    phases, before = np.exp(1j * turns).astype(np.complex64), np.zeros(magnitude.shape, np.complex64)
    for _ in range(int(np.exp(rng.uniform(*np.log(ITERATIONS))))):
        consistent = stft(istft(magnitude * phases, length))
        ahead = consistent + np.float32(MOMENTUM) * (consistent - before)
        phases, before = ahead / np.maximum(np.abs(ahead), FLOOR), consistent
    return istft(magnitude * phases, length)


def _pulses(
    pitch: NDArray[np.float64], length: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where the pulses of the voiced parts fall, and the period at each, both in samples."""
    hz = per_sample(pitch, length) * (per_sample((pitch > 0).astype(float), length) == 1)
    turns = rng.random() + np.cumsum(hz / SAMPLE_RATE_HZ)
    at = np.nonzero(np.diff(np.floor(turns), prepend=0.0) > 0)[0]
    return at, SAMPLE_RATE_HZ / np.maximum(hz[at], 1)


def _pulses_and_noise(pitch: NDArray[np.float64], length: int, breath: float, rng: np.random.Generator) -> Samples:
    """An excitation of even power: pulses where there is voice, with a little noise, and noise elsewhere."""
    at, periods = _pulses(pitch, length, rng)
    voiced = per_sample((pitch > 0).astype(float), length) == 1
    excitation = rng.standard_normal(length) * np.where(voiced, breath, 1)
    excitation[at] += np.sqrt(periods)
    return excitation.astype(np.float32)


def _noisiness(pitch: NDArray[np.float64], cutoff_hz: float) -> Frames:
    """`(T, F)` share of noise in the power: 1 without voice, rising about the cutoff with it."""
    hz = np.arange(BINS) * SAMPLE_RATE_HZ / WINDOW
    rising = 0.01 + 0.98 / (1 + np.exp(-(hz - cutoff_hz) / 400))
    return np.where(pitch[:, None] > 0, rising, 1).astype(np.float32)


def _shaped_noise(magnitude: Frames, length: int, rng: np.random.Generator) -> Samples:
    """White noise with these magnitudes."""
    noise: Spectrum = stft(rng.standard_normal(length).astype(np.float32))
    return istft(noise * magnitude / np.float32(np.sqrt((HANN**2).sum())), length)


def _harmonics(
    smooth: Frames, pitch: NDArray[np.float64], cutoff_hz: float, length: int, rng: np.random.Generator
) -> Samples:
    """Oscillators at the multiples of the pitch, as strong as the envelope there, silent above the cutoff."""
    total = np.zeros(length)
    if not pitch.any():
        return total.astype(np.float32)
    voiced = pitch[pitch > 0]
    turns = np.cumsum(per_sample(np.where(pitch > 0, pitch, np.median(voiced)), length) / SAMPLE_RATE_HZ)
    frames = np.arange(len(pitch))
    for number in range(1, int(cutoff_hz / voiced.min()) + 1):
        bins = np.minimum(np.rint(number * pitch * WINDOW / SAMPLE_RATE_HZ).astype(int), BINS - 1)
        # A harmonic carries the power of the band from one to the next, which is as wide as the pitch.
        amplitude = smooth[frames, bins] * np.sqrt(pitch) * (number * pitch < cutoff_hz)
        total += per_sample(amplitude, length) * np.sin(2 * np.pi * (number * turns + rng.random()))
    power = 4 / (SAMPLE_RATE_HZ * float((HANN**2).sum()))
    sound: Samples = (total * np.sqrt(power)).astype(np.float32)
    return sound


def _as_loud(frames: Frames, like: Frames) -> Frames:
    """`(T, WINDOW)` frames, each with the energy of another's."""
    ours, theirs = ((part**2).sum(axis=1, keepdims=True) for part in (frames, like))
    louder: Frames = frames * np.sqrt(theirs / np.maximum(ours, FLOOR))
    return louder


def _centred(spectrum: Spectrum) -> Spectrum:
    """Moved from the frame's start to its middle: every second bin turned by half a turn."""
    turned: Spectrum = spectrum * np.where(np.arange(BINS) % 2, -1, 1).astype(np.float32)
    return turned


def _per_pulse(periods: NDArray[np.float64]) -> Frames:
    """Factor from a window's magnitude to that of one period's pulse, `(P, 1)`."""
    factors: Frames = np.sqrt(periods / float((HANN**2).sum())).astype(np.float32)[:, None]
    return factors
