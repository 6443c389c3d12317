"""The whole way of a clip: HTTP in, verdict out, through the running graph."""

import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import cv2
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from ray import serve

from models.detectors.store import ROOT
from models.pipeline import Pipeline
from models.types import Verdict
from tests.api.conftest import assert_problem
from tests.media import Coding, clip_from_frames, pixel_bomb, silence, still, tone
from tests.service import Running, graph_processes, replicas

Picture = NDArray[np.uint8]
README_FIELDS = {"prediction", "confidence", "processing_time", "model", "timestamp"}


@pytest.fixture(scope="module")
def real_clip() -> bytes:
    return (ROOT / "assets/sample_real.mp4").read_bytes()


@pytest.fixture(scope="module")
def forged_clip() -> bytes:
    return (ROOT / "assets/sample_forged.mp4").read_bytes()


def panning(picture: Picture, width: int, height: int, count: int = 24) -> list[Picture]:
    """Frames of a camera that drifts over the upper part of a picture, which keeps its proportions."""
    scale = max((width + 2 * count) / picture.shape[1], (height + count) / picture.shape[0])
    wide = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    return [np.ascontiguousarray(wide[i : i + height, 2 * i : 2 * i + width]) for i in range(count)]


def pictures(clip: bytes) -> Iterator[Picture]:
    """A clip's frames, `(H, W, 3)` uint8 RGB."""
    with av.open(io.BytesIO(clip), "r") as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24").astype(np.uint8)


def test_health_is_ready(running: Running) -> None:
    response = httpx.get(running.url + "/health")
    assert response.status_code == 200
    assert set(response.json()["deployments"]) == set(graph_processes())


def test_the_samples_are_told_apart(running: Running, real_clip: bytes, forged_clip: bytes) -> None:
    real, forged = (running.post("/analyze", clip).json() for clip in (real_clip, forged_clip))
    assert real["p_fake"] < forged["p_fake"]
    assert forged["prediction"] == "FAKE"
    assert real["prediction"] != "FAKE"
    assert real.keys() >= README_FIELDS


@pytest.mark.parametrize("model", ["ensemble", "cascade", "mobilenet-sbi-v1,voice-v1"])
def test_http_handle_and_library_give_one_answer(running: Running, real_clip: bytes, model: str) -> None:
    over_http = running.post("/analyze", real_clip, model=model).json()
    handle = serve.get_deployment_handle("EnsembleRouter", "unmask")
    by_handle: Verdict = handle.analyze.remote(real_clip, model).result(timeout_s=60)
    by_library = Pipeline().analyze(real_clip, model)
    for other in (by_handle, by_library):
        assert other.p_fake == pytest.approx(over_http["p_fake"], abs=1e-6)
        assert [point.p_fake for point in other.timeline] == pytest.approx(
            [point["p_fake"] for point in over_http["timeline"]], abs=1e-6
        )
        assert [report.status for report in other.detectors] == [report["status"] for report in over_http["detectors"]]
        assert other.media.sha256 == over_http["media"]["sha256"]
        assert [len(face.boxes) for face in other.faces] == [len(face["boxes"]) for face in over_http["faces"]]


def test_requests_at_once_get_what_each_gets_alone(running: Running, real_clip: bytes, forged_clip: bytes) -> None:
    clips = [real_clip, forged_clip] * 4
    alone = {clip: running.post("/analyze", clip).json()["p_fake"] for clip in (real_clip, forged_clip)}
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda clip: running.post("/analyze", clip).json()["p_fake"], clips))
    assert together == pytest.approx([alone[clip] for clip in clips], abs=1e-5)


def test_detailed_names_device_and_version(running: Running, real_clip: bytes) -> None:
    body = running.post("/analyze/detailed", real_clip, model="mobilenet-sbi-v1").json()
    assert body["model_info"]["device"] == body["system_info"]["processing_device"] == "cpu"
    assert body["analysis_details"]["frame_count"] == body["media"]["frames_analysed"] == 16
    assert 0 <= body["analysis_details"]["temporal_consistency"] <= 1


