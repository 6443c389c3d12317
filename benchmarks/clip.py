"""The clip that is measured with: 10 s of 720p H.264 with one face, made from the bundled sample."""

import io
from collections.abc import Iterator
from fractions import Fraction

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from models.detectors.store import ROOT

SECONDS, FPS, WIDTH, HEIGHT = 10, 30, 1280, 720


def make_clip() -> bytes:
    """The file's bytes; the same ones every time."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        pictures = list(_pictures())
        for i in range(SECONDS * FPS):
            # There and back again, so that the motion has no cut.
            at = i % (2 * len(pictures))
            picture = pictures[at if at < len(pictures) else 2 * len(pictures) - 1 - at]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def _pictures() -> Iterator[NDArray[np.uint8]]:
    with av.open(str(ROOT / "assets" / "sample_real.mp4")) as container:
        for frame in container.decode(video=0):
            square = cv2.resize(frame.to_ndarray(format="rgb24"), (HEIGHT, HEIGHT), interpolation=cv2.INTER_AREA)
            side = (WIDTH - HEIGHT) // 2
            yield cv2.copyMakeBorder(square, 0, 0, side, side, cv2.BORDER_REFLECT).astype(np.uint8)
