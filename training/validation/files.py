"""Media files as bytes: equal input gives equal bytes."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray
from PIL import Image

from models.media.limits import SAMPLE_RATE_HZ

LARGEST_BYTES = 150_000
ATTEMPTS = 6  # at coarser settings; then the files are as large as they are
EXACT = {"fflags": "+bitexact"}  # no random identifiers, no dates
SOUND = {  # container, encoder
    ".mp3": ("mp3", "libmp3lame"),
    ".m4a": ("mp4", "aac"),
    ".ogg": ("ogg", "libopus"),
    ".flac": ("flac", "flac"),
    ".wav": ("wav", "pcm_s16le"),
}
LOSSLESS = (".flac", ".wav")
BLOCK = 960  # samples handed to an encoder at once

Picture = NDArray[np.uint8]
Samples = NDArray[np.float32]


def within(coded: Callable[[int], Sequence[bytes]], setting: int, coarser: int) -> tuple[bytes, bytes]:
    """Both files of a pair at one setting of their encoder, the first that keeps both below `LARGEST_BYTES`.

    Args:
        coded: makes both at a setting.
        setting: the first to try.
        coarser: what is added to it otherwise.
    """
    for attempt in range(ATTEMPTS):
        real, fake = coded(setting + attempt * coarser)
        if max(len(real), len(fake)) <= LARGEST_BYTES:
            break
    return real, fake


def clip_bytes(frames: Sequence[Picture], rate_fps: int, crf: int) -> bytes:
    """An MP4 with H.264.

    Args:
        frames: `(H, W, 3)` uint8 RGB each; odd sides lose a pixel, which 4:2:0 cannot hold.
        rate_fps: frames per second.
        crf: constant rate factor.
    """
    height, width = (side // 2 * 2 for side in frames[0].shape[:2])
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", container_options=EXACT) as out:
        stream: Any = out.add_stream("libx264", rate=rate_fps, options={"crf": str(min(crf, 51)), "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1  # slices and lookahead depend on the number of threads
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_range = ColorRange.MPEG
        for rgb in frames:
            drawn = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb[:height, :width]), format="rgb24")
            out.mux(stream.encode(drawn.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)))
        out.mux(stream.encode(None))
    return file.getvalue()


def picture_bytes(rgb: Picture, suffix: str, quality: int) -> bytes:
    """A JPEG, WebP or PNG of `(H, W, 3)` uint8 RGB; `quality` is 1 to 100, and PNG has none."""
    file = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(rgb))
    how = {".jpg": "JPEG", ".webp": "WEBP", ".png": "PNG"}[suffix]
    picture.save(file, how, **({} if how == "PNG" else {"quality": max(quality, 10)}))
    return file.getvalue()


def sound_bytes(samples: Samples, suffix: str, bit_rate: int) -> bytes:
    """A recording of `(S,)` float32 mono at 16 kHz; FLAC and WAV take no bit rate."""
    container, encoder = SOUND[suffix]
    file = io.BytesIO()
    with av.open(file, "w", format=container, container_options=EXACT) as out:
        stream: Any = out.add_stream(encoder, rate=SAMPLE_RATE_HZ)
        stream.layout = "mono"
        if suffix in LOSSLESS:
            stream.format = "s16"
        else:
            stream.bit_rate = bit_rate
        for start in range(0, len(samples), BLOCK):
            out.mux(stream.encode(_block(samples, start)))
        out.mux(stream.encode(None))
    return file.getvalue()


def read_samples(path: Any) -> Samples:
    """`(S,)` float32 mono at 16 kHz of any sound file."""
    with av.open(str(path)) as source:
        mixer = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
        frames = [out for frame in source.decode(audio=0) for out in mixer.resample(frame)] + mixer.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32)


def _block(samples: Samples, start: int) -> av.AudioFrame:
    whole = np.clip(np.rint(samples[None, start : start + BLOCK] * 32767), -32768, 32767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(whole), format="s16", layout="mono")
    frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, start
    return frame
