"""The disk that the database lies on is full: what is refused says so, and what was accepted is kept."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from serve_app.settings import Settings
from tests.api.conftest import assert_problem

TRIES = 60


def leave_no_room(client: TestClient) -> None:
    """Let SQLite grow by no page more: it then answers as on a full disk."""
    engine = client.app.state.database._engine.sync_engine  # type: ignore[attr-defined]

    def stay(connection: Any, _record: Any) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    engine.dispose(close=False)
    event.listen(engine, "connect", stay)


def test_jobs_are_refused_when_there_is_no_room_and_those_accepted_are_kept(
    client: TestClient, settings: Settings
) -> None:
    if not settings.database_url.startswith("sqlite"):
        pytest.skip("a server's disk is its own")
    leave_no_room(client)
    accepted = []
    for i in range(TRIES):
        response = client.post("/v1/jobs", files={"files": (f"{i}{'x' * 200}.mp4", b"media")})
        if response.status_code != 202:
            break
        accepted.append(response.json()["id"])
    assert_problem(response, 503, "database_unavailable")
    assert int(response.headers["retry-after"]) > 0
    assert accepted, "there was no room from the start"
    listed = client.get("/v1/jobs", params={"limit": 100}).json()["items"]
    assert sorted(job["id"] for job in listed) == sorted(accepted)
    kept = [path for path in Path(settings.artifacts_url).rglob("*") if path.is_file()]
    assert len(kept) == len(accepted)
