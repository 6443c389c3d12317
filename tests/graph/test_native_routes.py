"""The routes beside `/analyze`, through the running graph."""

import hashlib
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from models.detectors.store import ROOT
from tests.media import sound_only, still, tone
from tests.service import Running

FORGED = ROOT / "assets/sample_forged.mp4"


@pytest.fixture(scope="module")
def forged_clip() -> bytes:
    return FORGED.read_bytes()


def send(running: Running, path: str, **request: Any) -> httpx.Response:
    headers = {"X-API-Key": running.key, **request.pop("headers", {})}
    return httpx.post(running.url + path, headers=headers, timeout=120, **request)


def test_frames_are_those_of_the_face_that_decided_and_their_figures_follow(
    running: Running, forged_clip: bytes
) -> None:
    body = running.post("/analyze/frames", forged_clip, model="mobilenet-sbi-v1").json()
    frames, summary = body["frame_predictions"], body["summary"]
    decided = next(face["track"] for face in body["faces"] if face["decided"])
    points = [point for point in body["timeline"] if point["face"] == decided]
    assert [(frame["t_s"], frame["p_fake"]) for frame in frames] == [(p["t_s"], p["p_fake"]) for p in points]
    assert summary["total_frames"] == len(frames) > 1
    counted = summary["fake_frames"] + summary["real_frames"] + summary["undetermined_frames"]
    assert counted == summary["total_frames"]
    scores = np.array([frame["p_fake"] for frame in frames])
    assert body["temporal_analysis"]["consistency_score"] == pytest.approx(1 - min(2 * scores.var(), 1))
    assert body["temporal_analysis"]["pattern_detection"].endswith("_pattern")


def test_a_clip_that_is_the_body_itself_has_the_verdict_of_the_form(running: Running, forged_clip: bytes) -> None:
    raw = send(running, "/analyze", content=forged_clip, headers={"Content-Type": "video/mp4"}).json()
    assert raw["media"]["sha256"] == hashlib.sha256(forged_clip).hexdigest()
    assert raw["p_fake"] == pytest.approx(running.post("/analyze", forged_clip).json()["p_fake"], abs=1e-6)


def test_pictures_and_recordings_have_routes_that_take_nothing_else(
    running: Running, portrait: NDArray[np.uint8], forged_clip: bytes
) -> None:
    picture, sound = still(portrait), sound_only(tone(3.0))
    seen = send(running, "/analyze/image", files={"image": ("a.jpg", picture)})
    heard = send(running, "/analyze/audio", files={"audio": ("a.mp4", sound)})
    assert (seen.status_code, seen.json()["media"]["kind"]) == (200, "image")
    assert (heard.status_code, heard.json()["media"]["kind"]) == (200, "audio")
    for path, field in (("/analyze/image", "image"), ("/analyze/audio", "audio")):
        refused = send(running, path, files={field: ("a.mp4", forged_clip)})
        assert (refused.status_code, refused.json()["code"]) == (415, "wrong_kind")


def test_a_batch_of_all_kinds_is_answered_file_by_file_as_each_alone(
    running: Running, portrait: NDArray[np.uint8], forged_clip: bytes
) -> None:
    contents = [forged_clip, still(portrait), sound_only(tone(3.0)), forged_clip[: len(forged_clip) // 2], b"no media"]
    files = [("files", (f"{index}.bin", content)) for index, content in enumerate(contents)]
    body = send(running, "/analyze/batch", files=files).json()
    assert (body["total"], body["successful"], body["failed"]) == (5, 3, 2)
    results = body["results"]
    assert [result["status"] for result in results] == [200, 200, 200, 422, 415]
    assert [result["problem"]["code"] for result in results[3:]] == ["truncated_media", "unsupported_media"]
    assert [result["analysis"]["media"]["kind"] for result in results[:3]] == ["video", "image", "audio"]
    alone = running.post("/analyze", forged_clip).json()
    assert results[0]["analysis"]["p_fake"] == pytest.approx(alone["p_fake"], abs=1e-5)


def test_the_models_that_answer_say_so(running: Running) -> None:
    headers = {"X-API-Key": running.key}
    models = httpx.get(running.url + "/v1/models", headers=headers, timeout=30).json()["models"]
    ready = {model["id"] for model in models if model["ready"]}
    body = running.post("/analyze", FORGED.read_bytes()).json()
    assert ready >= {report["id"] for report in body["detectors"] if report["status"] == "ok"} != set()
