"""`unmask config`: settings of an older service, taken over.

Exit codes: 0 done, 2 wrong usage or configuration.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from serve_app.config_import import imported
from serve_app.settings import read_settings
from serve_app.terminal import Refused, ending, err

config_app = typer.Typer(help="The configuration.", no_args_is_help=True)


@config_app.callback()
def _config() -> None:
    """Keeps `import` a command of its own while it is the only one."""


@config_app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="configs/config.yaml of a Drishtiksha server.")],
    to: Annotated[Path, typer.Option("--catalogue", help="The catalogue file to write.")] = Path("unmask-models.yaml"),
) -> None:
    """Take over an older server's configuration: a catalogue file, and lines for .env on standard output."""
    with ending():
        if to.exists():
            raise Refused(f"{to} is there already.", "Name another with --catalogue.")
        found = imported(file, read_settings().catalogue)
        try:
            to.write_text(found.catalogue, "utf-8")
        except OSError as error:
            raise Refused(f"{to} cannot be written: {error.strerror}.") from error
        for line in (f"UNMASK_CATALOGUE={to.absolute()}", *found.settings):
            typer.echo(line)
        for note in found.notes:
            err.print(Text(f"note: {note}."), soft_wrap=True)
        err.print(Text(f"Wrote {to}. Put the lines above into .env, then run:"), soft_wrap=True)
        for command in found.commands:
            err.print(Text(f"  {command}"), soft_wrap=True)
