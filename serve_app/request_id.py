"""One id per request: the client's if it sent one, else a new one.

Under Serve the proxy has set `X-Request-ID` before us, writes the id in every log line and adds it to the answer;
all that is left to do is to remember it for the body.
"""

import uuid

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send


class RequestIdMiddleware:
    """Outermost middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note the id in the scope."""
        if scope["type"] == "http":
            sent = Headers(scope=scope).get("x-request-id")
            scope.setdefault("state", {})["request_id"] = sent or str(uuid.uuid4())
        await self._app(scope, receive, send)
