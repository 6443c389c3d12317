"""Jobs and their queue, on SQLite and PostgreSQL alike."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from deployments.progress import Progress
from serve_app.asking import Ask, Caller
from serve_app.database import Database, DatabaseUnavailable
from serve_app.errors import ApiError, problem_body
from serve_app.ids import new_id
from serve_app.job_errors import LeaseLost, UnknownJob
from serve_app.job_queue import MAX_ATTEMPTS, Claimed, JobQueue
from serve_app.jobs import JobFile, Jobs, NewJob, Options
from serve_app.schemas import JobBody
from serve_app.tables import AnalysisRow, DeliveryRow, JobRow, UploadRow
from serve_app.upload_errors import NoSuchUpload

ANN, BOB = Caller(owner="ann"), Caller(owner="bob")
OPTIONS = Options(Ask("ensemble", heat=True), visualize=True)
WEBHOOK = {"url": "https://example.org/hook", "secret": "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}
PROBLEM = problem_body(ApiError(415, "unsupported_media", "It is text."), "/v1/jobs", "r1")


class Scene:
    """A database with its jobs and its queue."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.jobs = Jobs(self.database)
        self.queue = JobQueue(self.database)

    async def add(self, caller: Caller = ANN, files: int = 1, **more: Any) -> str:
        new_files = [JobFile(f"{i}.mp4", f"jobs/{i}") for i in range(files)]
        body = await self.jobs.create(caller, NewJob(new_id("job"), OPTIONS, new_files, **more))
        return str(body["id"])

    async def claim(self) -> Claimed:
        claimed = await self.queue.claim()
        assert claimed
        return claimed

    async def outlive_lease(self) -> None:
        past = datetime.now(UTC) - timedelta(seconds=1)
        async with self.database.transaction() as session:
            await session.execute(update(JobRow).values(leased_until=past))

    async def finish_file(self, claimed: Claimed, position: int = 0) -> None:
        async with self.database.transaction() as session:
            await self.queue.recorded(claimed.lease, position, last=True)(session, AnalysisRow(id="ana_1"))

    async def happened(self, job_id: str, after: int = 0) -> list[str]:
        events, _ = await self.jobs.events("ann", job_id, after)
        return [event.event for event in events]

    async def deliveries(self) -> list[DeliveryRow]:
        async with self.database.transaction() as session:
            return list(await session.scalars(select(DeliveryRow)))


Play = Callable[[Callable[[Scene], Awaitable[None]]], None]


@pytest.fixture
def play(database_url: str) -> Play:
    def run(play_it: Callable[[Scene], Awaitable[None]]) -> None:
        async def whole() -> None:
            scene = Scene(database_url)
            try:
                await play_it(scene)
            finally:
                await scene.database.close()

        asyncio.run(whole())

    return run


def test_a_new_job_waits_and_its_body_is_of_the_wire(play: Play) -> None:
    async def act(scene: Scene) -> None:
        job_id = await scene.add(files=2, webhook=WEBHOOK)
        body = JobBody.model_validate(await scene.jobs.find("ann", job_id))
        assert (body.state, body.stage, body.fraction, body.webhook) == ("queued", "waiting", 0.0, True)
        assert [file.filename for file in body.files] == ["0.mp4", "1.mp4"]
        assert body.links.events == f"/v1/jobs/{job_id}/events"

    play(act)


def test_somebody_elses_job_is_unknown_to_read_to_follow_and_to_cancel(play: Play) -> None:
    async def act(scene: Scene) -> None:
        job_id = await scene.add()
        for ask in (scene.jobs.find, scene.jobs.cancel):
            with pytest.raises(UnknownJob):
                await ask("bob", job_id)
        with pytest.raises(UnknownJob):
            await scene.jobs.events("bob", job_id, 0)
        assert await scene.jobs.page("bob", None, 9) == ([], 0)

    play(act)


def test_a_list_goes_on_from_its_number_newest_first(play: Play) -> None:
    async def act(scene: Scene) -> None:
        made = [await scene.add() for _ in range(3)]
        first, before = await scene.jobs.page("ann", None, 2)
        rest, end = await scene.jobs.page("ann", before, 2)
        assert [body["id"] for body in (*first, *rest)] == made[::-1]
        assert end == 0
        assert await scene.jobs.page("ann", None, 9, "done") == ([], 0)

    play(act)


