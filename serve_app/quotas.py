"""Rate limits per key: requests a minute and seconds of media an hour, counted in the database for all replicas.

Windows are fixed: one begins with the first request in it. Media is counted when it has been analysed, so the request
that passes the limit is still answered; the next one is not. `RateLimit-Policy` and `RateLimit` tell clients how they
stand (draft-ietf-httpapi-ratelimit-headers-10).
"""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute
from limits.aio.storage import Storage
from limits.aio.strategies import FixedWindowRateLimiter
from sqlalchemy import case, delete, func, select
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import UnmaskError
from models.types import MediaFacts
from serve_app.asking import OPERATOR_KEY, Caller
from serve_app.database import Database, DatabaseUnavailable, insert
from serve_app.errors import ApiError, from_cause, problem_response
from serve_app.schemas import MediaBody
from serve_app.settings import Settings
from serve_app.tables import Counter

LOGGER = logging.getLogger("ray.serve")
REQUESTS, MEDIA = "requests", "media"
UNITS = {REQUESTS: "", MEDIA: ';qu="media-seconds"'}  # requests are the draft's own default
LEAST_SECONDS = 1  # what a picture counts, or a clip that is shorter


class _Named:
    """A counter's name is of the key alone: changing a limit does not begin a new window."""

    namespace: str

    def key_for(self, *identifiers: bytes | str | float) -> str:
        return "/".join((self.namespace, *map(str, identifiers)))


class _PerMinute(_Named, RateLimitItemPerMinute):
    pass


class _PerHour(_Named, RateLimitItemPerHour):
    pass


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of one limit is left: of `quota` in `window_s` seconds, `remaining`, until `reset_s` from now."""

    name: str
    quota: int
    window_s: int
    remaining: int
    reset_s: int


class CounterStorage(Storage):
    """Counters of the `limits` library in the table `counters`."""

    STORAGE_SCHEME = None

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """None is wrapped: the database's own errors are clear."""
        return ()

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count; the window begins anew where the old one is over. One statement, so that no two replicas lose one."""
        now = datetime.now(UTC)
        over = Counter.expires_at <= now
        async with self._database.transaction() as session:
            new = insert(session, Counter).values(name=key, amount=amount, expires_at=now + timedelta(seconds=expiry))
            counted = new.on_conflict_do_update(
                index_elements=["name"],
                set_={
                    "amount": case((over, new.excluded.amount), else_=Counter.amount + new.excluded.amount),
                    "expires_at": case((over, new.excluded.expires_at), else_=Counter.expires_at),
                },
            )
            return int((await session.execute(counted.returning(Counter.amount))).scalar_one())

    async def read(self, names: Sequence[str]) -> dict[str, tuple[int, float]]:
        """Of counters whose window is not over: the amount, and when that will be in seconds since 1970."""
        running = select(Counter).where(Counter.name.in_(names), Counter.expires_at > datetime.now(UTC))
        async with self._database.transaction() as session:
            rows = (await session.scalars(running)).all()
        return {row.name: (row.amount, row.expires_at.timestamp()) for row in rows}

    async def get(self, key: str) -> int:
        """The amount in the running window."""
        return (await self.read([key])).get(key, (0, 0.0))[0]

    async def get_expiry(self, key: str) -> float:
        """When the window is over, in seconds since 1970; now, if none runs."""
        return (await self.read([key])).get(key, (0, time.time()))[1]

    async def check(self) -> bool:
        """Whether the database answers."""
        try:
            await self._database.check()
        except DatabaseUnavailable:
            return False
        return True

    async def reset(self) -> int:
        """Forget all counters; how many there were."""
        async with self._database.transaction() as session:
            found = (await session.execute(select(func.count()).select_from(Counter))).scalar_one()
            await session.execute(delete(Counter))
            return int(found)

    async def clear(self, key: str) -> None:
        """Forget one counter."""
        async with self._database.transaction() as session:
            await session.execute(delete(Counter).where(Counter.name == key))


class Quotas:
    """Counts what keys use, and refuses what is above their limits. The operator's own key has none."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._storage = CounterStorage(database)
        self._limiter = FixedWindowRateLimiter(self._storage)
        self._defaults = (settings.requests_per_minute, settings.media_seconds_per_hour)

    async def count(self, caller: Caller) -> None:
        """Count one request; raises `ApiError` 429 if it is above the limit."""
        item = self._limits(caller).get(REQUESTS)
        if item and not await self._limiter.hit(item, caller.key_id):
            raise await self._refusal(item, caller)

    async def check(self, caller: Caller) -> None:
        """Raises `ApiError` 429 if the key's seconds of media are used up."""
        item = self._limits(caller).get(MEDIA)
        if item and not await self._limiter.test(item, caller.key_id):
            raise await self._refusal(item, caller)

    async def charge(self, caller: Caller, media_seconds: float) -> None:
        """Count media that was analysed. Never fails: the work is done, and its answer must not be lost."""
        if caller.key_id == OPERATOR_KEY:
            return
        item = _PerHour(0, namespace=MEDIA)
        cost = max(LEAST_SECONDS, math.ceil(media_seconds))
        try:
            await self._storage.incr(item.key_for(caller.key_id), item.get_expiry(), cost)
        except DatabaseUnavailable:
            LOGGER.warning("%s seconds of media of %s are not counted", cost, caller.key_id)

    async def standings(self, caller: Caller) -> tuple[Standing, ...]:
        """How the key stands with each of its limits."""
        limits = self._limits(caller)
        if not limits:
            return ()
        used = await self._storage.read([item.key_for(caller.key_id) for item in limits.values()])
        return tuple(_standing(item, used.get(item.key_for(caller.key_id))) for item in limits.values())

    def allowed(self, caller: Caller) -> tuple[int, int]:
        """Requests a minute and seconds of media an hour of a key: its own limits, or the settings'; 0 is none."""
        if caller.key_id == OPERATOR_KEY:
            return 0, 0
        own = (caller.requests_per_minute, caller.media_seconds_per_hour)
        requests, media_s = (
            default if mine is None else mine for mine, default in zip(own, self._defaults, strict=True)
        )
        return requests, media_s

    def _limits(self, caller: Caller) -> dict[str, RateLimitItem]:
        requests, media_s = self.allowed(caller)
        found: dict[str, RateLimitItem] = {}
        if requests:
            found[REQUESTS] = _PerMinute(requests, namespace=REQUESTS)
        if media_s:
            found[MEDIA] = _PerHour(media_s, namespace=MEDIA)
        return found

    async def _refusal(self, item: RateLimitItem, caller: Caller) -> ApiError:
        used = await self._storage.read([item.key_for(caller.key_id)])
        standing = _standing(item, used.get(item.key_for(caller.key_id)))
        what = "requests a minute" if standing.name == REQUESTS else "seconds of media an hour"
        return ApiError(
            429,
            "rate_limited",
            f"The key's {standing.quota} {what} are used up.",
            suggestions=["Send the request again after the seconds in Retry-After"],
            headers={"Retry-After": str(standing.reset_s)},
            extra={"violated-policies": [standing.name]},
        )


