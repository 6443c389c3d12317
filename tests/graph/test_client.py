"""The clients against the running graph: over HTTP, and through deployment handles."""

import asyncio
import hashlib
import os
import signal
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import ray
from typer.testing import CliRunner

from models.detectors.store import ROOT
from serve_app.cli import app
from serve_app.client import AsyncClient, Client, JobProgress, connect, connect_async, errors
from serve_app.terminal import EXIT_FOUND
from tests.service import Running, replicas

pytestmark = pytest.mark.usefixtures("running")
CLIP = ROOT / "assets/sample_forged.mp4"


@pytest.fixture(scope="module")
def over_http(running: Running) -> float | None:
    with Client(running.url, running.key) as client:
        return client.analyze(CLIP).p_fake


def test_both_clients_give_one_answer(running: Running, over_http: float | None) -> None:
    async def asked() -> float | None:
        async with AsyncClient(running.url, running.key) as client:
            return (await client.analyze(CLIP)).p_fake

    assert asyncio.run(asked()) == pytest.approx(over_http, abs=1e-5)


@pytest.mark.parametrize("kind", ["path", "bytes", "file", "ref of bytes", "ref of uint8"])
def test_a_handle_takes_media_in_every_form(over_http: float | None, kind: str) -> None:
    content = CLIP.read_bytes()
    with CLIP.open("rb") as file:
        given: dict[str, Any] = {
            "path": CLIP,
            "bytes": content,
            "file": file,
            "ref of bytes": ray.put(content),
            "ref of uint8": ray.put(np.frombuffer(content, np.uint8)),
        }
        assert connect().analyze(given[kind]).p_fake == pytest.approx(over_http, abs=1e-5)


def test_an_asynchronous_handle_gives_the_same_and_tells_how_far_it_is(over_http: float) -> None:
    told: list[tuple[str, float]] = []

    async def asked() -> float | None:
        verdict = await connect_async().analyze(CLIP, on_progress=lambda stage, done: told.append((stage, done)))
        return verdict.p_fake

    assert asyncio.run(asked()) == pytest.approx(over_http, abs=1e-5)
    assert told[0][0] == "extracting"
    assert [done for _, done in told] == sorted(done for _, done in told)


def test_a_handle_tells_how_far_it_is() -> None:
    told: list[str] = []
    connect().analyze(CLIP, on_progress=lambda stage, _: told.append(stage))
    assert set(told) >= {"extracting", "detecting"}


def test_a_handle_raises_the_errors_of_the_client(tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(CLIP.read_bytes()[:20_000])
    with pytest.raises(errors.UnknownModel, match="nope"):
        connect().analyze(CLIP, "nope")
    with pytest.raises(errors.MediaError):
        connect().analyze(cut)
    with pytest.raises(errors.EmptyMedia):
        connect().analyze(b"")
    with pytest.raises(FileNotFoundError):
        connect().analyze(tmp_path / "gone.mp4")


def test_an_application_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(errors.Unreachable, match="nowhere"):
        connect("nowhere")


def test_a_job_is_followed_to_its_end_and_leaves_its_film_and_report(running: Running, tmp_path: Path) -> None:
    told: list[JobProgress] = []
    with Client(running.url, running.key) as client:
        ended = client.submit(CLIP, "mobilenet-sbi-v1", visualize=True).wait(told.append, timeout_s=120)
        assert (ended.state, ended.fraction) == ("done", 1.0)
        assert [now.fraction for now in told] == sorted(now.fraction for now in told)
        (file,) = ended.files
        assert file.analysis_id
        film = client.visual(file.analysis_id, to=tmp_path / "film.mp4")
        report = client.report(file.analysis_id, to=tmp_path / "report.html")
    assert film
    assert report
    with av.open(film) as drawn:
        assert drawn.streams.video[0].codec_context.name == "h264"
    assert "FAKE" in report.read_text()


def test_the_command_keeps_films_and_reports_of_a_service(running: Running, tmp_path: Path) -> None:
    asked = ["analyze", str(CLIP), "--out", str(tmp_path), "--url", running.url, "--key", running.key]
    result = CliRunner().invoke(app, [*asked, "--fail-on", "fake"])
    assert result.exit_code == EXIT_FOUND, result.output
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".html", ".mp4"]


def padded(content: bytes, size_bytes: int) -> bytes:
    """A film that plays the same and takes longer to send: a box of nothing at its end."""
    return content + struct.pack(">I4s", size_bytes + 8, b"free") + bytes(size_bytes)


@pytest.mark.parametrize("share", [0.5, 1.0], ids=["while it receives", "while it analyses"])
def test_an_ingress_that_is_killed_costs_no_answer_and_makes_no_second_analysis(running: Running, share: float) -> None:
    content = padded(CLIP.read_bytes(), 8_000_000 + int(1000 * share))
    killed: set[int] = set()

    def kill(sent: int, total: int) -> None:
        if not killed and sent >= share * total:
            killed.update(replicas("Ingress"))
            for process in killed:
                os.kill(process, signal.SIGKILL)

    with Client(running.url, running.key) as client:
        result = client.analyze(content, "mobilenet-sbi-v1", fresh=True, on_progress=kill)
        assert killed
        assert result.verdict == "FAKE"
        made = [found.id for found in client.history(sha256=hashlib.sha256(content).hexdigest())]
    assert made == [result.id]
