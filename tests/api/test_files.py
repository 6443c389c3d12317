"""Files under addresses that expire."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serve_app.artifacts import Artifacts
from serve_app.routes.files import within
from serve_app.settings import Settings
from tests.api.conftest import assert_problem

CONTENT = b"0123456789"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """These addresses are of this service, and so of files in a folder, whatever the suite runs on."""
    return settings.model_copy(update={"artifacts_url": str(tmp_path / "files")})


def link(client: TestClient, name: str = "visual/ana_1.mp4", filename: str = "clip.mp4", lifetime_s: float = 60) -> str:
    artifacts: Artifacts = client.app.state.artifacts  # type: ignore[attr-defined]

    async def store() -> str:
        await artifacts.put(name, CONTENT)
        return await artifacts.link(name, filename, lifetime_s)

    return asyncio.run(store())


def test_a_link_gives_the_file_without_a_key(anonymous: TestClient) -> None:
    answer = anonymous.get(link(anonymous))
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-length"] == "10"
    assert answer.headers["accept-ranges"] == "bytes"


def test_head_tells_the_size_alone(anonymous: TestClient) -> None:
    answer = anonymous.head(link(anonymous))
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "10")


@pytest.mark.parametrize(
    ("wanted", "part", "told"),
    [
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-2", b"89", "bytes 8-9/10"),
        ("bytes=5-999", b"56789", "bytes 5-9/10"),
        ("bytes=-999", CONTENT, "bytes 0-9/10"),
    ],
)
def test_a_range_of_a_file_is_answered_alone(anonymous: TestClient, wanted: str, part: bytes, told: str) -> None:
    answer = anonymous.get(link(anonymous), headers={"Range": wanted})
    assert (answer.status_code, answer.content, answer.headers["content-range"]) == (206, part, told)


@pytest.mark.parametrize("wanted", ["", "bytes=", "bytes=-", "bytes=1-2,4-5", "lines=1-2", "bytes=4-2", "bytes=x-y"])
def test_what_is_no_single_range_gets_the_whole_file(anonymous: TestClient, wanted: str) -> None:
    answer = anonymous.get(link(anonymous), headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_a_range_outside_the_file_is_refused(anonymous: TestClient) -> None:
    answer = anonymous.get(link(anonymous), headers={"Range": "bytes=10-"})
    assert_problem(answer, 416, "range_not_satisfiable")
    assert answer.headers["content-range"] == "bytes */10"


def test_no_range_lies_within_an_empty_file() -> None:
    assert within("", 0) is None


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        (lambda address: address[:-3], 404, "wrong_address"),
        (lambda address: address.replace("/v1/files/", "/v1/files/AA"), 404, "wrong_address"),
    ],
)
def test_an_altered_address_leads_nowhere(anonymous: TestClient, change: Any, status: int, code: str) -> None:
    assert_problem(anonymous.get(change(link(anonymous))), status, code)


def test_an_address_that_is_over_says_so(anonymous: TestClient) -> None:
    assert_problem(anonymous.get(link(anonymous, lifetime_s=0)), 410, "expired_address")


def test_a_file_that_was_erased_says_so(anonymous: TestClient) -> None:
    address = link(anonymous)
    asyncio.run(anonymous.app.state.artifacts.delete("visual/ana_1.mp4"))  # type: ignore[attr-defined]
    assert_problem(anonymous.get(address), 404, "no_such_artifact")


def test_nothing_that_is_stored_runs_in_a_browser(anonymous: TestClient) -> None:
    answer = anonymous.get(link(anonymous, "a.html", "a.html"))
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


def test_a_hostile_file_name_stays_a_file_name(anonymous: TestClient) -> None:
    answer = anonymous.get(link(anonymous, filename='../"x"\r\nSet-Cookie: a=b; é.mp4'))
    assert "set-cookie" not in answer.headers
    told = answer.headers["content-disposition"]
    assert told.startswith('inline; filename="_x_Set-Cookie_ a_b_ _.mp4"; filename*=UTF-8')
