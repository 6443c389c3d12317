"""What holds of fusion for any detectors, scores and order."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.detectors.catalogue import CalibrationRow, ModelRow, VerdictRow, read_catalogue
from models.extraction import Extraction
from models.fusion import fuse
from models.outcomes import Outcome
from models.types import ClipScore, MediaFacts, Region, Timings, Track, Verdict

FIRST = read_catalogue().rows[0]
BOX = np.tile(np.array([0, 0, 90, 90], np.float32), (2, 1))
CLIP = Extraction(
    MediaFacts("video", "00", 1, frames_total=32, frames_analysed=16, audio_s=2.0),
    tuple(Track(number, np.array([0.0, 1.0]), BOX) for number in range(2)),
    Timings(),
)
REGIONS: tuple[Region, ...] = ("face", "frame", "audio")
logits = st.floats(-1e6, 1e6)
anything = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def models(draw: st.DrawFn) -> list[ModelRow]:
    """One to five rows of any calibration and weight."""
    found = []
    for number in range(draw(st.integers(1, 5))):
        region = draw(st.sampled_from(REGIONS))
        calibration = CalibrationRow(scale=draw(st.floats(0.001, 100)), bias=draw(st.floats(-20, 20)))
        changes: dict[str, Any] = {
            "id": f"m{number}",
            "view": FIRST.view.model_copy(update={"region": region}),
            "calibration": calibration,
            "weight": draw(st.floats(0.01, 10)),
            "fused": draw(st.booleans()),
        }
        found.append(FIRST.model_copy(update=changes))
    return found


def scored(row: ModelRow, values: Sequence[float]) -> Outcome:
    """Scores of two faces, or of the frame or the sound, each with a curve."""
    subjects = enumerate(values) if row.view.region == "face" else [(None, values[0])]
    curve = {"per_frame_logits": tuple(values), "times_s": (0.0, 1.0)}
    return Outcome(row, "ok", tuple(ClipScore(value, track=track, **curve) for track, value in subjects))  # type: ignore[arg-type]


def outcomes(data: st.DataObject, values: st.SearchStrategy[float]) -> list[Outcome]:
    return [scored(row, data.draw(st.tuples(values, values))) for row in data.draw(models())]


def judged(found: Sequence[Outcome]) -> Verdict:
    return fuse(CLIP, found, VerdictRow(), "ensemble")


def numbers(value: Any) -> list[float]:
    """Every float in nested dictionaries and sequences."""
    if isinstance(value, dict):
        return [number for part in value.values() for number in numbers(part)]
    if isinstance(value, list | tuple):
        return [number for part in value for number in numbers(part)]
    return [value] if isinstance(value, float) else []


@given(st.data())
def test_raising_any_score_of_any_detector_lowers_no_probability(data: st.DataObject) -> None:
    before = outcomes(data, logits)
    which = data.draw(st.integers(0, len(before) - 1))
    raised = [score.logit + data.draw(st.floats(0, 1e6)) for score in before[which].scores]
    after = [*before]
    after[which] = scored(before[which].row, [*raised, *raised][:2])
    low, high = judged(before), judged(after)
    assert (low.p_fake or 0.0) <= (high.p_fake or 0.0)
    assert all((a.p_fake or 0.0) <= (b.p_fake or 0.0) for a, b in zip(low.faces, high.faces, strict=True))
    assert all((a.p_fake or 0.0) <= (b.p_fake or 0.0) for a, b in zip(low.findings, high.findings, strict=True))


@given(st.data())
def test_the_order_of_the_detectors_changes_nothing(data: st.DataObject) -> None:
    found = outcomes(data, logits)
    one, other = judged(found), judged(data.draw(st.permutations(found)))
    assert (one.verdict, one.p_fake, one.reason_code, one.faces) == (
        other.verdict,
        other.p_fake,
        other.reason_code,
        other.faces,
    )
    assert [(f.region, f.verdict, f.p_fake) for f in one.findings] == [
        (f.region, f.verdict, f.p_fake) for f in other.findings
    ]
    assert (one.timeline, one.temporal) == (other.timeline, other.temporal)


@given(st.data())
def test_whatever_detectors_say_what_leaves_is_finite_and_probabilities_lie_between_0_and_1(
    data: st.DataObject,
) -> None:
    found = judged(outcomes(data, anything))
    assert all(map(math.isfinite, numbers(asdict(found))))
    parts: list[Any] = [found, *found.detectors, *found.faces, *found.findings, *found.timeline]
    assert all(part.p_fake is None or 0 <= part.p_fake <= 1 for part in parts)


@given(st.data())
def test_a_detector_that_fails_is_as_one_that_was_never_there(data: st.DataObject) -> None:
    found = outcomes(data, logits)
    which = data.draw(st.integers(0, len(found) - 1))
    without = judged([*found[:which], *found[which + 1 :]])
    down = judged([*found[:which], Outcome(found[which].row, "failed", why="x"), *found[which + 1 :]])
    assert (down.p_fake, down.verdict) == (without.p_fake, without.verdict)
