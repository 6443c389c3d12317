"""The API key check, as middleware: no route can forget it."""

import hashlib
import hmac
import secrets

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.asking import Caller
from serve_app.errors import ApiError, problem_response

# Answered without a key: facts and health for probes, and the documentation.
OPEN_PATHS = frozenset({"/", "/health", "/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect", "/favicon.ico"})
OPEN_FOLDERS = ("/static-offline-docs/",)
# The same of older services, without the last slash.
OPEN_SEED_PATHS = frozenset({"/api/health", "/api/v1/detect/health", "/api/v1/docs", "/apidocs"})


def digest(key: str) -> bytes:
    """SHA-256 of a key. Only this is kept in memory, and equal lengths let it be compared in constant time."""
    return hashlib.sha256(key.encode()).digest()


def new_key() -> str:
    """A random key: 43 characters of base64url, 256 bits."""
    return secrets.token_urlsafe(32)


class ApiKeyMiddleware:
    """Lets a request pass if its `X-API-Key` or `Authorization: Bearer` is the service's key, else answers 401."""

    def __init__(self, app: ASGIApp, key_digest: bytes) -> None:
        self._app = app
        self._key_digest = key_digest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then pass on."""
        if scope["type"] != "http" or self._is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        sent = sent_key(Headers(scope=scope))
        if sent and hmac.compare_digest(digest(sent), self._key_digest):
            state = scope.setdefault("state", {})
            state["caller"] = Caller(request_id=state.get("request_id", ""))
            await self._app(scope, receive, send)
            return
        response = problem_response(_refusal(bool(sent)), scope)
        await response(scope, receive, send)

    @staticmethod
    def _is_open(path: str) -> bool:
        return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS) or path.rstrip("/") in OPEN_SEED_PATHS


def sent_key(headers: Headers) -> str:
    """The key a request carries, or an empty string."""
    if key := headers.get("x-api-key"):
        return key
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _refusal(sent: bool) -> ApiError:
    return ApiError(
        401,
        "wrong_key" if sent else "missing_key",
        "Invalid or missing API Key",
        suggestions=(
            ["Check the key for missing characters"]
            if sent
            else ["Send the key in the header X-API-Key, or as Authorization: Bearer"]
        ),
        headers={"WWW-Authenticate": 'Bearer realm="unmask"'},
    )
