"""A sound that is built like a voice, for what takes voices apart: a glottal buzz through formants, and hisses."""

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 16_000
FORMANTS_HZ = ((700, 1200, 2600), (300, 2200, 3000), (500, 900, 2400))  # about a, i, o
SYLLABLE_S = 0.25


def spoken(syllables: int = 8, pitch_hz: float = 120.0, seed: int = 0) -> NDArray[np.float32]:
    """`(S,)` float32 mono at 16 kHz, a quarter of a second per syllable; every third begins with a hiss."""
    rng = np.random.default_rng(seed)
    sound = np.concatenate([_syllable(number, pitch_hz, rng) for number in range(syllables)])
    room = 1e-3 * rng.standard_normal(len(sound))
    voice: NDArray[np.float32] = (0.3 * sound / np.abs(sound).max() + room).astype(np.float32)
    return voice


def _syllable(number: int, pitch_hz: float, rng: np.random.Generator) -> NDArray[np.float64]:
    times_s = np.arange(int(SYLLABLE_S * RATE_HZ)) / RATE_HZ
    turns = np.cumsum(pitch_hz * (1 + 0.1 * np.sin(2 * np.pi * (2 * times_s + number / 3)))) / RATE_HZ
    buzz = np.zeros(len(times_s))
    for harmonic in range(1, int(6000 / pitch_hz)):
        buzz += _gain(harmonic * pitch_hz, FORMANTS_HZ[number % 3]) * np.sin(2 * np.pi * harmonic * turns)
    loudness = np.hanning(len(times_s)) ** 0.5
    hiss = rng.standard_normal(len(times_s)) * (times_s < 0.06) * (number % 3 == 0)
    syllable: NDArray[np.float64] = buzz * loudness + 0.3 * buzz.std() * np.diff(hiss, prepend=0.0)
    return syllable


def _gain(hz: float, formants_hz: tuple[int, ...]) -> float:
    return float(sum(1 / (1 + ((hz - formant) / 120) ** 2) for formant in formants_hz) + 0.01)
