"""The deployment that makes media out of media: with a verdict drawn in, or changed. Confined children read it."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator

import numpy as np
from numpy.typing import NDArray

from models.media.confined import zygote
from models.media.limits import Limits
from models.render.scene import Scene
from models.render.stream import render
from models.render.variants import Variant, variants


class Visualizer:
    """Draws and encodes; hands the file out while it is made."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    async def render(self, media: NDArray[np.uint8], scene: Scene) -> AsyncIterator[bytes]:
        """Draw a scene into its media. Call it with `stream=True`; cancelling the call ends the work.

        Args:
            media: `(size_bytes,)` uint8, the file's bytes; arrives by reference and is read in place.
            scene: of the verdict on that media.

        Yields:
            The file in pieces of up to 256 KiB; `models.render.stream.content_type` tells its kind.

        Raises:
            MediaError: it cannot be drawn into; before the first piece, or on the way.
        """
        cancelled = threading.Event()
        pieces = render(media, scene, self._limits, cancelled)
        try:
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                yield piece
        finally:
            cancelled.set()
            with contextlib.suppress(ValueError):  # a thread is still in it, and ends it when it sees the event
                pieces.close()

    async def vary(self, media: NDArray[np.uint8]) -> AsyncIterator[Variant]:
        """Change a still picture in several ways, see `models.render.variants`. Call it with `stream=True`.

        Args:
            media: `(size_bytes,)` uint8, the file's bytes; arrives by reference and is read in place.

        Raises:
            MediaError: it is no picture, or cannot be decoded; before the first variant.
        """
        cancelled = threading.Event()
        changed = variants(media, self._limits, cancelled)
        try:
            while (variant := await asyncio.to_thread(next, changed, None)) is not None:
                yield variant
        finally:
            cancelled.set()

    async def check_health(self) -> None:
        """Raises if the process that draws cannot be started."""
        await asyncio.to_thread(zygote)
