"""Jobs through the running graph: done, taken over from a killed runner, cancelled."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from models.detectors.store import ROOT
from tests.graph.test_visualize import children, looped
from tests.service import Running, replicas


@pytest.fixture(scope="module")
def forged_clip() -> bytes:
    return (ROOT / "assets/sample_forged.mp4").read_bytes()


@pytest.fixture
def client(running: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, headers={"X-API-Key": running.key}, timeout=60) as client:
        yield client


def send(client: httpx.Client, *contents: bytes, **form: str) -> dict[str, Any]:
    files = [("files", (f"{i}.mp4", content)) for i, content in enumerate(contents)]
    # Every test works anew, whatever was analysed before it.
    response = client.post("/v1/jobs", files=files, data=form, headers={"Cache-Control": "no-cache"})
    assert response.status_code == 202, response.text
    body: dict[str, Any] = response.json()
    return body


def told(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """The job as it is now."""
    body: dict[str, Any] = client.get(job["links"]["self"]).json()
    return body


def follow(client: httpx.Client, job: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The events of a job, as they come, until the last."""
    with client.stream("GET", job["links"]["events"]) as response:
        assert response.status_code == 200
        text = "".join(response.iter_text())
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.strip().split("\n\n")]
    return [(block["event"], json.loads(block["data"])) for block in blocks if "event" in block]


def until(condition: Callable[[], bool], within_s: float = 60) -> None:
    end_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end_s, "the condition was not met in time"
        time.sleep(0.1)


def test_a_job_is_followed_to_its_end_and_its_verdict_is_that_of_analyze(
    running: Running, client: httpx.Client, forged_clip: bytes
) -> None:
    verdict = running.post("/analyze", forged_clip).json()
    job = send(client, forged_clip, b"no film at all", visualize="true")
    events = follow(client, job)
    fractions = [data["fraction"] for _, data in events]
    assert fractions == sorted(fractions)
    assert "drawing" in {data["stage"] for name, data in events if name == "progress"}
    assert [name for name, _ in events if name in {"file", "end"}] == ["file", "file", "end"]
    body = told(client, job)
    done, failed = body["files"]
    assert (body["state"], done["state"], done["verdict"]) == ("done", "done", verdict["verdict"])
    assert done["p_fake"] == pytest.approx(verdict["p_fake"], abs=1e-6)
    assert (failed["state"], failed["error"]["code"]) == ("failed", "unsupported_media")


def test_the_job_of_a_killed_runner_is_finished_once_by_the_next(client: httpx.Client, forged_clip: bytes) -> None:
    job = send(client, forged_clip, looped(forged_clip, 8), visualize="true")
    until(lambda: told(client, job)["files"][1]["analysis_id"] is not None)  # recorded, and being drawn
    before = [file["analysis_id"] for file in told(client, job)["files"]]
    (victim,) = replicas("JobRunner")
    os.kill(victim, signal.SIGKILL)
    names = [name for name, _ in follow(client, job)]
    body = told(client, job)
    assert (body["state"], [file["state"] for file in body["files"]]) == ("done", ["done", "done"])
    assert [file["analysis_id"] for file in body["files"]] == before
    assert (names.count("file"), names.count("end")) == (2, 1)
    assert replicas("JobRunner") - {victim}


def test_cancelling_stops_the_graphs_work_within_two_seconds(client: httpx.Client, forged_clip: bytes) -> None:
    job = send(client, looped(forged_clip, 40), visualize="true")
    until(lambda: bool(working()))
    assert client.delete(job["links"]["self"]).json()["state"] == "cancelled"
    until(lambda: not working(), within_s=2)
    assert follow(client, job)[-1][1]["state"] == "cancelled"


def working() -> list[int]:
    """Process ids of the confined children that read or draw media."""
    parents = replicas("FrameExtractor") | replicas("Visualizer")
    servers = [child for parent in parents for child in children(parent)]
    return [child for server in servers for child in children(server)]
