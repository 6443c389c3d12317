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
CredentialsState = Literal["not_read", "none", "invalid", "valid"]
Integrity = Literal["not_checked", "intact", "broken"]
SignerTrust = Literal["not_checked", "trusted", "untrusted"]
DetectorState = Literal["ok", "not_applicable", "not_needed", "failed", "late", "not_installed"]
Mode = Literal["ensemble", "cascade", "selection", "single"]
ReasonCode = Literal[
    "",  # not UNDETERMINED
    "no_face",  # none was found in the frames looked at
    "face_too_small",  # every face is below `verdict.face_px` of the catalogue
    "too_few_frames",  # fewer frames, or frames with the face, than a detector needs
    "too_short",  # less audible sound than a detector needs
    "silent",  # there is sound, and nothing can be heard in it
    "nothing_applicable",  # no detector that was asked takes what the media has
    "detectors_disagree",  # some are sure that it is fake, others that it is real
    "spans_threshold",  # p_fake lies between the bounds of the verdict
    "no_answer",  # who should have answered failed, was late or is not installed
    "only_reported",  # only detectors answered that are not fused
]
Trend = Literal["rising", "falling", "stable"]
Pattern = Literal["sustained_fake", "sustained_real", "alternating", "uncertain"]
SaliencyMethod = Literal["grad_cam", "attention_rollout", "occlusion"]


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
    probability. `seconds` passed from asking it to its answer, waiting for others included.
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
    seconds: float = 0.0


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
class DeclaredAction:
    """What a manifest says was done, in its own terms (C2PA 2.2, "Actions"): a claim, not a finding of ours.

    Attributes:
        action: such as `c2pa.created`, `c2pa.opened`, `c2pa.edited`.
        digital_source_type: how the content came about, in IPTC's terms, such as `trainedAlgorithmicMedia`; or empty.
        software: what did it.
        when: as declared, RFC 3339; or empty.
        earlier: declared for an earlier version of this file, which the signed one was made from.
    """

    action: str
    digital_source_type: str = ""
    software: str = ""
    when: str = ""
    earlier: bool = False


@dataclass(frozen=True, slots=True)
class Credentials:
    """Content credentials: what the C2PA manifest inside the file says, and what of that holds.

    Nothing here enters the verdict. Texts are the maker's own, cleaned of what does not print, and cut.

    Attributes:
        status: `none`: the file holds no manifest, which is evidence of nothing; `valid` or `invalid` by the rules of
            C2PA, whoever signed; `not_read`: `why` says why.
        why: why it was not read; else empty.
        integrity: `intact`: the signature fits the manifest, and the manifest's hash fits the file; `broken`: one of
            them does not.
        signer_trusted: whether the signer's certificate leads to the operator's trust list; `not_checked` without one.
        signer: common name in the signer's certificate.
        organisation: organisation in the signer's certificate.
        signed_at: RFC 3339, from a time stamp over the signature; empty if there is none.
        generator: the program that made the manifest.
        actions: what was done, at most 16 of them, the newest version of the file first.
        source_types: every `digital_source_type` of all actions, once.
        ingredients: how many other files the signed one was made from.
        problems: C2PA's codes of what failed, such as `assertion.dataHash.mismatch`.
        sentence: all of this in words.
    """

    status: CredentialsState = "not_read"
    why: str = ""
    integrity: Integrity = "not_checked"
    signer_trusted: SignerTrust = "not_checked"
    signer: str = ""
    organisation: str = ""
    signed_at: str = ""
    generator: str = ""
    actions: tuple[DeclaredAction, ...] = ()
    source_types: tuple[str, ...] = ()
    ingredients: int = 0
    problems: tuple[str, ...] = ()
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is said of one modality: of all faces, of the whole frames, or of the sound.

    Attributes:
        region: which.
        verdict: as the media's, of this modality alone.
        p_fake: of its most fake subject; None if nothing could be scored.
        reason_code, reason: why the verdict is UNDETERMINED; else empty.
        detectors: ids of those whose scores it rests on.
        decides: False where it is made of detectors that are not fused: it is reported and has no part in the verdict.
        face: the track that decided, if faces were looked at and one was scored.
    """

    region: Region
    verdict: Label
    p_fake: float | None
    reason_code: ReasonCode
    reason: str
    detectors: tuple[str, ...] = ()
    decides: bool = True
    face: int | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """From `t_s` on the timeline is past the other bound of the verdict: from REAL to FAKE, or back."""

    t_s: float
    to: Label


@dataclass(frozen=True, slots=True)
class Temporal:
    """How a subject's score runs over time; of each finding that decides, the subject that decided it.

    Attributes:
        source: as in `Segment`: `face 0`, `frame` or `audio`.
        consistency: `1 - min(2 * variance, 1)` of `p_fake` over its points.
        trend, slope_per_s: the Theil-Sen slope of `p_fake` per second, and what it comes to from first to last point.
        pattern: `sustained_fake` or `sustained_real` if four fifths of the points are past that bound and none past
            the other; `alternating` if there are transitions; else `uncertain`.
        transitions: where it crosses from one side of the band between the bounds to the other.
        anomalies_s: times of points far from the median.
    """

    source: str
    consistency: float
    trend: Trend
    slope_per_s: float
    pattern: Pattern
    transitions: tuple[Transition, ...] = ()
    anomalies_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Analysed:
    """How much of the media was looked at and listened to.

    Attributes:
        frames: analysed frames out of all, 0 to 1; 0 where there is none.
        span_s: seconds from the first analysed frame to the last.
        sound: share of the sound that lay in at least one window, 0 to 1; 0 where there is none.
    """

    frames: float = 0.0
    span_s: float = 0.0
    sound: float = 0.0


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
class Heat:
    """Where a detector looked in one face over time, to be drawn over it.

    Attributes:
        track: the face's.
        margin: of the square around the face box that the detector saw, as `View.margin`.
        times_s: of the maps; they increase.
        size_hw: height and width of each map.
        levels: `(T, h, w)` uint8, row by row; each map is scaled to its own strongest place, which is 255.
    """

    track: int
    margin: float
    times_s: tuple[float, ...]
    size_hw: tuple[int, int]
    levels: bytes


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
        heat: of the faces of `maps`, to be drawn over them; only when asked for. `/analyze` leaves it out.
    """

    sentence: str = ""
    frames: tuple[TimelinePoint, ...] = ()
    maps: tuple[SaliencyMap, ...] = ()
    unexplained: tuple[Unexplained, ...] = ()
    heat: tuple[Heat, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer. The same from the library, the command, the deployment handle and the HTTP routes.

    `p_fake` is None when nothing could be scored; `confidence` is `max(p_fake, 1 - p_fake)`, and then 0.
    `disagreement` says in words where faces and voice are found to be different.
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
    credentials: Credentials = field(default_factory=Credentials)
    reason_code: ReasonCode = ""
    findings: tuple[Finding, ...] = ()
    analysed: Analysed = field(default_factory=Analysed)
    temporal: tuple[Temporal, ...] = ()
    disagreement: str = ""
    evidence: Evidence = field(default_factory=Evidence)
