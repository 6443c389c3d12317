"""Voices from a glottal source and formants: nobody's, but with pitch, vowels, breath and pauses.

Source and filter as in Fant, "Acoustic Theory of Speech Production", 1960: pulses at the pitch plus breath, shaped
frame by frame by the resonances of the mouth.
"""

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

RATE_HZ = 16_000
FRAME, HOP = 512, 256  # samples: 32 and 16 ms, as long as a mouth holds still
# Peterson and Barney, "Control Methods Used in a Study of the Vowels", 1952: men's means of five.
VOWELS_HZ = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
BANDWIDTHS_HZ = (80.0, 100.0, 140.0)
SYLLABLE_S = (0.12, 0.3)
PAUSE = 0.15  # share of syllables that are silent
HISS = 0.2  # share that begins with one

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who speaks.

    Attributes:
        pitch_hz: of the voice, on average.
        tract: factor on the formants; a short vocal tract has high ones.
        breath: noise beside the pulses, as a share.
        room: noise of the recording, as a share of the peak.
        level: peak, in (0, 1].
        lively: how far the pitch moves, in octaves; 0 is a machine's monotone.
    """

    pitch_hz: float
    tract: float
    breath: float
    room: float
    level: float
    lively: float = 0.25


def draw_speaker(rng: np.random.Generator) -> Speaker:
    """A man's or a woman's voice, in a room of its own."""
    pitch_hz = float(np.exp(rng.uniform(np.log(90), np.log(250))))
    return Speaker(
        pitch_hz=pitch_hz,
        tract=(pitch_hz / 150) ** 0.25 * rng.uniform(0.94, 1.06),
        breath=rng.uniform(0.02, 0.12),
        room=10 ** rng.uniform(-3.5, -2.2),
        level=rng.uniform(0.2, 0.9),
    )


def speak(speaker: Speaker, seconds: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """`(S,)` float32 mono at 16 kHz, peak at the speaker's level."""
    formants_hz, loud, hiss = _syllables(int(seconds * RATE_HZ) // HOP + 1, rng)
    source = _source(speaker, loud, hiss, rng)
    frames = np.lib.stride_tricks.sliding_window_view(source, FRAME)[::HOP] * np.hanning(FRAME)
    gains = _gains(formants_hz * speaker.tract, hiss)
    shaped = np.fft.irfft(np.fft.rfft(frames) * gains, FRAME)
    sound = np.zeros(HOP * (len(shaped) - 1) + FRAME)
    for number, frame in enumerate(shaped):
        sound[number * HOP : number * HOP + FRAME] += frame
    sound = sound[: int(seconds * RATE_HZ)]
    sound = sound / np.abs(sound).max() + speaker.room * rng.standard_normal(len(sound))
    voice: NDArray[np.float32] = (speaker.level * sound / np.abs(sound).max()).astype(np.float32)
    return voice


def write_flac(path: Path, samples: NDArray[np.float32], rate_hz: int = RATE_HZ) -> None:
    """Mono, 16 bit; `(S,)` float32 in [-1, 1]."""
    pcm = np.clip(np.rint(samples * 32767), -32768, 32767).astype(np.int16)[None]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.rate = rate_hz
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _syllables(frames: int, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Per frame: formants `(T, 3)` in Hz, loudness `(T,)` and hiss `(T,)` in [0, 1]; each glides into the next."""
    formants_hz, loud, hiss = np.zeros((frames, 3)), np.zeros(frames), np.zeros(frames)
    at = 0
    while at < frames:
        length = round(rng.uniform(*SYLLABLE_S) * RATE_HZ / HOP)
        formants_hz[at : at + length] = VOWELS_HZ[int(rng.integers(len(VOWELS_HZ)))]
        loud[at : at + length] = rng.uniform(0.5, 1) * (rng.random() > PAUSE)
        hiss[at : at + 4] = float(rng.random() < HISS)
        at += length
    glide = np.array([1, 2, 3, 2, 1]) / 9
    formants_hz = np.stack([np.convolve(np.pad(row, 2, "edge"), glide, "valid") for row in formants_hz.T], axis=1)
    return formants_hz, np.convolve(loud, glide, "same"), hiss


def _source(speaker: Speaker, loud: Floats, hiss: Floats, rng: np.random.Generator) -> Floats:
    """Pulses and breath, long enough for T frames: `((T - 1) * HOP + FRAME,)`."""
    length = (len(loud) - 1) * HOP + FRAME
    knots = np.arange(0, length + RATE_HZ, RATE_HZ // 5)
    octaves = np.interp(np.arange(length), knots, speaker.lively * rng.uniform(-1, 1, len(knots)))
    turns = np.cumsum(speaker.pitch_hz * 2**octaves) / RATE_HZ
    # Rosenberg's pulse: the folds open slowly and close at once; its slope is what reaches the mouth.
    opening = turns % 1
    pulses = np.diff(np.where(opening < 0.6, np.sin(np.pi * opening / 1.2) ** 2, 0.0), prepend=0.0)  # noqa: PLR2004
    pulses /= pulses.std()
    by_frame = np.arange(len(loud)) * HOP
    loudness, hissing = (np.interp(np.arange(length), by_frame, values) for values in (loud, hiss))
    noise = rng.standard_normal(length)
    return loudness * (pulses * (1 - hissing) + noise * np.maximum(speaker.breath, hissing))


def _gains(formants_hz: Floats, hiss: Floats) -> Floats:
    """`(T, FRAME // 2 + 1)` of each frame: a resonance per formant; a hiss has the high band instead."""
    hz = np.fft.rfftfreq(FRAME, 1 / RATE_HZ)
    widths = np.array(BANDWIDTHS_HZ)[:, None]
    distance = (hz - formants_hz[..., None]) / widths
    vowel = (np.array([1.0, 0.6, 0.3])[:, None] / np.sqrt(1 + distance**2)).sum(axis=1) + 0.003
    fricative = 0.2 * np.clip((hz - 2500) / 2000, 0, 1)
    return np.where(hiss[:, None] > 0.5, fricative, vowel)  # noqa: PLR2004
