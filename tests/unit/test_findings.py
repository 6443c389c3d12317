"""What is said of faces, frames and sound each, and when nothing can be said."""

from dataclasses import replace

import numpy as np
import pytest

from models.detectors.catalogue import CalibrationRow, ModelRow, VerdictRow, read_catalogue
from models.extraction import Extraction
from models.fusion import fuse
from models.outcomes import Outcome, not_applicable
from models.types import ClipScore, Finding, MediaFacts, ReasonCode, Region, Timings, Track, Verdict

BOUNDS = VerdictRow(real_below=0.4, fake_above=0.6)
FILM = MediaFacts("video", "00", 1, duration_s=4.0, frames_total=64, frames_analysed=16, audio_s=4.0)


def film(*sides_px: float, media: MediaFacts = FILM) -> Extraction:
    """A clip with a face of each of these sizes."""
    boxes = [np.tile(np.array([0, 0, side / 2, side], np.float32), (16, 1)) for side in sides_px]
    tracks = tuple(Track(number, np.linspace(0, 4, 16), box) for number, box in enumerate(boxes))
    heard = {"audio_codec": "aac", "heard_s": 4.0, "audible_s": 4.0, "span_s": 3.75, "listened_s": 3.0}
    return Extraction(media, tracks, Timings(), **heard)  # type: ignore[arg-type]


def row(model: str, region: Region = "face", weight: float = 1.0, *, fused: bool = True) -> ModelRow:
    first = read_catalogue().rows[0]
    view = first.view.model_copy(update={"region": region})
    calibration = CalibrationRow(scale=1.0, bias=0.0)
    return first.model_copy(
        update={"id": model, "view": view, "fused": fused, "calibration": calibration, "weight": weight}
    )


def ok(of: ModelRow, *logits: float) -> Outcome:
    """A score per face; of frames and sound there is one."""
    faces = of.view.region == "face"
    return Outcome(of, "ok", tuple(ClipScore(logit, track=i if faces else None) for i, logit in enumerate(logits)))


def judged(*outcomes: Outcome, of: Extraction | None = None, model: str = "ensemble") -> Verdict:
    return fuse(of or film(90), outcomes, BOUNDS, model)


def finding(verdict: Verdict, region: Region) -> Finding:
    return next(found for found in verdict.findings if found.region == region)


FACE, FRAME, VOICE = row("face"), row("frame", "frame"), row("voice", "audio")
SHY = row("shy", "audio", fused=False)


def test_the_media_is_as_fake_as_its_most_fake_finding() -> None:
    found = judged(ok(FACE, -3.0), ok(FRAME, 2.0), ok(VOICE, -3.0))
    assert found.verdict == "FAKE"
    assert found.p_fake == finding(found, "frame").p_fake
    assert [part.verdict for part in found.findings] == ["REAL", "FAKE", "REAL"]


def test_a_finding_that_abstains_with_a_score_keeps_the_media_from_being_called_real() -> None:
    found = judged(ok(FACE, -3.0), ok(VOICE, 0.1))
    assert (found.verdict, found.reason_code) == ("UNDETERMINED", "spans_threshold")


def test_a_finding_without_a_score_says_nothing() -> None:
    silent = Outcome(VOICE, "not_applicable", why="silence", code="silent")
    found = judged(ok(FACE, -3.0), silent)
    assert (found.verdict, finding(found, "audio").reason_code) == ("REAL", "silent")


def test_the_face_that_decided_is_named() -> None:
    found = judged(ok(FACE, -3.0, 3.0), of=film(90, 90))
    assert finding(found, "face").face == 1
    assert [face.decided for face in found.faces] == [False, True]


def test_what_is_not_fused_has_a_finding_that_decides_nothing() -> None:
    found = judged(ok(FACE, -3.0), ok(SHY, 5.0))
    voice = finding(found, "audio")
    assert (voice.verdict, voice.decides, voice.detectors) == ("FAKE", False, ("shy",))
    assert found.verdict == "REAL"


def test_fused_and_reported_detectors_of_one_kind_are_not_mixed() -> None:
    found = judged(ok(VOICE, -3.0), ok(SHY, 5.0))
    assert [(part.region, part.verdict, part.decides) for part in found.findings] == [
        ("audio", "REAL", True),
        ("audio", "FAKE", False),
    ]


def test_every_one_asked_for_by_name_decides() -> None:
    found = judged(ok(FACE, -3.0), ok(SHY, 5.0), model="face,shy")
    assert (found.verdict, found.mode) == ("FAKE", "selection")
    assert all(part.decides for part in found.findings)


@pytest.mark.parametrize(
    ("face", "sound", "said"),
    [
        (3.0, -3.0, "face and voice differ: face 0 is FAKE (p(fake) 0.95), the voice is REAL (p(fake) 0.05)"),
        (-3.0, 3.0, "face and voice differ: face 0 is REAL (p(fake) 0.05), the voice is FAKE (p(fake) 0.95)"),
        (3.0, 3.0, ""),
        (0.0, -3.0, ""),
    ],
)
def test_a_face_and_a_voice_that_differ_are_said_in_words(face: float, sound: float, said: str) -> None:
    assert judged(ok(FACE, face), ok(VOICE, sound)).disagreement == said


