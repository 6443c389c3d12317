import asyncio
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from models.errors import CorruptMedia, DecoderCrashed
from models.types import Label, Verdict
from serve_app.artifacts import StorageFull
from serve_app.errors import ApiError
from serve_app.settings import Settings
from serve_app.uploads import Upload
from tests.api.conftest import MAX_UPLOAD_BYTES, FakeService, verdict
from tests.media import clip, gradient, still

PNG = still(gradient(), "png")
ANEW = {"Cache-Control": "no-cache"}  # the files are equal: their verdicts would be repeated
PICTURE = {"image": ("face.png", PNG, "image/png")}
ROW = {"id", "original_filename", "result_filename", "minio_url", "label", "confidence", "created_at"}


def of(upload: Upload, label: Label, p_fake: float) -> Verdict:
    found = verdict(upload, "ensemble")
    media = replace(found.media, kind="image", container="png", width=160, height=96)
    reason = "between" if label == "UNDETERMINED" else ""
    return replace(found, media=media, verdict=label, p_fake=p_fake, confidence=max(p_fake, 1 - p_fake), reason=reason)


@pytest.fixture(autouse=True)
def answers_by_name(service: FakeService) -> None:
    labels: dict[str, tuple[Label, float]] = {"r": ("REAL", 0.1), "u": ("UNDETERMINED", 0.5)}

    def answer(upload: Upload, model: str) -> Verdict:  # noqa: ARG001
        if upload.filename.startswith("bad"):
            raise CorruptMedia("it is damaged.")
        return of(upload, *labels.get(upload.filename[0], ("FAKE", 0.9)))

    service.answer = answer


def test_a_picture_has_the_readmes_body(client: TestClient) -> None:
    response = client.post("/predict", files=PICTURE)
    body = response.json()
    assert response.status_code == 200, body
    assert (body["success"], body["filename"]) == (True, "face.png")
    assert body["timestamp"].endswith("Z")
    assert body["prediction"] == {
        "label": "FAKE",
        "is_fake": True,
        "confidence": 0.9,
        "scores": {"real": pytest.approx(0.1), "fake": 0.9},
    }
    assert body["image_info"] == {"width": 160, "height": 96, "size_bytes": len(PNG)}
    assert body["result_filename"].endswith(".png")


def test_the_result_address_opens_the_drawn_picture_without_a_key(client: TestClient) -> None:
    url = client.post("/predict", files=PICTURE).json()["result_image_url"]
    del client.headers["X-API-Key"]
    response = client.get(url)
    assert url.startswith("http://")
    assert (response.status_code, response.content) == (200, b"first second")
    assert response.headers["content-type"] == "image/png"


def test_a_picture_that_cannot_be_stored_does_not_cost_the_verdict(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_args: Any) -> int:
        raise StorageFull("no room.")

    monkeypatch.setattr(client.app.state.artifacts, "put", full)  # type: ignore[attr-defined]
    body = client.post("/predict", files=PICTURE).json()
    assert body["prediction"]["label"] == "FAKE"
    assert "no room" in body["note"]
    assert body["result_image_url"] is None


def test_a_picture_that_cannot_be_drawn_does_not_cost_the_verdict(client: TestClient, service: FakeService) -> None:
    service.pieces = (DecoderCrashed("the process that draws died."),)
    body = client.post("/predict", files=PICTURE).json()
    assert body["prediction"]["label"] == "FAKE"
    assert (body["result_image_url"], body["result_filename"]) == (None, None)
    assert "the process that draws died." in body["note"]


def test_an_unexpected_failure_in_a_batch_is_one_pictures_own(client: TestClient, service: FakeService) -> None:
    known = service.answer

    def answer(upload: Upload, model: str) -> Verdict:
        if upload.filename == "odd.png":
            raise RuntimeError("secret")
        return known(upload, model)

    service.answer = answer
    names = ["odd.png", "face.png"]
    response = client.post("/predict/batch", files=[("images", (name, PNG)) for name in names], headers=ANEW)
    body = response.json()
    assert (response.status_code, body["successful"], body["failed"]) == (200, 1, 1)
    assert "secret" not in response.text


