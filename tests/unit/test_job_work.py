"""The work of a runner on jobs, around a service of a few lines: on SQLite and a folder, on PostgreSQL and S3."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from deployments.progress import Progress, Tell
from models.detectors.catalogue import read_catalogue
from models.errors import Overloaded, UnsupportedMedia
from models.types import Verdict
from serve_app import analyst, job_file, job_work
from serve_app.analyst import Analyst
from serve_app.artifacts import Artifacts
from serve_app.asking import Ask, Caller
from serve_app.database import Database, DatabaseUnavailable, migrate
from serve_app.history import History
from serve_app.ids import new_id
from serve_app.job_file import Bench
from serve_app.job_queue import JobQueue
from serve_app.job_work import JobWork
from serve_app.jobs import JobFile, Jobs, NewJob, Options
from serve_app.remote import Remote
from serve_app.retention import Retention
from serve_app.settings import Settings
from serve_app.tables import AnalysisRow, UploadRow
from serve_app.uploads import Upload
from tests.api.conftest import FakeService
from tests.servers import Postgres

ANN = Caller(owner="ann", key_id="key_1", request_id="r1")
WITHIN_S = 30.0


class Graph(FakeService):
    """A service that can be held at work, and knows whether it was stopped there."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[Exception] = []
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.stopped = asyncio.Event()

    async def analyze(self, upload: Upload, ask: Ask, watch: Tell | None = None) -> Verdict:
        self.begun.set()
        if watch:
            watch(Progress("detecting", 0.5))
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        if self.failures:
            raise self.failures.pop(0)
        return await super().analyze(upload, ask)


class Shop:
    """A database, an artefact store and a graph."""

    def __init__(self, database_url: str, artifacts: Artifacts) -> None:
        settings = Settings(_env_file=None)  # type: ignore[call-arg]
        catalogue = read_catalogue()
        self.database = Database(database_url)
        self.artifacts = artifacts
        self.graph = Graph()
        self.jobs, self.queue = Jobs(self.database), JobQueue(self.database, lease_s=5.0)
        self.history = History(self.database, self.artifacts, settings)
        analysing = Analyst(self.graph, self.history, catalogue, settings)
        self.bench = Bench(self.queue, self.graph, analysing, self.artifacts, Remote(""), 1000, 60.0)

    async def send(self, *contents: bytes, **options: Any) -> str:
        job_id = new_id("job")
        files = [JobFile(f"{i}.mp4", f"jobs/{job_id}/{i}") for i in range(len(contents))]
        for file, content in zip(files, contents, strict=True):
            await self.artifacts.put(file.source, content)
        asked = Options(Ask("ensemble", heat=options.get("visualize", False)), **options)
        await self.jobs.create(ANN, NewJob(job_id, asked, files))
        return job_id

    async def until(self, job_id: str, *states: str) -> dict[str, Any]:
        while True:
            body = await self.jobs.find("ann", job_id)
            if body["state"] in states:
                return body
            await asyncio.sleep(0.02)

    async def ended(self, job_id: str) -> dict[str, Any]:
        return await self.until(job_id, "done", "failed", "cancelled")

    async def analyses(self) -> list[AnalysisRow]:
        async with self.database.reading() as session:
            return list(await session.scalars(select(AnalysisRow).order_by(AnalysisRow.number)))

    async def media(self, folder: str = "jobs") -> list[str]:
        return [name async for name in self.artifacts.names(folder)]

    async def sweep(self) -> None:
        """As it will be when everything that was noted for a time is over."""
        async with self.database.transaction() as session:
            await session.execute(update(UploadRow).values(expires_at=datetime(2020, 1, 1, tzinfo=UTC)))
        settings = Settings(_env_file=None)  # type: ignore[call-arg]
        await Retention(self.database, self.artifacts, settings).sweep()

    async def is_empty(self) -> bool:
        return not await self.media()


async def soon(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


Act = Callable[[Shop], Awaitable[None]]
Play = Callable[[Act], None]


def quicken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_work, "POLL_S", 0.05)
    monkeypatch.setattr(job_work, "TICK_S", 0.05)
    monkeypatch.setattr(job_file, "FIRST_PAUSE_S", 0.01)


async def beside_a_runner(shop: Shop, act: Act) -> None:
    runner = asyncio.create_task(JobWork(shop.bench, at_once=2).run())
    try:
        await asyncio.wait_for(act(shop), WITHIN_S)
        assert not runner.done()
    finally:
        runner.cancel()
        await asyncio.wait([runner])
        await shop.database.close()