class QuotaMiddleware:
    """Counts every request of a key, and tells every answer how the key stands."""

    def __init__(self, app: ASGIApp, quotas: Quotas) -> None:
        self._app, self._quotas = app, quotas

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count, then pass on."""
        caller = scope.get("state", {}).get("caller")
        if scope["type"] != "http" or not isinstance(caller, Caller):
            await self._app(scope, receive, send)
            return

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(raw=message["headers"]).update(await self._headers(caller))
            await send(message)

        try:
            await self._quotas.count(caller)
        except ApiError as refusal:
            await problem_response(refusal, scope)(scope, receive, telling)
        except UnmaskError as error:
            await problem_response(from_cause(error), scope)(scope, receive, send)
        else:
            await self._app(scope, receive, telling)

    async def _headers(self, caller: Caller) -> Mapping[str, str]:
        """None where nothing limits the key, nor while the database is away: an answer is worth more than headers."""
        try:
            return headers_of(await self._quotas.standings(caller))
        except DatabaseUnavailable:
            return {}


def headers_of(standings: Sequence[Standing]) -> dict[str, str]:
    """`RateLimit-Policy` and `RateLimit`; none without a limit."""
    if not standings:
        return {}
    return {
        "RateLimit-Policy": ", ".join(f'"{s.name}";q={s.quota};w={s.window_s}{UNITS[s.name]}' for s in standings),
        "RateLimit": ", ".join(f'"{s.name}";r={s.remaining};t={s.reset_s}' for s in standings),
    }


def seconds_of(media: MediaFacts | MediaBody) -> float:
    """What analysed media counts."""
    return max(media.duration_s, media.audio_s)


def _standing(item: RateLimitItem, used: tuple[int, float] | None) -> Standing:
    amount, ends = used or (0, time.time() + item.get_expiry())
    reset_s = max(1, math.ceil(ends - time.time()))
    return Standing(item.namespace, item.amount, item.get_expiry(), max(0, item.amount - amount), reset_s)
