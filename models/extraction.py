"""From media to views: one pass of decoding feeds every view that the detectors asked for."""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from models.credentials import read_credentials
from models.faces.align import five_point_crop, rectangle_crop
from models.faces.crop import face_crop, fit_frame
from models.faces.find import Finder
from models.faces.landmarks import Landmarks
from models.faces.thumbnail import Thumbnails
from models.faces.tools import FaceTools
from models.faces.track import FaceTracker, Sighting
from models.media.confined import zygote
from models.media.facts import Frame, Probe, Request
from models.media.limits import AUDIO_CODECS, SAMPLE_RATE_HZ, Limits
from models.media.plan import sample_indices
from models.media.sniff import STILLS
from models.media.stream import MediaStream, read
from models.media.windows import covered, cut_windows, window_starts
from models.types import Clip, Credentials, Kind, MediaFacts, ReasonCode, Timings, Track, View

DECODER_THREADS = 2


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was learnt while extracting. Small: the views themselves travel apart from it.

    `tracks` are in pixels of the upright picture, `timings` hold probe, decode, faces and their total. `audio_codec`
    is also that of a sound track that is not accepted; `heard_s` is how much sound could be decoded, if a view wanted
    any, and `audible_s` how much of it was not silence. `span_s` is the time from the first analysed frame to the last,
    `listened_s` how much of the sound lies in a window.
    """

    media: MediaFacts
    tracks: tuple[Track, ...]
    timings: Timings
    audio_codec: str = ""
    heard_s: float = 0.0
    audible_s: float = 0.0
    credentials: Credentials = field(default_factory=Credentials)
    span_s: float = 0.0
    listened_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Lack:
    """Why a view has no clip: from the fixed list, and in words."""

    code: ReasonCode
    why: str


class Extractor:
    """Extracts views. Several threads may use one at once."""

    def __init__(
        self, limits: Limits, threads: int = DECODER_THREADS, tools: FaceTools | None = None, trust_anchors: str = ""
    ) -> None:
        self._limits = limits
        self._trust_anchors = trust_anchors
        self._threads = threads
        self._tools = tools or FaceTools()
        self._predictor = self._tools.predictor()
        self._local = threading.local()  # finders keep scratch space and are not thread-safe

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
            The facts, and for each view its clips: one per face track, one for the whole frame, one for the sound, or
            none; `nothing_to_see` says why there is none.

        Raises:
            MediaError: the media cannot be analysed; one subclass per cause.
            Cancelled: `cancelled` was set.
            CatalogueError: a view needs points of the face that the face finder does not give.
        """
        started = time.monotonic()
        for view in views:
            self._tools.check(view)
        credentials = read_credentials(media, self._limits, self._trust_anchors, cancelled)
        with read(media, self._request(views), self._limits, cancelled) as stream:
            cutter = _Cutter(views, stream.probe, self._finder(), self._predictor)
            for frame in stream.frames():
                cutter.take(frame)
            ear = _Ear(stream)
        clips = {view: (ear if view.region == "audio" else cutter).clips(view) for view in views}
        timings = Timings(
            probe_s=stream.report.probe_s,
            decode_s=stream.report.decode_s,
            faces_s=cutter.faces_s,
            total_s=time.monotonic() - started,
        )
        extraction = Extraction(
            media=_facts(stream.probe, sha256, media.nbytes, cutter.frames),
            tracks=cutter.tracks(),
            timings=timings,
            audio_codec=stream.probe.audio_codec,
            heard_s=len(ear.samples) / SAMPLE_RATE_HZ,
            audible_s=ear.audible_s,
            credentials=credentials,
            span_s=cutter.last_s - cutter.first_s,
            listened_s=ear.listened_s,
        )
        return extraction, clips

    def _request(self, views: Sequence[View]) -> Request:
        """Pictures only if a view wants pictures, sound only if one wants sound."""
        counts = {view.count for view in views if view.region != "audio"}
        wants_sound = any(view.region == "audio" for view in views)
        return Request(counts=tuple(sorted(counts)), audio=wants_sound, threads=self._threads)

    def _finder(self) -> Finder:
        if not hasattr(self._local, "finder"):
            self._local.finder = self._tools.finder()
        finder: Finder = self._local.finder
        return finder


def nothing_to_see(view: View, extraction: Extraction) -> Lack:
    """Why a view has no clip."""
    if view.region == "audio":
        return _nothing_to_hear(view, extraction)
    frames = extraction.media.frames_analysed
    if extraction.media.kind == "audio":
        return Lack("nothing_applicable", "no pictures: there is only sound")
    if view.region == "face" and not extraction.tracks:
        return Lack("no_face", f"no face: none was found in {_frames(frames)}")
    if view.region == "face":
        seen = max(len(track.times_s) for track in extraction.tracks)
        where = f"seen in {_frames(seen)}" if seen < view.minimum else "seen in too few of the frames looked at"
        return Lack("too_few_frames", f"face too brief: {where}, {view.minimum} are needed")
    return Lack("too_few_frames", f"too few frames: {frames} could be decoded, {view.minimum} are needed")


def _nothing_to_hear(view: View, extraction: Extraction) -> Lack:
    if (why := _no_sound(extraction)) is not None:
        return Lack("nothing_applicable", f"no sound: {why}")
    if not extraction.audible_s:
        return Lack("silent", f"silence: nothing can be heard in {extraction.heard_s:.1f} s of sound")
    needed_s = view.minimum / SAMPLE_RATE_HZ
    heard = f"{extraction.audible_s:.1f} s of audible sound, {needed_s:.1f} s are needed"
    return Lack("too_short", f"too little sound: {heard}")


