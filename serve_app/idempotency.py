"""`Idempotency-Key`: a POST that is sent again with the same key is done once, and answered again as it was answered.

As in draft-ietf-httpapi-idempotency-key-header. Whether two requests are the same shows only once their files have
arrived, so it is `claim` that decides, called where a body has been received. Until the answer is stored the request
holds a lease: one that died with its process is taken over as soon as that has run out.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, update
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.asking import Caller
from serve_app.database import Database, DatabaseUnavailable, insert
from serve_app.errors import ApiError, problem_response
from serve_app.ids import new_id
from serve_app.tables import IdempotentRow

LOGGER = logging.getLogger("ray.serve")
LEASE_S = 10.0  # how long a killed ingress replica keeps a retry from being done
RENEW_S = 3.0  # two renewals may fail before the lease runs out
RETRY_AFTER_S = "2"
MAX_KEY_CHARACTERS = 255
MAX_BODY_BYTES = 32 * 2**20  # of an answer that is kept; one with many saliency maps has a few million
KEPT_HEADERS = ("content-type", "location", "link")
KEPT_TYPES = ("application/json", "application/problem+json")
NOT_KEPT = frozenset({408, 409, 425, 429, 499})  # a later try may fare better, as with every 5xx


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it was sent."""

    status: int
    headers: Mapping[str, str]
    body: str


class Replayed(Exception):
    """This request was answered before; `answer` is that answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@dataclass(slots=True)
class Attempt:
    """One request that carries an idempotency key."""

    rows: "Idempotency"
    owner: str
    key: str
    token: str = field(default_factory=lambda: new_id("try"))
    renewing: "asyncio.Task[None] | None" = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    kept: bool = False

    @property
    def claimed(self) -> bool:
        """Whether the request holds the lease."""
        return self.renewing is not None

    async def claim(self, fingerprint: str) -> None:
        """Take the lease and renew it from now on; raises `Replayed` or `ApiError`."""
        if answer := await self.rows.claim(self, fingerprint):
            raise Replayed(answer)
        self.renewing = asyncio.create_task(self._renew())

    async def keep(self, answer: Answer) -> None:
        """Store the answer. While the database is away it is only logged: the client gets its answer all the same."""
        try:
            await self.rows.keep(self, answer)
            self.kept = True
        except DatabaseUnavailable:
            LOGGER.warning("the answer to idempotency key %s is not kept: the database is away", self.key)

    async def close(self) -> None:
        """End the renewing; a lease without an answer is given back."""
        if self.renewing is None:
            return
        self.ended.set()
        await asyncio.wait({self.renewing})  # not cancelled: that would break a connection in the middle of a statement
        if not self.kept:
            with suppress(DatabaseUnavailable):
                await asyncio.shield(self.rows.release(self))

    async def _renew(self) -> None:
        while not self.ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), RENEW_S)
                return
            with suppress(DatabaseUnavailable):
                await self.rows.renew(self)


class Idempotency:
    """What was asked with which key, in the database: all replicas share it."""

    def __init__(self, database: Database, keep_s: float) -> None:
        self.database = database
        self._keep_s = keep_s

    async def claim(self, attempt: Attempt, fingerprint: str) -> Answer | None:
        """Take the lease on a key, or give the answer that is stored for it.

        Raises:
            ApiError: 422 if the key came with another request, 409 while another process works on it.
        """
        now = datetime.now(UTC)
        fresh: dict[str, Any] = {
            "fingerprint": fingerprint,
            "created_at": now,
            "expires_at": now + timedelta(seconds=self._keep_s),
            "leased_by": attempt.token,
            "leased_until": now + timedelta(seconds=LEASE_S),
            "status": None,
            "headers": None,
            "body": None,
        }
        name = {"owner": attempt.owner, "key": attempt.key}
        async with self.database.transaction() as session:
            await session.execute(insert(session, IdempotentRow).values(**name, **fresh).on_conflict_do_nothing())
            row = await session.get(IdempotentRow, (attempt.owner, attempt.key), with_for_update=True)
            if row is None:
                raise _still_running()  # given back this very moment
            if row.leased_by == attempt.token:
                return None
            if row.expires_at > now:
                if row.fingerprint != fingerprint:
                    raise _reused()
                if row.status is not None:
                    return Answer(row.status, row.headers or {}, row.body or "")
                if row.leased_until is not None and row.leased_until > now:
                    raise _still_running()
            for column, value in fresh.items():
                setattr(row, column, value)
        return None

    async def renew(self, attempt: Attempt) -> None:
        """Hold the lease on."""
        until = datetime.now(UTC) + timedelta(seconds=LEASE_S)
        async with self.database.transaction() as session:
            await session.execute(update(IdempotentRow).where(_open(attempt)).values(leased_until=until))

    async def keep(self, attempt: Attempt, answer: Answer) -> None:
        """Store an answer, unless the lease was lost."""
        values = {"status": answer.status, "headers": dict(answer.headers), "body": answer.body, "leased_until": None}
        async with self.database.transaction() as session:
            await session.execute(update(IdempotentRow).where(_open(attempt)).values(**values))

    async def release(self, attempt: Attempt) -> None:
        """Give back the lease on a key that has no answer: the next request with it is done."""
        async with self.database.transaction() as session:
            await session.execute(delete(IdempotentRow).where(_open(attempt)))


class IdempotencyMiddleware:
    """Gives every POST with an `Idempotency-Key` its `Attempt`, and keeps the answer before it is sent."""

    def __init__(self, app: ASGIApp, rows: Idempotency) -> None:
        self._app, self._rows = app, rows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on."""
        caller = scope.get("state", {}).get("caller")
        sent = Headers(scope=scope).get("idempotency-key") if scope["type"] == "http" else None
        if sent is None or scope["method"] != "POST" or not isinstance(caller, Caller):
            await self._app(scope, receive, send)
            return
        key = sent.strip().removeprefix('"').removesuffix('"')  # the draft has it in quotes, most clients have not
        if not key or len(key) > MAX_KEY_CHARACTERS or not key.isprintable():
            await problem_response(_wrong_key(), scope)(scope, receive, send)
            return
        attempt = Attempt(self._rows, caller.owner, key)
        scope["state"]["idempotent"] = attempt
        try:
            await self._app(scope, receive, _Keeper(send, attempt).send)
        finally:
            await attempt.close()


