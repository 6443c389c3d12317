"""The report on an analysis: `GET /v1/analyses/{id}/report`."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from fastapi.testclient import TestClient

from models.detectors.catalogue import read_catalogue
from models.types import Verdict
from serve_app.report import About, page, policy, unseen
from serve_app.schemas import MapBody, UnexplainedBody, VerdictBody
from serve_app.uploads import Upload
from tests.api.conftest import FakeService, assert_problem, verdict, verdict_body

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}.mp4"
JPEG = "data:image/jpeg;base64,AAAA"
ABOUT = About("ana_1", "clip.mp4", "2026-11-21T12:00:00Z")


class Tags(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def rendered(body: VerdictBody, about: About = ABOUT) -> Tags:
    return Tags(page(body, about, read_catalogue()))


def analysed(client: TestClient, filename: str = "clip.mp4") -> str:
    answer = client.post("/analyze", files={"video": (filename, b"film")})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def test_the_report_of_an_analysis_is_a_page_under_a_strict_policy(client: TestClient) -> None:
    answer = client.get(f"/v1/analyses/{analysed(client)}/report")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "script-src" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "clip.mp4" in Tags(answer.text).text


def test_the_report_shows_the_pictures_that_are_kept_beside_the_row(client: TestClient, service: FakeService) -> None:
    def with_thumbnail(upload: Upload, model: str) -> Verdict:
        made = verdict(upload, model)
        return replace(made, faces=(replace(made.faces[0], thumbnail=b"\xff\xd8\xff\xe0 a JPEG"),))

    service.answer = with_thumbnail
    tags = Tags(client.get(f"/v1/analyses/{analysed(client)}/report").text)
    sources = [attributes["src"] or "" for tag, attributes in tags.tags if tag == "img"]
    assert [source.startswith("data:image/jpeg;base64,/9j/") for source in sources] == [True]


def test_the_report_needs_a_key(client: TestClient) -> None:
    analysis_id = analysed(client)
    del client.headers["X-API-Key"]
    assert_problem(client.get(f"/v1/analyses/{analysis_id}/report"), 401, "missing_key")


def test_an_analysis_that_is_not_there_has_no_report(client: TestClient) -> None:
    assert client.get("/v1/analyses/ana_missing/report").status_code == 404


def test_a_hostile_file_name_stays_text(client: TestClient) -> None:
    answer = client.get(f"/v1/analyses/{analysed(client, HOSTILE.replace('/', ''))}/report")
    tags = Tags(answer.text)
    assert not {"script", "iframe", "object", "link", "a", "form"} & {tag for tag, _ in tags.tags}
    assert not [name for _, attributes in tags.tags for name in attributes if name.startswith("on")]
    assert "{{ 7 * 7 }}" in tags.text


def test_text_of_the_media_and_of_detectors_stays_text() -> None:
    body = verdict_body()
    for part, names in (
        (body, ("reason", "disagreement", "model")),
        (body.credentials, ("sentence", "signer", "generator", "organisation", "why")),
        (body.detectors[0], ("id", "why", "revision")),
        (body.media, ("container", "codec")),
        (body.evidence, ("sentence",)),
        (body.segments[0], ("source",)),
    ):
        for name in names:
            setattr(part, name, HOSTILE)
    body.credentials.status = "valid"
    tags = rendered(body)
    assert not [tag for tag, _ in tags.tags if tag in {"script", "img"}]
    assert tags.text.count(HOSTILE) >= 10


def test_only_pictures_of_ours_get_into_the_page() -> None:
    body = verdict_body()
    body.faces[0].thumbnail = "https://evil.example.org/pixel.png"
    map_of: dict[str, Any] = {"track": 0, "t_s": 1.0, "detector": "d", "method": "grad_cam"}
    body.evidence.maps = [
        MapBody(**map_of, heatmap="javascript:alert(1)", crop=JPEG),
        MapBody(**map_of, heatmap=JPEG, crop="data:image/svg+xml;base64,AAAA"),
    ]
    assert [attributes["src"] for tag, attributes in rendered(body).tags if tag == "img"] == [JPEG]


def test_the_page_fetches_nothing_and_its_style_is_the_one_that_the_policy_names() -> None:
    html = page(verdict_body(), ABOUT, read_catalogue())
    assert not re.search(r"https?://|url\(|@import|<link|style=", html)
    assert "'sha256-" in policy()


@pytest.mark.parametrize("verdict", ["FAKE", "REAL", "UNDETERMINED"])
@pytest.mark.parametrize("kind", ["video", "image", "audio"])
def test_a_report_says_what_the_verdict_says(verdict: str, kind: str) -> None:
    body = verdict_body()
    body.media.kind, body.verdict = kind, verdict  # type: ignore[assignment]
    if verdict == "UNDETERMINED":
        body.p_fake, body.timeline, body.faces, body.segments = None, [], [], []
    text = rendered(body).text
    assert verdict in text
    assert body.media.sha256 in text
    assert body.detectors[0].id in text


def test_the_hash_of_a_model_is_named_only_for_the_revision_that_answered() -> None:
    row = read_catalogue().rows[0]
    body = verdict_body()
    body.detectors[0].id, body.detectors[0].revision = row.id, row.revision
    sha256 = row.files["weights"].sha256
    assert sha256
    assert sha256 in rendered(body).text
    body.detectors[0].revision = "0"
    assert sha256 not in rendered(body).text


def test_a_repeated_verdict_says_so() -> None:
    assert "ana_0" in rendered(verdict_body(), About("ana_1", "", "2026-11-21T12:00:00Z", "ana_0")).text


def test_what_was_not_looked_at_is_named() -> None:
    body = verdict_body()
    body.detectors[0].status, body.detectors[0].why = "late", "it took longer than 120 s"
    body.evidence.unexplained = [UnexplainedBody(detector="d", why="no gradient")]
    said = " ".join(unseen(body))
    for expected in ("3 of 50 frames", "no sound", "was too slow: it took longer than 120 s", "No map", "at faces"):
        assert expected in said
