"""Places for media that does not pass the ingress: a client puts the file straight into the artefact store."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from serve_app.artifacts import Artifacts, NoSuchArtifact
from serve_app.database import Database
from serve_app.ids import new_id
from serve_app.tables import UploadRow
from serve_app.upload_errors import NoSuchUpload, UploadMissing, UploadTooLarge
from serve_app.uploads import base_name

FOLDER = "uploads"


@dataclass(frozen=True, slots=True)
class Place:
    """Where to put a file, by HTTP PUT, before `expires_at`. `url` is absolute, or a path of this service."""

    id: str
    filename: str
    url: str
    expires_at: datetime


class Places:
    """The places of one service.

    Args:
        database: keeps which place is whose.
        artifacts: where the files go.
        lifetime_s: of a place.
    """

    def __init__(self, database: Database, artifacts: Artifacts, lifetime_s: float) -> None:
        self._database, self._artifacts, self._lifetime_s = database, artifacts, lifetime_s

    async def give(self, owner: str, filename: str) -> Place:
        """A new place."""
        place_id = new_id("upl")
        name = f"{FOLDER}/{place_id}"
        now = datetime.now(UTC)
        row = UploadRow(
            id=place_id,
            owner=owner,
            filename=base_name(filename),
            object_name=name,
            created_at=now,
            expires_at=now + timedelta(seconds=self._lifetime_s),
        )
        url = await self._artifacts.place(name, self._lifetime_s)
        async with self._database.transaction() as session:
            session.add(row)
        return Place(place_id, row.filename, url, row.expires_at)

    async def check(self, name: str) -> None:
        """Raises `NoSuchUpload` unless something may still be put under a name in the artefact store."""
        async with self._database.transaction() as session:
            found = await session.scalar(select(UploadRow).where(UploadRow.object_name == name))
            if found is None or found.expires_at <= datetime.now(UTC):
                raise _unknown()

    async def erase(self, owner: str, place_id: str) -> None:
        """Give a place back, with what is in it; raises `NoSuchUpload`."""
        async with self._database.transaction() as session:
            row = await owned(session, owner, place_id)
        await self._artifacts.delete(row.object_name)  # first: if the store is away, it can be tried again
        async with self._database.transaction() as session:
            await session.execute(delete(UploadRow).where(UploadRow.id == place_id))


async def owned(session: AsyncSession, owner: str, place_id: str) -> UploadRow:
    """The row of an owner's place; raises `NoSuchUpload`."""
    # PostgreSQL refuses a text with a NUL in it; no id has one.
    row = await session.get(UploadRow, place_id) if place_id.isprintable() else None
    if row is None or row.owner != owner or row.expires_at <= datetime.now(UTC):
        raise _unknown()
    return row


async def arrived(artifacts: Artifacts, name: str, max_bytes: int) -> int:
    """Bytes of what was put under a name: to be asked before it is taken, for a bucket takes files of any size.

    Raises:
        UploadMissing: nothing was put there.
        UploadTooLarge: it is over the limit; it is erased.
    """
    try:
        size_bytes = await artifacts.size(name)
    except NoSuchArtifact:
        raise UploadMissing("Nothing was uploaded to that place yet.", "PUT the file to its address first.") from None
    if size_bytes > max_bytes:
        await artifacts.delete(name)
        raise UploadTooLarge(f"The file has {size_bytes} bytes; {max_bytes} are accepted.")
    return size_bytes


def _unknown() -> NoSuchUpload:
    return NoSuchUpload("There is no such upload.", "Ask POST /v1/uploads for a new place.")
