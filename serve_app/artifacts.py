"""Where files are kept beside the database: annotated media, pictures, and the media of jobs.

A local folder by default, or a bucket of any S3 such as MinIO by its address. One code path for both: obstore.
"""

import asyncio
import logging
import mimetypes
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from models.errors import UnmaskError
from serve_app.signing import Signer

LOGGER = logging.getLogger("ray.serve")
S3 = "s3://"
# S3 takes no smaller parts of a file but the last. What is under way of one file is in memory: two parts.
PART_BYTES = 5 * 2**20
PARTS_AT_ONCE = 2
READ_BYTES = 2**20
CONNECT_TIMEOUT_S, SILENCE_TIMEOUT_S = 5, 30
TRANSFER_TIMEOUT_S = 3600  # of a whole file, to a client that reads slowly
RETRIES, RETRY_TIMEOUT_S = 2, 10  # then clients come again
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
FULL = ("os error 28", "os error 122", "507 Insufficient Storage", "XMinioStorageFull", "QuotaExceeded")
FILES_PATH = "/v1/files/"  # of routes/files.py

Source = bytes | Path | IO[bytes] | AsyncIterator[bytes]


class ArtifactsError(UnmaskError):
    """The address of the artefact store is wrong, or a name in it is none."""

    code = "artifacts_error"


class StorageUnavailable(UnmaskError):
    """The artefact store does not answer, or refuses. Nothing was stored; the same request may be sent again."""

    code = "storage_unavailable"


class StorageFull(UnmaskError):
    """There is no room in the artefact store."""

    code = "storage_full"


class NoSuchArtifact(UnmaskError):
    """Nothing is stored under that name: it was erased, or never written."""

    code = "no_such_artifact"


@dataclass(frozen=True, slots=True)
class S3Options:
    """How a bucket is reached. What is empty is taken from where AWS's own tools take it on that machine.

    Attributes:
        endpoint: of another S3 than Amazon's, such as `http://minio:9000`.
        public_endpoint: the same as clients reach it, for links; empty where that is the same.
        region: of the bucket.
        access_key_id: of the account.
        secret_access_key: of the account.
        virtual_hosted: whether the bucket's name is part of the host's.
    """

    endpoint: str = ""
    public_endpoint: str = ""
    region: str = "us-east-1"
    access_key_id: str = ""
    secret_access_key: str = ""
    virtual_hosted: bool = False


