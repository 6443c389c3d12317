"""What travels between the stages. Frozen dataclasses of arrays; no dicts, no behaviour beyond shape."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Region = Literal["frame", "face", "audio"]
Fit = Literal["squash", "crop", "pad", "centre", "repeat"]
Resample = Literal["area", "nearest", "bilinear", "bicubic", "lanczos"]
Align = Literal["box", "landmarks", "five_points"]
Spacing = Literal["uniform"]
Precision = Literal["fp32", "bf16", "fp16"]
Class = Literal["fake", "real"]
Kind = Literal["video", "image", "audio"]
Label = Literal["FAKE", "REAL", "UNDETERMINED"]
SaliencyMethod = Literal["grad_cam", "attention_rollout", "occlusion"]
DetectorState = Literal["ok", "not_applicable", "failed", "late", "not_installed"]


@dataclass(frozen=True, slots=True)
class View:
    """What one detector needs to see. Equal views are extracted once.

    Attributes:
        region: `frame` (the whole picture), `face` (a square crop per face track) or `audio`.
        size: side of the square output in pixels, or samples at 16 kHz of one window for `audio`.
        fit: how a picture fills the square: `squash`, `crop` (scaled, then its centre), `pad` (black), `centre` (its
            centre without scaling; smaller pictures are mirrored outward). How sound shorter than a window fills it:
            `pad` (silence after it) or `repeat`.
        margin: for `face`, what is added around the face box on each side, as a share of its longer side.
        count: how many frames, or windows of sound, at most.
        spacing: `uniform` is `linspace(0, total - 1, count)` over the frames in display order, and over where windows
            of sound can start.
        resample: `area` averages when it shrinks and is linear when it grows; the others are Pillow's filters, which
            published detectors were trained with. `nearest` keeps every colour as it was.
        align: for `face`: `box` is the square around the face box; `landmarks` the rectangle around 68 landmarks plus
            `margin_px`, squashed; `five_points` turns and scales eyes, nose and mouth to fixed places.
        margin_px: for `landmarks`, added on each side, in pixels of the picture.
        minimum: frames of one subject, or samples of audible sound, below which the view is not extracted.
        hop: samples between the starts of windows of sound; 0 spreads `count` windows evenly.
    """

    region: Region
    size: int
    fit: Fit = "squash"
    margin: float = 0.0
    count: int = 16
    spacing: Spacing = "uniform"
    resample: Resample = "area"
    align: Align = "box"
    margin_px: int = 0
    minimum: int = 1
    hop: int = 0


@dataclass(frozen=True, slots=True)
class Clip:
    """One view of one subject: a face track, the whole frame, or the sound.

    Attributes:
        data: `(T, H, W, 3)` uint8 RGB, or `(T, samples)` float32 in [-1, 1] for windows of sound.
        times_s: `(T,)` float64, presentation times of the rows of `data`; of sound, where each window starts.
        track: the face track's number; None for the whole frame and for sound.
    """

    data: NDArray[np.uint8] | NDArray[np.float32]
    times_s: NDArray[np.float64]
    track: int | None = None


@dataclass(frozen=True, slots=True)
class Track:
    """One face followed through the clip. Only frames in which it was really found have a row.

    Attributes:
        number: counts from 0 in order of first appearance.
        times_s: `(T,)` float64.
        boxes_xyxy: `(T, 4)` float32 in pixels of the upright picture (`MediaFacts.width`, `.height`).
        lost_s: times of analysed frames between first and last in which the face was not found.
        thumbnail: JPEG of the largest, sharpest sighting; empty where there are too many tracks for each to have one.
    """

    number: int
    times_s: NDArray[np.float64]
    boxes_xyxy: NDArray[np.float32]
    lost_s: tuple[float, ...] = ()
    thumbnail: bytes = b""


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What was learnt about the media while reading it. Width and height are of the upright picture."""

    kind: Kind
    sha256: str
    size_bytes: int
    container: str = ""
    codec: str = ""
    duration_s: float = 0.0
    width: int = 0
    height: int = 0
    fps: float = 0.0
    frames_total: int = 0
    frames_analysed: int = 0
    audio_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ClipScore:
    """A detector's answer for one clip, before calibration.

    Attributes:
        logit: of the whole clip; higher is more fake.
        per_frame_logits: `(T,)`, only from a head that was trained per frame; else empty.
        track: as in the `Clip`.
        times_s: `(T,)`, the times of `per_frame_logits`.
        per_window_logits: `(W,)`, of stretches of the clip that were judged as a whole; else empty.
        windows_s: `(W, 2)`, start and end of each stretch.
    """

    logit: float
    per_frame_logits: tuple[float, ...] = ()
    track: int | None = None
    times_s: tuple[float, ...] = ()
    per_window_logits: tuple[float, ...] = ()
    windows_s: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds spent per stage. Decoding and face finding overlap, so the stages may add up to more than total."""

    receive_s: float = 0.0
    probe_s: float = 0.0
    decode_s: float = 0.0
    faces_s: float = 0.0
    detectors_s: float = 0.0
    total_s: float = 0.0


@dataclass(frozen=True, slots=True)
class DetectorReport:
    """What became of one detector in one analysis.

    `region` is what it looks at, or `audio`. Where it is not `calibrated`, its `p_fake` puts clips in order and is no
    probability.
    """

    id: str
    revision: str
    status: DetectorState
    why: str = ""
    p_fake: float | None = None
    weight: float = 0.0
    device: str = ""
    gpu_memory_bytes: int = 0
    region: Region = "face"
    calibrated: bool = False


@dataclass(frozen=True, slots=True)
class FaceBox:
    """Where a face was at one moment; pixels of the upright picture."""

    t_s: float
    xyxy: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class FaceReport:
    """One face track with its score; `decided` marks the face that decided the verdict, `thumbnail` is a JPEG."""

    track: int
    start_s: float
    end_s: float
    p_fake: float | None
    decided: bool
    lost_frames: int = 0
    boxes: tuple[FaceBox, ...] = ()
    thumbnail: bytes = b""


@dataclass(frozen=True, slots=True)
class TimelinePoint:
    """A calibrated score at one moment: of one face, or (`face` None) of the whole frame or the sound."""

    t_s: float
    face: int | None
    p_fake: float
    region: Region = "face"


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the timeline that stays above the threshold."""

    start_s: float
    end_s: float
    mean: float
    peak: float
    source: str


