"""Webhooks: signed, tried again, given up; to a receiver that really listens. On SQLite and PostgreSQL alike."""

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from standardwebhooks import Webhook

from serve_app.addresses import AddressNotAllowed, Allowed, parsed
from serve_app.asking import Ask, Caller
from serve_app.database import Database
from serve_app.ids import new_id
from serve_app.jobs import JobFile, Jobs, NewJob, Options
from serve_app.tables import DeliveryRow, JobRow
from serve_app.webhooks import GIVEN_UP, SENT, Answer, Webhooks, check_target

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
HERE = parsed("127.0.0.0/8")
PAUSES_S = (5.0, 300.0)


class Receiver:
    """An HTTP server that keeps what it gets, and answers as it is told."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.received: list[tuple[dict[str, str], str]] = []
        self.asked = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
        headers = dict(line.lower().split(": ", 1) for line in head)
        # Signatures are told apart by case.
        headers |= {line.split(": ", 1)[0].lower(): line.split(": ", 1)[1] for line in head}
        body = await reader.readexactly(int(headers["content-length"]))
        self.received.append((headers, body.decode()))
        self.asked.set()
        status = self.answers.pop(0) if self.answers else b"204 No Content"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


class Scene:
    """A job that ended, whose webhook waits, and who sends it."""

    def __init__(self, url: str, allowed: Allowed = HERE) -> None:
        self.database = Database(url)
        self.receiver = Receiver()
        self.webhooks = Webhooks(self.database, allowed, PAUSES_S)

    async def end_a_job(self, url: str = "") -> str:
        jobs = Jobs(self.database)
        webhook = {"url": url or self.receiver.url, "secret": SECRET}
        new = NewJob(new_id("job"), Options(Ask("ensemble")), [JobFile("a.mp4", "jobs/a")], webhook)
        await jobs.create(Caller(owner="ann"), new)
        await jobs.cancel("ann", new.id)
        return new.id

    async def row(self) -> DeliveryRow:
        async with self.database.reading() as session:
            return (await session.scalars(select(DeliveryRow))).one()

    async def make_due(self) -> timedelta:
        """Let the pause be over; how long it was."""
        pause = (await self.row()).due_at - datetime.now(UTC)
        async with self.database.transaction() as session:
            await session.execute(update(DeliveryRow).values(due_at=datetime.now(UTC)))
        return pause


Act = Callable[[Scene], Awaitable[None]]
Play = Callable[..., None]


@pytest.fixture
def play(database_url: str) -> Play:
    async def whole(act: Act, allowed: Allowed) -> None:
        scene = Scene(database_url, allowed)
        try:
            async with scene.receiver.listening():
                await act(scene)
        finally:
            await scene.database.close()

    return lambda act, allowed=HERE: asyncio.run(whole(act, allowed))


def test_the_end_of_a_job_is_told_once_and_its_signature_holds(play: Play) -> None:
    async def act(scene: Scene) -> None:
        job_id = await scene.end_a_job()
        assert await scene.webhooks.send_next()
        assert not await scene.webhooks.send_next()
        ((headers, body),) = scene.receiver.received
        told: Any = Webhook(SECRET).verify(body, headers)
        assert (told["type"], told["data"]["id"], told["data"]["state"]) == ("job.cancelled", job_id, "cancelled")
        row = await scene.row()
        assert (row.state, row.answered, row.id) == (SENT, "204 No Content", headers["webhook-id"])

    play(act)


def test_a_refusal_is_tried_again_after_longer_and_longer_pauses_and_then_given_up(play: Play) -> None:
    async def act(scene: Scene) -> None:
        scene.receiver.answers = [b"503 Busy"] * 9
        await scene.end_a_job()
        for pause_s in PAUSES_S:
            assert await scene.webhooks.send_next()
            assert not await scene.webhooks.send_next()
            assert await scene.make_due() == pytest.approx(timedelta(seconds=pause_s), abs=timedelta(seconds=4))
        assert await scene.webhooks.send_next()
        assert (await scene.row()).state == GIVEN_UP
        ids = {headers["webhook-id"] for headers, _ in scene.receiver.received}
        assert (len(scene.receiver.received), len(ids)) == (3, 1)

    play(act)


@pytest.mark.parametrize("answer", [b"302 Found\r\nLocation: /other", b"404 Not Found"])
def test_what_is_no_success_is_tried_again(play: Play, answer: bytes) -> None:
    async def act(scene: Scene) -> None:
        scene.receiver.answers = [answer]
        await scene.end_a_job()
        await scene.webhooks.send_next()
        await scene.make_due()
        await scene.webhooks.send_next()
        assert (await scene.row()).state == SENT

    play(act)


def test_a_receiver_that_is_gone_for_good_is_not_asked_again(play: Play) -> None:
    async def act(scene: Scene) -> None:
        scene.receiver.answers = [b"410 Gone"]
        await scene.end_a_job()
        await scene.webhooks.send_next()
        assert (await scene.row()).state == GIVEN_UP

    play(act)


def test_nobody_listening_is_tried_again(play: Play) -> None:
    async def act(scene: Scene) -> None:
        await scene.end_a_job("http://127.0.0.1:9/")
        await scene.webhooks.send_next()
        row = await scene.row()
        assert (row.state, row.attempts) == ("pending", 1)
        assert row.answered

    play(act)


def test_a_private_address_is_never_connected_to(play: Play) -> None:
    async def act(scene: Scene) -> None:
        await scene.end_a_job(f"https://127.0.0.1:{scene.receiver.port}/")
        await scene.webhooks.send_next()
        row = await scene.row()
        assert row.state == GIVEN_UP
        assert "not a public host" in row.answered
        assert scene.receiver.received == []

    play(act, Allowed())


def test_two_senders_send_a_delivery_once(play: Play) -> None:
    async def act(scene: Scene) -> None:
        await scene.end_a_job()
        await asyncio.gather(*(scene.webhooks.send_next() for _ in range(4)))
        assert len(scene.receiver.received) == 1

    play(act)


def test_a_sender_that_died_is_replaced_when_its_lease_is_over(play: Play) -> None:
    async def act(scene: Scene) -> None:
        await scene.end_a_job()
        assert await scene.webhooks._claim()
        assert not await scene.webhooks.send_next()
        async with scene.database.transaction() as session:
            past = datetime.now(UTC) - timedelta(seconds=1)
            await session.execute(update(DeliveryRow).values(leased_until=past))
        assert await scene.webhooks.send_next()
        assert json.loads(scene.receiver.received[0][1])["type"] == "job.cancelled"

    play(act)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [("https://example.org/x", ""), ("http://hooks.local/", "hooks.local"), ("http://10.1.2.3:8080/", "10.0.0.0/8")],
)
def test_a_target_is_https_or_of_the_operators_list(url: str, allowed: str) -> None:
    assert str(check_target(url, parsed(allowed))) == url


@pytest.mark.parametrize("url", ["http://example.org/", "ftp://example.org/", "https://a:b@example.org/"])
def test_another_target_is_refused(url: str) -> None:
    with pytest.raises(AddressNotAllowed):
        check_target(url, Allowed())


def test_a_delivery_whose_job_is_erased_while_it_is_sent_stops_no_other(play: Play) -> None:
    async def act(scene: Scene) -> None:
        await scene.end_a_job()
        delivery = await scene.webhooks._claim()
        assert delivery
        async with scene.database.transaction() as session:
            await session.execute(delete(JobRow))
        await scene.webhooks._note(delivery, Answer(received=True, words="200 OK"))
        await scene.end_a_job()
        assert await scene.webhooks.send_next()

    play(act)


def test_a_receiver_that_does_not_answer_does_not_hold_up_the_others(play: Play) -> None:
    async def act(scene: Scene) -> None:
        silent = socket.create_server(("127.0.0.1", 0))
        await scene.end_a_job(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        await scene.end_a_job()
        sending = asyncio.create_task(scene.webhooks.run())
        async with asyncio.timeout(10):  # less than a receiver is waited for
            await scene.receiver.asked.wait()
        sending.cancel()
        await asyncio.wait([sending])
        silent.close()

    play(act)
