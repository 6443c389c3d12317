"""API keys: made, found, listed, revoked and rotated in the database. A key is shown once; its digest is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from serve_app.asking import SCOPES, Caller
from serve_app.auth import digest, new_key
from serve_app.database import Database
from serve_app.ids import new_id
from serve_app.key_errors import UnknownKey, WrongKeyOptions
from serve_app.tables import Key

PREFIX = "unm_"  # scanners for leaked secrets find it, and what does not begin so costs no look into the database
KEY_CHARACTERS = len(PREFIX) + len(new_key())
MAX_NAME_CHARACTERS = 255
LONGEST_LIFE = timedelta(days=36_500)
USED_EVERY = timedelta(minutes=1)  # how exact `last_used_at` is: a write per request would be too many
State = Literal["active", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: `secret` is shown now and never again."""

    secret: str
    row: Key


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """What a key is made with.

    Attributes:
        owner: whose analyses and jobs it makes and sees. Several keys may have one owner.
        scopes: of `SCOPES`.
        name: for people.
        expires_at: when it ends; None: never.
        requests_per_minute: its own limit; None: the setting's; 0: none.
        media_seconds_per_hour: likewise.
    """

    owner: str
    scopes: Sequence[str]
    name: str = ""
    expires_at: datetime | None = None
    requests_per_minute: int | None = None
    media_seconds_per_hour: int | None = None

    def check(self, now: datetime) -> None:
        """Raises `WrongKeyOptions`."""
        if not _is_text(self.owner) or not self.owner.strip():
            raise WrongKeyOptions("The owner is no name.", f"1 to {MAX_NAME_CHARACTERS} printable characters.")
        if not _is_text(self.name):
            raise WrongKeyOptions("The name is none.", f"At most {MAX_NAME_CHARACTERS} printable characters.")
        if not self.scopes or (unknown := sorted(set(self.scopes) - set(SCOPES))):
            wrong = f"{', '.join(unknown)} is no scope." if self.scopes else "The key has no scope."
            raise WrongKeyOptions(wrong, f"There are: {', '.join(SCOPES)}.")
        if self.expires_at is not None and not now < self.expires_at < now + LONGEST_LIFE:
            raise WrongKeyOptions(
                "The key's end is not in the future.", f"It is {now:%Y-%m-%dT%H:%M:%SZ}; a century is the most."
            )
        if min(self.requests_per_minute or 0, self.media_seconds_per_hour or 0) < 0:
            raise WrongKeyOptions("A limit is below 0.", "0 is no limit.")


class Keys:
    """The keys of one database. The operator's own, the setting `API_KEY`, is not among them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, options: KeyOptions) -> NewKey:
        """A new key; raises `WrongKeyOptions`."""
        made = _made(options, datetime.now(UTC))
        async with self._database.transaction() as session:
            session.add(made.row)
        return made

    async def list(self, owner: str = "", after: str = "", limit: int = 100) -> Sequence[Key]:
        """Keys, newest first, revoked ones too: of one owner if one is named, older than the id `after`."""
        query = select(Key).order_by(Key.id.desc()).limit(limit)
        query = query.where(Key.owner == owner) if owner else query
        query = query.where(Key.id < after) if after else query
        async with self._database.transaction() as session:
            return (await session.scalars(query)).all()

    async def get(self, key_id: str) -> Key:
        """One key; raises `UnknownKey`."""
        async with self._database.transaction() as session:
            return await _row(session, key_id)

    async def revoke(self, key_id: str) -> Key:
        """End a key now; one that was revoked before stays as it is. Raises `UnknownKey`."""
        async with self._database.transaction() as session:
            row = await _row(session, key_id)
            row.revoked_at = row.revoked_at or datetime.now(UTC)
            return row

    async def rotate(self, key_id: str, overlap_s: float = 0.0) -> NewKey:
        """A new key in place of another: same owner, name, scopes, limits and length of life.

        Args:
            key_id: of the key that is replaced.
            overlap_s: seconds that the old one still works, for clients to change over; 0 revokes it at once.

        Raises:
            UnknownKey: there is no such key.
            WrongKeyOptions: it has ended already, or the overlap is below 0.
        """
        now = datetime.now(UTC)
        async with self._database.transaction() as session:
            old = await _row(session, key_id)
            if overlap_s < 0 or state_of(old, now) != "active":
                raise WrongKeyOptions(
                    f"{key_id} cannot be rotated.", "It must be active, and the overlap 0 seconds or more."
                )
            new = _made(_renewed(old, now), now)
            session.add(new.row)
            if overlap_s:
                ends = now + timedelta(seconds=overlap_s)
                old.expires_at = min(old.expires_at or ends, ends)
            else:
                old.revoked_at = now
        return new

    async def find(self, secret: str) -> Caller | None:
        """Whose key this is; None if it is nobody's, or ended. Raises `DatabaseUnavailable`."""
        if not secret.startswith(PREFIX) or len(secret) != KEY_CHARACTERS:
            return None
        now = datetime.now(UTC)
        async with self._database.transaction() as session:
            row = (await session.scalars(select(Key).where(Key.digest == digest(secret).hex()))).one_or_none()
            if row is None or state_of(row, now) != "active":
                return None
            if row.last_used_at is None or now - row.last_used_at > USED_EVERY:
                row.last_used_at = now
            return caller_with(row)


def state_of(row: Key, now: datetime) -> State:
    """Whether a key works at a moment, or why not."""
    if row.revoked_at is not None and row.revoked_at <= now:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at <= now else "active"


def caller_with(row: Key) -> Caller:
    """Who asks with this key."""
    return Caller(
        owner=row.owner,
        key_id=row.id,
        scopes=frozenset(row.scopes),
        requests_per_minute=row.requests_per_minute,
        media_seconds_per_hour=row.media_seconds_per_hour,
    )


def _is_text(value: str) -> bool:
    return len(value) <= MAX_NAME_CHARACTERS and value.isprintable()


async def _row(session: AsyncSession, key_id: str) -> Key:
    row = await session.get(Key, key_id, with_for_update=True) if key_id.isprintable() else None
    if row is None:
        raise UnknownKey(f"There is no key {key_id[:64]!r}.", "`unmask keys list` and GET /v1/keys name them.")
    return row


def _made(options: KeyOptions, now: datetime) -> NewKey:
    options.check(now)
    secret = PREFIX + new_key()
    row = Key(
        id=new_id("key"),
        digest=digest(secret).hex(),
        owner=options.owner,
        name=options.name,
        scopes=[scope for scope in SCOPES if scope in options.scopes],
        created_at=now,
        expires_at=options.expires_at,
        revoked_at=None,
        last_used_at=None,
        requests_per_minute=options.requests_per_minute,
        media_seconds_per_hour=options.media_seconds_per_hour,
    )
    return NewKey(secret, row)


def _renewed(old: Key, now: datetime) -> KeyOptions:
    return KeyOptions(
        owner=old.owner,
        scopes=old.scopes,
        name=old.name,
        expires_at=now + (old.expires_at - old.created_at) if old.expires_at else None,
        requests_per_minute=old.requests_per_minute,
        media_seconds_per_hour=old.media_seconds_per_hour,
    )
