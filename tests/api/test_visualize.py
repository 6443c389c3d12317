from dataclasses import replace
from urllib.parse import unquote

import pytest
from fastapi.testclient import TestClient

from models import errors as causes
from models.types import Evidence, Heat, MediaFacts, Verdict
from serve_app.routes.visualize import disposition
from serve_app.uploads import Upload
from tests.api.conftest import FakeService, assert_problem, verdict

CLIP = {"video": ("clip.mp4", b"bytes of a clip", "video/mp4")}
HEAT = Heat(0, 0.3, (0.0,), (1, 1), b"\xff")
VIDEO, PHOTO = MediaFacts("video", "", 1), MediaFacts("image", "", 1, container="jpeg")


def test_the_drawn_file_comes_with_the_verdict_in_its_headers(client: TestClient) -> None:
    response = client.post("/analyze/visualize?model=mobilenet-sbi-v1", files=CLIP)
    assert (response.status_code, response.content) == (200, b"first second")
    assert response.headers["content-type"] == "video/mp4"
    assert (response.headers["x-unmask-verdict"], response.headers["x-unmask-p-fake"]) == ("FAKE", "0.900000")
    assert response.headers["content-disposition"].startswith('inline; filename="clip.unmask.mp4"')


def test_what_is_drawn_is_recorded_and_always_made_afresh(client: TestClient, service: FakeService) -> None:
    client.post("/analyze", files=CLIP)
    ids = [client.post("/analyze/visualize", files=CLIP).headers["x-unmask-analysis"] for _ in range(2)]
    assert len(service.received) == 3
    body = client.get(f"/v1/analyses/{ids[1]}").json()
    assert (body["route"], body["reused_from"]) == ("/analyze/visualize", None)


def test_a_verdict_without_a_score_has_no_header_for_one(client: TestClient, service: FakeService) -> None:
    def undetermined(upload: Upload, model: str) -> Verdict:
        return replace(verdict(upload, model), verdict="UNDETERMINED", p_fake=None)

    service.answer = undetermined
    response = client.post("/analyze/visualize", files=CLIP)
    assert response.headers["x-unmask-verdict"] == "UNDETERMINED"
    assert "x-unmask-p-fake" not in response.headers


@pytest.mark.parametrize("when", ["verdict", "first piece"])
def test_what_is_wrong_before_the_first_byte_is_a_problem(client: TestClient, service: FakeService, when: str) -> None:
    cause = causes.TruncatedMedia("The file ends early.")
    if when == "verdict":
        service.failure = cause
    else:
        service.pieces = (cause,)
    assert_problem(client.post("/analyze/visualize", files=CLIP), 422, "truncated_media")


def test_the_work_is_let_go_with_the_last_byte(client: TestClient, service: FakeService) -> None:
    client.post("/analyze/visualize", files=CLIP)
    assert service.closed


def test_the_place_in_the_line_is_free_again_after_the_answer(client: TestClient, service: FakeService) -> None:
    service.pieces = (causes.CorruptMedia("No picture."),)
    client.post("/analyze/visualize", files=CLIP)
    service.pieces = (b"drawn",)
    for _ in range(50):  # more than run and wait at once
        assert client.post("/analyze/visualize", files=CLIP).content == b"drawn"


def test_an_unknown_model_is_404_before_the_body_is_read(client: TestClient, service: FakeService) -> None:
    assert_problem(client.post("/analyze/visualize?model=nope", files=CLIP), 404, "unknown_model")
    assert service.received == []


@pytest.mark.parametrize(
    ("query", "form", "asked"),
    [("", {}, False), ("?heatmap=true", {}, True), ("", {"heatmap": "1"}, True), ("", {"heatmap": "no"}, False)],
)
def test_heatmaps_are_asked_for_in_the_query_or_the_form(
    client: TestClient, service: FakeService, query: str, form: dict[str, str], asked: bool
) -> None:
    assert client.post("/analyze/visualize" + query, files=CLIP, data=form).status_code == 200
    assert [ask.heat for ask in service.asked] == [asked]


def test_a_form_that_says_neither_yes_nor_no_is_422(client: TestClient, service: FakeService) -> None:
    sent = client.post("/analyze/visualize", files=CLIP, data={"heatmap": "maybe"})
    assert "heatmap" in assert_problem(sent, 422, "invalid_request")["detail"]
    assert [ask.heat for ask in service.asked] == []


@pytest.mark.parametrize(("heat", "said"), [((HEAT,), "drawn"), ((), "none")])
def test_a_header_says_whether_heatmaps_were_drawn(
    client: TestClient, service: FakeService, heat: tuple[Heat, ...], said: str
) -> None:
    service.answer = lambda upload, model: replace(verdict(upload, model), evidence=Evidence(heat=heat))
    assert client.post("/analyze/visualize?heatmap=true", files=CLIP).headers["x-unmask-heatmap"] == said


def test_without_being_asked_there_is_no_header_about_heatmaps(client: TestClient) -> None:
    assert "x-unmask-heatmap" not in client.post("/analyze/visualize", files=CLIP).headers


def test_without_a_key_it_is_401(anonymous: TestClient) -> None:
    assert_problem(anonymous.post("/analyze/visualize", files=CLIP), 401, "missing_key")


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ("видео №1.mov", "видео №1.unmask.mp4"),
        ("日本語.mp4", "日本語.unmask.mp4"),
        ("a/b\\c.mp4", "c.unmask.mp4"),
        ('quo"te;.mp4', 'quo"te;.unmask.mp4'),
        ("line\r\nbreak.mp4", "linebreak.unmask.mp4"),
        ("", "media.unmask.mp4"),
        (".mp4", ".mp4.unmask.mp4"),
    ],
)
def test_the_file_keeps_its_name_in_any_script(sent: str, named: str) -> None:
    header = disposition(sent, VIDEO)
    assert header.isascii()
    assert header.isprintable()
    assert unquote(header.partition("filename*=UTF-8''")[2]) == named


def test_a_photograph_is_named_as_one() -> None:
    assert 'filename="me.unmask.jpg"' in disposition("me.heic", PHOTO)
