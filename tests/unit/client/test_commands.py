"""`unmask jobs` and `unmask history` against a service that is played."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from serve_app.cli import app
from serve_app.client import Client
from serve_app.terminal import EXIT_FAILED, EXIT_USAGE
from tests.unit.client.service import JOB_ID, job
from tests.unit.client.test_history_calls import RECORD

Answers = dict[tuple[str, str], Any]
Command = Callable[..., Result]
FILE = {
    "position": 0,
    "filename": "clip.mp4",
    "state": "done",
    "analysis_id": "ana_1",
    "verdict": "FAKE",
    "p_fake": 0.9,
    "error": None,
}


@pytest.fixture
def answers() -> Answers:
    """What is answered, by method and path; what is not there is 404."""
    return {}


@pytest.fixture
def sent() -> list[httpx.Request]:
    return []


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, answers: Answers, sent: list[httpx.Request]) -> Command:
    def service(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        found = answers.get((request.method, request.url.path))
        if found is None:
            return httpx.Response(404, json={"code": "not_found", "detail": "There is none.", "status": 404})
        return found if isinstance(found, httpx.Response) else httpx.Response(200, json=found)

    monkeypatch.setattr("serve_app.remote_cli.Client", partial(Client, transport=httpx.MockTransport(service)))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--url", "http://service", "--key", "k" * 40])

    return run


def test_jobs_are_a_line_each_when_piped(command: Command, answers: Answers) -> None:
    answers["GET", "/v1/jobs"] = {"items": [job(), job(id="job_2")], "next_cursor": None}
    lines = [json.loads(line) for line in command("jobs", "list").stdout.splitlines()]
    assert [line["id"] for line in lines] == [JOB_ID, "job_2"]


def test_no_more_jobs_are_fetched_than_asked_for(command: Command, answers: Answers, sent: list[Any]) -> None:
    answers["GET", "/v1/jobs"] = {"items": [job(), job()], "next_cursor": "more"}
    assert len(command("jobs", "list", "--limit", "2").stdout.splitlines()) == 2
    assert len(sent) == 1


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (job("done", 1.0, files=[FILE]), 0),
        (job("cancelled"), EXIT_FAILED),
        (job("done", 1.0, files=[{**FILE, "error": {"code": "x"}}]), EXIT_FAILED),
    ],
    ids=["done", "cancelled", "a file failed"],
)
def test_waiting_ends_with_the_jobs_outcome(command: Command, answers: Answers, ended: Any, code: int) -> None:
    for file in ended["files"]:
        if file["error"]:
            file["error"] = dict.fromkeys(("type", "title", "detail", "instance", "code", "request_id"), "x") | {
                "status": 422,
                "error": "x",
                "message": "x",
                "suggestions": [],
                "timestamp": "x",
            }
    answers["GET", f"/v1/jobs/{JOB_ID}"] = ended
    result = command("jobs", "wait", JOB_ID)
    assert result.exit_code == code, result.output
    assert json.loads(result.stdout)["state"] == ended["state"]


def test_a_job_that_is_not_there_is_one_line_and_exit_code_3(command: Command) -> None:
    result = command("jobs", "show", JOB_ID)
    assert result.exit_code == EXIT_FAILED
    assert result.stderr.strip() == "error: There is none."


def test_submit_sends_the_files(command: Command, answers: Answers, sent: list[httpx.Request], tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"media")
    answers["POST", "/v1/jobs"] = job()
    result = command("jobs", "submit", str(clip), "--visualize")
    assert result.exit_code == 0, result.output
    assert b'filename="clip.mp4"' in sent[0].content
    assert b'name="visualize"\r\n\r\ntrue' in sent[0].content


@pytest.mark.parametrize("given", [(), ("clip.mp4", "--from", "https://there/a.mp4")])
def test_submit_takes_either_files_or_addresses(command: Command, given: tuple[str, ...]) -> None:
    assert command("jobs", "submit", *given).exit_code == EXIT_USAGE


def test_cancel_prints_the_cancelled_job(command: Command, answers: Answers) -> None:
    answers["GET", f"/v1/jobs/{JOB_ID}"] = job("running")
    answers["DELETE", f"/v1/jobs/{JOB_ID}"] = job("cancelled")
    assert json.loads(command("jobs", "cancel", JOB_ID).stdout)["state"] == "cancelled"


def test_history_list_asks_with_its_filters(command: Command, answers: Answers, sent: list[httpx.Request]) -> None:
    answers["GET", "/v1/analyses"] = {"items": [RECORD], "next_cursor": None}
    result = command("history", "list", "--verdict", "FAKE", "--since", "2026-11-01")
    assert json.loads(result.stdout)["id"] == "ana_1"
    assert dict(sent[0].url.params) == {"verdict": "FAKE", "since": "2026-11-01"}


def test_history_export_goes_to_standard_output(command: Command, answers: Answers) -> None:
    answers["GET", "/v1/analyses/export"] = httpx.Response(200, text="id,verdict\nana_1,FAKE\n")
    result = command("history", "export")
    assert result.exit_code == 0, result.output
    assert result.stdout == "id,verdict\nana_1,FAKE\n"


def test_history_report_writes_a_page(command: Command, answers: Answers, tmp_path: Path) -> None:
    answers["GET", "/v1/analyses/ana_1/report"] = httpx.Response(200, html="<h1>FAKE</h1>")
    result = command("history", "report", "ana_1", "--out", str(tmp_path / "report.html"))
    assert result.exit_code == 0, result.output
    assert (tmp_path / "report.html").read_text() == "<h1>FAKE</h1>"


def test_history_delete_erases_each(command: Command, answers: Answers, sent: list[httpx.Request]) -> None:
    answers["DELETE", "/v1/analyses/ana_1"] = httpx.Response(204)
    result = command("history", "delete", "ana_1", "ana_2")
    assert result.exit_code == EXIT_FAILED
    assert "Erased ana_1." in result.stdout
    assert [request.url.path for request in sent] == ["/v1/analyses/ana_1", "/v1/analyses/ana_2"]
