"""Every error code that a client can meet is in the table of docs/api.md, under its status, and none besides."""

import ast
import re
from collections.abc import Iterator

import serve_app.http  # noqa: F401 - defines every cause
from models.detectors.store import ROOT
from models.errors import UnmaskError
from serve_app.errors import _ANSWERS

PAGE = ROOT / "docs" / "api.md"
OF_STARLETTE = {(404, "not_found"), (405, "method_not_allowed")}


def raised() -> Iterator[tuple[int, str]]:
    """Of every `ApiError(status, "code", ...)` in the routes and below."""
    for file in (ROOT / "serve_app").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ApiError":
                status, code = node.args[:2]
                for chosen in (code.body, code.orelse) if isinstance(code, ast.IfExp) else (code,):
                    if isinstance(status, ast.Constant) and isinstance(chosen, ast.Constant):
                        yield int(str(status.value)), str(chosen.value)


def below(kind: type[UnmaskError]) -> Iterator[type[UnmaskError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from below(child)


def mapped() -> Iterator[tuple[int, str]]:
    """Of every cause: the first row that fits it counts."""
    seen: set[type[UnmaskError]] = set()
    for kind, status, _ in _ANSWERS:
        for cause in set(below(kind)) - seen:
            seen.add(cause)
            if "code" in vars(cause) and cause.__module__.startswith(("models.", "serve_app.")):
                yield status, cause.code


def documented() -> list[tuple[int, str]]:
    table = PAGE.read_text("utf-8").partition("\n## Errors\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d{3}) \| (.+) \|$", table, re.MULTILINE)
    return [(int(status), code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)]


def test_the_table_of_errors_is_complete_and_says_each_once() -> None:
    codes = documented()
    assert sorted(set(codes)) == sorted(codes)
    missing = ({*raised(), *mapped()} | OF_STARLETTE) - set(codes)
    assert not missing
