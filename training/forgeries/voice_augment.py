"""What happens to a voice between the microphone and this service, done alike to a recording and its forgery.

Clean studio speech against compressed home recordings would teach a detector the recording. So both of a pair get the
same room, noise, band, codec and level, drawn once, and both stay aligned with what they were.
"""

import io
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal, cast

import av
import numpy as np
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from models.media.limits import SAMPLE_RATE_HZ

Samples = NDArray[np.float32]
Codec = Literal["", "mp3", "aac", "opus"]

ENCODERS = {"mp3": ("mp3", "libmp3lame"), "aac": ("adts", "aac"), "opus": ("ogg", "libopus")}
# Half the time of their careful settings, and the same traces of the format.
FASTEST = {"mp3": {"compression_level": "9"}, "aac": {"aac_coder": "fast"}, "opus": {"compression_level": "0"}}
CODEC_ODDS = {"": 0.4, "mp3": 0.2, "aac": 0.2, "opus": 0.2}
BIT_RATES = {"mp3": (16_000, 64_000), "aac": (16_000, 64_000), "opus": (8_000, 32_000)}
BLOCK = 960  # samples handed to the encoder at once
RATES_HZ = (8_000, 11_025, 12_000)  # telephone, old voice notes, narrow streams
FAINT_DB = (40, 65)  # of noise where there is none to hear: nothing that was recorded is silent to the last bit
LONGEST_DELAY = 4_000  # samples that a codec may shift; 1,105 is MP3's, 1,024 AAC's
PEAK = 0.98  # of full scale, so that no codec clips
EARLIEST_ECHO_S = 0.005


@dataclass(frozen=True, slots=True)
class VoiceDegradation:
    """One drawn history of a recording; the defaults leave it as it is.

    Attributes:
        reverb_s: time in which the room's echo falls by 60 dB; 0 is none.
        reverb_share: power of the echo against the direct sound's.
        room_seed: makes the room the same for both of a pair.
        snr_db: of the noise; None is none.
        noise_slope: of its spectrum, power over 1/f^slope: 0 is white, 1 pink, 2 brown.
        noise_seed: makes the noise the same for both of a pair.
        rate_hz: sampling rate passed through; 0 stays at 16 kHz.
        codec: passed through; empty is none.
        bit_rate: of the codec, bits per second.
        level_dbfs: root mean square in dB below full scale; None leaves the level.
    """

    reverb_s: float = 0
    reverb_share: float = 0.3
    room_seed: int = 0
    snr_db: float | None = None
    noise_slope: float = 0
    noise_seed: int = 0
    rate_hz: int = 0
    codec: Codec = ""
    bit_rate: int = 0
    level_dbfs: float | None = None


def draw_voice_degradation(rng: np.random.Generator) -> VoiceDegradation:
    """A random history; about one in eight keeps all but its level, and gets a noise that is not heard.

    Gates and vocoders leave digital silence, codecs and rooms do not: without the faint noise that would tell.
    """
    level_dbfs = rng.uniform(-36, -16)
    if rng.random() < 0.12:  # noqa: PLR2004
        return VoiceDegradation(
            level_dbfs=level_dbfs, snr_db=rng.uniform(*FAINT_DB), noise_seed=int(rng.integers(2**31))
        )
    codec = cast("Codec", str(rng.choice(list(CODEC_ODDS), p=list(CODEC_ODDS.values()))))
    return VoiceDegradation(
        reverb_s=rng.uniform(0.15, 0.8) * (rng.random() < 0.35),  # noqa: PLR2004
        reverb_share=float(np.exp(rng.uniform(np.log(0.03), np.log(0.6)))),
        room_seed=int(rng.integers(2**31)),
        snr_db=rng.uniform(*((8, 40) if rng.random() < 0.6 else FAINT_DB)),  # noqa: PLR2004
        noise_slope=rng.uniform(0, 2),
        noise_seed=int(rng.integers(2**31)),
        rate_hz=int(rng.choice(RATES_HZ)) * int(rng.random() < 0.2),  # noqa: PLR2004
        codec=codec,
        bit_rate=int(rng.integers(*BIT_RATES[codec])) if codec else 0,
        level_dbfs=level_dbfs,
    )


def degrade_voice(samples: Samples, how: VoiceDegradation) -> Samples:
    """Take a recording through one history.

    Args:
        samples: `(S,)` float32 mono at 16 kHz; not modified.
        how: the history; the same for both of a pair.

    Returns:
        `(S,)` float32 in [-1, 1], aligned with `samples` to within two samples (Opus at 8 kbit/s; else one).
    """
    if how.reverb_s:
        samples = reverberated(samples, how)
    if how.snr_db is not None:
        samples = noisy(samples, how)
    if how.rate_hz:
        samples = resampled(samples, how.rate_hz)
    if how.level_dbfs is not None:
        samples = at_level(samples, how.level_dbfs)
    if how.codec:
        samples = through_codec(samples, how.codec, how.bit_rate)
    return np.clip(samples, -1, 1)