@pytest.fixture
def play(request: pytest.FixtureRequest, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Plays a scene beside a runner, which is stopped at its end: on SQLite and a folder, or PostgreSQL and S3."""
    quicken(monkeypatch)
    artifacts: Artifacts = (
        Artifacts(str(tmp_path / "artifacts"), b"secret")
        if database_url.startswith("sqlite")
        else request.getfixturevalue("s3_artifacts")
    )
    return lambda act: asyncio.run(beside_a_runner(Shop(database_url, artifacts), act))


def test_a_job_is_analysed_recorded_and_its_media_erased(play: Play) -> None:
    async def act(shop: Shop) -> None:
        job_id = await shop.send(b"one", b"two")
        body = await shop.ended(job_id)
        assert (body["state"], [file["verdict"] for file in body["files"]]) == ("done", ["FAKE", "FAKE"])
        rows = await shop.analyses()
        assert [row.id for row in rows] == [file["analysis_id"] for file in body["files"]]
        assert {(row.owner, row.job_id, row.request_id) for row in rows} == {("ann", job_id, "r1")}
        await soon(shop.is_empty)

    play(act)


def test_one_bad_file_fails_alone_with_its_reason(play: Play) -> None:
    async def act(shop: Shop) -> None:
        shop.graph.failures = [UnsupportedMedia("It is text.")]
        body = await shop.ended(await shop.send(b"text", b"film"))
        assert body["state"] == "done"
        assert [file["state"] for file in body["files"]] == ["failed", "done"]
        assert body["files"][0]["error"]["code"] == "unsupported_media"

    play(act)


def test_media_that_is_too_large_or_was_never_uploaded_fails_with_its_reason(play: Play) -> None:
    async def act(shop: Shop) -> None:
        large = await shop.ended(await shop.send(b"x" * 1001))
        assert large["error"]["code"] == "body_too_large"
        asked = NewJob(new_id("job"), Options(Ask("ensemble")), [JobFile("a.mp4", "uploads/nothing")])
        await shop.jobs.create(ANN, asked)
        assert (await shop.ended(asked.id))["error"]["code"] == "no_such_artifact"

    play(act)


@pytest.mark.parametrize("passing", [Overloaded("Busy."), DatabaseUnavailable("Away."), RuntimeError("strange")])
def test_what_may_pass_is_waited_for(play: Play, passing: Exception) -> None:
    async def act(shop: Shop) -> None:
        shop.graph.failures = [passing, passing]
        assert (await shop.ended(await shop.send(b"film")))["state"] == "done"
        assert len(await shop.analyses()) == 1

    play(act)


def test_what_fails_strangely_every_time_fails_without_a_word_of_the_inside(play: Play) -> None:
    async def act(shop: Shop) -> None:
        shop.graph.failures = [RuntimeError("inside")] * 9
        body = await shop.ended(await shop.send(b"film"))
        assert (body["state"], body["error"]["code"]) == ("failed", "internal_error")
        assert "inside" not in str(body)

    play(act)


def test_progress_is_told_while_the_work_goes_on(play: Play) -> None:
    async def act(shop: Shop) -> None:
        shop.graph.go_on.clear()
        job_id = await shop.send(b"one", b"two")

        async def detecting() -> bool:
            return bool((await shop.jobs.find("ann", job_id))["stage"] == "detecting")

        await soon(detecting)
        body = await shop.jobs.find("ann", job_id)
        assert (body["state"], body["fraction"]) == ("running", 0.25)
        shop.graph.go_on.set()
        assert (await shop.ended(job_id))["fraction"] == 1.0

    play(act)


def test_cancelling_stops_the_work(play: Play) -> None:
    async def act(shop: Shop) -> None:
        shop.graph.go_on.clear()
        job_id = await shop.send(b"film")
        await shop.graph.begun.wait()
        await shop.jobs.cancel("ann", job_id)
        await asyncio.wait_for(shop.graph.stopped.wait(), WITHIN_S)
        assert (await shop.jobs.find("ann", job_id))["state"] == "cancelled"
        assert await shop.analyses() == []

    play(act)


def test_a_runner_that_is_stopped_gives_its_job_back_and_the_next_finishes_it_once(play: Play) -> None:
    async def act(shop: Shop) -> None:
        other = asyncio.create_task(JobWork(shop.bench, at_once=1).run())
        shop.graph.go_on.clear()
        made = [await shop.send(f"film {i}".encode()) for i in range(3)]
        for job_id in made:
            await shop.until(job_id, "running")
        other.cancel()
        await asyncio.wait([other])
        shop.graph.go_on.set()
        for job_id in made:
            assert (await shop.ended(job_id))["state"] == "done"
        assert len(await shop.analyses()) == 3

    play(act)


def test_a_database_that_goes_away_at_work_costs_no_job_and_no_second_analysis(
    postgres_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(shop: Shop) -> None:
        shop.graph.go_on.clear()
        job_id = await shop.send(b"film")
        await shop.graph.begun.wait()
        await asyncio.to_thread(postgres_server.stop)
        shop.graph.go_on.set()
        await asyncio.sleep(0.5)  # the analysis is done, and cannot be recorded
        await asyncio.to_thread(postgres_server.start)
        assert (await shop.ended(job_id))["state"] == "done"
        assert len(await shop.analyses()) == len(shop.graph.received) == 1

    postgres_server.execute("CREATE DATABASE away")
    url = postgres_server.url.removesuffix("postgres") + "away"
    migrate(url)
    quicken(monkeypatch)
    monkeypatch.setattr(analyst, "RECORD_PATIENCE_S", 0.0)  # of who waits for an answer; a job has longer
    asyncio.run(beside_a_runner(Shop(url, Artifacts(str(tmp_path), b"secret")), act))


def test_the_drawn_media_is_kept_and_found_by_the_analysis(play: Play) -> None:
    async def act(shop: Shop) -> None:
        body = await shop.ended(await shop.send(b"film", visualize=True))
        (row,) = await shop.analyses()
        assert body["files"][0]["analysis_id"] == row.id
        assert row.artifacts["visual"] == f"visual/{row.id}.mp4"
        assert await shop.artifacts.read(row.artifacts["visual"]) == b"first second"
        assert len(shop.graph.received) == 1

    play(act)


def test_drawing_that_failed_for_a_while_does_not_analyse_twice(play: Play) -> None:
    async def act(shop: Shop) -> None:
        shop.graph.pieces = (b"first ", RuntimeError("gone"))
        job_id = await shop.send(b"film", visualize=True)

        async def failed() -> bool:
            return shop.graph.closed

        await soon(failed)
        shop.graph.pieces = (b"whole",)
        assert (await shop.ended(job_id))["state"] == "done"
        (row,) = await shop.analyses()
        assert await shop.artifacts.read(row.artifacts["visual"]) == b"whole"

    play(act)


def test_the_same_file_in_two_jobs_is_analysed_once(play: Play) -> None:
    async def act(shop: Shop) -> None:
        first = await shop.ended(await shop.send(b"film"))
        second = await shop.ended(await shop.send(b"film"))
        assert len(shop.graph.received) == 1
        earlier, later = await shop.analyses()
        assert later.reused_from == earlier.id == first["files"][0]["analysis_id"]
        assert later.id == second["files"][0]["analysis_id"]

    play(act)


def test_media_that_a_killed_runner_left_is_erased(play: Play) -> None:
    async def act(shop: Shop) -> None:
        shop.graph.go_on.clear()
        job_id = await shop.send(b"film")
        await shop.graph.begun.wait()
        await shop.jobs.cancel("ann", job_id)
        await JobWork(shop.bench, at_once=1).erase_leftovers()
        assert await shop.media() == []

    play(act)


def held_while_drawing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Stops the work where the drawn media is stored and not noted yet; what tells of it, and what lets it go on."""
    stored, go_on = asyncio.Event(), asyncio.Event()
    note = shop.queue.file_drawn

    async def later(*arguments: Any) -> bool:
        stored.set()
        await go_on.wait()
        return await note(*arguments)

    monkeypatch.setattr(shop.queue, "file_drawn", later)
    return stored, go_on


def test_what_is_drawn_of_an_analysis_that_was_deleted_is_erased(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(shop: Shop) -> None:
        stored, go_on = held_while_drawing(shop, monkeypatch)
        job_id = await shop.send(b"film", visualize=True)
        await stored.wait()
        (row,) = await shop.analyses()
        await shop.history.delete("ann", row.id)
        go_on.set()
        await shop.ended(job_id)
        await soon(shop.is_empty)
        assert await shop.media("visual") == []

    play(act)


def test_what_was_drawn_for_a_job_that_is_cancelled_then_is_swept_away(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(shop: Shop) -> None:
        stored, _ = held_while_drawing(shop, monkeypatch)
        job_id = await shop.send(b"film", visualize=True)
        await stored.wait()
        await shop.jobs.cancel("ann", job_id)
        assert len(await shop.media("visual")) == 1
        await shop.sweep()
        assert await shop.media("visual") == []

    play(act)


def test_what_was_drawn_and_noted_is_not_swept_away(play: Play) -> None:
    async def act(shop: Shop) -> None:
        await shop.ended(await shop.send(b"film", visualize=True))
        await shop.sweep()
        assert len(await shop.media("visual")) == 1

    play(act)
