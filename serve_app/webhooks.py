"""Tells the ends of jobs to addresses that clients named, signed as Standard Webhooks says, until they are received.

A delivery is written in the transaction that ends its job, so none is lost. It may arrive twice, when a runner dies
between sending and noting that it was received: `webhook-id` stays the same.
"""

import asyncio
import json
import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import and_, or_, select
from standardwebhooks import Webhook

from models.errors import UnmaskError
from serve_app.addresses import AddressNotAllowed, Allowed, checked, pinned
from serve_app.database import Database, DatabaseUnavailable
from serve_app.jobs import PENDING
from serve_app.tables import DeliveryRow, JobRow

LOGGER = logging.getLogger("ray.serve")
SENT, GIVEN_UP = "sent", "given_up"
POLL_S = 1.0
AT_ONCE = 4
TIMEOUT_S = 15.0  # Standard Webhooks: between 15 and 30 seconds
LEASE = timedelta(seconds=60)  # longer than a try can take
GONE = 410  # the receiver wants no more
ANSWER_CHARACTERS = 200
SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One try of a delivery."""

    id: str
    url: str
    secret: str
    payload: dict[str, Any]
    attempts: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a try: whether it was received, in which words, and whether no further try makes sense."""

    received: bool
    words: str
    final: bool = False


def check_target(url: str, allowed: Allowed) -> httpx.URL:
    """The address of a webhook: `https://`, or `http://` of a host that the operator names.

    Raises:
        AddressNotAllowed: it is another. Whether its host is public is only known when it is sent to.
    """
    found = checked(url, ("https", "http"))
    if found.scheme == "http" and not allowed.names(found.host):
        raise AddressNotAllowed("A webhook's address must begin with https://.")
    return found


def headers_of(delivery: Delivery, body: str, now: datetime) -> dict[str, str]:
    """The headers that Standard Webhooks asks for."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "unmask-webhooks",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(delivery.secret).sign(delivery.id, now, body),
    }


async def send(delivery: Delivery, allowed: Allowed) -> Answer:
    """Try once. Redirects are not followed."""
    body = json.dumps(delivery.payload, separators=(",", ":"))
    try:
        request = await pinned(check_target(delivery.url, allowed), allowed)
        headers = {**headers_of(delivery, body, datetime.now(UTC)), **request.headers}
        verify = await asyncio.to_thread(ssl.create_default_context)
        async with asyncio.timeout(TIMEOUT_S), httpx.AsyncClient(trust_env=False, verify=verify) as client:
            stream = client.stream(
                "POST", request.url, content=body, headers=headers, extensions=request.extensions, timeout=TIMEOUT_S
            )
            async with stream as response:  # the body of the answer is not read: it says nothing
                words = f"{response.status_code} {response.reason_phrase}"
                return Answer(response.status_code in SUCCESS, words, response.status_code == GONE)
    except AddressNotAllowed as error:
        return Answer(received=False, words=str(error), final=True)
    except (UnmaskError, httpx.HTTPError, TimeoutError, ssl.SSLError, OSError) as error:
        return Answer(received=False, words=f"{type(error).__name__}: {error}")


class Webhooks:
    """The deliveries of a database, sent by whichever runner finds one due.

    Args:
        database: where they wait.
        allowed: hosts and networks that the operator names beside the public internet.
        pauses_s: between tries; after the last the delivery is given up.
    """

    def __init__(self, database: Database, allowed: Allowed, pauses_s: Sequence[float]) -> None:
        self._database, self._allowed, self._pauses_s = database, allowed, pauses_s

    async def run(self) -> None:
        """Send what is due until cancelled; a receiver that does not answer does not hold up the others."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._send_all())

    async def _send_all(self) -> None:
        while True:
            try:
                if not await self.send_next():
                    await asyncio.sleep(POLL_S)
            except DatabaseUnavailable:
                await asyncio.sleep(POLL_S)

    async def send_next(self) -> bool:
        """Send one delivery that is due; whether there was one."""
        delivery = await self._claim()
        if delivery is None:
            return False
        answer = await send(delivery, self._allowed)
        LOGGER.info("webhook %s, try %d: %s", delivery.id, delivery.attempts, answer.words)
        await self._note(delivery, answer)
        return True

    async def _claim(self) -> Delivery | None:
        now = datetime.now(UTC)
        free = or_(DeliveryRow.leased_until.is_(None), DeliveryRow.leased_until < now)
        due = and_(DeliveryRow.state == PENDING, DeliveryRow.due_at <= now, free)
        async with self._database.reading() as session:
            if (await session.scalars(select(DeliveryRow.id).where(due).limit(1))).one_or_none() is None:
                return None  # runners ask often, and mostly for nothing
        asked = select(DeliveryRow, JobRow.webhook).join(JobRow, JobRow.id == DeliveryRow.job_id).where(due)
        locked = asked.order_by(DeliveryRow.due_at).limit(1).with_for_update(skip_locked=True, of=DeliveryRow)
        async with self._database.transaction() as session:
            found = (await session.execute(locked)).one_or_none()
            if found is None:
                return None
            row, webhook = found
            row.leased_until = now + LEASE
            row.attempts += 1
            return Delivery(row.id, webhook["url"], webhook["secret"], row.payload, row.attempts)

    async def _note(self, delivery: Delivery, answer: Answer) -> None:
        async with self._database.transaction() as session:
            row = await session.get(DeliveryRow, delivery.id, with_for_update=True)
            if row is None:
                return  # its job was erased meanwhile: its time was over
            row.leased_until, row.answered = None, answer.words[:ANSWER_CHARACTERS]
            if answer.received:
                row.state = SENT
            elif answer.final or delivery.attempts > len(self._pauses_s):
                row.state = GIVEN_UP
            else:
                row.due_at = datetime.now(UTC) + timedelta(seconds=self._pauses_s[delivery.attempts - 1])
