"""`/v1/uploads`: places for large media, which clients put straight into the artefact store."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC

from fastapi import APIRouter, Request, Response

from serve_app.artifacts import Artifacts
from serve_app.asking import ANALYZE, caller_of
from serve_app.auth import requires
from serve_app.routes.problems import problems
from serve_app.routes.small import SmallBody
from serve_app.schemas import PlaceBody, PlaceRequest
from serve_app.settings import Settings
from serve_app.uploads import declared_bytes, failures, too_large
from serve_app.uploads_direct import Places

router = APIRouter(prefix="/v1/uploads", tags=["uploads"], dependencies=[requires(ANALYZE)], route_class=SmallBody)
signed = APIRouter(prefix="/v1/files", tags=["uploads"])

NO_SCOPE = (403, "the key may not analyse")
UNAVAILABLE = (503, "the database or the artefact store does not answer")


@router.post(
    "",
    status_code=201,
    responses=problems(
        (401, "the key is missing or wrong"),
        NO_SCOPE,
        (413, "the body is over the limit"),
        (422, "the body is malformed"),
        UNAVAILABLE,
    ),
)
async def place(request: Request, asked: PlaceRequest) -> PlaceBody:
    """A place for one file: PUT it to `url`, then name `id` in `POST /v1/jobs`."""
    settings: Settings = request.app.state.settings
    given = await places(request).give(caller_of(request).owner, asked.filename)
    return PlaceBody(
        id=given.id,
        filename=given.filename,
        method="PUT",
        url=given.url,
        max_bytes=settings.max_upload_bytes,
        expires_at=given.expires_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    )


@router.delete(
    "/{upload_id}",
    status_code=204,
    responses=problems((401, "the key is missing or wrong"), NO_SCOPE, (404, "no such upload"), UNAVAILABLE),
)
async def erase(request: Request, upload_id: str) -> Response:
    """Give the place back, and erase what was put there."""
    await places(request).erase(caller_of(request).owner, upload_id)
    return Response(status_code=204)


@signed.put(
    "/{token}",
    status_code=204,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
    responses=problems(
        (400, "Content-Length is no number"),
        (404, "no such address, or its upload was taken"),
        (408, "the body took too long"),
        (410, "the address is no longer valid"),
        (413, "the body is over the limit"),
        UNAVAILABLE,
        (507, "there is no room"),
    ),
)
async def put(request: Request, token: str) -> Response:
    """The file for a place of `POST /v1/uploads`, where the artefact store is a folder of ours. No key is needed."""
    settings: Settings = request.app.state.settings
    artifacts: Artifacts = request.app.state.artifacts
    (name,) = artifacts.opened("put", token)
    await places(request).check(name)
    if declared_bytes(request) > settings.max_upload_bytes:
        raise too_large(settings.max_upload_bytes)
    with failures():
        async with asyncio.timeout(settings.upload_timeout_s):
            await artifacts.put(name, capped(request.stream(), settings.max_upload_bytes))
    return Response(status_code=204)


def places(request: Request) -> Places:
    """The places of this service."""
    state = request.app.state
    return Places(state.database, state.artifacts, state.settings.upload_lifetime_s)


async def capped(chunks: AsyncIterator[bytes], max_bytes: int) -> AsyncIterator[bytes]:
    """The same chunks; raises `ApiError` (413) once they are more than that."""
    received = 0
    async for chunk in chunks:
        received += len(chunk)
        if received > max_bytes:
            raise too_large(max_bytes)
        yield chunk
