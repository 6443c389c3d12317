"""A large upload passes the application, and is never whole in its memory.

What Serve's proxy hands over at once is not ours to bound, and not measured here: see docs/decisions/0012.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from starlette.types import ASGIApp, Message, Scope

from deployments.progress import Progress
from models.detectors.catalogue import read_catalogue
from models.types import Verdict
from serve_app.asking import Ask
from serve_app.auth import digest
from serve_app.http import create_http
from serve_app.settings import Settings
from serve_app.uploads import Upload
from tests.api.conftest import KEY, FakeService, verdict

UPLOAD_BYTES = 200 * 2**20
CHUNK_BYTES = 64 * 2**10  # as uvicorn hands them over
MAY_GROW_BYTES = 32 * 2**20


class Passing(FakeService):
    """Leaves the media where it is."""

    async def analyze(self, upload: Upload, ask: Ask, watch: Callable[[Progress], None] | None = None) -> Verdict:  # noqa: ARG002
        return verdict(upload, ask.model)


def own_bytes() -> int:
    """Memory that belongs to this process alone, without pages of files."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


async def peak_of_sending(app: ASGIApp, path: str) -> tuple[int, int]:
    """The answer's status, and by how much memory grew at the most while a body was taken in."""
    sent, statuses, before = 0, [], own_bytes()
    peak = before

    async def receive() -> Message:
        nonlocal sent, peak
        sent += CHUNK_BYTES
        if sent % 2**20 == 0:
            peak = max(peak, own_bytes())
        return {"type": "http.request", "body": bytes(CHUNK_BYTES), "more_body": sent < UPLOAD_BYTES}

    async def send(message: Message) -> None:
        nonlocal peak
        peak = max(peak, own_bytes())
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = [(b"x-api-key", KEY.encode()), (b"content-type", b"video/mp4")]
    scope: Scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
    await app({**scope, "headers": headers, "http_version": "1.1", "scheme": "http", "root_path": ""}, receive, send)
    return statuses[0], peak - before


@pytest.mark.parametrize(("path", "status"), [("/analyze", 200), ("/v1/jobs", 202)])
def test_two_hundred_megabytes_are_never_held_whole(path: str, status: int, settings: Settings) -> None:
    roomy = settings.model_copy(update={"max_upload_bytes": UPLOAD_BYTES})
    with TestClient(create_http(Passing(), roomy, read_catalogue(), digest(KEY))) as client:
        client.get("/health")  # what grows with the first request
        assert client.portal
        found, grown_bytes = client.portal.call(peak_of_sending, client.app, path)
    assert found == status
    assert grown_bytes <= MAY_GROW_BYTES
