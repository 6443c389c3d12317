"""What every route's documentation has in common, so that no route need say it: refused keys, limits, failures."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from serve_app.errors import LATER_S
from serve_app.schemas import ProblemBody
from serve_app.seed_errors import Refusal, seed_answer

Schema = dict[str, Any]
PROBLEM, REF = "application/problem+json", {"$ref": "#/components/schemas/ProblemBody"}
KEYED = {
    401: "the key is missing or wrong",
    403: "the key may not do this",
    429: "the key has asked as often as it may",
    503: "the service is not ready, has too much to do, or its database is away",
}
ANY = {422: "a parameter does not fit", 500: "the service failed"}
SENT = {400: "the body cannot be read"}
ONCE = {409: "the same request, by its idempotency key, is still being answered"}
RETRY_AFTER = {
    "description": "seconds after which to try again",
    "required": True,
    "schema": {"type": "integer", "minimum": 0},
}


def complete(app: FastAPI) -> None:
    """Let an application's `/openapi.json` say of each route every answer it can give.

    Replacing the method is the way that FastAPI's documentation gives.
    """
    plain: Callable[[], Schema] = app.openapi
    done: list[Schema] = []

    def openapi() -> Schema:
        if not done:
            done.append(completed(plain()))
        return done[0]

    app.openapi = openapi  # type: ignore[method-assign]


def completed(schema: Schema) -> Schema:
    """The same document, changed in place."""
    parts = schema.setdefault("components", {}).setdefault("schemas", {})
    parts["ProblemBody"] = ProblemBody.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own shape, which we never answer
        parts.pop(name, None)
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            _complete(path, method, operation)
    return schema


def _complete(path: str, method: str, operation: Schema) -> None:
    responses: Schema = operation["responses"]
    for code, when in _usual(method, operation).items():
        responses.setdefault(str(code), {"description": when})
    for status, response in responses.items():
        if status[0] in "45" and not _own_body(response):
            response["content"] = _error_body(path)
        if int(status) in LATER_S:
            response.setdefault("headers", {})["Retry-After"] = RETRY_AFTER
    operation["responses"] = dict(sorted(responses.items()))


def _usual(method: str, operation: Schema) -> dict[int, str]:
    """What any route of this sort can answer."""
    keyed, sent = bool(operation.get("security")), "requestBody" in operation
    once = keyed and method == "post"
    return ANY | (KEYED if keyed else {}) | (SENT if sent else {}) | (ONCE if once else {})


def _own_body(response: Schema) -> bool:
    """Whether a route says itself what the body of an error is; FastAPI's validation errors are not that."""
    reference = response.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref", "/")
    return not reference.endswith("/HTTPValidationError") and reference != "/"


def _error_body(path: str) -> Schema:
    """The content of errors: a problem, but on the routes of older services what their clients read."""
    if seed_answer(Refusal(path, 500, "", "", "")):
        return {"application/json": {"schema": {"type": "object"}}}
    return {PROBLEM: {"schema": REF}}
