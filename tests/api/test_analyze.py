from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from models import errors as causes
from models.types import (
    Analysed,
    Evidence,
    Finding,
    SaliencyMap,
    Temporal,
    TimelinePoint,
    Transition,
    Unexplained,
    Verdict,
)
from serve_app.uploads import Upload
from tests.api.conftest import FakeService, assert_problem, verdict

CLIP = {"video": ("clip.mp4", b"bytes of a clip", "video/mp4")}
README_FIELDS = {"prediction": str, "confidence": float, "processing_time": float, "model": str, "timestamp": str}


def test_analyze_has_the_flat_fields_that_older_clients_read(client: TestClient) -> None:
    body = client.post("/analyze?model=mobilenet-sbi-v1", files=CLIP).json()
    for name, kind in README_FIELDS.items():
        assert isinstance(body[name], kind), name
    assert (body["prediction"], body["confidence"], body["model"]) == ("FAKE", 0.9, "mobilenet-sbi-v1")


def test_analyze_has_the_whole_verdict(client: TestClient) -> None:
    body = client.post("/analyze", files=CLIP).json()
    assert body["verdict"] == "FAKE"
    assert body["p_fake"] == 0.9
    assert body["mode"] == "ensemble"
    assert body["faces"][0]["boxes"] == [{"t_s": 0.0, "xyxy": [1.0, 2.0, 3.0, 4.0]}]
    assert body["detectors"][0]["status"] == "ok"
    assert body["segments"][0]["source"] == "face 0"
    assert body["timings"]["total_s"] >= body["timings"]["receive_s"] >= 0


def test_detailed_computes_its_figures_as_documented(client: TestClient) -> None:
    body = client.post("/analyze/detailed", files=CLIP).json()
    details = body["analysis_details"]
    assert details["frame_count"] == 3
    assert details["avg_confidence"] == pytest.approx(0.9)
    assert details["confidence_std"] == pytest.approx((0.02 / 3) ** 0.5)
    assert details["temporal_consistency"] == pytest.approx(1 - 2 * 0.02 / 3)
    assert details["rolling_average"] == pytest.approx(0.9)
    assert body["model_info"] == {"version": "1", "architecture": "mobilenet_sbi", "device": "cpu"}
    assert body["system_info"] == {"gpu_memory_used": "0.0GB", "processing_device": "cpu"}


def test_an_undetermined_clip_is_200_with_a_reason(client: TestClient, service: FakeService) -> None:
    def undetermined(upload: Upload, model: str) -> Verdict:
        nothing: dict[str, Any] = {"p_fake": None, "confidence": 0.0, "faces": (), "timeline": (), "segments": ()}
        return replace(verdict(upload, model), verdict="UNDETERMINED", reason="no face: none was found", **nothing)

    service.answer = undetermined
    for path in ("/analyze", "/analyze/detailed"):
        response = client.post(path, files=CLIP)
        assert response.status_code == 200
        body = response.json()
        assert (body["prediction"], body["p_fake"], body["confidence"]) == ("UNDETERMINED", None, 0.0)
        assert body["reason"] == "no face: none was found"


def test_an_unknown_model_is_404_with_the_models_there_are(client: TestClient, service: FakeService) -> None:
    body = assert_problem(client.post("/analyze?model=invalid-model", files=CLIP), 404, "unknown_model")
    assert body["error"] == "Model not found"
    assert "invalid-model" in body["message"]
    assert "mobilenet-sbi-v1" in body["available_models"]
    assert service.received == []


def test_several_models_may_be_asked_by_name(client: TestClient, service: FakeService) -> None:
    body = client.post("/analyze?model=mobilenet-sbi-v1,voice-v1", files=CLIP).json()
    assert body["model"] == "mobilenet-sbi-v1,voice-v1"
    assert len(service.received) == 1


def test_an_unknown_name_among_several_is_404_with_the_models_there_are(client: TestClient) -> None:
    body = assert_problem(client.post("/analyze?model=mobilenet-sbi-v1,nope", files=CLIP), 404, "unknown_model")
    assert body["available_models"][:2] == ["ensemble", "cascade"]


def test_a_model_named_twice_is_422_before_the_body_is_read(client: TestClient, service: FakeService) -> None:
    twice = client.post("/analyze?model=voice-v1,voice-v1", files=CLIP)
    assert "voice-v1 more than once" in assert_problem(twice, 422, "wrong_selection")["detail"]
    assert service.received == []


def test_the_answer_has_findings_reason_code_share_and_course_over_time(
    client: TestClient, service: FakeService
) -> None:
    def told(upload: Upload, model: str) -> Verdict:
        run = Temporal("face 0", 0.9, "rising", 0.1, "alternating", (Transition(1.0, "FAKE"),))
        finding = Finding("face", "FAKE", 0.9, "", "", ("mobilenet-sbi-v1",), face=0)
        more: dict[str, Any] = {"findings": (finding,), "temporal": (run,), "analysed": Analysed(0.06, 2.0)}
        return replace(verdict(upload, model), **more)

    service.answer = told
    body = client.post("/analyze", files=CLIP).json()
    assert body["findings"][0]["face"] == 0
    assert body["temporal"][0]["transitions"] == [{"t_s": 1.0, "to": "FAKE"}]
    assert body["analysed"] == {"frames": 0.06, "span_s": 2.0, "sound": 0.0}
    assert (body["reason_code"], body["disagreement"]) == ("", "")


