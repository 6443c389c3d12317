"""What is drawn: the part of a verdict that can be seen. It travels to the confined child as JSON."""

import base64
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from models.types import FaceReport, Heat, Kind, Label, TimelinePoint, Verdict

_SUBJECTS = {"audio": "sound", "frame": "picture"}


class Bounds(Protocol):
    """Between which calibrated scores nothing is decided."""

    real_below: float
    fake_above: float


@dataclass(frozen=True, slots=True)
class Face:
    """One face: `times_s` and `boxes_xyxy` have a row per frame in which it was found.

    Boxes are in pixels of the upright picture. `lost_frames` is how many analysed frames in between did not show it.
    `heat` is where a detector looked, if that is to be drawn.
    """

    name: str
    p_fake: float | None
    decided: bool
    lost_frames: int
    times_s: tuple[float, ...]
    boxes_xyxy: tuple[tuple[float, float, float, float], ...]
    heat: Heat | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """Scores of one subject (`face 0`, `picture`, `sound`) over time; times increase."""

    name: str
    times_s: tuple[float, ...]
    p_fake: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time above the threshold."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that is drawn. `duration_s` is that of the pictures, or of the sound if there are none."""

    kind: Kind
    verdict: Label
    p_fake: float | None
    reason: str
    real_below: float
    fake_above: float
    duration_s: float
    faces: tuple[Face, ...] = ()
    curves: tuple[Curve, ...] = ()
    spans: tuple[Span, ...] = ()

    @classmethod
    def of(cls, verdict: Verdict, bounds: Bounds) -> "Scene":
        """What of a verdict is drawn.

        Args:
            verdict: as the pipeline or the router gives it.
            bounds: those the verdict was reached with.
        """
        heat = {found.track: found for found in verdict.evidence.heat}
        return cls(
            kind=verdict.media.kind,
            verdict=verdict.verdict,
            p_fake=verdict.p_fake,
            reason=verdict.reason,
            real_below=bounds.real_below,
            fake_above=bounds.fake_above,
            duration_s=verdict.media.duration_s or verdict.media.audio_s,
            faces=tuple(_face(face, heat.get(face.track)) for face in verdict.faces),
            curves=tuple(_curves(verdict.timeline)),
            spans=tuple(Span(segment.start_s, segment.end_s) for segment in verdict.segments),
        )

    def to_json(self) -> bytes:
        """As `from_json` reads it."""
        return json.dumps(asdict(self), default=_text).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Scene":
        """The scene that `to_json` wrote. It comes from our own process: nothing is checked."""
        fields: dict[str, Any] = _tupled(json.loads(data))
        faces = tuple(Face(**{**face, "heat": _heat(face["heat"])}) for face in fields["faces"])
        curves = tuple(Curve(**curve) for curve in fields["curves"])
        spans = tuple(Span(**span) for span in fields["spans"])
        return cls(**{**fields, "faces": faces, "curves": curves, "spans": spans})


def _tupled(value: Any) -> Any:
    """JSON with tuples where it has lists."""
    if isinstance(value, dict):
        return {key: _tupled(item) for key, item in value.items()}
    return tuple(map(_tupled, value)) if isinstance(value, list) else value


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _heat(fields: dict[str, Any] | None) -> Heat | None:
    return Heat(**{**fields, "levels": base64.b64decode(fields["levels"])}) if fields else None


def _face(report: FaceReport, heat: Heat | None) -> Face:
    return Face(
        name=f"face {report.track}",
        p_fake=report.p_fake,
        decided=report.decided,
        lost_frames=report.lost_frames,
        times_s=tuple(box.t_s for box in report.boxes),
        boxes_xyxy=tuple(box.xyxy for box in report.boxes),
        heat=heat,
    )


def _curves(timeline: Iterable[TimelinePoint]) -> Iterable[Curve]:
    found: dict[str, list[TimelinePoint]] = defaultdict(list)
    for point in timeline:
        found[_SUBJECTS.get(point.region, f"face {point.face}")].append(point)
    for name, points in found.items():
        yield Curve(name, tuple(point.t_s for point in points), tuple(point.p_fake for point in points))
