"""History and files, by either client, against a service that is played."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve_app.client import AsyncClient, Client, errors
from tests.unit.client.service import Played

RECORD = {
    "id": "ana_1",
    "number": 1,
    "created_at": "2026-11-21T10:00:00Z",
    "expires_at": None,
    "route": "/analyze",
    "filename": "clip.mp4",
    "kind": "video",
    "sha256": "00",
    "size_bytes": 1,
    "duration_s": 1.0,
    "model": "ensemble",
    "verdict": "FAKE",
    "p_fake": 0.9,
    "confidence": 0.9,
    "reason_code": "",
    "degraded": False,
    "total_s": 0.5,
    "reused_from": None,
    "batch_id": None,
    "job_id": None,
    "links": {"self": "/v1/analyses/ana_1", "report": "/v1/analyses/ana_1/report", "visual": None},
}


def called(
    played: Played, service: Callable[[httpx.Request], httpx.Response], name: str, *args: Any, **how: Any
) -> Any:
    async def asynchronous(client: AsyncClient) -> Any:
        return await getattr(client, name)(*args, **how)

    return played.run(service, lambda client: getattr(client, name)(*args, **how), asynchronous)


def test_history_is_asked_for_with_its_filters(played: Played) -> None:
    sent: list[dict[str, str]] = []

    def service(request: httpx.Request) -> httpx.Response:
        sent.append(dict(request.url.params))
        return httpx.Response(200, json={"items": [RECORD], "next_cursor": None})

    which: dict[str, Any] = {"verdict": "FAKE", "since": datetime(2026, 11, 1, tzinfo=UTC), "until": "2026-12-01"}

    def program(client: Client) -> list[str]:
        return [found.id for found in client.history(**which)]

    async def asynchronous(client: AsyncClient) -> list[str]:
        return [found.id async for found in client.history(**which)]

    assert played.run(service, program, asynchronous) == ["ana_1"]
    assert datetime.fromisoformat(sent[0].pop("since")) == which["since"]
    assert sent == [{"verdict": "FAKE", "until": "2026-12-01"}]


def test_a_report_is_written(played: Played, tmp_path: Path) -> None:
    def service(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v1/analyses/ana_1/report"
        return httpx.Response(200, html="<h1>FAKE</h1>")

    assert called(played, service, "report", "ana_1", to=tmp_path / "report.html") == tmp_path / "report.html"
    assert (tmp_path / "report.html").read_text() == "<h1>FAKE</h1>"


def test_a_file_that_lies_elsewhere_is_fetched_without_the_key(played: Played, tmp_path: Path) -> None:
    asked: list[tuple[str, bool]] = []

    def service(request: httpx.Request) -> httpx.Response:
        asked.append((str(request.url), "x-api-key" in request.headers))
        if request.url.host == "service":
            return httpx.Response(307, headers={"Location": "https://bucket/film.mp4?signature=1"})
        return httpx.Response(200, content=b"film", headers={"Content-Disposition": 'attachment; filename="a.mp4"'})

    assert called(played, service, "visual", "ana_1", to=tmp_path) == tmp_path / "a.mp4"
    assert asked == [
        ("http://service/v1/analyses/ana_1/visual", True),
        ("https://bucket/film.mp4?signature=1", False),
    ]


@pytest.mark.parametrize(
    ("url", "there"),
    [("https://bucket/x?sig=1", "https://bucket/x?sig=1"), ("/v1/files/token", "http://service/v1/files/token")],
)
def test_an_upload_is_put_where_the_service_says_without_the_key(played: Played, url: str, there: str) -> None:
    put: list[tuple[str, str, bytes, bool]] = []
    place = {"id": "upl_1", "filename": "", "method": "PUT", "url": url, "max_bytes": 9, "expires_at": ""}

    def service(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(201, json=place)
        put.append((request.method, str(request.url), request.content, "x-api-key" in request.headers))
        return httpx.Response(204)

    assert called(played, service, "upload", b"media") == "upl_1"
    assert put == [("PUT", there, b"media", False)]


def gone(request: httpx.Request) -> httpx.Response:
    return httpx.Response(404, json={"code": "not_found", "detail": "There is none."}, request=request)


def test_deleting_what_is_not_there_is_not_found(played: Played) -> None:
    with pytest.raises(errors.NotFound):
        called(played, gone, "delete", "ana_1")


def test_deleting_again_after_the_answer_was_lost_is_done(played: Played) -> None:
    tries: list[httpx.Request] = []

    def service(request: httpx.Request) -> httpx.Response:
        tries.append(request)
        if len(tries) == 1:
            raise httpx.ReadError("lost", request=request)
        return gone(request)

    assert called(played, service, "delete", "ana_1") is None
    assert len(tries) == 2


def test_an_id_cannot_lead_to_another_address(played: Played) -> None:
    asked: list[bytes] = []

    def service(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path)
        return gone(request)

    with pytest.raises(errors.NotFound):
        called(played, service, "analysis", "../keys?x")
    assert asked == [b"/v1/analyses/..%2Fkeys%3Fx"]