def test_an_unknown_model_in_the_form_is_404(client: TestClient) -> None:
    assert_problem(client.post("/analyze", files=CLIP, data={"model": "nope"}), 404, "unknown_model")


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        (causes.EmptyMedia, 400),
        (causes.UnsupportedMedia, 415),
        (causes.TruncatedMedia, 422),
        (causes.CorruptMedia, 422),
        (causes.NoVideoStream, 422),
        (causes.TooManyPixels, 422),
        (causes.TooLong, 422),
        (causes.TooManyFrames, 422),
        (causes.DecoderCrashed, 422),
        (causes.DecoderTimeout, 422),
        (causes.DecoderOutOfMemory, 422),
        (causes.WeightsError, 503),
        (causes.Overloaded, 503),
    ],
)
def test_each_cause_has_its_status_code_and_message(
    client: TestClient, service: FakeService, cause: type[causes.UnmaskError], status: int
) -> None:
    service.failure = cause("the file is like this.", "Accepted: like that.")
    body = assert_problem(client.post("/analyze", files=CLIP), status, cause.code)
    assert body["detail"] == "the file is like this. Accepted: like that."
    assert body["suggestions"]


def test_every_media_error_has_a_code_of_its_own() -> None:
    def below(kind: type[causes.UnmaskError]) -> list[type[causes.UnmaskError]]:
        return [kind, *(leaf for child in kind.__subclasses__() for leaf in below(child))]

    codes = [kind.code for kind in below(causes.MediaError) if kind.__module__ == causes.__name__]
    assert len(codes) == len(set(codes)) > 10


def test_an_unexpected_failure_discloses_nothing(client: TestClient, service: FakeService) -> None:
    service.failure = RuntimeError("secret path /srv/x")
    body = assert_problem(client.post("/analyze", files=CLIP), 500, "internal_error")
    assert "secret" not in str(body)


def png(pixels: int) -> bytes:
    return b"\x89PNG" + bytes(pixels)


def evidence(upload: Upload, model: str) -> Verdict:
    found = Evidence(
        "The face is likely manipulated.",
        (TimelinePoint(1.0, 0, 0.9),),
        (SaliencyMap(0, 1.0, "mobilenet-sbi-v1", "grad_cam", png(3), png(4)),),
        (Unexplained("other", "RuntimeError"),),
    )
    made = verdict(upload, model)
    return replace(made, evidence=found, faces=(replace(made.faces[0], thumbnail=b"\xff\xd8\xff\xe0"),))


def test_evidence_has_pictures_as_data_uris(client: TestClient, service: FakeService) -> None:
    service.answer = evidence
    body = client.post("/analyze?explain=true", files=CLIP).json()
    assert body["faces"][0]["thumbnail"] == "data:image/jpeg;base64,/9j/4A=="
    assert body["evidence"] == {
        "sentence": "The face is likely manipulated.",
        "frames": [{"t_s": 1.0, "face": 0, "p_fake": 0.9, "region": "face"}],
        "maps": [
            {
                "track": 0,
                "t_s": 1.0,
                "detector": "mobilenet-sbi-v1",
                "method": "grad_cam",
                "heatmap": "data:image/png;base64,iVBORwAAAA==",
                "crop": "data:image/png;base64,iVBORwAAAAA=",
            }
        ],
        "unexplained": [{"detector": "other", "why": "RuntimeError"}],
    }


def test_without_evidence_its_fields_are_empty(client: TestClient) -> None:
    body = client.post("/analyze", files=CLIP).json()
    assert body["evidence"] == {"sentence": "", "frames": [], "maps": [], "unexplained": []}
    assert body["faces"][0]["thumbnail"] == ""


@pytest.mark.parametrize(
    ("path", "form", "asked"),
    [
        ("/analyze", {}, False),
        ("/analyze?explain=true", {}, True),
        ("/analyze/detailed?explain=true", {}, True),
        ("/analyze", {"explain": "1"}, True),
        ("/analyze/detailed", {"explain": "yes"}, True),
        ("/analyze", {"explain": "false"}, False),
    ],
)
def test_maps_are_asked_for_in_the_query_or_the_form(
    client: TestClient, service: FakeService, path: str, form: dict[str, str], asked: bool
) -> None:
    assert client.post(path, files=CLIP, data=form).status_code == 200
    assert [ask.explain for ask in service.asked] == [asked]


def test_what_is_neither_yes_nor_no_is_422(client: TestClient, service: FakeService) -> None:
    assert_problem(client.post("/analyze", files=CLIP, data={"explain": "maybe"}), 422, "invalid_request")
    assert_problem(client.post("/analyze?explain=maybe", files=CLIP), 422, "invalid_request")
    assert [ask.explain for ask in service.asked] == []
