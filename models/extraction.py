"""From media to views: one pass of decoding feeds every view that the detectors asked for."""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.faces.crop import face_crop, fit_frame
from models.faces.find import FaceFinder
from models.faces.track import FaceTracker, Sighting
from models.media.confined import zygote
from models.media.facts import Frame, Probe, Request
from models.media.limits import Limits
from models.media.plan import sample_indices
from models.media.stream import read
from models.types import Clip, MediaFacts, Timings, Track, View

DECODER_THREADS = 2


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was learnt while extracting. Small: the views themselves travel apart from it.

    `tracks` are in pixels of the upright picture, `timings` hold probe, decode, faces and their total.
    """

    media: MediaFacts
    tracks: tuple[Track, ...]
    timings: Timings


class Extractor:
    """Extracts views. Several threads may use one at once."""

    def __init__(self, limits: Limits, threads: int = DECODER_THREADS) -> None:
        self._limits = limits
        self._threads = threads
        self._local = threading.local()  # dlib's detector keeps scratch space and is not thread-safe

    def check(self) -> None:
        """Raises if the process that decodes cannot be started."""
        zygote()

    def extract(
        self,
        media: NDArray[np.uint8],
        sha256: str,
        views: Sequence[View],
        *,
        cancelled: threading.Event | None = None,
    ) -> tuple[Extraction, dict[View, tuple[Clip, ...]]]:
        """Extract views of one piece of media.

        Args:
            media: `(size_bytes,)` uint8, the file's bytes.
            sha256: of those bytes, in hexadecimal.
            views: each once.
            cancelled: set it from another thread to stop.

        Returns:
            The facts, and for each view its clips: one per face track, one for the whole frame, or none.

        Raises:
            MediaError: the media cannot be analysed; one subclass per cause.
            Cancelled: `cancelled` was set.
        """
        started = time.monotonic()
        request = Request(counts=tuple(sorted({view.count for view in views})), threads=self._threads)
        with read(media, request, self._limits, cancelled) as stream:
            cutter = _Cutter(views, stream.probe, self._finder())
            for frame in stream.frames():
                cutter.take(frame)
        timings = Timings(
            probe_s=stream.report.probe_s,
            decode_s=stream.report.decode_s,
            faces_s=cutter.faces_s,
            total_s=time.monotonic() - started,
        )
        facts = _facts(stream.probe, sha256, media.nbytes, cutter.frames)
        return Extraction(facts, cutter.tracks(), timings), {view: cutter.clips(view) for view in views}

    def _finder(self) -> FaceFinder:
        if not hasattr(self._local, "finder"):
            self._local.finder = FaceFinder()
        finder: FaceFinder = self._local.finder
        return finder


def nothing_to_see(view: View, extraction: Extraction) -> str:
    """Why a view has no clip, in words."""
    if view.region == "face":
        return f"no face: none was found in {extraction.media.frames_analysed} analysed frames"
    return "too few frames: none could be decoded" if view.region == "frame" else "no sound track"


@dataclass(slots=True)
class _Strip:
    """A clip while it grows."""

    rows: list[NDArray[np.uint8]] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)

    def add(self, row: NDArray[np.uint8], t_s: float) -> None:
        self.rows.append(row)
        self.times_s.append(t_s)

    def clip(self, track: int | None) -> Clip:
        return Clip(np.stack(self.rows), np.array(self.times_s), track)


class _Cutter:
    """Cuts every view out of each frame as it comes; keeps the cuts, never the frames."""

    def __init__(self, views: Iterable[View], probe: Probe, finder: FaceFinder) -> None:
        self.frames = 0
        self.faces_s = 0.0
        self._wanted = {view: set(sample_indices(probe.frames_total, view.count).tolist()) for view in views}
        self._strips: dict[View, dict[int | None, _Strip]] = {view: {} for view in views}
        self._tracker = FaceTracker(finder)
        self._follows_faces = any(view.region == "face" for view in views)
        self._to_full_size = probe.width / max(probe.frame_width, 1)

    def take(self, frame: Frame) -> None:
        self.frames += 1
        sightings = self._find(frame) if self._follows_faces else []
        for view, wanted in self._wanted.items():
            if frame.index in wanted:
                self._cut(view, frame, sightings)

    def tracks(self) -> tuple[Track, ...]:
        """The tracks, scaled from the frames handed out to the upright picture."""
        scale = np.float32(self._to_full_size)
        return tuple(
            Track(track.number, track.times_s, track.boxes_xyxy * scale, track.lost_s)
            for track in self._tracker.tracks()
        )

    def clips(self, view: View) -> tuple[Clip, ...]:
        return tuple(strip.clip(track) for track, strip in self._strips[view].items())

    def _find(self, frame: Frame) -> list[Sighting]:
        started = time.monotonic()
        sightings = self._tracker.step(frame.t_s, frame.pixels)
        self.faces_s += time.monotonic() - started
        return sightings

    def _cut(self, view: View, frame: Frame, sightings: Iterable[Sighting]) -> None:
        strips = self._strips[view]
        if view.region == "frame":
            strips.setdefault(None, _Strip()).add(fit_frame(frame.pixels, view.size, view.fit), frame.t_s)
        elif view.region == "face":
            for seen in sightings:
                crop = face_crop(frame.pixels, seen.box_xyxy, view.margin, view.size)
                strips.setdefault(seen.track, _Strip()).add(crop, frame.t_s)


def _facts(probe: Probe, sha256: str, size_bytes: int, frames: int) -> MediaFacts:
    return MediaFacts(
        kind="video",
        sha256=sha256,
        size_bytes=size_bytes,
        container=probe.container,
        codec=probe.codec,
        duration_s=probe.duration_s,
        width=probe.width,
        height=probe.height,
        fps=probe.fps,
        frames_total=probe.frames_total,
        frames_analysed=frames,
        audio_s=probe.audio_s,
    )
