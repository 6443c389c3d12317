import math
from dataclasses import replace

import numpy as np
import pytest

from models.detectors.catalogue import CalibrationRow, ModelRow, VerdictRow, read_catalogue
from models.extraction import Extraction
from models.fusion import Outcome, fuse, sigmoid
from models.types import ClipScore, Kind, MediaFacts, Region, Timings, Track

BOUNDS = VerdictRow(real_below=0.45, fake_above=0.55)


def row(model: str = "a", weight: float = 1.0, scale: float = 1.0, bias: float = 0.0) -> ModelRow:
    calibration = CalibrationRow(scale=scale, bias=bias)
    return read_catalogue().rows[0].model_copy(update={"id": model, "weight": weight, "calibration": calibration})


def extraction(*sightings: int, frames: int = 16) -> Extraction:
    """A clip of 1 s with one face track per argument, seen in that many frames."""
    tracks = tuple(
        Track(number, np.linspace(0, 1, seen), np.tile(np.array([0, 0, 90, 90], np.float32), (seen, 1)))
        for number, seen in enumerate(sightings)
    )
    return Extraction(MediaFacts("video", "00", 1, frames_analysed=frames), tracks, Timings())


def ok(logits: dict[int | None, float], model: ModelRow | None = None) -> Outcome:
    scores = tuple(ClipScore(logit, (logit, logit), track, (0.0, 1.0)) for track, logit in logits.items())
    return Outcome(model or row(), "ok", scores)


@pytest.mark.parametrize(
    ("logit", "verdict"), [(2.0, "FAKE"), (-2.0, "REAL"), (0.0, "UNDETERMINED"), (0.1, "UNDETERMINED")]
)
def test_the_bounds_decide_and_the_band_between_them_abstains(logit: float, verdict: str) -> None:
    found = fuse(extraction(16), [ok({0: logit})], BOUNDS, "a")
    assert found.verdict == verdict
    assert found.p_fake == pytest.approx(sigmoid(logit))
    assert found.confidence == pytest.approx(max(sigmoid(logit), 1 - sigmoid(logit)))
    assert bool(found.reason) == (verdict == "UNDETERMINED")


def test_a_video_is_as_fake_as_its_most_fake_face() -> None:
    found = fuse(extraction(16, 16), [ok({0: -3.0, 1: 3.0})], BOUNDS, "a")
    assert found.verdict == "FAKE"
    assert [face.decided for face in found.faces] == [False, True]
    assert found.faces[0].p_fake == pytest.approx(sigmoid(-3.0))


def test_calibration_is_applied_before_fusion_and_weights_count() -> None:
    outcomes = [
        ok({0: 1.0}, row("a", weight=3.0, scale=2.0, bias=-1.0)),  # calibrated: 1
        ok({0: -3.0}, row("b", weight=1.0)),
    ]
    found = fuse(extraction(16), outcomes, BOUNDS, "ensemble")
    assert found.p_fake == pytest.approx(sigmoid((3 * 1.0 + 1 * -3.0) / 4))
    assert found.mode == "ensemble"
    assert [d.p_fake for d in found.detectors] == [pytest.approx(sigmoid(1.0)), pytest.approx(sigmoid(-3.0))]


def test_no_face_is_undetermined_with_the_reason() -> None:
    why = "no face: none was found in 16 analysed frames"
    found = fuse(extraction(), [Outcome(row(), "not_applicable", why=why)], BOUNDS, "a")
    assert (found.verdict, found.p_fake, found.confidence, found.reason) == ("UNDETERMINED", None, 0.0, why)
    assert not found.degraded


@pytest.mark.parametrize(("kind", "sense"), [("audio", "listens to sound"), ("image", "looks at pictures")])
def test_media_that_no_detector_takes_says_where_to_find_one(kind: Kind, sense: str) -> None:
    wrong = of("frame" if kind == "audio" else "audio")
    media = replace(extraction().media, kind=kind)
    found = fuse(replace(extraction(), media=media), [Outcome(wrong, "not_applicable", why="x")], BOUNDS, "a")
    assert found.reason == f"no detector that was asked {sense}: `unmask models list` shows those that do"


def test_the_reason_is_that_of_a_detector_which_takes_the_media() -> None:
    outcomes = [
        Outcome(of("face"), "not_applicable", why="no face"),
        Outcome(of("audio"), "not_applicable", why="mute"),
    ]
    heard = replace(extraction(), media=replace(extraction().media, kind="audio"))
    assert fuse(heard, outcomes, BOUNDS, "ensemble").reason == "mute"
    assert fuse(extraction(), outcomes, BOUNDS, "ensemble").reason == "no face"


