"""What is said of a verdict is in the verdict."""

import re
from dataclasses import replace

import pytest

from models.explain.sentence import sentence
from models.types import DetectorReport, FaceReport, Label, MediaFacts, Region, TimelinePoint, Verdict

FILM = MediaFacts("video", "", 1, duration_s=10, frames_total=300, frames_analysed=16)
PICTURE = MediaFacts("image", "", 1, width=640, height=480, frames_total=1, frames_analysed=1)
RECORDING = MediaFacts("audio", "", 1, duration_s=3, audio_s=3)
FACE = FaceReport(0, 0.4, 3.2, 0.97, decided=True)


def report(model: str = "a", region: Region = "face", p_fake: float | None = 0.97, **more: object) -> DetectorReport:
    made = DetectorReport(model, "1", "ok", p_fake=p_fake, weight=1.0, region=region, calibrated=True)
    return replace(made, **more)  # type: ignore[arg-type]


FAKE = Verdict("FAKE", 0.97, 0.97, "", False, "ensemble", "ensemble", FILM, (report(),), (FACE,))  # noqa: FBT003
REAL = replace(FAKE, verdict="REAL", p_fake=0.03, faces=(replace(FACE, p_fake=0.03),))
TORN = replace(
    FAKE, verdict="UNDETERMINED", p_fake=0.52, confidence=0.52, reason="score spans the threshold: 0.52 lies between"
)
NOTHING = replace(
    FAKE, verdict="UNDETERMINED", p_fake=None, confidence=0.0, reason="no face: none was found in 16 frames", faces=()
)
KINDS = {
    "fake": (
        FAKE,
        (
            "The face seen from 0.4 to 3.2 s is very likely manipulated according to a (p_fake 0.97). "
            "16 of 300 frames were looked at. That is what detectors measured, and no proof."
        ),
    ),
    "real": (
        REAL,
        (
            "The face seen from 0.4 to 3.2 s shows hardly any sign of manipulation according to a (p_fake 0.03). "
            "16 of 300 frames were looked at. A low score is no proof that it is authentic."
        ),
    ),
    "undetermined between the bounds": (
        TORN,
        (
            "Whether the face seen from 0.4 to 3.2 s was manipulated cannot be told by a: score spans the threshold: "
            "0.52 lies between. 16 of 300 frames were looked at. That speaks neither for it nor against it."
        ),
    ),
    "undetermined without a score": (
        NOTHING,
        (
            "Nothing can be said about this video: no face: none was found in 16 frames. "
            "16 of 300 frames were looked at. That speaks neither for it nor against it."
        ),
    ),
    "picture": (
        replace(FAKE, media=PICTURE),
        (
            "The face in the picture is very likely manipulated according to a (p_fake 0.97). "
            "That is what detectors measured, and no proof."
        ),
    ),
    "picture as a whole": (
        replace(FAKE, media=PICTURE, faces=(), detectors=(report("b", "frame"),)),
        (
            "The picture as a whole is very likely manipulated according to b (p_fake 0.97). "
            "That is what detectors measured, and no proof."
        ),
    ),
    "recording": (
        replace(REAL, media=RECORDING, faces=(), detectors=(report("v", "audio", 0.03),)),
        (
            "The recording shows hardly any sign of manipulation according to v (p_fake 0.03). "
            "A low score is no proof that it is authentic."
        ),
    ),
    "animation": (
        replace(FAKE, media=replace(PICTURE, frames_total=30)),
        (
            "The face in the picture is very likely manipulated according to a (p_fake 0.97). "
            "Only the first of 30 pictures was looked at. That is what detectors measured, and no proof."
        ),
    ),
}


@pytest.mark.parametrize(("verdict", "said"), KINDS.values(), ids=KINDS.keys())
def test_each_kind_of_verdict_has_its_words(verdict: Verdict, said: str) -> None:
    assert sentence(verdict) == said


WORDS = [
    (0.999, "is very likely manipulated according to a (p_fake above 0.99)"),
    (0.95, "is very likely manipulated"),
    (0.94, "is likely manipulated"),
    (0.80, "is likely manipulated"),
    (0.79, "is rather manipulated than not"),
    (0.001, "shows hardly any sign of manipulation according to a (p_fake below 0.01)"),
    (0.05, "shows hardly any sign of manipulation"),
    (0.06, "shows little sign of manipulation"),
    (0.20, "shows little sign of manipulation"),
    (0.21, "shows no clear sign of manipulation"),
]