class Artifacts:
    """One store of files by name. Pickles as its arguments: every replica makes its own connections.

    Names are letters, digits, `.`, `_` and `-`, in folders by `/`. Every method raises `StorageUnavailable` if the
    store does not answer, and `NoSuchArtifact` where a name is asked for that is not there.

    Args:
        url: a folder, or `s3://bucket/prefix`.
        secret: signs the links to files in a folder.
        s3: how the bucket is reached.
    """

    def __init__(self, url: str, secret: bytes, s3: S3Options | None = None) -> None:
        self._arguments = (url, secret, s3)
        self._signer = Signer(secret)
        self._store = opened(url, s3 or S3Options())
        public = s3.public_endpoint if s3 else ""
        self._public = opened(url, s3, public) if s3 and public else self._store

    def __reduce__(self) -> tuple[type["Artifacts"], tuple[str, bytes, S3Options | None]]:
        return Artifacts, self._arguments

    @property
    def embedded(self) -> bool:
        """Whether it is a folder of one machine."""
        return isinstance(self._store, LocalStore)

    async def put(self, name: str, source: Source, content_type: str = "", filename: str = "") -> int:
        """Store a file; it is there whole or not at all.

        Args:
            name: what it is called here; what was there before is replaced.
            source: the bytes, a path, an open file (read from where it stands), or pieces as they come: never more than
                two parts of 5 MiB of them are in memory. What it raises is raised, and nothing is stored.
            content_type: told to who follows a link; by default what the name's ending says.
            filename: under which a browser saves it, where the link leads to a bucket.

        Returns:
            The file's size in bytes.

        Raises:
            StorageFull: there is no room.
        """
        counted = _Counted(_pieces(source))
        options: dict[str, Any] = {}
        if not self.embedded:
            options["attributes"] = attributes(content_type or content_type_of(name), filename)
        head = await counted.up_to(PART_BYTES)
        body = head if counted.ended else counted.after(head)
        try:
            with _failures(name, writing=True):
                await obstore.put_async(
                    self._store, _checked(name), body, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE, **options
                )
        except UnmaskError:
            if counted.failure:
                raise counted.failure from None
            raise
        return counted.size_bytes

    async def read(self, name: str) -> bytes:
        """A small file, whole."""
        with _failures(name):
            found = await obstore.get_async(self._store, _checked(name))
            return bytes(await found.bytes_async())

    async def stream(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """A file in pieces of about 1 MiB, or its bytes from `start` to before `end`."""
        if end is None:
            end = await self.size(name)
        if start >= end:
            return
        with _failures(name):
            found = await obstore.get_async(self._store, _checked(name), options={"range": (start, end)})
            async for piece in found.stream(min_chunk_size=READ_BYTES):
                yield bytes(piece)

    async def size(self, name: str) -> int:
        """Bytes of a file."""
        with _failures(name):
            return int((await obstore.head_async(self._store, _checked(name)))["size"])

    async def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        try:
            await self.size(name)
        except NoSuchArtifact:
            return False
        return True

    async def delete(self, *names: str) -> None:
        """Erase files; one that is not there is no error."""
        for name in names:
            try:
                with _failures(name):
                    await obstore.delete_async(self._store, _checked(name))
            except NoSuchArtifact:
                continue

    async def delete_under(self, prefix: str) -> None:
        """Erase every file of a folder."""
        await self.delete(*[name async for name in self.names(prefix)])

    async def names(self, prefix: str) -> AsyncIterator[str]:
        """The names of all files in a folder, and in the folders within."""
        with _failures(prefix):
            async for some in obstore.list(self._store, _checked(prefix)):
                for found in some:
                    yield found["path"]

    async def link(self, name: str, filename: str, lifetime_s: float) -> str:
        """An address under which everybody gets a file, for a time.

        Of a bucket it is the bucket's own, signed; of a folder it is a path of this service.
        """
        if isinstance(self._public, LocalStore):
            return FILES_PATH + self._signer.token("get", lifetime_s, _checked(name), filename)
        return await self._signed("GET", name, lifetime_s)

    async def place(self, name: str, lifetime_s: float) -> str:
        """An address to which everybody can PUT one file, for a time; of the same kinds as `link`."""
        if isinstance(self._public, LocalStore):
            return FILES_PATH + self._signer.token("put", lifetime_s, _checked(name))
        return await self._signed("PUT", name, lifetime_s)

    def opened(self, purpose: str, token: str) -> list[str]:
        """What a token of `link` ("get": name and file name) or `place` ("put": name) says.

        Raises:
            WrongToken, ExpiredToken: it was not signed here for that, or is over.
        """
        return self._signer.opened(purpose, token)

    async def check(self) -> None:
        """Raises `StorageUnavailable` unless the store answers."""
        with _failures("the store"):
            async for _ in obstore.list(self._store, "check", chunk_size=1):
                return

    async def _signed(self, method: Any, name: str, lifetime_s: float) -> str:
        assert isinstance(self._public, S3Store)
        with _failures(name):
            return await obstore.sign_async(self._public, method, _checked(name), timedelta(seconds=lifetime_s))


class _Counted:
    """The pieces of a source as they are read: how many bytes they were, and what the source raised."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self.size_bytes = 0
        self.ended = False
        self.failure: BaseException | None = None
        self._pieces = pieces

    async def up_to(self, least_bytes: int) -> bytes:
        """The first bytes: at least so many, or all there are."""
        head = bytearray()
        while len(head) < least_bytes and not self.ended:
            head += await self._next()
        return bytes(head)

    async def after(self, head: bytes) -> AsyncIterator[bytes]:
        """These bytes, then all others."""
        yield head
        while not self.ended:
            if piece := await self._next():
                yield piece

    async def _next(self) -> bytes:
        try:
            piece = await anext(self._pieces, None)
        except BaseException as error:
            self.failure = error  # the store may fail in turn when it gives up, and would hide it
            raise
        self.ended = piece is None
        self.size_bytes += len(piece or b"")
        return bytes(piece or b"")


async def _pieces(source: Source) -> AsyncIterator[bytes]:
    if isinstance(source, bytes):
        yield source
    elif isinstance(source, AsyncIterator):
        async for piece in source:
            yield piece
    elif isinstance(source, Path):
        with await asyncio.to_thread(source.open, "rb") as file:
            async for piece in _pieces(file):
                yield piece
    else:
        while piece := await asyncio.to_thread(source.read, READ_BYTES):
            yield piece


def opened(url: str, s3: S3Options, endpoint: str = "") -> LocalStore | S3Store:
    """The store of an address; raises `ArtifactsError`. A folder is made where there is none."""
    try:
        if url.startswith(S3):
            return bucket(url, s3, endpoint)
        if "://" in url:
            raise ArtifactsError(
                f"UNMASK_ARTIFACTS_URL is of kind {url.partition(':')[0]!r}.",
                "There are: a folder, s3://bucket/prefix.",
            )
        return LocalStore(Path(url).expanduser().absolute(), mkdir=True)
    except (BaseError, ValueError, OSError) as error:
        raise ArtifactsError(f"UNMASK_ARTIFACTS_URL cannot be used: {_first_line(error)}") from error


def bucket(url: str, s3: S3Options, endpoint: str = "") -> S3Store:
    """The bucket of an address `s3://bucket/prefix`, at another endpoint than the options' if one is given."""
    name, _, prefix = url.removeprefix(S3).partition("/")
    endpoint = endpoint or s3.endpoint
    if not name:
        raise ArtifactsError("UNMASK_ARTIFACTS_URL names no bucket.", "Such as s3://unmask/artifacts.")
    given = {
        "endpoint": endpoint,
        "region": s3.region,
        "access_key_id": s3.access_key_id,
        "secret_access_key": s3.secret_access_key,
    }
    return S3Store(
        name,
        prefix=prefix.strip("/") or None,
        client_options={
            "allow_http": endpoint.startswith("http://"),  # the operator wrote it
            "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
            "read_timeout": timedelta(seconds=SILENCE_TIMEOUT_S),
            "timeout": timedelta(seconds=TRANSFER_TIMEOUT_S),
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_TIMEOUT_S)},
        virtual_hosted_style_request=s3.virtual_hosted,
        **{name: value for name, value in given.items() if value},  # type: ignore[arg-type]
    )


