"""The API key check, as middleware: no route can forget it. What a key may do is said by each route: `requires`."""

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Depends, Security
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from models.errors import UnmaskError
from serve_app.artifacts import FILES_PATH
from serve_app.asking import ANALYZE, READ, Caller, caller_of
from serve_app.errors import ApiError, from_cause, problem_response, route_path

# Answered without a key: facts and health for probes, and the documentation.
OPEN_PATHS = frozenset({"/", "/health", "/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect", "/favicon.ico"})
# And what carries its own proof: addresses that this service signed, for a time.
OPEN_FOLDERS = ("/static-offline-docs/", FILES_PATH)
# The same of older services, without the last slash.
OPEN_SEED_PATHS = frozenset({"/api/health", "/api/v1/detect/health", "/api/v1/docs", "/apidocs"})
# Routes of older services that asked for no key. Open only with the setting `open_seed_routes`.
SEED_PATHS = frozenset({"/predict", "/batch_predict", "/detect_deepfake"})
SEED_FOLDERS = ("/predict/", "/api/")
ANONYMOUS = Caller("anonymous", "key_anonymous", frozenset({ANALYZE, READ}))

Find = Callable[[str], Awaitable[Caller | None]]


def digest(key: str) -> bytes:
    """SHA-256 of a key. Only this is kept in memory, and equal lengths let it be compared in constant time."""
    return hashlib.sha256(key.encode()).digest()


def new_key() -> str:
    """A random key: 43 characters of base64url, 256 bits."""
    return secrets.token_urlsafe(32)


class ApiKeyMiddleware:
    """Lets a request pass whose `X-API-Key` or `Authorization: Bearer` is a key, and notes its caller; else 401.

    Args:
        app: what is protected.
        key_digest: SHA-256 of the operator's key, which may do everything.
        find: the caller of any other key, or None.
        open_seed_routes: whether the routes of older services that had no key need none; see `ANONYMOUS`.
    """

    def __init__(self, app: ASGIApp, key_digest: bytes, find: Find, *, open_seed_routes: bool = False) -> None:
        self._app, self._key_digest, self._find = app, key_digest, find
        self._open_seed_routes = open_seed_routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then pass on."""
        if scope["type"] != "http" or is_open(route_path(scope)):
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        try:
            caller = await self._caller(Headers(scope=scope), route_path(scope))
        except ApiError as refusal:
            await problem_response(refusal, scope)(scope, receive, send)
        except UnmaskError as error:
            await problem_response(from_cause(error), scope)(scope, receive, send)
        else:
            state["caller"] = replace(caller, request_id=state.get("request_id", ""))
            await self._app(scope, receive, send)

    async def _caller(self, headers: Headers, path: str) -> Caller:
        sent = sent_key(headers)
        if not sent and self._open_seed_routes and is_seed_route(path):
            return ANONYMOUS
        if sent and hmac.compare_digest(digest(sent), self._key_digest):
            return Caller()
        caller = await self._find(sent) if sent else None
        if caller is None:
            raise _refusal(bool(sent))
        return caller


def is_open(path: str) -> bool:
    """Whether a path is answered without a key."""
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS) or path.rstrip("/") in OPEN_SEED_PATHS


def is_seed_route(path: str) -> bool:
    """Whether a path is of an older service that asked for no key."""
    return path.rstrip("/") in SEED_PATHS or path.startswith(SEED_FOLDERS)


def requires(scope: str) -> Any:
    """A dependency of routes: the caller's key must have this scope, else 403. The documentation learns of the key.

    A POST with `analyze` also needs seconds of media left, else 429: before the body is read.
    """

    async def check(
        request: Request,
        _key: Annotated[str | None, Security(APIKeyHeader(name="X-API-Key", auto_error=False))],
        _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(HTTPBearer(auto_error=False))],
    ) -> None:
        if scope not in caller_of(request).scopes:
            raise _missing(scope)
        if scope == ANALYZE and request.method == "POST":
            await request.app.state.quotas.check(caller_of(request))

    return Depends(check)


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


def _missing(scope: str) -> ApiError:
    return ApiError(
        403,
        "missing_scope",
        f"The key may not do this: it lacks the scope {scope!r}.",
        suggestions=[f"Use a key with the scope {scope!r}; the operator makes one with `unmask keys create`"],
        headers={"WWW-Authenticate": f'Bearer realm="unmask", error="insufficient_scope", scope="{scope}"'},
    )
