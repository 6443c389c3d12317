"""What a person reads about one file."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from models.types import (
    Analysed,
    Credentials,
    DetectorReport,
    Evidence,
    FaceReport,
    Finding,
    MediaFacts,
    Region,
    Temporal,
    Transition,
    Verdict,
)
from serve_app.analysis import in_words
from serve_app.schemas import VerdictBody


def words(media: MediaFacts, *faces: FaceReport, detectors: tuple[DetectorReport, ...] = (), **more: Any) -> str:
    verdict = Verdict(
        "REAL",
        0.1,
        0.9,
        "",
        degraded=False,
        mode="ensemble",
        model="ensemble",
        media=media,
        faces=faces,
        detectors=detectors,
        **({"credentials": Credentials("none", sentence="No content credentials.")} | more),
    )
    console = Console(file=io.StringIO(), width=120)
    in_words(Path("file"), VerdictBody.model_validate(verdict), console)
    text: Any = console.file
    return str(text.getvalue())


FILM = MediaFacts("video", "", 1, duration_s=10, frames_total=300, frames_analysed=16, audio_s=9.9)
KINDS = {
    "film": (FILM, "16 of 300 frames of 10.0 s analysed"),
    "film that was only listened to": (
        MediaFacts("video", "", 1, duration_s=10, frames_total=300, audio_s=9.9),
        "9.9 s of sound analysed",
    ),
    "picture": (
        MediaFacts("image", "", 1, width=640, height=480, frames_total=1, frames_analysed=1),
        "picture of 640x480 analysed",
    ),
    "animation": (
        MediaFacts("image", "", 1, width=640, height=480, frames_total=30, frames_analysed=1),
        "picture of 640x480, the first of 30, analysed",
    ),
    "recording": (MediaFacts("audio", "", 1, duration_s=3, audio_s=3), "3.0 s of sound analysed"),
}


@pytest.mark.parametrize(("media", "said"), KINDS.values(), ids=KINDS.keys())
def test_what_was_analysed_is_said_in_the_words_of_its_kind(media: MediaFacts, said: str) -> None:
    assert f"  {said} in 0.00 s by no detector\n" in words(media)


def report(model: str, region: Region, p_fake: float | None = 0.1, *, calibrated: bool = True) -> DetectorReport:
    return DetectorReport(model, "1", "ok", p_fake=p_fake, region=region, calibrated=calibrated)


def test_sound_that_nobody_listened_to_is_said() -> None:
    said = "the sound (9.9 s) was not listened to"
    assert said in words(FILM, detectors=(report("a", "face"),))
    assert said not in words(FILM, detectors=(report("a", "face"), report("b", "audio")))
    assert said not in words(replace(FILM, audio_s=0.0), detectors=(report("a", "face"),))
    assert said not in words(KINDS["picture"][0], detectors=(report("a", "face"),))


def test_scores_that_are_no_probabilities_are_said() -> None:
    detectors = report("a", "face"), report("b", "audio", calibrated=False)
    assert "not calibrated: b;" in words(FILM, detectors=detectors)
    assert "not calibrated" not in words(FILM, detectors=detectors[:1])


def test_a_face_in_a_picture_has_no_times() -> None:
    face = FaceReport(0, 0.0, 0.0, 0.1, decided=True)
    assert "face 0: p(fake) 0.10, decided" in words(KINDS["picture"][0], face)
    assert "face 0: 0.0 to 0.0 s, p(fake) 0.10, decided" in words(FILM, face)


ALONE, OTHER = DetectorReport("a", "1", "ok", p_fake=0.1), DetectorReport("b", "1", "ok", p_fake=0.93)


def test_what_each_detector_says_is_told_where_several_answered() -> None:
    assert "p(fake) of each: a 0.10, b 0.93\n" in words(FILM, detectors=(ALONE, OTHER))
    assert "of each" not in words(FILM, detectors=(ALONE,))


def test_a_detector_that_should_have_answered_is_named() -> None:
    down, deaf = DetectorReport("c", "1", "not_installed"), DetectorReport("d", "1", "not_applicable")
    assert "degraded, did not answer: c (not installed)\n" in words(FILM, detectors=(ALONE, down, deaf))
    assert "degraded" not in words(FILM, detectors=(ALONE, deaf))


def test_content_credentials_are_said_where_there_are_any() -> None:
    assert "credentials" not in words(FILM)
    signed = Credentials("valid", sentence='Content credentials signed by "[bold]A".')
    assert '  Content credentials signed by "[bold]A".\n' in words(FILM, credentials=signed)


FACES = Finding("face", "FAKE", 0.9, "", "", ("a",), face=0)
VOICE = Finding("audio", "REAL", 0.2, "", "", ("b",), decides=False)


def test_findings_are_told_where_there_are_several() -> None:
    said = words(FILM, findings=(FACES, VOICE), disagreement="face and voice differ: so and so")
    assert "  faces: FAKE, p(fake) 0.90\n" in said
    assert "  voice: REAL, p(fake) 0.20; only reported, decides nothing\n" in said
    assert "  face and voice differ: so and so\n" in said
    assert "faces:" not in words(FILM, findings=(FACES,))


def test_a_finding_that_abstains_says_why_and_one_with_nothing_to_look_at_is_not_told() -> None:
    silent = Finding("audio", "UNDETERMINED", None, "silent", "silence: nothing can be heard in 9.9 s of sound")
    nothing = Finding("audio", "UNDETERMINED", None, "nothing_applicable", "no sound: a picture has none")
    assert "voice: UNDETERMINED, silence: nothing" in words(FILM, findings=(FACES, silent))
    assert "voice" not in words(FILM, findings=(FACES, nothing))


def test_changes_over_time_are_told() -> None:
    run = Temporal("face 0", 0.8, "rising", 0.1, "alternating", (Transition(1.25, "FAKE"), Transition(2.0, "REAL")))
    assert "face 0 over time: rising, FAKE from 1.2 s, REAL from 2.0 s\n" in words(FILM, temporal=(run,))
    assert "over time" not in words(FILM, temporal=(replace(run, transitions=()),))


def test_sound_that_was_heard_in_part_is_said() -> None:
    assert "11% of the sound was listened to" in words(FILM, analysed=Analysed(sound=0.11))
    assert "listened to" not in words(FILM, detectors=(report("b", "audio"),), analysed=Analysed(sound=1.0))


def test_the_sentence_is_said_in_place_of_the_reason() -> None:
    verdict = Verdict("REAL", 0.1, 0.9, "why", degraded=False, mode="ensemble", model="ensemble", media=FILM)
    console = Console(file=io.StringIO(), width=120)
    in_words(Path("file"), VerdictBody.model_validate(replace(verdict, evidence=Evidence("It says so."))), console)
    text: Any = console.file
    assert "  It says so.\n" in text.getvalue()
    assert "why" not in text.getvalue()