def test_a_batch_answers_what_was_done_in_time(
    client: TestClient, service: FakeService, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = service.analyze

    async def never(upload: Upload, *rest: Any) -> Verdict:
        if upload.filename == "slow.png":
            await asyncio.Event().wait()
        return await known(upload, *rest)

    monkeypatch.setattr(service, "analyze", never)
    shorter = settings.model_copy(update={"request_timeout_s": 2.0})
    monkeypatch.setattr(client.app.state, "settings", shorter)  # type: ignore[attr-defined]
    names = ["slow.png", "face.png"]
    response = client.post("/predict/batch", files=[("images", (name, PNG)) for name in names], headers=ANEW)
    body = response.json()
    assert (response.status_code, body["successful"], body["failed"]) == (200, 1, 1)
    assert body["errors"][0]["error"] == "The analysis took longer than 2 s."


@pytest.mark.parametrize("path", ["/predict/batch", "/batch_predict"])
def test_in_a_batch_one_bad_picture_fails_alone(client: TestClient, path: str) -> None:
    names = ["face.png", "bad.png", "real.png", "unsure.png"]
    response = client.post(path, files=[("images", (name, PNG)) for name in names], headers=ANEW)
    body = response.json()
    assert response.status_code == 200, body
    assert (body["success"], body["total_images"], body["successful"], body["failed"]) == (True, 4, 2, 2)
    assert [(one["index"], one["prediction"]["label"]) for one in body["results"]] == [(0, "FAKE"), (2, "REAL")]
    assert [(one["index"], one["filename"]) for one in body["errors"]] == [(1, "bad.png"), (3, "unsure.png")]
    assert body["errors"][0]["error"] == "it is damaged."
    assert "between" in body["errors"][1]["error"]


def test_a_batch_without_failures_has_no_errors(client: TestClient) -> None:
    body = client.post("/predict/batch", files=[("images", ("face.png", PNG))]).json()
    assert body["errors"] is None


def test_more_than_fifty_pictures_are_refused(client: TestClient) -> None:
    response = client.post("/predict/batch", files=[("images", (f"{n}.png", b"x")) for n in range(51)])
    assert (response.status_code, response.json()["success"]) == (400, False)
    assert "50" in response.json()["error"]


def test_a_picture_too_large_is_told_so_in_the_services_words(client: TestClient) -> None:
    response = client.post("/predict", files={"image": ("a.png", b"x" * (MAX_UPLOAD_BYTES + 1))})
    assert response.status_code == 413
    assert response.json() == {"success": False, "error": "File too large. Maximum file size is 0.2861MB."}


@pytest.mark.parametrize(
    ("files", "status", "words"),
    [
        ({"file": ("a.png", PNG)}, 400, "No image file provided"),
        ({"image": ("clip.mp4", clip(2))}, 415, "The file is a video."),
        ({"image": ("unsure.png", PNG)}, 422, "The verdict is undetermined: between."),
        ({"image": ("bad.png", PNG)}, 422, "it is damaged."),
    ],
)
def test_what_is_refused_has_the_services_shape(
    client: TestClient, files: dict[str, Any], status: int, words: str
) -> None:
    response = client.post("/predict", files=files)
    body = response.json()
    assert (response.status_code, body["success"]) == (status, False)
    assert body["error"].startswith(words)
    assert set(body) == {"success", "error"}


def test_the_database_tells_what_was_decided_newest_first(client: TestClient) -> None:
    for name in ("face.png", "real.png", "unsure.png", "fake.png"):
        client.post("/predict", files={"image": (name, PNG)}, headers=ANEW)
    body = client.get("/api/db/predictions/recent?limit=10").json()
    assert [row["original_filename"] for row in body["predictions"]] == ["fake.png", "real.png", "face.png"]
    assert all(set(row) == ROW for row in body["predictions"])
    assert client.get("/api/db/predictions/recent?limit=1").json()["count"] == 1
    fakes = client.get("/api/db/predictions/by-label/FAKE").json()["predictions"]
    assert [row["label"] for row in fakes] == ["FAKE", "FAKE"]
    one = client.get(f"/api/db/predictions/{fakes[0]['id']}").json()
    assert one["original_filename"] == "fake.png"
    assert client.get(one["minio_url"]).content == b"first second"


def test_statistics_count_what_was_decided(client: TestClient) -> None:
    empty = client.get("/api/db/statistics").json()
    assert (empty["total_predictions"], empty["fake_percentage"], empty["last_prediction"]) == (0, 0.0, None)
    for name in ("face.png", "real.png", "really.png", "unsure.png"):
        client.post("/predict", files={"image": (name, PNG)}, headers=ANEW)
    body = client.get("/api/db/statistics").json()
    assert (body["total_predictions"], body["fake_count"], body["real_count"]) == (3, 1, 2)
    assert body["fake_percentage"] == pytest.approx(100 / 3)
    assert body["average_confidence"] == pytest.approx(0.9)
    assert body["last_prediction"].endswith("Z")


@pytest.mark.parametrize(
    ("path", "status"),
    [("predictions/999", 404), ("predictions/by-label/MAYBE", 400), ("predictions/recent?limit=many", 422)],
)
def test_questions_without_an_answer_have_the_services_shape(client: TestClient, path: str, status: int) -> None:
    response = client.get(f"/api/db/{path}")
    assert response.status_code == status
    assert set(response.json()) == {"success", "error"}


def test_a_request_without_any_body_has_no_file(client: TestClient) -> None:
    response = client.post("/predict")
    assert (response.status_code, response.json()["error"]) == (400, "No image file provided")


def test_who_is_sent_away_for_a_time_is_told_for_how_long(client: TestClient, service: FakeService) -> None:
    service.failure = ApiError(504, "analysis_timeout", "It took too long.")
    response = client.post("/predict", files=PICTURE)
    assert (response.status_code, response.headers.get("Retry-After")) == (504, "10")


def test_the_older_address_of_the_documentation_leads_to_it(anonymous: TestClient) -> None:
    assert anonymous.get("/apidocs").url.path == "/docs"
