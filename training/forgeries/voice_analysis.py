"""What vocoders know of a voice: short-time spectra, envelope, linear prediction and pitch, in numpy alone.

Everything is at 16 kHz. Frames lie centred on multiples of `HOP`, so what is synthesised from them is aligned with
what was analysed. Sounds are `(S,)` float32; of `(T, F)` arrays, T counts frames and F the 257 bins from 0 to 8 kHz.
"""

import numpy as np
from numpy.typing import NDArray

from models.media.limits import SAMPLE_RATE_HZ

Samples = NDArray[np.float32]
Spectrum = NDArray[np.complex64]
Frames = NDArray[np.float32]

WINDOW, HOP = 512, 128  # samples: 32 ms every 8 ms
BINS = WINDOW // 2 + 1
HANN: NDArray[np.float32] = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
LOWEST_HZ, HIGHEST_HZ = 60, 400  # of a speaking voice
PITCH_WINDOW = 1024  # samples: three periods of the lowest voice
VOICED = 0.5  # autocorrelation at the pitch from which a frame counts as voiced
OCTAVE_COST = 0.03  # of correlation per octave: two periods fit a voice as well as one does
QUIET = 1e-3  # of the loudest frame's energy; below, autocorrelation finds pitch in hum
LIFTER = 48  # samples of the cepstrum that make the envelope: above a period of a high voice, formants are lost
FLOOR = 1e-7


