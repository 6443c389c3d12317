"""Scores over time as the geometry of a drawing: what an SVG needs to be written by a template."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from serve_app.schemas import TimelineBody, VerdictBody

WIDTH, HEIGHT = 720.0, 200.0
LEFT, RIGHT, TOP, BOTTOM = 36.0, 8.0, 8.0, 24.0  # room for the axes' letters
MOST_LINES = 8  # more cannot be told apart; the highest are shown
STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
MOST_TICKS = 10


@dataclass(frozen=True, slots=True)
class Line:
    """One subject's scores: its name, a number from 0 that tells lines apart, and points of the drawing."""

    name: str
    number: int
    points: tuple[tuple[float, float], ...]
    peak: float

    @property
    def path(self) -> str:
        """The points as SVG's `polyline` takes them."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where, and what is written there."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in the drawing."""

    left: float
    width: float


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing of `WIDTH` by `HEIGHT`. `left_out` counts the lines that are not shown."""

    lines: tuple[Line, ...]
    left_out: int
    ticks: tuple[Tick, ...]
    segments: tuple[Span, ...]
    real_y: float
    fake_y: float
    left: float = LEFT
    right: float = WIDTH - RIGHT
    top: float = TOP
    bottom: float = HEIGHT - BOTTOM
    width: float = WIDTH
    height: float = HEIGHT


def chart(verdict: VerdictBody, real_below: float, fake_above: float) -> Chart | None:
    """The drawing of a verdict's timeline; None where nothing was scored over time."""
    if not verdict.timeline:
        return None
    end_s = max(verdict.media.duration_s, *(point.t_s for point in verdict.timeline), 0.001)
    lines = sorted(_lines(verdict.timeline, end_s), key=lambda line: -line.peak)
    spans = tuple(
        Span(x_of(part.start_s, end_s), max(x_of(part.end_s, end_s) - x_of(part.start_s, end_s), 2.0))
        for part in verdict.segments
    )
    return Chart(
        lines=tuple(sorted(lines[:MOST_LINES], key=lambda line: line.number)),
        left_out=max(len(lines) - MOST_LINES, 0),
        ticks=ticks(end_s),
        segments=spans,
        real_y=y_of(real_below),
        fake_y=y_of(fake_above),
    )


def ticks(end_s: float) -> tuple[Tick, ...]:
    """Marks of round times from 0 on, not more than can be read."""
    step = next((step for step in STEPS_S if end_s / step <= MOST_TICKS), end_s / MOST_TICKS)
    count = math.floor(end_s / step) + 1
    return tuple(Tick(x_of(number * step, end_s), clock(number * step)) for number in range(count))


def clock(seconds: float) -> str:
    """A time in a film: `0.4 s`, `12 s`, `3:07`, `1:02:30`."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def x_of(t_s: float, end_s: float) -> float:
    """Where a moment is drawn."""
    return LEFT + (WIDTH - LEFT - RIGHT) * min(max(t_s / end_s, 0.0), 1.0)


def y_of(p_fake: float) -> float:
    """Where a score is drawn: 1 is at the top."""
    return TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - p_fake)


def _lines(timeline: Sequence[TimelineBody], end_s: float) -> list[Line]:
    subjects: dict[str, list[TimelineBody]] = {}
    for point in timeline:
        subjects.setdefault(subject(point.region, point.face), []).append(point)
    return [
        Line(
            name,
            number,
            tuple((x_of(point.t_s, end_s), y_of(point.p_fake)) for point in sorted(points, key=lambda p: p.t_s)),
            max(point.p_fake for point in points),
        )
        for number, (name, points) in enumerate(subjects.items())
    ]


def subject(region: str, face: int | None) -> str:
    """What a score is of, in words."""
    if region == "face":
        return "a face" if face is None else f"face {face}"
    return {"frame": "whole frames", "audio": "sound"}[region]
