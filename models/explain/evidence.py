"""What decided, and when: read off a verdict."""

from collections.abc import Sequence
from dataclasses import replace

from models.explain.sentence import sentence
from models.explain.subject import ROWS, Moments, Subject, decider
from models.types import Evidence, SaliencyMap, TimelinePoint, Unexplained, Verdict

FACES = 3  # whose maps are made at most
EVEN = 0.5  # p_fake above it speaks for a forgery


def with_evidence(
    verdict: Verdict, maps: Sequence[SaliencyMap] = (), unexplained: Sequence[Unexplained] = ()
) -> Verdict:
    """The verdict with the sentence, the frames that weighed most, and maps if there are any."""
    frames = weighed_most(verdict, decider(verdict))
    return replace(verdict, evidence=Evidence(sentence(verdict), frames, tuple(maps), tuple(unexplained)))


def weighed_most(verdict: Verdict, subject: Subject | None) -> tuple[TimelinePoint, ...]:
    """The points of a subject's timeline that go furthest the way its own mean goes: up above one half, else down.

    A point is a frame where a detector scores frames, else the middle of a window; without either there is none.
    """
    points = [point for point in verdict.timeline if (point.region, point.face) == subject]
    if not points:
        return ()
    up = sum(point.p_fake for point in points) / len(points) > EVEN
    return tuple(sorted(points, key=lambda point: (-point.p_fake if up else point.p_fake, point.t_s))[:ROWS])


def to_explain(verdict: Verdict) -> tuple[Moments, ...]:
    """Of what maps are made: the face that decided first, others that speak for a forgery, then whole frames."""
    scored = [face for face in verdict.faces if face.p_fake is not None]
    chosen = [face for face in scored if face.decided or (face.p_fake or 0) > EVEN]
    chosen.sort(key=lambda face: (not face.decided, -(face.p_fake or 0)))
    faces = tuple(_moments(verdict, ("face", face.track)) for face in chosen[:FACES])
    frames = _moments(verdict, ("frame", None))
    if not frames.times_s and faces:  # no detector has a timeline of frames: those that matter for the face do
        frames = replace(frames, times_s=faces[0].times_s)
    return (*faces, frames)


def explained_by(verdict: Verdict) -> tuple[str, ...]:
    """Ids of the detectors whose maps are made: those that look at pictures, have an answer and decide."""
    return tuple(
        report.id
        for report in verdict.detectors
        if report.status == "ok" and report.weight > 0 and report.region != "audio"
    )


def _moments(verdict: Verdict, subject: Subject) -> Moments:
    return Moments(subject[1], tuple(point.t_s for point in weighed_most(verdict, subject)))