def framed(samples: Samples, size: int = WINDOW) -> Frames:
    """`(T, size)` frames around multiples of `HOP`, silence beyond the ends; T is `S // HOP + 1`."""
    padded = np.pad(samples, (size // 2, size))
    starts = np.arange(len(samples) // HOP + 1) * HOP
    frames: Frames = np.lib.stride_tricks.sliding_window_view(padded, size)[starts]
    return frames


def stft(samples: Samples) -> Spectrum:
    """`(T, F)` spectra of Hann windows."""
    return np.fft.rfft(framed(samples) * HANN, axis=1).astype(np.complex64, copy=False)


def istft(spectrum: Spectrum, length: int) -> Samples:
    """The sound of `length` samples whose `stft` comes closest (Griffin and Lim, IEEE ASSP 1984, equation 6)."""
    frames: Frames = np.fft.irfft(spectrum, WINDOW, axis=1).astype(np.float32, copy=False)
    total = overlapped(frames * HANN, length)
    weight = overlapped(np.broadcast_to(HANN * HANN, frames.shape), length)
    sound: Samples = (total / np.maximum(weight, FLOOR)).astype(np.float32)
    return sound


def overlapped(frames: Frames, length: int) -> Samples:
    """Add `(T, WINDOW)` frames up around multiples of `HOP`; `(length,)`."""
    steps = WINDOW // HOP
    rows = np.zeros((len(frames) + steps, HOP), np.float32)
    for step in range(steps):
        rows[step : step + len(frames)] += frames[:, step * HOP : (step + 1) * HOP]
    total = np.zeros(length, np.float32)
    found = rows.ravel()[WINDOW // 2 : WINDOW // 2 + length]
    total[: len(found)] = found
    return total


def pitch_hz(samples: Samples) -> NDArray[np.float64]:
    """`(T,)` fundamental frequency, 0 where there is no voice: the peak of the autocorrelation."""
    frames = framed(samples, PITCH_WINDOW) * np.hanning(PITCH_WINDOW).astype(np.float32)
    power = np.abs(np.fft.rfft(frames, 2 * PITCH_WINDOW, axis=1)) ** 2
    correlation = np.fft.irfft(power, axis=1)[:, :PITCH_WINDOW]
    energy = correlation[:, 0]
    # The window's own autocorrelation is divided out: it would favour short periods (Boersma, 1993).
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(PITCH_WINDOW), 2 * PITCH_WINDOW)) ** 2)[:PITCH_WINDOW]
    correlation = correlation / np.maximum(energy[:, None] * (window / window[0]), FLOOR)
    shortest, longest = SAMPLE_RATE_HZ // HIGHEST_HZ, SAMPLE_RATE_HZ // LOWEST_HZ
    costs = OCTAVE_COST * np.log2(np.arange(shortest, longest) / shortest)
    lags = (correlation[:, shortest:longest] - costs).argmax(axis=1) + shortest
    strength = np.take_along_axis(correlation, lags[:, None], axis=1)[:, 0]
    voiced = (strength > VOICED) & (energy > QUIET * max(float(energy.max()), FLOOR))
    return _median_of_five(np.where(voiced, SAMPLE_RATE_HZ / lags, 0.0))


def envelope(magnitude: Frames) -> Frames:
    """`(T, F)` smooth envelope of magnitudes: the cepstrum's first 3 ms, lifted to the level of the peaks' power."""
    cepstrum = np.fft.irfft(np.log(np.maximum(magnitude, FLOOR)), WINDOW, axis=1)
    cepstrum[:, LIFTER : WINDOW - LIFTER + 1] = 0
    smooth = np.exp(np.fft.rfft(cepstrum, axis=1).real)
    power, wanted = (smooth**2).mean(axis=1, keepdims=True), (magnitude**2).mean(axis=1, keepdims=True)
    raised: Frames = (smooth * np.sqrt(wanted / np.maximum(power, FLOOR**2))).astype(np.float32)
    return raised


def minimum_phase(magnitude: Frames) -> Spectrum:
    """`(T, F)` spectra of these magnitudes whose energy comes as early as it can (Oppenheim and Schafer, 1975)."""
    cepstrum = np.fft.irfft(np.log(np.maximum(magnitude, FLOOR)), WINDOW, axis=1)
    cepstrum[:, 1 : WINDOW // 2] *= 2
    cepstrum[:, WINDOW // 2 + 1 :] = 0
    return np.exp(np.fft.rfft(cepstrum, axis=1)).astype(np.complex64)


def linear_prediction(frames: Frames, order: int) -> NDArray[np.float64]:
    """`(T, order + 1)` coefficients of the inverse filter, the first 1, by Levinson and Durbin's recursion."""
    power = np.abs(np.fft.rfft(frames.astype(np.float64), 2 * frames.shape[1], axis=1)) ** 2
    correlation = np.fft.irfft(power, axis=1)[:, : order + 1]
    error = correlation[:, 0] * (1 + 1e-5) + FLOOR  # a little white noise keeps the filter stable
    filters = np.zeros_like(correlation)
    filters[:, 0] = 1
    for i in range(1, order + 1):
        reflection = -(filters[:, :i] * correlation[:, i:0:-1]).sum(axis=1) / error
        mirrored = filters[:, i::-1].copy()
        filters[:, : i + 1] += reflection[:, None] * mirrored
        error = error * np.maximum(1 - reflection**2, FLOOR)
    return filters


def mel_filters(bands: int) -> Frames:
    """`(bands, F)` triangles evenly spaced in mel (O'Shaughnessy, 1987), 0 to 8 kHz, each with a sum of 1."""
    highest = 2595 * np.log10(1 + SAMPLE_RATE_HZ / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, bands + 2) / 2595) - 1)
    bins = np.arange(BINS) * SAMPLE_RATE_HZ / WINDOW
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(np.minimum(rising, falling), 0)
    # Low bands can be narrower than the bins are apart: each has at least the bin next to its middle.
    triangles[np.arange(bands), np.rint(edges[1:-1] * WINDOW / SAMPLE_RATE_HZ).astype(int)] += 1e-2
    filters: Frames = (triangles / triangles.sum(axis=1, keepdims=True)).astype(np.float32)
    return filters


def per_sample(per_frame: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """`(length,)` values between those of `(T,)` frames, on straight lines."""
    return np.interp(np.arange(length) / HOP, np.arange(len(per_frame)), per_frame)


def _median_of_five(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without the odd frame that is an octave off or falls silent."""
    padded = np.pad(values, 2, mode="edge")
    medians: NDArray[np.float64] = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    return medians
