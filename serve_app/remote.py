"""Media that a client names by its address: fetched only from where the operator's list says, and from nowhere else.

`https://` from hosts of the list, every redirect checked as the first address was; `s3://` from places of the list.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import PurePosixPath
from urllib.parse import unquote, urljoin

import httpx
import obstore
from obstore.exceptions import BaseError

from serve_app.addresses import (
    AddressFailed,
    AddressNotAllowed,
    Allowed,
    checked,
    parsed,
    pinned,
    public_address,
)
from serve_app.artifacts import READ_BYTES, S3, S3Options, bucket
from serve_app.uploads import Upload, keep

__all__ = ["AddressFailed", "AddressNotAllowed", "Remote", "parsed", "public_address"]

MAX_REDIRECTS = 5
CONNECT_TIMEOUT_S = 10.0
SILENCE_TIMEOUT_S = 30.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})
OK = 200


class Remote:
    """Fetches media by address. Pickles as its arguments.

    Args:
        allow: the operator's list; see `addresses.parsed`. Empty: nothing can be fetched.
        s3: how the buckets of the list are reached.
        kept: the artefact store's own address: what lies there is not fetched, whatever the list says.
    """

    def __init__(self, allow: str, s3: S3Options | None = None, kept: str = "") -> None:
        self._arguments = (allow, s3, kept)
        self._allowed = parsed(allow)
        self._s3 = s3 or S3Options()
        self._kept = kept.rstrip("/") + "/" if kept.startswith(S3) else ""

    def __reduce__(self) -> tuple[type["Remote"], tuple[str, S3Options | None, str]]:
        return Remote, self._arguments

    def check(self, url: str) -> None:
        """Raises `AddressNotAllowed` unless an address may be fetched, as far as can be told without asking it."""
        if url.startswith(S3):
            self._check_place(url)
        elif not self._allowed.names((found := checked(url)).host):
            accepted = "The operator allows some with UNMASK_URL_ALLOW." if self._allowed == Allowed() else ""
            raise AddressNotAllowed(f"{found.host[:253]} is not a host that media is fetched from.", accepted)

    async def fetch(self, url: str, max_bytes: int, timeout_s: float) -> Upload:
        """The media under an address, received as an upload is; the caller closes it.

        Raises:
            AddressNotAllowed: it, or where it leads, may not be fetched.
            AddressFailed: nothing can be had from it.
            ApiError: 408 it took longer than `timeout_s`; 413 it is over `max_bytes`; 507 there is no room.
        """
        self.check(url)
        pieces = self._object(url) if url.startswith(S3) else self._answer(url)
        async with aclosing(pieces):
            return await keep(pieces, named(url), max_bytes, timeout_s)

    async def _answer(self, url: str) -> AsyncGenerator[bytes]:
        client = httpx.AsyncClient(
            trust_env=False,  # a proxy of the environment would resolve the name anew
            verify=await asyncio.to_thread(ssl.create_default_context),  # the system's authorities: an operator's too
            timeout=httpx.Timeout(SILENCE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            headers={"Accept-Encoding": "identity"},  # unpacked, a small body could be a large one
        )
        async with client:
            for _ in range(MAX_REDIRECTS + 1):
                request = await pinned(checked(url), self._allowed)
                try:
                    stream = client.stream("GET", request.url, headers=request.headers, extensions=request.extensions)
                    async with stream as response:
                        if response.status_code in REDIRECTS:
                            url = joined(url, response.headers.get("location", ""))
                            self.check(url)
                            continue
                        _check_answer(response)
                        async for piece in response.aiter_raw(READ_BYTES):
                            yield piece
                        return
                except httpx.HTTPError as error:
                    raise AddressFailed(f"The host of the address does not answer ({type(error).__name__}).") from error
        raise AddressFailed(f"The address leads on more than {MAX_REDIRECTS} times.")

    async def _object(self, url: str) -> AsyncGenerator[bytes]:
        place, _, key = url.removeprefix(S3).partition("/")
        try:
            found = await obstore.get_async(bucket(S3 + place, self._s3), key)
            async for piece in found.stream(min_chunk_size=READ_BYTES):
                yield bytes(piece)
        except (BaseError, OSError, ValueError) as error:
            raise AddressFailed("Nothing can be had from that place in the bucket.") from error

    def _check_place(self, url: str) -> None:
        inside = any(url.startswith(place) and len(url) > len(place) for place in self._allowed.places)
        stepping = {"", ".", ".."} & set(url.removeprefix(S3).split("/"))
        if not inside or stepping or not url.isprintable() or (self._kept and url.startswith(self._kept)):
            raise AddressNotAllowed("That place is not one that media is fetched from.")


def named(url: str) -> str:
    """The file name that an address ends in."""
    return unquote(PurePosixPath(url.partition("?")[0].partition("#")[0]).name, errors="replace")


def joined(url: str, location: str) -> str:
    """Where an answer leads on to; raises `AddressFailed` where that is no address."""
    try:
        return urljoin(url, location)
    except ValueError:
        raise AddressFailed("The host of the address leads on to what is no address.") from None


def _check_answer(response: httpx.Response) -> None:
    if response.status_code != OK:
        raise AddressFailed(f"The host of the address answers {response.status_code}.")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise AddressFailed("The host of the address packs its answer, and was asked not to.")