def reverberated(samples: Samples, how: VoiceDegradation) -> Samples:
    """In a room: the direct sound, and an echo of noise that decays exponentially (Moorer, 1979)."""
    length = int(how.reverb_s * SAMPLE_RATE_HZ)
    times_s = np.arange(length) / SAMPLE_RATE_HZ
    echo = np.random.default_rng(how.room_seed).standard_normal(length) * 10 ** (-3 * times_s / how.reverb_s)
    echo[: int(EARLIEST_ECHO_S * SAMPLE_RATE_HZ)] = 0
    echo *= np.sqrt(how.reverb_share / max(float(np.square(echo).sum()), 1e-12))
    return samples + _convolved(samples, echo)


def noisy(samples: Samples, how: VoiceDegradation) -> Samples:
    """With steady noise `snr_db` below the recording's own power, the same noise for equal seeds and lengths."""
    spectrum = np.fft.rfft(np.random.default_rng(how.noise_seed).standard_normal(len(samples)))
    hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE_HZ)
    noise = np.fft.irfft(spectrum * np.maximum(hz, 50) ** (-how.noise_slope / 2), len(samples))
    wanted = _rms(samples) * 10 ** (-(how.snr_db or 0) / 20)
    return (samples + noise * (wanted / max(_rms(noise), 1e-12))).astype(np.float32)


def resampled(samples: Samples, rate_hz: int) -> Samples:
    """Down to another sampling rate and back to 16 kHz: nothing is left above half of it."""
    there = _converted(samples, SAMPLE_RATE_HZ, rate_hz)
    return _of_length(_converted(there, rate_hz, SAMPLE_RATE_HZ), len(samples))


def at_level(samples: Samples, level_dbfs: float) -> Samples:
    """At this root mean square, or lower where the peak would clip."""
    loudest = float(np.abs(samples).max(initial=0))
    if not loudest:
        return samples
    factor = min(10 ** (level_dbfs / 20) / _rms(samples), PEAK / loudest)
    return (samples * factor).astype(np.float32)


def through_codec(samples: Samples, codec: Codec, bit_rate: int) -> Samples:
    """Encode and decode, in memory; the codec's delay is taken off, so pairs and labels stay aligned.

    Args:
        samples: `(S,)` float32 at 16 kHz, in [-1, 1].
        codec: `mp3`, `aac` or `opus`.
        bit_rate: bits per second.
    """
    coded = _coded(np.pad(samples, (0, LONGEST_DELAY)), codec, bit_rate)
    return _of_length(coded[codec_delay(codec) :], len(samples))


@lru_cache
def codec_delay(codec: Codec) -> int:
    """By how many samples a codec and its container come back late: measured on noise, the same at every rate."""
    white = np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ).astype(np.float32)
    noise = _convolved(white, np.hanning(16))  # low enough for every codec to keep
    noise *= np.float32(0.1) / noise.std()
    coded = _of_length(_coded(np.pad(noise, (0, LONGEST_DELAY)), codec, 48_000), len(noise) + LONGEST_DELAY)
    alike = [float(noise @ coded[late : late + len(noise)]) for late in range(LONGEST_DELAY)]
    return int(np.argmax(alike))


def _coded(samples: Samples, codec: Codec, bit_rate: int) -> Samples:
    container_format, encoder = ENCODERS[codec]
    file = io.BytesIO()
    with av.open(file, "w", format=container_format) as out:
        stream: Any = out.add_stream(encoder, rate=SAMPLE_RATE_HZ, options=FASTEST[codec])
        stream.layout, stream.bit_rate = "mono", bit_rate
        for start in range(0, len(samples), BLOCK):
            frame = _frame(samples[start : start + BLOCK], SAMPLE_RATE_HZ)
            frame.pts, frame.time_base = start, Fraction(1, SAMPLE_RATE_HZ)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    file.seek(0)
    resampler = AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
    with av.open(file, "r") as source:
        parts = [part for frame in source.decode(audio=0) for part in resampler.resample(frame)]
    return _joined([*parts, *resampler.resample(None)])


def _converted(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    resampler = AudioResampler(format="flt", layout="mono", rate=to_hz)
    parts = resampler.resample(_frame(samples, from_hz))
    return _joined([*parts, *resampler.resample(None)])


def _frame(samples: Samples, rate_hz: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="flt", layout="mono")
    frame.sample_rate = rate_hz
    return frame


def _joined(frames: list[av.AudioFrame]) -> Samples:
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32, copy=False)


def _convolved(samples: Samples, response: NDArray[np.float64]) -> Samples:
    size = len(samples) + len(response)
    product = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)
    return product[: len(samples)].astype(np.float32)


def _of_length(samples: Samples, length: int) -> Samples:
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


def _rms(samples: NDArray[np.floating[Any]]) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
