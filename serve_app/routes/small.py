"""Routes that take a few fields as JSON: their bodies are held in memory, so they are capped while they arrive."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message

from serve_app.errors import ApiError
from serve_app.uploads import failures

MAX_JSON_BYTES = 64 * 1024


class SmallBody(APIRoute):
    """A route that refuses a larger body before FastAPI reads it whole, which it does before it checks the key."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The same handler, behind the cap."""
        handle = super().get_route_handler()

        async def capped(request: Request) -> Response:
            body = await small(request, MAX_JSON_BYTES)

            async def again() -> Message:
                return {"type": "http.request", "body": body, "more_body": False}

            return await handle(Request(request.scope, again))

        return capped


async def small(request: Request, max_bytes: int) -> bytes:
    """A request's body; raises `ApiError` (413) once it is over the cap."""
    body = bytearray()
    with failures():
        async for piece in request.stream():
            body += piece
            if len(body) > max_bytes:
                raise ApiError(413, "body_too_large", f"The JSON is larger than {max_bytes} bytes.")
    return bytes(body)
