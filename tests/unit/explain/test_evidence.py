from dataclasses import replace

import pytest

from models.explain.evidence import explained_by, to_explain, weighed_most, with_evidence
from models.explain.subject import Moments, Subject, decider
from models.types import (
    DetectorReport,
    DetectorState,
    FaceReport,
    MediaFacts,
    Region,
    TimelinePoint,
    Unexplained,
    Verdict,
)

FILM = MediaFacts("video", "", 1, duration_s=10, frames_total=300, frames_analysed=16)


def report(model: str, region: Region, p_fake: float | None, weight: float = 1.0) -> DetectorReport:
    status: DetectorState = "ok" if p_fake is not None else "late"
    return DetectorReport(model, "1", status, p_fake=p_fake, weight=weight, region=region, calibrated=True)


def face(track: int, p_fake: float | None, *, decided: bool = False) -> FaceReport:
    return FaceReport(track, 0.0, 3.0, p_fake, decided=decided)


def curve(track: int | None, *p_fakes: float, region: Region = "face") -> tuple[TimelinePoint, ...]:
    return tuple(TimelinePoint(float(t), track, p, region) for t, p in enumerate(p_fakes))


def verdict(*faces: FaceReport, detectors: tuple[DetectorReport, ...] = (), p_fake: float | None = 0.9) -> Verdict:
    made = Verdict("FAKE", p_fake, 0.9, "", degraded=False, mode="ensemble", model="ensemble", media=FILM)
    return replace(made, faces=faces, detectors=detectors or (report("a", "face", 0.9),))


DECIDERS: dict[str, tuple[Verdict, Subject | None]] = {
    "no score": (verdict(face(0, None), p_fake=None), None),
    "a face": (verdict(face(0, 0.2), face(1, 0.9, decided=True)), ("face", 1)),
    "frames": (verdict(detectors=(report("a", "frame", 0.9), report("b", "audio", 0.2))), ("frame", None)),
    "sound": (verdict(detectors=(report("a", "frame", 0.2), report("b", "audio", 0.9))), ("audio", None)),
    "not who is only reported": (
        verdict(detectors=(report("a", "frame", 0.6), report("b", "audio", 0.99, weight=0.0))),
        ("frame", None),
    ),
    "certain scores": (verdict(detectors=(report("a", "frame", 1.0), report("b", "audio", 0.0))), ("frame", None)),
}


@pytest.mark.parametrize(("of", "subject"), DECIDERS.values(), ids=DECIDERS.keys())
def test_who_decided_is_read_off_the_verdict(of: Verdict, subject: Subject | None) -> None:
    assert decider(of) == subject


@pytest.mark.parametrize(
    ("p_fakes", "times_s"),
    [((0.2, 0.9, 0.7, 0.99, 0.8), (3.0, 1.0, 4.0)), ((0.2, 0.6, 0.1, 0.3), (2.0, 0.0, 3.0)), ((), ())],
    ids=["up", "down", "no timeline"],
)
def test_the_frames_that_weighed_most_go_furthest_the_way_of_their_mean(
    p_fakes: tuple[float, ...], times_s: tuple[float, ...]
) -> None:
    of = replace(verdict(face(0, 0.9, decided=True)), timeline=curve(0, *p_fakes) + curve(1, 0.999, 0.001))
    assert tuple(point.t_s for point in weighed_most(of, ("face", 0))) == times_s


def test_evidence_has_the_sentence_the_frames_of_who_decided_and_what_failed() -> None:
    of = replace(verdict(face(0, 0.9, decided=True)), timeline=curve(0, 0.8, 0.9))
    evidence = with_evidence(of, unexplained=[Unexplained("a", "RuntimeError")]).evidence
    assert evidence.sentence.startswith("The face seen from 0.0 to 3.0 s is likely manipulated")
    assert [point.p_fake for point in evidence.frames] == [0.9, 0.8]
    assert evidence.unexplained == (Unexplained("a", "RuntimeError"),)
    assert evidence.maps == ()


def test_maps_are_made_of_who_decided_then_of_other_forged_faces_then_of_frames() -> None:
    faces = (face(0, 0.1), face(1, 0.7), face(2, 0.9, decided=True), face(3, None), face(4, 0.8), face(5, 0.6))
    of = replace(verdict(*faces), timeline=curve(2, 0.9, 0.95) + curve(4, 0.7))
    assert to_explain(of) == (
        Moments(2, (1.0, 0.0)),
        Moments(4, (0.0,)),
        Moments(1, ()),
        Moments(None, (1.0, 0.0)),  # no detector scores frames: those that matter for the face do
    )


def test_a_real_face_that_decided_is_explained() -> None:
    assert to_explain(verdict(face(0, 0.1, decided=True), p_fake=0.1))[0].track == 0


def test_only_detectors_of_pictures_that_had_a_say_are_explained() -> None:
    reports = (report("a", "face", 0.9), report("b", "face", None), report("c", "audio", 0.9))
    shy = report("d", "frame", 0.9, weight=0.0)
    assert explained_by(verdict(detectors=(*reports, shy, report("e", "frame", 0.1)))) == ("a", "e")