class _Keeper:
    """Holds an answer back until it is complete and stored; one that is not to be stored passes."""

    def __init__(self, send: Send, attempt: Attempt) -> None:
        self._send, self._attempt = send, attempt
        self._held: list[Message] = []
        self._size_bytes = 0

    async def send(self, message: Message) -> None:
        if not self._held and not self._is_kept(message):
            await self._send(message)
            return
        self._held.append(message)
        self._size_bytes += len(message.get("body", b""))
        complete = message["type"] == "http.response.body" and not message.get("more_body", False)
        if complete:
            await self._attempt.keep(self._answer())
        if complete or self._size_bytes > MAX_BODY_BYTES:
            held, self._held = self._held, []
            for earlier in held:
                await self._send(earlier)

    def _is_kept(self, message: Message) -> bool:
        if message["type"] != "http.response.start" or not self._attempt.claimed:
            return False
        status = int(message["status"])
        kind = Headers(raw=message["headers"]).get("content-type", "").partition(";")[0]
        return status < 500 and status not in NOT_KEPT and kind in KEPT_TYPES  # noqa: PLR2004 - a class of HTTP statuses

    def _answer(self) -> Answer:
        start, *bodies = self._held
        sent = Headers(raw=start["headers"])
        headers = {name: sent[name] for name in KEPT_HEADERS if name in sent}
        return Answer(start["status"], headers, b"".join(body.get("body", b"") for body in bodies).decode())


async def claim(request: Request, files: Sequence[Sequence[str | int]], fields: Mapping[str, str]) -> None:
    """To be called once, where a request's body has been received and nothing has been done yet.

    Does nothing for requests without a key.

    Args:
        request: the request.
        files: what tells the request's files apart from others: name, size, SHA-256.
        fields: everything else that was in the body.

    Raises:
        Replayed: it was answered before; the application's handler answers so again.
        ApiError: 409 `still_running`, or 422 `idempotency_key_reused`.
        DatabaseUnavailable: the database is away.
    """
    attempt = getattr(request.state, "idempotent", None)
    if isinstance(attempt, Attempt) and not attempt.claimed:
        asked = (request.method, request.scope["path"], sorted(request.query_params.multi_items()))
        content = json.dumps([asked, files, sorted(fields.items())])
        await attempt.claim(hashlib.sha256(content.encode()).hexdigest())


async def forget(session: AsyncSession, owner: str, said: str) -> None:
    """Erase an owner's kept answers that say something, such as the id of an analysis that is being erased."""
    saying = IdempotentRow.body.contains(said, autoescape=True)
    await session.execute(delete(IdempotentRow).where(IdempotentRow.owner == owner, saying))


async def on_replayed(_request: Request, error: Exception) -> Response:
    """Handler of `Replayed`."""
    assert isinstance(error, Replayed)
    headers = {**error.answer.headers, "Idempotency-Replayed": "true"}
    return Response(error.answer.body, error.answer.status, headers)


def _open(attempt: Attempt) -> ColumnElement[bool]:
    """The row that this attempt holds and that has no answer yet."""
    return and_(
        IdempotentRow.owner == attempt.owner,
        IdempotentRow.key == attempt.key,
        IdempotentRow.leased_by == attempt.token,
        IdempotentRow.status.is_(None),
    )


def _reused() -> ApiError:
    return ApiError(
        422,
        "idempotency_key_reused",
        "This Idempotency-Key came with another request before.",
        suggestions=["Make a new key for each request, and send it again only with the same file and parameters"],
    )


def _still_running() -> ApiError:
    return ApiError(
        409,
        "still_running",
        "The first request with this Idempotency-Key is still being answered.",
        suggestions=["Send the same request again after the seconds in Retry-After"],
        headers={"Retry-After": RETRY_AFTER_S},
    )


def _wrong_key() -> ApiError:
    return ApiError(
        400,
        "wrong_idempotency_key",
        f"The Idempotency-Key is empty, not printable, or longer than {MAX_KEY_CHARACTERS} characters.",
        suggestions=["Send a UUID"],
    )
