"""`/v1/analyses` and `/v1/statistics`."""

import csv
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from models.errors import UnmaskError
from serve_app.asking import OPERATOR
from tests.api.conftest import FakeService, assert_problem, verdict

ID = "ana_" + "0" * 26
AFRESH = {"Cache-Control": "no-cache"}


def analyzed(client: TestClient, name: str = "clip.mp4", content: bytes = b"clip") -> dict[str, Any]:
    answer = client.post("/analyze", files={"video": (name, content)}, headers=AFRESH)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_an_analysis_is_read_as_it_was_answered(client: TestClient) -> None:
    answered = analyzed(client)
    answer = client.get(f"/v1/analyses/{answered['id']}")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    differing = {"timings", "prediction", "processing_time", "timestamp", "request_id", "recorded"}
    assert {name: body[name] for name in answered if name not in differing} == {
        name: value for name, value in answered.items() if name not in differing
    }
    assert (body["filename"], body["route"], body["number"]) == ("clip.mp4", "/analyze", 1)
    assert body["created_at"].endswith("Z")
    own = f"/v1/analyses/{answered['id']}"
    assert body["links"] == {"self": own, "report": f"{own}/report", "visual": None}


@pytest.mark.parametrize("path", [f"/v1/analyses/{ID}", "/v1/analyses/%00", f"/v1/analyses/{ID}/visual"])
def test_an_analysis_that_does_not_exist_is_404(client: TestClient, path: str) -> None:
    assert_problem(client.get(path), 404, "not_found")


def test_a_deleted_analysis_is_gone(client: TestClient) -> None:
    made, other = analyzed(client)["id"], analyzed(client)["id"]
    assert client.delete(f"/v1/analyses/{made}").status_code == 204
    assert_problem(client.get(f"/v1/analyses/{made}"), 404, "not_found")
    assert_problem(client.delete(f"/v1/analyses/{made}"), 404, "not_found")
    assert [item["id"] for item in client.get("/v1/analyses").json()["items"]] == [other]


def test_the_list_is_walked_by_its_links(client: TestClient) -> None:
    made = [analyzed(client, f"{i}.mp4")["id"] for i in range(5)]
    answer = client.get("/v1/analyses?limit=2&kind=video")
    seen = [answer.json()["items"]]
    while link := answer.links.get("next"):
        answer = client.get(str(link["url"]))
        seen.append(answer.json()["items"])
    assert [len(items) for items in seen] == [2, 2, 1]
    assert [item["id"] for items in seen for item in items] == made[::-1]
    assert answer.json()["next_cursor"] is None


def test_a_line_of_the_list_tells_what_matters_and_is_short(client: TestClient) -> None:
    analyzed(client)
    answer = client.get("/v1/analyses")
    (item,) = answer.json()["items"]
    assert (item["verdict"], item["p_fake"], item["kind"], item["filename"]) == ("FAKE", 0.9, "video", "clip.mp4")
    assert len(answer.content) < 1000


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("verdict=REAL", ["b.mp4"]),
        ("kind=audio", []),
        ("model=ensemble", ["b.mp4", "a.mp4"]),
        ("filename=A.M", ["a.mp4"]),
        ("since=2020-01-01", ["b.mp4", "a.mp4"]),
        ("until=2020-01-01T00:00:00%2B02:00", []),
    ],
)
def test_the_list_can_be_narrowed(client: TestClient, service: FakeService, query: str, names: list[str]) -> None:
    analyzed(client, "a.mp4")
    service.answer = lambda upload, model: replace(verdict(upload, model), verdict="REAL")
    analyzed(client, "b.mp4")
    assert [item["filename"] for item in client.get(f"/v1/analyses?{query}").json()["items"]] == names


@pytest.mark.parametrize(
    "query",
    [
        "verdict=MAYBE",
        "kind=smell",
        "limit=0",
        "limit=201",
        "cursor=nonsense",
        "cursor=%00",
        "filename=%00",
        "model=%00",
        "sha256=1",
        "since=yesterday",
        "since=0001-01-01T00:00:00%2B14:00",
        "until=9999-12-31T23:59:59-14:00",
    ],
)
def test_a_parameter_that_does_not_fit_is_named(client: TestClient, query: str) -> None:
    problem = assert_problem(client.get(f"/v1/analyses?{query}"), 422, "invalid_request")
    assert query.partition("=")[0] in problem["detail"]