@pytest.mark.parametrize(
    ("coding", "size_wh"),
    [
        (Coding(), (1080, 1920)),
        (Coding(rotation=90), (480, 640)),
        (Coding(container="webm", codec="libvpx", options={"b": "2M"}), (640, 480)),
    ],
    ids=["phone", "rotated", "webm"],
)
def test_ordinary_clips_are_upright_and_their_face_is_found(
    running: Running, portrait: Picture, coding: Coding, size_wh: tuple[int, int]
) -> None:
    upright = panning(portrait, *size_wh)
    coded = [np.ascontiguousarray(np.rot90(frame, -coding.rotation // 90)) for frame in upright]
    response = running.post("/analyze", clip_from_frames(coded, coding))
    assert response.status_code == 200, response.text
    body = response.json()
    assert (body["media"]["width"], body["media"]["height"]) == size_wh
    assert len(body["faces"]) == 1
    assert body["p_fake"] is not None


def test_two_faces_are_scored_each(running: Running, portrait: Picture) -> None:
    both = np.concatenate([portrait[:360, :400], portrait[:360, :400, ::-1]], axis=1)
    body = running.post("/analyze", clip_from_frames(panning(both, 1280, 576))).json()
    assert len(body["faces"]) == 2
    assert all(face["p_fake"] is not None for face in body["faces"])
    assert sum(face["decided"] for face in body["faces"]) == 1
    assert body["p_fake"] == max(face["p_fake"] for face in body["faces"])


def test_of_two_faces_the_forged_one_is_named(running: Running, real_clip: bytes, forged_clip: bytes) -> None:
    both = zip(pictures(real_clip), pictures(forged_clip), strict=True)
    clip = clip_from_frames((np.concatenate(pair, axis=1) for pair in both), Coding(fps=25, options={"crf": "12"}))
    body = running.post("/analyze", clip).json()
    assert (body["prediction"], len(body["faces"])) == ("FAKE", 2)
    real, forged = sorted(body["faces"], key=lambda face: face["boxes"][0]["xyxy"][0])
    assert (real["decided"], forged["decided"]) == (False, True)
    assert body["findings"][0]["face"] == forged["track"]
    assert real["p_fake"] < 0.5 < forged["p_fake"]


def test_a_voice_is_a_finding_of_its_own(running: Running, portrait: Picture) -> None:
    body = running.post("/analyze", clip_from_frames(panning(portrait, 640, 480, 60), sound=tone(2.0))).json()
    assert [(found["region"], found["decides"]) for found in body["findings"]] == [("face", True), ("audio", False)]
    assert all(found["p_fake"] is not None for found in body["findings"])
    assert body["p_fake"] == body["findings"][0]["p_fake"]
    assert body["analysed"]["sound"] == pytest.approx(1.0, abs=0.05)


def test_a_silent_track_says_so_and_the_faces_are_judged(running: Running, portrait: Picture) -> None:
    body = running.post("/analyze", clip_from_frames(panning(portrait, 640, 480, 60), sound=silence(2.0))).json()
    assert [found["reason_code"] for found in body["findings"] if found["region"] == "audio"] == ["silent"]
    assert body["p_fake"] is not None


def test_a_picture_has_a_face_and_nothing_to_hear(running: Running, portrait: Picture) -> None:
    body = running.post("/analyze", still(portrait)).json()
    assert body["media"]["kind"] == "image"
    assert body["p_fake"] is not None
    assert [found["reason_code"] for found in body["findings"] if found["region"] == "audio"] == ["nothing_applicable"]
    assert body["temporal"] == []


def test_no_face_is_undetermined_with_the_reason(running: Running) -> None:
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 255, (300, 400, 3), np.uint8), (0, 0), 3).astype(np.uint8)
    body = running.post("/analyze", clip_from_frames(panning(texture, 640, 480))).json()
    assert (body["prediction"], body["p_fake"]) == ("UNDETERMINED", None)
    assert body["reason"].startswith("no face")
    assert body["reason_code"] == "no_face"
    assert body["analysed"]["frames"] > 0
    assert body["detectors"][0]["status"] == "not_applicable"


def test_bad_input_costs_one_request_and_no_replica(running: Running, real_clip: bytes) -> None:
    before = graph_processes()
    cases = {
        "empty_media": (b"", 400),
        "unsupported_media": (b"this is no video\n" * 500, 415),
        "truncated_media": (real_clip[: len(real_clip) // 2], 422),
        "too_many_pixels": (pixel_bomb(), 422),
    }
    for code, (content, status) in cases.items():
        assert_problem(running.post("/analyze", content), status, code)
    assert_problem(running.post("/analyze", real_clip, model="nope"), 404, "unknown_model")
    assert_problem(running.post("/analyze", b"\0" * (200 * 2**20 + 1)), 413, "body_too_large")
    for headers, code in (({}, "missing_key"), ({"X-API-Key": "x" * 40}, "wrong_key")):
        sent = httpx.post(running.url + "/analyze", files={"video": real_clip}, headers=headers)
        assert_problem(sent, 401, code)
    assert graph_processes() == before
    assert running.post("/analyze", real_clip).status_code == 200


def test_one_request_id_is_in_every_replicas_log(running: Running, real_clip: bytes) -> None:
    request_id = f"trace-{os.getpid()}"
    headers = {"X-API-Key": running.key, "X-Request-ID": request_id, "Cache-Control": "no-cache"}
    response = httpx.post(running.url + "/analyze", files={"video": real_clip}, headers=headers, timeout=60)
    assert response.headers["x-request-id"] == response.json()["request_id"] == request_id
    logs = Path("/tmp/ray/session_latest/logs/serve")  # noqa: S108 - Ray's place

    def having() -> set[str]:
        return {log.name.split("_")[2] for log in logs.glob("replica_unmask_*.log") if request_id in log.read_text()}

    took_part = {"Ingress", "EnsembleRouter", "FrameExtractor", "Detector-mobilenet-sbi-v1"}  # it has no sound
    wait_until(lambda: having() == took_part)  # a replica writes its line after it has answered


@pytest.mark.parametrize("deployment", ["Detector-mobilenet-sbi-v1", "FrameExtractor", "EnsembleRouter"])
def test_a_killed_replica_fails_no_request(running: Running, real_clip: bytes, deployment: str) -> None:
    def answer(_: int) -> tuple[int, bool]:
        response = running.post("/analyze", real_clip)
        return response.status_code, response.json()["degraded"]

    (victim,) = replicas(deployment)
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(answer, i) for i in range(12)]
        wait_until(lambda: any(answer.done() for answer in answers))
        os.kill(victim, signal.SIGKILL)
        assert not all(answer.done() for answer in answers), "nothing was under way when the replica died"
        assert [answer.result() for answer in answers] == [(200, False)] * 12
    wait_until(lambda: bool(replicas(deployment) - {victim}))


def wait_until(condition: Callable[[], bool], within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.02)


def test_maps_come_over_http_when_they_are_asked_for(running: Running, forged_clip: bytes) -> None:
    plain = running.post("/analyze", forged_clip)
    body = running.post("/analyze", forged_clip, explain="true").json()
    assert body["p_fake"] == pytest.approx(plain.json()["p_fake"], abs=1e-6)
    maps = body["evidence"]["maps"]
    assert [(found["track"], found["detector"], found["method"]) for found in maps] == [
        (0, "mobilenet-sbi-v1", "grad_cam")
    ] * 3
    assert [found["t_s"] for found in maps] == [point["t_s"] for point in body["evidence"]["frames"]]
    assert all(found["heatmap"].startswith("data:image/png;base64,") for found in maps)
    assert body["evidence"]["unexplained"] == []
    assert body["faces"][0]["thumbnail"].startswith("data:image/jpeg;base64,")
    assert plain.json()["evidence"]["sentence"] == body["evidence"]["sentence"] != ""
    assert plain.json()["evidence"]["maps"] == []
    assert len(plain.content) < 24_000
