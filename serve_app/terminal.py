"""What all commands share: where they write, how they end, JSON lines.

Exit codes: 0 done, 1 what `--fail-on` names was found, 2 wrong usage or configuration,
3 at least one file or model is not what it should be.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from models.errors import UnmaskError

EXIT_FOUND = 1
EXIT_USAGE = 2
EXIT_FAILED = 3
EXIT_INTERRUPTED = 130  # what shells report for Ctrl-C

out = Console()
err = Console(stderr=True)

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON object per line; the default when piped.")]


class Refused(UnmaskError):
    """A command was not given what it needs; nothing was done."""

    code = "refused"


def print_json(content: dict[str, Any]) -> None:
    """One JSON object on one line of standard output."""
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def guarded(command: Callable[[], None]) -> None:
    """Run a command; our own errors end it with one line and exit code 2."""
    with ending():
        command()


@contextmanager
def ending(failures: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Our own errors end the command with one line: `failures` with exit code 3, the others with 2."""
    caught: tuple[type[Exception], ...] = (UnmaskError, *failures)
    try:
        yield
    except caught as error:
        named = isinstance(error, OSError) and error.filename is not None
        line = f"{error.filename}: {error.strerror}." if named else str(error)  # type: ignore[attr-defined]
        err.print("[bold red]error:[/]", Text(line), soft_wrap=True)
        raise typer.Exit(EXIT_FAILED if isinstance(error, failures) else EXIT_USAGE) from None
