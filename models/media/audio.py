"""The sound track as detectors expect it: mono, 16 kHz, float32, at a fixed loudness."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from models.errors import TooLong
from models.media.container import Media, decoder_options
from models.media.limits import SAMPLE_RATE_HZ

Samples = NDArray[np.float32]

# Active speech level in the spirit of ITU-T P.56 at -26 dBov, the level speech corpora and codec tests are set to.
ACTIVE_LEVEL_DB = -26.0
# Below this a block is silence: the noise of a 16-bit recording's last bit is at -98 dB, of a quiet room at -70 dB.
SILENCE_DB = -70.0
# Blocks more than this below the loud ones are pauses between words (P.56's margin is 15.9 dB).
_PAUSE_DB = 15.9
_BLOCK = SAMPLE_RATE_HZ // 20  # 50 ms: shorter than a syllable, longer than a period of the deepest voice
_MAX_GAIN_DB = 40.0  # what is quieter than -66 dB stays quiet: amplifying it further would only show its noise
_FULL_SCALE = 0.999


def is_silent(samples: Samples) -> bool:
    """Whether nothing in `(S,)` float32 rises above -70 dB of full scale; also true of no samples at all."""
    return bool(_block_levels(samples).max(initial=-np.inf) < SILENCE_DB)


def audible_s(samples: Samples) -> float:
    """How many seconds of `(S,)` float32 are above -70 dB of full scale, counted in blocks of 50 ms."""
    loud = int((_block_levels(samples) >= SILENCE_DB).sum())
    return min(loud * _BLOCK, len(samples)) / SAMPLE_RATE_HZ


def at_fixed_loudness(samples: Samples) -> Samples:
    """Speech at -26 dB of full scale, however it was recorded.

    The level is the mean power of the active 50 ms blocks: those above silence and within 15.9 dB of the mean of all
    blocks above silence. Peaks that would pass full scale lower the gain instead of being cut off.

    Args:
        samples: `(S,)` float32 mono in [-1, 1].

    Returns:
        `(S,)` float32 in [-1, 1]; silence comes back unchanged.
    """
    levels = _block_levels(samples)
    audible = levels[levels >= SILENCE_DB]
    if not len(audible):
        return samples
    active = audible[audible >= _mean_db(audible) - _PAUSE_DB]
    gain = 10 ** (min(ACTIVE_LEVEL_DB - _mean_db(active), _MAX_GAIN_DB) / 20)
    peak = float(np.abs(samples).max())
    return (samples * np.float32(min(gain, _FULL_SCALE / peak))).astype(np.float32, copy=False)


def _block_levels(samples: Samples) -> NDArray[np.float64]:
    """`(B,)` float64: power of each 50 ms block in dB of full scale; the last one is padded with silence."""
    blocks = np.pad(samples, (0, -len(samples) % _BLOCK)).reshape(-1, _BLOCK)
    power = np.einsum("bs,bs->b", blocks, blocks, dtype=np.float64) / _BLOCK  # converts piecewise, not the whole track
    levels: NDArray[np.float64] = 10 * np.log10(np.maximum(power, 1e-20))
    return levels


def _mean_db(levels_db: NDArray[np.float64]) -> float:
    return float(10 * np.log10(np.mean(10 ** (levels_db / 10))))


def sound_blocks(media: Media, start_pts: int) -> Iterator[Samples]:
    """Decode the sound track and mix it down.

    Args:
        media: an open file with a sound track.
        start_pts: timestamp of the track's first packet.

    Yields:
        `(S,)` float32 mono at 16 kHz in [-1, 1], not yet levelled; blocks of at most a second.

    Raises:
        TooLong: more sound comes out than the packets announced.
    """
    track = _rewound(media, start_pts)
    mixer, total = _Mixer(), 0
    for frame in _decoded(media, track):
        for samples in mixer.mix(frame):
            total += len(samples)
            if total > media.limits.max_duration_s * SAMPLE_RATE_HZ:
                raise TooLong(f"More than {media.limits.max_duration_s:.0f} s of sound came out of the file.")
            yield from (samples[i : i + SAMPLE_RATE_HZ] for i in range(0, len(samples), SAMPLE_RATE_HZ))


class _Mixer:
    """Resamples to 16 kHz mono; starts over when rate or channels change within the track."""

    def __init__(self) -> None:
        self._resampler: AudioResampler | None = None
        self._kind: tuple[int, str, str] | None = None

    def mix(self, frame: AudioFrame | None) -> Iterator[Samples]:
        kind = None if frame is None else (frame.sample_rate, frame.layout.name, frame.format.name)
        if kind != self._kind:
            yield from self._convert(None)
            self._resampler = AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
            self._kind = kind
        if frame is not None:
            frame.pts = None  # gaps in the timestamps must not become silence or cuts
            yield from self._convert(frame)

    def _convert(self, frame: AudioFrame | None) -> Iterator[Samples]:
        if self._resampler is None or self._kind is None:
            return
        for mixed in self._resampler.resample(frame):
            samples: Any = mixed.to_ndarray()[0]
            # A damaged float track can hold anything.
            yield np.clip(np.nan_to_num(samples, posinf=1.0, neginf=-1.0), -1.0, 1.0)


def _rewound(media: Media, start_pts: int) -> AudioStream:
    """The track at its beginning."""
    assert media.audio is not None
    try:
        media.seek(media.audio, start_pts)
        first = next(media.packets(media.audio), None)
        if first is not None and first.pts == start_pts:
            media.seek(media.audio, start_pts)
            return media.audio
    except av.error.FFmpegError:
        pass
    media.restart()
    return media.audio


def _decoded(media: Media, track: AudioStream) -> Iterator[AudioFrame | None]:
    """Frames, and None at the end. A broken packet costs its own few milliseconds."""
    track.codec_context.options = decoder_options(media.limits)
    for packet in chain(media.packets(track), (None,)):
        try:
            yield from track.codec_context.decode(packet)
        except MemoryError:
            raise
        except av.error.FFmpegError:
            continue
    yield None