def test_the_oldest_job_is_claimed_first_and_only_once(play: Play) -> None:
    async def act(scene: Scene) -> None:
        made = [await scene.add() for _ in range(3)]
        claimed = await asyncio.gather(*(scene.queue.claim() for _ in range(5)))
        assert sorted(one.lease.job_id for one in claimed if one) == sorted(made)
        assert claimed.count(None) == 2

    play(act)


def test_who_sends_many_jobs_does_not_hold_up_who_sends_one(play: Play) -> None:
    async def act(scene: Scene) -> None:
        for _ in range(3):
            await scene.add(ANN)
        await scene.add(BOB)
        owners = [(await scene.claim()).caller.owner for _ in range(4)]
        assert owners == ["ann", "bob", "ann", "ann"]

    play(act)


def test_a_claim_has_what_the_work_needs(play: Play) -> None:
    async def act(scene: Scene) -> None:
        await scene.add(files=2)
        claimed = await scene.claim()
        assert (claimed.caller.owner, claimed.options, claimed.total) == ("ann", OPTIONS, 2)
        assert [(file.position, file.source) for file in claimed.files] == [(0, "jobs/0"), (1, "jobs/1")]

    play(act)


def test_a_job_is_done_when_its_files_are_and_its_events_tell_how(play: Play) -> None:
    async def act(scene: Scene) -> None:
        job_id = await scene.add(files=2)
        claimed = await scene.claim()
        await scene.queue.renew(claimed.lease, Progress("detecting", 0.25))
        await scene.queue.renew(claimed.lease, Progress("detecting", 0.25))
        await scene.finish_file(claimed)
        await scene.queue.file_failed(claimed.lease, 1, PROBLEM)
        await scene.queue.finish(claimed.lease)
        body = JobBody.model_validate(await scene.jobs.find("ann", job_id))
        assert (body.state, body.fraction, body.error) == ("done", 1.0, None)
        assert [file.state for file in body.files] == ["done", "failed"]
        assert await scene.happened(job_id) == ["state", "state", "progress", "file", "file", "end"]
        assert await scene.queue.claim() is None

    play(act)


def test_events_resume_after_a_number(play: Play) -> None:
    async def act(scene: Scene) -> None:
        job_id = await scene.add()
        (first,), ended = await scene.jobs.events("ann", job_id, 0)
        assert not ended
        await scene.jobs.cancel("ann", job_id)
        later, ended = await scene.jobs.events("ann", job_id, first.number)
        assert [event.event for event in later] == ["end"]
        assert ended

    play(act)


def test_a_job_whose_every_file_failed_has_failed_with_the_first_reason(play: Play) -> None:
    async def act(scene: Scene) -> None:
        job_id = await scene.add()
        claimed = await scene.claim()
        await scene.queue.file_failed(claimed.lease, 0, PROBLEM)
        await scene.queue.finish(claimed.lease)
        body = await scene.jobs.find("ann", job_id)
        assert (body["state"], body["error"]["code"]) == ("failed", "unsupported_media")

    play(act)


def test_a_silent_runners_job_is_taken_over_and_finishes_once(play: Play) -> None:
    async def act(scene: Scene) -> None:
        job_id = await scene.add()
        silent = await scene.claim()
        assert await scene.queue.claim() is None
        await scene.outlive_lease()
        other = await scene.claim()
        for write in (
            scene.queue.renew(silent.lease, Progress("detecting", 0.5)),
            scene.queue.check(silent.lease),
            scene.finish_file(silent),
            scene.queue.file_failed(silent.lease, 0, PROBLEM),
            scene.queue.finish(silent.lease),
        ):
            with pytest.raises(LeaseLost):
                await write
        await scene.finish_file(other)
        await scene.queue.finish(other.lease)
        assert (await scene.happened(job_id)).count("end") == 1

    play(act)


def test_a_taken_over_job_goes_on_with_the_files_that_are_left(play: Play) -> None:
    async def act(scene: Scene) -> None:
        await scene.add(files=3)
        await scene.finish_file(await scene.claim(), 1)
        await scene.outlive_lease()
        assert [file.position for file in (await scene.claim()).files] == [0, 2]

    play(act)


def test_a_job_that_kills_its_runners_is_given_up(play: Play) -> None:
    async def act(scene: Scene) -> None:
        job_id = await scene.add(webhook=WEBHOOK)
        for _ in range(MAX_ATTEMPTS):
            await scene.claim()
            await scene.outlive_lease()
        assert await scene.queue.claim() is None
        body = JobBody.model_validate(await scene.jobs.find("ann", job_id))
        assert (body.state, body.error and body.error.code) == ("failed", "job_abandoned")
        assert [file.state for file in body.files] == ["failed"]
        assert [row.payload["type"] for row in await scene.deliveries()] == ["job.failed"]

    play(act)