def test_the_export_is_a_table_in_which_no_name_is_a_formula(client: TestClient) -> None:
    analyzed(client, "=1+1.mp4")
    analyzed(client, "two, three.mp4")
    answer = client.get("/v1/analyses/export")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="analyses.csv"'
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert [row["filename"] for row in rows] == ["two, three.mp4", "'=1+1.mp4"]
    assert [row["p_fake"] for row in rows] == ["0.9", "0.9"]


def test_the_export_as_json_lines_has_whole_analyses(client: TestClient) -> None:
    made = [analyzed(client)["id"] for _ in range(2)]
    answer = client.get("/v1/analyses/export?format=jsonl&verdict=FAKE")
    bodies = [json.loads(line) for line in answer.text.splitlines()]
    assert [body["id"] for body in bodies] == made[::-1]
    assert bodies[0]["timeline"]


def test_the_export_of_nothing_is_empty(client: TestClient) -> None:
    assert client.get("/v1/analyses/export?format=jsonl").text == ""
    assert client.get("/v1/analyses/export").text.count("\n") == 1


def test_statistics_count_what_the_list_has(client: TestClient, service: FakeService) -> None:
    assert client.get("/v1/statistics").json()["total"] == 0
    analyzed(client)
    service.answer = lambda upload, model: replace(verdict(upload, model), verdict="REAL", confidence=0.7)
    for _ in range(3):
        analyzed(client)
    body = client.get("/v1/statistics").json()
    assert (body["total"], body["fake"], body["real"], body["undetermined"]) == (4, 1, 3, 0)
    assert (body["fake_percentage"], body["real_percentage"]) == (25.0, 75.0)
    assert body["average_confidence"] == pytest.approx(0.75)
    assert body["models"] == [{"name": "ensemble", "total": 4, "fake": 1, "real": 3, "undetermined": 0}]
    assert client.get("/v1/statistics?verdict=FAKE").json()["total"] == 1


def test_annotated_media_is_found_under_an_address_of_its_own(client: TestClient) -> None:
    made = analyzed(client, "häns.mov")["id"]
    app: Any = client.app

    async def draw() -> None:
        name = f"visual/{made}.mp4"
        await app.state.artifacts.put(name, b"drawn")
        await app.state.history.attach(OPERATOR, made, "visual", name)

    assert client.portal
    client.portal.call(draw)
    assert client.get(f"/v1/analyses/{made}").json()["links"]["visual"] == f"/v1/analyses/{made}/visual"
    leads = client.get(f"/v1/analyses/{made}/visual", follow_redirects=False)
    assert leads.status_code == 307
    address = leads.headers["location"]  # of this service, or of the bucket
    answer: Any = httpx.get(address) if address.startswith("http") else client.get(address)
    assert (answer.status_code, answer.content) == (200, b"drawn")


def test_without_annotated_media_there_is_no_address(client: TestClient) -> None:
    assert_problem(client.get(f"/v1/analyses/{analyzed(client)['id']}/visual"), 404, "no_such_artifact")


@pytest.mark.parametrize("path", ["/v1/analyses", f"/v1/analyses/{ID}", "/v1/analyses/export", "/v1/statistics"])
def test_without_a_key_nothing_is_told(anonymous: TestClient, path: str) -> None:
    assert_problem(anonymous.get(path), 401, "missing_key")


@pytest.mark.parametrize(
    ("database", "artifacts", "status"),
    [(True, True, "ok"), (False, True, "degraded"), (True, False, "degraded")],
)
def test_health_tells_whether_the_stores_answer(
    anonymous: TestClient, monkeypatch: pytest.MonkeyPatch, database: bool, artifacts: bool, status: str
) -> None:
    async def away() -> None:
        raise UnmaskError("No.")

    app: Any = anonymous.app
    for answers, store in ((database, app.state.database), (artifacts, app.state.artifacts)):
        if not answers:
            monkeypatch.setattr(store, "check", away)
    answer = anonymous.get("/health")
    said = {True: "ok", False: "unavailable"}
    body = answer.json()
    assert (answer.status_code, body["status"]) == (200, status)
    assert (body["database"], body["artifacts"]) == (said[database], said[artifacts])
