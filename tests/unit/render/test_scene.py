from dataclasses import replace

from models.render.scene import Curve, Scene, Span
from models.types import Evidence, FaceBox, FaceReport, Heat, MediaFacts, Segment, TimelinePoint, Verdict
from tests.scenes import FACE, scene

HEAT = Heat(0, 0.3, (0.0, 0.5), (1, 2), bytes((0, 7, 255, 128)))


class Bounds:
    real_below, fake_above = 0.4, 0.6


def test_a_scene_survives_its_way_to_the_child() -> None:
    face = replace(FACE, heat=HEAT)
    for sent in (scene(reason="é"), scene(faces=(FACE, face))):
        assert Scene.from_json(sent.to_json()) == sent


def test_a_verdict_s_timeline_becomes_a_curve_per_subject() -> None:
    points = (
        TimelinePoint(0.0, 0, 0.1),
        TimelinePoint(0.0, None, 0.3, "audio"),
        TimelinePoint(0.5, 0, 0.2),
        TimelinePoint(0.5, None, 0.4, "frame"),
    )
    boxes = (FaceBox(0.0, (1, 2, 3, 4)),)
    verdict = Verdict(
        verdict="REAL",
        p_fake=0.1,
        confidence=0.9,
        reason="",
        degraded=False,
        mode="ensemble",
        model="ensemble",
        media=MediaFacts("video", "", 1, duration_s=2.0),
        faces=(FaceReport(0, 0.0, 0.0, 0.1, decided=True, boxes=boxes),),
        timeline=points,
        segments=(Segment(0.0, 0.5, 0.7, 0.8, "face 0"),),
        evidence=Evidence(heat=(HEAT,)),
    )
    drawn = Scene.of(verdict, Bounds())
    assert drawn.curves == (
        Curve("face 0", (0.0, 0.5), (0.1, 0.2)),
        Curve("sound", (0.0,), (0.3,)),
        Curve("picture", (0.5,), (0.4,)),
    )
    assert [list(box) for box in drawn.faces[0].boxes_xyxy] == [[1, 2, 3, 4]]
    assert drawn.faces[0].heat == HEAT
    assert drawn.spans == (Span(0.0, 0.5),)
    assert (drawn.duration_s, drawn.real_below, drawn.fake_above) == (2.0, 0.4, 0.6)