def test_a_disagreement_says_that_the_voice_is_only_reported() -> None:
    assert judged(ok(FACE, 3.0), ok(SHY, -3.0)).disagreement.endswith("the voice is REAL (p(fake) 0.05, only reported)")


def test_detectors_that_are_sure_of_opposite_things_make_it_undetermined() -> None:
    found = judged(ok(row("a"), 5.0), ok(row("b"), -3.0))
    assert (found.verdict, found.reason_code) == ("UNDETERMINED", "detectors_disagree")
    assert found.reason == "detectors disagree: b 0.05, a 0.99"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (ok(row("a"), 5.0), ok(row("b"), -1.0)),  # 0.27 is below the bound, not far below
        (ok(row("a"), 5.0), ok(row("b", weight=0.2), -3.0)),  # counts for too little
        (ok(row("a"), 5.0), ok(ModelRow(**row("bare").model_dump(exclude={"calibration"})), -3.0)),  # no probability
    ],
    ids=["not sure", "light", "not calibrated"],
)
def test_a_lesser_difference_is_no_disagreement(first: Outcome, second: Outcome) -> None:
    assert judged(first, second).reason_code != "detectors_disagree"


def test_a_face_that_detectors_disagree_on_does_not_hide_a_fake_one() -> None:
    found = judged(ok(row("a"), 6.0, 1.0), ok(row("b"), -3.0, 1.0), of=film(90, 90))
    assert found.verdict == "FAKE"
    assert [face.decided for face in found.faces] == [False, True]


def test_a_face_with_too_few_pixels_is_not_judged() -> None:
    found = judged(ok(FACE, 5.0), of=film(47))
    assert (found.verdict, found.p_fake, found.reason_code) == ("UNDETERMINED", None, "face_too_small")
    assert found.reason == "face too small: 47 pixels, 48 are needed"
    assert [detector.status for detector in found.detectors] == ["not_applicable"]


def test_a_small_face_beside_a_large_one_is_left_out() -> None:
    found = judged(ok(FACE, 5.0, -3.0), of=film(20, 90))
    assert found.verdict == "REAL"
    assert found.faces[0].p_fake is None


NO_SCORE: dict[str, tuple[ReasonCode, Extraction, tuple[ModelRow, ...]]] = {
    "no face": ("no_face", film(), (FACE,)),
    "too few frames": ("too_few_frames", film(), (FRAME,)),
    "silence": ("silent", replace(film(), audible_s=0.0), (VOICE,)),
    "a word": ("too_short", replace(film(), audible_s=0.2), (VOICE,)),
    "no sound track": ("nothing_applicable", replace(film(), audio_codec=""), (VOICE,)),
    "a recording": ("nothing_applicable", film(media=replace(FILM, kind="audio", frames_analysed=0)), (FACE,)),
}


@pytest.mark.parametrize(("code", "of", "rows"), NO_SCORE.values(), ids=NO_SCORE.keys())
def test_what_cannot_be_judged_has_a_reason_from_the_list(
    code: ReasonCode, of: Extraction, rows: tuple[ModelRow, ...]
) -> None:
    found = judged(*(not_applicable(row, of) for row in rows), of=of)
    assert (found.verdict, found.p_fake, found.reason_code) == ("UNDETERMINED", None, code)
    assert found.reason


def test_nobody_who_should_answer_does() -> None:
    found = judged(Outcome(FACE, "failed", why="x"), Outcome(row("b"), "late", why="y"))
    assert (found.reason_code, found.degraded) == ("no_answer", True)


def test_only_reported_is_a_reason() -> None:
    found = judged(not_applicable(FACE, film()), ok(SHY, 5.0), of=film())
    assert (found.verdict, found.reason_code) == ("UNDETERMINED", "only_reported")


def test_a_verdict_has_no_reason() -> None:
    assert judged(ok(FACE, 5.0)).reason_code == ""


def test_what_is_down_changes_neither_bounds_nor_the_others_score() -> None:
    whole = judged(ok(FACE, 0.3), ok(row("b"), 0.3))
    found = judged(ok(FACE, 0.3), Outcome(row("b"), "failed", why="x"))
    assert (found.p_fake, found.verdict, found.reason) == (whole.p_fake, "UNDETERMINED", whole.reason)
    assert found.degraded


def test_how_much_was_analysed_is_always_given() -> None:
    share = judged(Outcome(FACE, "failed", why="x")).analysed
    assert (share.frames, share.span_s, share.sound) == (0.25, 3.75, 0.75)
    nothing = judged(ok(VOICE, 1.0), of=film(media=replace(FILM, frames_total=0, frames_analysed=0, audio_s=0.0)))
    assert (nothing.analysed.frames, nothing.analysed.sound) == (0.0, 0.0)
