"""The deployment that turns media into views. One per node with cores; decoding happens in a confined child."""

import asyncio
import threading
from dataclasses import dataclass

import numpy as np
import ray
from numpy.typing import NDArray
from ray import ObjectRef

from models.extraction import Extraction, Extractor
from models.faces.tools import FaceTools
from models.media.limits import Limits
from models.types import Clip, View


@dataclass(frozen=True, slots=True)
class ExtractedViews:
    """What the router gets: small facts, and one reference per view, in the order asked for.

    `empty` tells for each view whether it has no clip at all (no face, no sound), so that nobody needs to fetch it.
    """

    extraction: Extraction
    refs: tuple["ObjectRef[tuple[Clip, ...]]", ...]
    empty: tuple[bool, ...]


class FrameExtractor:
    """Reads content credentials, probes, decodes, finds faces, cuts the views and puts each into the object store."""

    def __init__(self, limits: Limits, tools: FaceTools, trust_anchors: str = "") -> None:
        self._extractor = Extractor(limits, tools=tools, trust_anchors=trust_anchors)

    async def extract(self, media: NDArray[np.uint8], sha256: str, views: tuple[View, ...]) -> ExtractedViews:
        """Extract views of one piece of media.

        Args:
            media: `(size_bytes,)` uint8, the file's bytes; arrives by reference and is read in place.
            sha256: of those bytes, in hexadecimal.
            views: what the detectors want, each once.

        Raises:
            MediaError: the media cannot be analysed; one subclass per cause.
        """
        cancelled = threading.Event()
        try:
            extraction, clips = await asyncio.to_thread(
                self._extractor.extract, media, sha256, views, cancelled=cancelled
            )
        except asyncio.CancelledError:
            cancelled.set()
            raise
        refs = tuple(ray.put(clips[view]) for view in views)
        return ExtractedViews(extraction, refs, tuple(not clips[view] for view in views))

    async def check_health(self) -> None:
        """Raises if the process that decodes cannot be started."""
        await asyncio.to_thread(self._extractor.check)
