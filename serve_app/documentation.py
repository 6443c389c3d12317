"""What every route's documentation has in common, so that no route need say it: refused keys, limits, failures."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from serve_app.errors import LATER_S
from serve_app.schemas import ProblemBody

Schema = dict[str, Any]
PROBLEM, REF = "application/problem+json", {"$ref": "#/components/schemas/ProblemBody"}
KEYED = {
    401: "the key is missing or wrong",
    403: "the key may not do this",
    429: "the key has asked as often as it may",
    503: "the service is not ready, has too much to do, or its database is away",
}
ANY = {422: "a parameter does not fit", 500: "the service failed"}
RETRY_AFTER = {"description": "seconds after which to try again", "schema": {"type": "integer", "minimum": 0}}


def complete(app: FastAPI) -> None:
    """Let an application's `/openapi.json` say of each route every answer it can give."""
    plain: Callable[[], Schema] = app.openapi
    done: list[Schema] = []

    def openapi() -> Schema:
        if not done:
            done.append(completed(plain()))
        return done[0]

    app.openapi = openapi  # type: ignore[method-assign] - FastAPI's own way to extend it


def completed(schema: Schema) -> Schema:
    """The same document, changed in place."""
    parts = schema.setdefault("components", {}).setdefault("schemas", {})
    parts["ProblemBody"] = ProblemBody.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own shape, which we never answer
        parts.pop(name, None)
    for operations in schema["paths"].values():
        for operation in operations.values():
            _complete(operation)
    return schema


def _complete(operation: Schema) -> None:
    responses: Schema = operation["responses"]
    for status, when in (ANY | KEYED if operation.get("security") else ANY).items():
        responses.setdefault(str(status), {"description": when})
    for status, response in responses.items():
        if status[0] in "45" and "application/json" not in _ours(response):
            response["content"] = {PROBLEM: {"schema": REF}}
        if int(status) in LATER_S:
            response.setdefault("headers", {})["Retry-After"] = RETRY_AFTER
    operation["responses"] = dict(sorted(responses.items()))


def _ours(response: Schema) -> Schema:
    """What a route itself says that the body of an error is; FastAPI's validation errors are not that."""
    content: Schema = response.get("content", {})
    reference = str(content.get("application/json", {}).get("schema", {}).get("$ref", ""))
    return {} if reference.endswith("/HTTPValidationError") else content