@pytest.mark.parametrize(("p_fake", "words"), WORDS)
def test_how_sure_it_is_follows_from_p_fake_by_bounds(p_fake: float, words: str) -> None:
    label: Label = "FAKE" if p_fake > 0.5 else "REAL"
    verdict = replace(FAKE, verdict=label, p_fake=p_fake, faces=(replace(FACE, p_fake=p_fake),))
    assert words in sentence(verdict)


def test_of_several_faces_the_one_that_decided_is_named() -> None:
    faces = (replace(FACE, decided=False, p_fake=0.1), replace(FACE, track=1, start_s=1.0, end_s=1.0))
    assert "Face 1, one of 2 seen at 1.0 s, is very likely" in sentence(replace(FAKE, faces=faces))


def test_when_a_score_is_highest_is_said_where_there_is_a_timeline() -> None:
    points = tuple(TimelinePoint(t, face, p) for t, face, p in ((0.5, 0, 0.7), (2.5, 0, 0.98), (2.8, 1, 0.99)))
    assert "manipulated, most clearly around 2.5 s, according" in sentence(replace(FAKE, timeline=points))
    assert "around" not in sentence(replace(FAKE, timeline=points[:1]))
    assert "around" not in sentence(replace(FAKE, timeline=points, media=PICTURE))
    assert "around" not in sentence(replace(REAL, timeline=points))


def test_only_detectors_that_had_a_say_are_named() -> None:
    detectors = (report("a"), report("b"), report("c"), report("shy", weight=0.0), report("x", "frame", None))
    assert "according to a, b and c (p_fake" in sentence(replace(FAKE, detectors=detectors))


def test_a_score_that_is_not_calibrated_is_called_no_probability() -> None:
    detectors = (report("a"), report("b", calibrated=False))
    assert "(p_fake 0.97, which is not calibrated and so no probability)" in sentence(
        replace(FAKE, detectors=detectors)
    )


def test_who_did_not_answer_is_named() -> None:
    missing = (report("b", p_fake=None, status="late"), report("c", p_fake=None, status="not_installed"))
    detectors = (report(), *missing, report("d", p_fake=None, status="not_applicable"))
    verdict = replace(FAKE, detectors=detectors, degraded=True)
    assert "16 of 300 frames were looked at; b and c did not answer." in sentence(verdict)


def test_sound_without_a_say_is_said() -> None:
    spoken = replace(FAKE, media=replace(FILM, audio_s=9.0))
    said = "the sound has no part in this"
    assert said in sentence(spoken)
    assert said in sentence(replace(spoken, detectors=(report(), report("v", "audio", 0.5, weight=0.0))))
    assert said not in sentence(replace(spoken, detectors=(report(), report("v", "audio", 0.5))))
    assert said not in sentence(FAKE)


def test_a_video_that_was_only_listened_to_says_so() -> None:
    media = replace(FILM, frames_analysed=0, audio_s=9.0)
    verdict = replace(FAKE, media=media, faces=(), detectors=(report("v", "audio"),))
    assert sentence(verdict).startswith("The sound of the video is very likely manipulated according to v")
    assert "None of 300 frames were looked at." in sentence(verdict)


def test_faces_without_a_score_are_counted() -> None:
    faces = (FACE, replace(FACE, track=1, p_fake=None, decided=False))
    assert "of 2 faces 1 was scored" in sentence(replace(FAKE, faces=faces))


@pytest.mark.parametrize("verdict", [verdict for verdict, _ in KINDS.values()], ids=KINDS.keys())
def test_there_are_at_most_three_sentences(verdict: Verdict) -> None:
    missing = report("z", p_fake=None, status="failed")
    text = sentence(replace(verdict, detectors=(*verdict.detectors, missing)))
    assert text.endswith(".")
    assert len(re.findall(r"\.(?:\s|$)", text)) == 3


def test_the_score_is_that_of_who_decided_where_another_scored_higher_and_abstained() -> None:
    faces = (replace(FACE, decided=False, p_fake=0.99), replace(FACE, track=1, p_fake=0.85))
    text = sentence(replace(FAKE, p_fake=0.99, faces=faces))
    assert "Face 1, one of 2 seen from 0.4 to 3.2 s, is likely manipulated according to a (p_fake 0.85)" in text


def test_where_face_and_voice_differ_it_is_said() -> None:
    said = sentence(replace(FAKE, disagreement="face and voice differ: face 0 is FAKE, the voice is REAL"))
    assert "looked at; face and voice differ: face 0 is FAKE, the voice is REAL. That" in said
