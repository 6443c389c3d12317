"""How the documentation tells of errors: all have one shape."""

from typing import Any

from serve_app.schemas import ProblemBody


def problems(*answers: tuple[int, str]) -> dict[int | str, dict[str, Any]]:
    """The entries of a route's `responses`: a status, and when it is answered."""
    content = {"application/problem+json": {"schema": ProblemBody.model_json_schema()}}
    return {status: {"description": when, "content": content} for status, when in answers}