def test_a_job_given_back_is_taken_at_once_and_counts_no_attempt(play: Play) -> None:
    async def act(scene: Scene) -> None:
        await scene.add()
        for _ in range(MAX_ATTEMPTS + 1):
            await scene.queue.release((await scene.claim()).lease)
        assert await scene.queue.claim()

    play(act)


def test_cancelling_takes_the_lease_and_tells_what_is_to_be_erased(play: Play) -> None:
    async def act(scene: Scene) -> None:
        job_id = await scene.add(files=2)
        claimed = await scene.claim()
        body, media = await scene.jobs.cancel("ann", job_id)
        assert (body["state"], media) == ("cancelled", ["jobs/0", "jobs/1"])
        with pytest.raises(LeaseLost):
            await scene.queue.check(claimed.lease)
        assert await scene.queue.claim() is None

    play(act)


def test_cancelling_what_has_ended_changes_nothing(play: Play) -> None:
    async def act(scene: Scene) -> None:
        job_id = await scene.add()
        claimed = await scene.claim()
        await scene.finish_file(claimed)
        await scene.queue.finish(claimed.lease)
        body, _ = await scene.jobs.cancel("ann", job_id)
        assert body["state"] == "done"
        assert (await scene.happened(job_id)).count("end") == 1

    play(act)


def test_media_of_what_has_ended_is_listed_until_it_is_erased(play: Play) -> None:
    async def act(scene: Scene) -> None:
        job_id = await scene.add()
        assert await scene.queue.ended_with_media() == {}
        await scene.jobs.cancel("ann", job_id)
        assert await scene.queue.ended_with_media() == {job_id: ["jobs/0"]}
        await scene.queue.erased(["jobs/0"])
        assert await scene.queue.ended_with_media() == {}

    play(act)


def test_an_end_leaves_one_delivery_with_the_jobs_body(play: Play) -> None:
    async def act(scene: Scene) -> None:
        job_id = await scene.add(webhook=WEBHOOK)
        await scene.jobs.cancel("ann", job_id)
        await scene.jobs.cancel("ann", job_id)
        (row,) = await scene.deliveries()
        assert row.payload["type"] == "job.cancelled"
        assert JobBody.model_validate(row.payload["data"]).id == job_id
        assert "secret" not in str(row.payload)

    play(act)


def test_an_upload_belongs_to_one_job_of_its_owner(play: Play) -> None:
    async def act(scene: Scene) -> None:
        (upload,) = await scene.jobs.reserve(ANN, ["uploads/a"])
        with pytest.raises(NoSuchUpload):
            await scene.jobs.uploaded(BOB, upload)
        with pytest.raises(NoSuchUpload):
            await scene.add(BOB, uploads=[upload])
        assert (await scene.jobs.uploaded(ANN, upload)).source == "uploads/a"
        await scene.add(uploads=[upload])
        with pytest.raises(NoSuchUpload):
            await scene.add(uploads=[upload])
        async with scene.database.transaction() as session:
            assert list(await session.scalars(select(UploadRow))) == []

    play(act)


def test_a_job_is_kept_whatever_request_id_its_client_chose(play: Play) -> None:
    async def act(scene: Scene) -> None:
        job_id = await scene.add(Caller(owner="ann", request_id="r" * 5000))
        assert (await scene.claim()).caller.request_id == "r" * 255
        assert (await scene.jobs.find("ann", job_id))["state"] == "running"

    play(act)


@pytest.mark.parametrize("job_id", ["job_\0", "\0"])
def test_no_job_is_found_by_an_id_with_a_nul_in_it(play: Play, job_id: str) -> None:
    async def act(scene: Scene) -> None:
        for ask in (scene.jobs.find, scene.jobs.cancel):
            with pytest.raises(UnknownJob):
                await ask("ann", job_id)

    play(act)


def test_two_jobs_that_take_the_same_uploads_in_another_order_make_one_job_and_a_clear_error(play: Play) -> None:
    async def act(scene: Scene) -> None:
        for _ in range(10):
            uploads = await scene.jobs.reserve(ANN, ["uploads/a", "uploads/b"])
            tries = await asyncio.gather(
                scene.add(uploads=uploads), scene.add(uploads=uploads[::-1]), return_exceptions=True
            )
            refused = [one for one in tries if isinstance(one, BaseException)]
            assert len(refused) == 1
            assert isinstance(refused[0], NoSuchUpload | DatabaseUnavailable)

    play(act)