@dataclass(frozen=True, slots=True)
class SaliencyMap:
    """Where a detector looked in one of its rows.

    Attributes:
        track: the face's; None for the whole frame.
        t_s: time of the frame.
        detector: its id.
        method: `grad_cam` and `occlusion` show what raised the score of "fake", `attention_rollout` what was looked at.
        heatmap: PNG of the map over the crop, at most 256 pixels on a side; the stronger, the redder.
        crop: PNG of what the detector saw, of the same size.
    """

    track: int | None
    t_s: float
    detector: str
    method: SaliencyMethod
    heatmap: bytes
    crop: bytes


@dataclass(frozen=True, slots=True)
class Unexplained:
    """A detector of which no map could be made, and why. Its score stands."""

    detector: str
    why: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the verdict rests on, for people.

    Attributes:
        sentence: in plain words, at most three sentences.
        frames: points of the timeline of the subject that decided, those furthest the way it went first.
        maps: of the faces that speak for a forgery and the frames that weighed most; only when asked for.
        unexplained: the detectors without a map, if maps were asked for.
    """

    sentence: str = ""
    frames: tuple[TimelinePoint, ...] = ()
    maps: tuple[SaliencyMap, ...] = ()
    unexplained: tuple[Unexplained, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer. The same from the library, the command, the deployment handle and the HTTP routes.

    `p_fake` is None when nothing could be scored; `confidence` is `max(p_fake, 1 - p_fake)`, and then 0.
    """

    verdict: Label
    p_fake: float | None
    confidence: float
    reason: str
    degraded: bool
    mode: str
    model: str
    media: MediaFacts
    detectors: tuple[DetectorReport, ...] = ()
    faces: tuple[FaceReport, ...] = ()
    timeline: tuple[TimelinePoint, ...] = ()
    segments: tuple[Segment, ...] = ()
    timings: Timings = field(default_factory=Timings)
    evidence: Evidence = field(default_factory=Evidence)
