"""`GET /v1/files/{token}`: an artefact under an address that was signed and expires, so that it needs no key."""

import re
from collections.abc import AsyncIterator
from pathlib import PurePosixPath
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Request, Response
from starlette.responses import StreamingResponse

from serve_app.artifacts import Artifacts, content_type_of
from serve_app.errors import ApiError
from serve_app.routes.problems import problems

router = APIRouter(prefix="/v1/files", tags=["files"])

# Shown by a browser as they are; everything else is offered for saving, so that nothing stored is ever run as a page.
SHOWN = ("video/", "audio/", "image/jpeg", "image/png", "image/gif", "image/webp")
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_BINARY: dict[str, Any] = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "the file", **_BINARY},
    206: {"description": "the part that was asked for", **_BINARY},
    **problems(
        (404, "no such address, or the file was erased"),
        (410, "the address is no longer valid"),
        (416, "the range lies outside the file"),
        (503, "the artefact store does not answer"),
    ),
}


@router.get("/{token}", responses=ANSWERS, response_class=StreamingResponse)
@router.head("/{token}", include_in_schema=False)
async def file(request: Request, token: str, wanted: Annotated[str, Header(alias="Range")] = "") -> Response:
    """The file that an answer linked to, or a range of its bytes. No key is needed, and it cannot be guessed."""
    artifacts: Artifacts = request.app.state.artifacts
    name, filename = artifacts.opened("get", token)
    size_bytes = await artifacts.size(name)
    part = within(wanted, size_bytes)
    start, end = part or (0, size_bytes)
    headers = {**headers_of(name, filename), "Content-Length": str(end - start)}
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size_bytes}"
    if request.method == "HEAD":
        return Response(headers=headers, media_type=content_type_of(name))
    body = await begun(artifacts.stream(name, start, end))
    return StreamingResponse(body, 206 if part else 200, headers, content_type_of(name))


def within(wanted: str, size_bytes: int) -> tuple[int, int] | None:
    """The one range that a header `Range` asks for, as `(start, end)`; None for the whole file (RFC 9110, 14.2).

    Raises:
        ApiError: 416, it lies outside the file.
    """
    found = RANGE.fullmatch(wanted.strip())
    if not found or not any(found.groups()):
        return None  # several ranges, another unit, nonsense: the whole file is a right answer to all of them
    first, last = found.groups()
    if not first:
        start, end = max(size_bytes - int(last), 0), size_bytes
    else:
        start, end = int(first), min(int(last) + 1 if last else size_bytes, size_bytes)
    if first and last and int(first) > int(last):
        return None
    if start >= end:
        headers = {"Content-Range": f"bytes */{size_bytes}"}
        raise ApiError(416, "range_not_satisfiable", f"The file has {size_bytes} bytes.", headers=headers)
    return start, end


def headers_of(name: str, filename: str) -> dict[str, str]:
    """What keeps a browser from running what is stored, and what the file is called."""
    kind = content_type_of(name)
    how = "inline" if kind.startswith(SHOWN) else "attachment"
    return {
        "Content-Disposition": disposition(how, filename or PurePosixPath(name).name),
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Cache-Control": "private, max-age=300",
        "Referrer-Policy": "no-referrer",
        "Accept-Ranges": "bytes",
    }


def disposition(how: str, filename: str) -> str:
    """`Content-Disposition` with a file name in any script (RFC 6266, RFC 5987)."""
    clean = re.sub(r"[\x00-\x1f\x7f]", "", filename.replace("\\", "/").rpartition("/")[2])[:200] or "file"
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", clean)
    return f"{how}; filename=\"{plain}\"; filename*=UTF-8''{quote(clean.encode('utf-8', 'replace'), safe='')}"


async def begun(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same pieces, with the first already there: what is wrong with the store shows before the answer begins."""
    first = await anext(pieces, b"")

    async def all_of_them() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    return all_of_them()
