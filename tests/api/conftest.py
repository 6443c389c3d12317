"""The HTTP application around a service of a few lines: every route can be tested without Ray or torch."""

import io
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from deployments.progress import Progress
from models.detectors.catalogue import read_catalogue
from models.render.variants import CHANGES, Variant
from models.types import (
    DetectorReport,
    FaceBox,
    FaceReport,
    MediaFacts,
    Segment,
    TimelinePoint,
    Verdict,
)
from serve_app.asking import Ask
from serve_app.auth import digest
from serve_app.http import create_http
from serve_app.schemas import VerdictBody
from serve_app.service import DeploymentHealth, Visual
from serve_app.settings import Settings
from serve_app.uploads import Upload
from tests.stores import NewStores

KEY = "test-key-0123456789-0123456789-0123456789"
MAX_UPLOAD_BYTES = 300_000


def verdict(upload: Upload, model: str) -> Verdict:
    return Verdict(
        verdict="FAKE",
        p_fake=0.9,
        confidence=0.9,
        reason="",
        degraded=False,
        mode="ensemble",
        model=model,
        media=MediaFacts("video", upload.sha256, upload.size_bytes, frames_total=50, frames_analysed=3),
        detectors=(DetectorReport("mobilenet-sbi-v1", "1", "ok", p_fake=0.9, weight=1.0, device="cpu"),),
        faces=(FaceReport(0, 0.0, 2.0, 0.9, decided=True, boxes=(FaceBox(0.0, (1.0, 2.0, 3.0, 4.0)),)),),
        timeline=tuple(TimelinePoint(float(t), 0, p) for t, p in enumerate((0.8, 0.9, 1.0))),
        segments=(Segment(0.0, 2.0, 0.9, 1.0, "face 0"),),
    )


def verdict_body() -> VerdictBody:
    """The same as it is answered."""
    return VerdictBody.model_validate(verdict(Upload(io.BytesIO(), sha256="5" * 64, size_bytes=1000), "ensemble"))


class FakeService:
    """Answers every upload with one verdict, or raises what a test put into `failure`."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.answer: Callable[[Upload, str], Verdict] = verdict
        self.received: list[bytes] = []
        self.asked: list[Ask] = []
        self.pieces: tuple[bytes | Exception, ...] = (b"first ", b"second")
        self.closed = False
        names = ("Ingress", "FrameExtractor", "Detector-mobilenet-sbi-v1")
        self.deployments = {name: DeploymentHealth("HEALTHY", 1) for name in names}

    async def analyze(self, upload: Upload, ask: Ask, watch: Callable[[Progress], None] | None = None) -> Verdict:  # noqa: ARG002
        self.asked.append(ask)
        self.received.append(upload.file.read())
        if self.failure:
            raise self.failure
        return self.answer(upload, ask.model)

    async def visualize(self, upload: Upload, ask: Ask) -> Visual:
        return Visual(await self.analyze(upload, ask), self._drawn())

    def draw(self, upload: Upload, verdict: Verdict) -> AsyncGenerator[bytes]:  # noqa: ARG002
        return self._drawn()

    async def _drawn(self) -> AsyncGenerator[bytes]:
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            self.closed = True

    async def vary(self, upload: Upload) -> AsyncGenerator[Variant]:  # noqa: ARG002
        for change in CHANGES:
            yield Variant(change, f"a picture after {change}".encode(), (200, 100))

    async def health(self) -> Mapping[str, DeploymentHealth]:
        return self.deployments


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, new_stores: NewStores, tmp_path: Path) -> Settings:
    for name, value in new_stores(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("UNMASK_MAX_UPLOAD_BYTES", str(MAX_UPLOAD_BYTES))
    return Settings(_env_file=None)  # type: ignore[call-arg]


@pytest.fixture
def anonymous(service: FakeService, settings: Settings) -> Iterator[TestClient]:
    app = create_http(service, settings, read_catalogue(), digest(KEY))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client(anonymous: TestClient) -> TestClient:
    anonymous.headers["X-API-Key"] = KEY
    return anonymous


def assert_problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """The shape of every error: RFC 9457 and the fields older clients read."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["type"] == f"urn:unmask:error:{code}"
    assert (body["status"], body["code"]) == (status, code)
    assert body["title"] == body["error"] != ""
    assert body["detail"] == body["message"] != ""
    assert body["request_id"] == response.headers.get("x-request-id", body["request_id"]) != ""
    assert isinstance(body["suggestions"], list)
    assert body["timestamp"].endswith("Z")
    return body