def _no_sound(extraction: Extraction) -> str | None:
    if extraction.media.kind == "image":
        return "a picture has none"
    if not extraction.audio_codec:
        return "the video has no sound track"
    if extraction.audio_codec not in AUDIO_CODECS:
        return f"the codec of the sound track, {extraction.audio_codec}, is not accepted"
    if not extraction.heard_s:
        return f"nothing of the {extraction.audio_codec} sound track could be decoded"
    return None


def _frames(count: int) -> str:
    return f"{count} analysed frame{'' if count == 1 else 's'}"


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

    def __init__(self, views: Iterable[View], probe: Probe, finder: Finder, predictor: Landmarks | None) -> None:
        self.frames = 0
        self.first_s = self.last_s = 0.0
        self.faces_s = 0.0
        self._wanted = {
            view: set(sample_indices(probe.frames_total, view.count).tolist())
            for view in views
            if view.region != "audio"
        }
        self._strips: dict[View, dict[int | None, _Strip]] = {view: {} for view in views}
        self._tracker = FaceTracker(finder)
        self._thumbnails = Thumbnails()
        self._predictor = predictor
        self._follows_faces = any(view.region == "face" for view in views)
        self._to_full_size = probe.width / max(probe.frame_width, 1)

    def take(self, frame: Frame) -> None:
        self.first_s = self.first_s if self.frames else frame.t_s
        self.last_s = frame.t_s
        self.frames += 1
        sightings = self._find(frame) if self._follows_faces else []
        for view, wanted in self._wanted.items():
            if frame.index in wanted:
                self._cut(view, frame, sightings)

    def tracks(self) -> tuple[Track, ...]:
        """The tracks, scaled from the frames handed out to the upright picture."""
        scale = np.float32(self._to_full_size)
        tracks = self._tracker.tracks()
        jpegs = self._thumbnails.jpegs(tracks)
        return tuple(
            replace(track, boxes_xyxy=track.boxes_xyxy * scale, thumbnail=jpegs.get(track.number, b""))
            for track in tracks
        )

    def clips(self, view: View) -> tuple[Clip, ...]:
        return tuple(
            strip.clip(track) for track, strip in self._strips[view].items() if len(strip.rows) >= view.minimum
        )

    def _find(self, frame: Frame) -> list[Sighting]:
        started = time.monotonic()
        sightings = self._tracker.step(frame.t_s, frame.pixels)
        for seen in sightings:
            self._thumbnails.offer(seen.track, frame.pixels, seen.box_xyxy)
        self.faces_s += time.monotonic() - started
        return sightings

    def _cut(self, view: View, frame: Frame, sightings: Iterable[Sighting]) -> None:
        strips = self._strips[view]
        if view.region == "frame":
            fitted = fit_frame(frame.pixels, view.size, view.fit, view.resample)
            strips.setdefault(None, _Strip()).add(fitted, frame.t_s)
        elif view.region == "face":
            for seen in sightings:
                strips.setdefault(seen.track, _Strip()).add(self._face(view, frame.pixels, seen), frame.t_s)

    def _face(self, view: View, pixels: NDArray[np.uint8], seen: Sighting) -> NDArray[np.uint8]:
        if view.align == "five_points" and seen.points is not None:
            return five_point_crop(pixels, seen.points, view.margin, view.size, view.resample)
        if view.align == "landmarks" and self._predictor is not None:
            points = self._predictor.of(pixels, seen.box_xyxy)
            return rectangle_crop(pixels, points, view.margin_px / self._to_full_size, view.size, view.resample)
        return face_crop(pixels, seen.box_xyxy, view.margin, view.size, view.resample)


class _Ear:
    """The sound of a stream whose frames were read, cut into windows; no samples if there is none."""

    def __init__(self, stream: MediaStream) -> None:
        sound = stream.audio()
        self.samples = np.empty(0, np.float32) if sound is None else sound
        self.audible_s = stream.audible_s
        self.listened_s = 0.0

    def clips(self, view: View) -> tuple[Clip, ...]:
        """One clip of windows, unless less can be heard than the view needs."""
        if round(self.audible_s * SAMPLE_RATE_HZ) < max(view.minimum, 1):
            return ()
        starts = window_starts(len(self.samples), view.size, view.count, view.hop)
        self.listened_s = max(self.listened_s, covered(starts, view.size, len(self.samples)) / SAMPLE_RATE_HZ)
        windows = cut_windows(self.samples, starts, view.size, repeat=view.fit == "repeat")
        return (Clip(windows, starts / SAMPLE_RATE_HZ),)


def _kind(probe: Probe) -> Kind:
    if probe.container in STILLS:
        return "image"
    return "video" if probe.codec else "audio"


def _facts(probe: Probe, sha256: str, size_bytes: int, frames: int) -> MediaFacts:
    return MediaFacts(
        kind=_kind(probe),
        sha256=sha256,
        size_bytes=size_bytes,
        container=probe.container,
        codec=probe.codec or probe.audio_codec,
        duration_s=probe.duration_s,
        width=probe.width,
        height=probe.height,
        fps=probe.fps,
        frames_total=probe.frames_total,
        frames_analysed=frames,
        audio_s=probe.audio_s,
    )
