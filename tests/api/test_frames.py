from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from models.types import Temporal, TimelinePoint, Verdict
from serve_app.uploads import Upload
from tests.api.conftest import FakeService, verdict

CLIP = {"video": ("clip.mp4", b"bytes of a clip", "video/mp4")}


def scored(**changes: Any) -> Any:
    def answer(upload: Upload, model: str) -> Verdict:
        return replace(verdict(upload, model), **changes)

    return answer


def points(*scores: float) -> tuple[TimelinePoint, ...]:
    return tuple(TimelinePoint(float(t), 0, score) for t, score in enumerate(scores))


def test_every_frame_of_who_decided_has_a_prediction_by_the_bounds_of_the_verdict(
    client: TestClient, service: FakeService
) -> None:
    others = (TimelinePoint(0.0, 1, 0.1), TimelinePoint(0.0, None, 0.2, "frame"))
    service.answer = scored(timeline=(*points(0.9, 0.5, 0.1), *others))
    body = client.post("/analyze/frames", files=CLIP).json()
    told = [(f["frame"], f["t_s"], f["prediction"], round(f["confidence"], 6)) for f in body["frame_predictions"]]
    assert told == [(1, 0.0, "FAKE", 0.9), (2, 1.0, "UNDETERMINED", 0.5), (3, 2.0, "REAL", 0.9)]


def test_the_summary_counts_frames_and_averages_as_detailed_does(client: TestClient, service: FakeService) -> None:
    service.answer = scored(timeline=points(0.9, 0.8, 0.1, 0.5))
    summary = client.post("/analyze/frames", files=CLIP).json()["summary"]
    details = client.post("/analyze/detailed", files=CLIP).json()["analysis_details"]
    counts = {"total_frames": 4, "fake_frames": 2, "real_frames": 1, "undetermined_frames": 1}
    assert summary == {**counts, "avg_confidence": pytest.approx(0.575)}
    assert summary["avg_confidence"] == details["avg_confidence"]


def test_the_course_over_time_is_told_in_the_older_services_words(client: TestClient, service: FakeService) -> None:
    course = Temporal("face 0", 0.9, "stable", 0.0, "sustained_fake", (), (2.0,))
    other = Temporal("frame", 0.1, "rising", 1.0, "alternating", (), (0.0,))
    service.answer = scored(timeline=points(1.0, 1.0, 0.7), temporal=(other, course))
    assert client.post("/analyze/frames", files=CLIP).json()["temporal_analysis"] == {
        "consistency_score": pytest.approx(1 - 2 * 0.02),
        "pattern_detection": "sustained_fake_pattern",
        "anomaly_frames": [3],
        "confidence_trend": "stable_high",
    }


@pytest.mark.parametrize(
    ("found", "scores", "told"),
    [
        (("FAKE", "rising"), (0.6, 0.7), "rising_medium"),
        (("FAKE", "falling"), (0.6, 0.5), "falling_low"),
        (("REAL", "falling"), (0.2, 0.1), "rising_high"),
        (("REAL", "stable"), (0.1, 0.1), "stable_high"),
    ],
)
def test_the_trend_is_of_the_confidence_in_what_was_found(
    client: TestClient, service: FakeService, found: tuple[str, str], scores: tuple[float, ...], told: str
) -> None:
    label, trend = found
    course = Temporal("face 0", 0.9, trend, 0.0, "uncertain", (), ())  # type: ignore[arg-type]
    service.answer = scored(verdict=label, timeline=points(*scores), temporal=(course,))
    body = client.post("/analyze/frames", files=CLIP).json()
    assert body["temporal_analysis"]["confidence_trend"] == told


def test_where_nothing_scores_frames_there_are_none_and_no_figures(client: TestClient, service: FakeService) -> None:
    service.answer = scored(timeline=(), temporal=())
    body = client.post("/analyze/frames", files=CLIP).json()
    nothing: dict[str, Any] = {
        "consistency_score": None,
        "pattern_detection": None,
        "anomaly_frames": [],
        "confidence_trend": None,
    }
    assert (body["frame_predictions"], body["temporal_analysis"]) == ([], nothing)
    assert body["summary"]["total_frames"] == 0
    assert body["summary"]["avg_confidence"] is None


def test_frames_have_the_whole_verdict_beside_them(client: TestClient) -> None:
    body = client.post("/analyze/frames", files=CLIP).json()
    assert (body["prediction"], body["confidence"], body["p_fake"]) == ("FAKE", 0.9, 0.9)
    assert body["processing_time"] > 0
    assert body["media"]["kind"] == "video"


@pytest.mark.parametrize(("path", "field"), [("/detailed", "analysis_details"), ("/frames", "frame_predictions")])
def test_the_older_node_clients_short_spelling_is_the_same_route(client: TestClient, path: str, field: str) -> None:
    assert field in client.post(f"{path}?model=mobilenet-sbi-v1", files=CLIP).json()


def test_the_older_node_clients_short_spelling_draws_too(client: TestClient) -> None:
    assert client.post("/visualize", files=CLIP).content == b"first second"