def prepare(url: str, s3: S3Options) -> None:
    """Make the folder of a store, and see that it can be written. To be called once, before replicas start.

    Raises:
        ArtifactsError: the address is wrong.
        StorageUnavailable, StorageFull: nothing can be written there.
    """
    store = opened(url, s3)
    with _failures("check", writing=True):
        obstore.put(store, "check", b"written when the service starts")
        obstore.delete(store, "check")


@contextmanager
def _failures(name: str, *, writing: bool = False) -> Iterator[None]:
    """Everything that can go wrong in a store, as one of our own errors."""
    try:
        yield
    except FileNotFoundError as error:
        if writing:  # what is missing is the bucket
            raise StorageUnavailable("The bucket does not exist.", "Tell the operator.") from error
        raise NoSuchArtifact(f"Nothing is stored as {name}.") from error
    except (BaseError, OSError, TimeoutError) as error:
        text = str(error)
        if any(word in text for word in FULL):
            LOGGER.warning("the artefact store is full: %s", _first_line(error))
            raise StorageFull("There is no room in the artefact store.", "Tell the operator.") from error
        LOGGER.warning("the artefact store is unavailable: %s", _first_line(error))
        raise StorageUnavailable("The artefact store does not answer.", "Try again shortly.") from error


def attributes(content_type: str, filename: str) -> dict[str, str]:
    """What a bucket tells with a file. A name outside ASCII cannot be told that way."""
    named = f'inline; filename="{re.sub(r"[^A-Za-z0-9._ -]", "_", filename)}"' if filename else ""
    return {"Content-Type": content_type, **({"Content-Disposition": named} if named else {})}


def content_type_of(name: str) -> str:
    """The media type that a name's ending tells."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ArtifactsError(f"{name[:80]!r} is no name in the artefact store.")
    return name


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
