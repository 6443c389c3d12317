"""The door to drawing: media and a scene in, the bytes of a file out, drawn in a confined child process."""

import os
import threading
from collections.abc import Generator
from dataclasses import replace

from models.media.confined import decode_confined
from models.media.facts import Piece, Request
from models.media.limits import Limits
from models.media.source import Source, open_source
from models.render.picture import WRITTEN_AS
from models.render.scene import Scene
from models.types import MediaFacts

THREADS = 2
# Times what decoding may take. 20 billion pixels, the most that are decoded for one request, take 360 s of processor
# time to draw and encode (measured with 720p H.264: 5 s for 0.28 billion). The memory for decoding suffices: drawing
# into 4096 x 2304 H.265 of ten bits stays within 1 GiB of address space.
_WORK = 5


def render(
    source: Source,
    scene: Scene,
    limits: Limits | None = None,
    cancelled: threading.Event | None = None,
    threads: int = THREADS,
) -> Generator[bytes]:
    """Draw a scene into its media, in a confined child process. Close it to stop the work.

    Args:
        source: a path, or the media as bytes or `(N,)` uint8.
        scene: of the verdict on that media.
        limits: what the media may be, and what decoding it may cost; drawing may cost five times that.
        cancelled: set by another thread to stop the work.
        threads: of the decoder, and of the encoder.

    Yields:
        The file in pieces, as it is made; `content_type` tells its kind.

    Raises:
        MediaError: the media cannot be drawn into; here when that shows before the first piece, else on the way.
        Cancelled: `cancelled` was set.
        OSError: the path cannot be opened.
    """
    content = scene.to_json()
    request = Request(threads=threads, scene_bytes=len(content))
    fd = open_source(source)
    try:
        for event in decode_confined(fd, request, drawing_limits(limits or Limits()), cancelled, content):
            if isinstance(event, Piece):
                yield event.data.tobytes()
    finally:
        os.close(fd)


def drawing_limits(limits: Limits) -> Limits:
    """What drawing may cost, from what decoding may cost."""
    return replace(
        limits,
        wall_s=limits.wall_s * _WORK,
        cpu_s=limits.cpu_s * _WORK * 2,  # two threads
        working_side=max(limits.working_side, Limits().working_side),  # the ring's slots must hold scene and pieces
    )


def content_type(media: MediaFacts) -> str:
    """What the drawn file is: a video stays one, a picture too, sound becomes a picture."""
    if media.kind == "video":
        return "video/mp4"
    return "image/jpeg" if WRITTEN_AS.get(media.container) == "JPEG" else "image/png"


def suffix(media: MediaFacts) -> str:
    """The usual ending of such a file's name."""
    return {"video/mp4": ".mp4", "image/jpeg": ".jpg", "image/png": ".png"}[content_type(media)]