@pytest.mark.parametrize("status", ["failed", "late", "not_installed"])
def test_a_detector_that_is_down_degrades_the_answer_and_is_named(status: str) -> None:
    outcomes = [ok({0: 3.0}, row("a")), Outcome(row("b"), status)]  # type: ignore[arg-type]
    found = fuse(extraction(16), outcomes, BOUNDS, "ensemble")
    assert found.verdict == "FAKE"
    assert found.degraded
    assert [(d.id, d.status) for d in found.detectors] == [("a", "ok"), ("b", status)]


@pytest.mark.parametrize("logit", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_a_failure_and_not_a_score(logit: float) -> None:
    found = fuse(extraction(16), [ok({0: 3.0}, row("a")), ok({0: logit}, row("b"))], BOUNDS, "ensemble")
    assert [(d.id, d.status) for d in found.detectors] == [("a", "ok"), ("b", "failed")]
    assert found.p_fake == pytest.approx(sigmoid(3.0))
    assert found.degraded


def test_what_is_not_installed_is_not_missed_on_media_that_it_does_not_take() -> None:
    silent = replace(extraction(16), media=replace(extraction().media, audio_s=0.0))
    spoken = replace(extraction(16), media=replace(extraction().media, audio_s=3.0))
    outcomes = [ok({0: 3.0}), Outcome(of("audio", "b"), "not_installed", why="x")]
    assert not fuse(silent, outcomes, BOUNDS, "ensemble").degraded
    found = fuse(spoken, outcomes, BOUNDS, "ensemble")
    assert found.degraded
    assert [d.status for d in found.detectors] == ["ok", "not_installed"]


def test_what_is_missing_does_not_hide_why_the_others_found_nothing() -> None:
    outcomes = [Outcome(row(), "not_applicable", why="no face"), Outcome(of("frame", "b"), "not_installed", why="pull")]
    assert fuse(extraction(), outcomes, BOUNDS, "x").reason == "no detector answered: b not_installed (pull); no face"


@pytest.mark.parametrize(("fields", "calibrated"), [({}, True), ({"calibration"}, False)])
def test_a_report_says_whether_its_probability_is_one(fields: set[str], calibrated: bool) -> None:
    content = read_catalogue().rows[0].model_dump(exclude=fields)
    found = fuse(extraction(16), [ok({0: 3.0}, ModelRow(**content))], BOUNDS, "a")
    assert found.detectors[0].calibrated is calibrated


def test_when_no_detector_answers_nothing_is_made_up() -> None:
    found = fuse(extraction(16), [Outcome(row("b"), "failed", why="RuntimeError")], BOUNDS, "b")
    assert found.verdict == "UNDETERMINED"
    assert found.p_fake is None
    assert "b failed" in found.reason


def test_a_face_seen_in_one_frame_of_many_does_not_decide() -> None:
    found = fuse(extraction(16, 1), [ok({0: -3.0, 1: 5.0})], BOUNDS, "a")
    assert found.verdict == "REAL"
    assert found.faces[1].p_fake is None


def test_a_face_seen_once_decides_a_single_frame() -> None:
    assert fuse(extraction(1, frames=1), [ok({0: 5.0})], BOUNDS, "a").verdict == "FAKE"


def test_segments_are_runs_above_the_threshold_of_one_face() -> None:
    logits = (-2.0, 3.0, 4.0, -2.0, 2.0)
    score = ClipScore(3.0, logits, 0, tuple(float(t) for t in range(5)))
    found = fuse(extraction(5, frames=5), [Outcome(row(), "ok", (score,))], BOUNDS, "a")
    assert [(s.start_s, s.end_s, s.source) for s in found.segments] == [(1.0, 2.0, "face 0"), (4.0, 4.0, "face 0")]
    assert found.segments[0].peak == pytest.approx(sigmoid(4.0))
    assert [point.t_s for point in found.timeline] == [0.0, 1.0, 2.0, 3.0, 4.0]


def of(region: Region, model: str = "a", weight: float = 1.0) -> ModelRow:
    made = row(model, weight)
    return made.model_copy(update={"view": made.view.model_copy(update={"region": region})})


def test_a_fake_voice_is_not_averaged_away_by_a_real_picture() -> None:
    outcomes = [ok({None: -3.0}, of("frame")), ok({None: 3.0}, of("audio", "b"))]
    found = fuse(extraction(), outcomes, BOUNDS, "ensemble")
    assert found.p_fake == pytest.approx(sigmoid(3.0))
    assert {(point.region, point.face) for point in found.timeline} == {("frame", None), ("audio", None)}
    assert [segment.source for segment in found.segments] == ["audio"]


def test_a_detector_of_whole_frames_makes_a_finding_of_its_own_and_changes_no_face() -> None:
    outcomes = [ok({0: 1.0, 1: -3.0}, of("face")), ok({None: 4.0}, of("frame", "b"))]
    found = fuse(extraction(16, 16), outcomes, BOUNDS, "ensemble")
    assert [face.p_fake for face in found.faces] == [pytest.approx(sigmoid(1.0)), pytest.approx(sigmoid(-3.0))]
    assert [finding.region for finding in found.findings] == ["face", "frame"]
    assert [finding.p_fake for finding in found.findings] == [pytest.approx(sigmoid(1.0)), pytest.approx(sigmoid(4.0))]
    assert found.p_fake == pytest.approx(sigmoid(4.0))
    assert not any(face.decided for face in found.faces)


def test_windows_make_a_timeline_at_their_middles() -> None:
    score = ClipScore(1.0, track=None, per_window_logits=(-2.0, 2.0), windows_s=((0.0, 4.0), (3.0, 7.0)))
    found = fuse(extraction(), [Outcome(of("audio"), "ok", (score,))], BOUNDS, "a")
    assert [point.t_s for point in found.timeline] == [2.0, 5.0]
    assert [point.p_fake for point in found.timeline] == pytest.approx([sigmoid(-2.0), sigmoid(2.0)])


@pytest.mark.parametrize(("region", "middle_s"), [("audio", 0.8), ("frame", 2.0)])
def test_a_window_that_was_filled_up_ends_with_the_sound(region: Region, middle_s: float) -> None:
    score = ClipScore(2.0, track=None, per_window_logits=(2.0,), windows_s=((0.0, 4.0),))
    short = replace(extraction(), media=replace(extraction().media, audio_s=1.6))
    found = fuse(short, [Outcome(of(region), "ok", (score,))], BOUNDS, "a")
    assert [point.t_s for point in found.timeline] == [middle_s]


def test_curves_with_different_times_are_fused_between_their_points_and_alone_beyond_the_ends() -> None:
    sparse = ClipScore(0.0, (0.0, 4.0), 0, (0.0, 2.0))
    late = ClipScore(0.0, (2.0, 2.0), 0, (1.0, 3.0))
    found = fuse(extraction(16), [Outcome(row("a"), "ok", (sparse,)), Outcome(row("b"), "ok", (late,))], BOUNDS, "x")
    expected = {0.0: 0.0, 1.0: (2.0 + 2.0) / 2, 2.0: (4.0 + 2.0) / 2, 3.0: 2.0}
    assert {point.t_s: pytest.approx(point.p_fake) for point in found.timeline} == {
        t_s: sigmoid(logit) for t_s, logit in expected.items()
    }


@pytest.mark.parametrize("logit", [-1000.0, -1.0, 0.0, 1.0, 1000.0])
def test_sigmoid_is_finite_and_symmetric(logit: float) -> None:
    assert math.isfinite(sigmoid(logit))
    assert sigmoid(logit) == pytest.approx(1 - sigmoid(-logit))


def unfused(region: Region = "audio") -> ModelRow:
    return of(region, "shy").model_copy(update={"fused": False})


def test_what_is_not_fused_is_reported_with_weight_0_and_decides_nothing_in_the_ensemble() -> None:
    found = fuse(extraction(16), [ok({0: -2.0}), ok({None: 5.0}, unfused())], BOUNDS, "ensemble")
    assert found.verdict == "REAL"
    assert [d.weight for d in found.detectors] == [1.0, 0.0]
    assert found.detectors[1].p_fake == pytest.approx(sigmoid(5.0))
    assert {point.region for point in found.timeline} == {"face"}


def test_what_is_not_fused_decides_when_it_is_asked_for_by_name() -> None:
    found = fuse(extraction(16), [ok({None: 5.0}, unfused())], BOUNDS, "shy")
    assert (found.verdict, found.detectors[0].weight) == ("FAKE", 1.0)


def test_where_only_what_is_not_fused_has_a_score_the_reason_names_it_and_why_the_others_have_none() -> None:
    outcomes = [Outcome(of("face"), "not_applicable", why="no face"), ok({None: 5.0}, unfused())]
    found = fuse(extraction(), outcomes, BOUNDS, "ensemble")
    assert found.verdict == "UNDETERMINED"
    assert found.p_fake == pytest.approx(sigmoid(5.0))
    assert found.reason == "shy only reported: experimental, it decides when it is asked for by name; no face"


def test_a_failure_of_what_is_not_fused_does_not_degrade_the_ensemble() -> None:
    found = fuse(extraction(16), [ok({0: 2.0}), Outcome(unfused(), "failed", why="x")], BOUNDS, "ensemble")
    assert not found.degraded
