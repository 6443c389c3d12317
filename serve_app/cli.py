"""The `unmask` command.

Exit codes: 0 done, 2 wrong usage or configuration, 3 at least one file could not be analysed.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from models.errors import UnmaskError

EXIT_USAGE = 2
EXIT_NOT_ANALYSED = 3

app = typer.Typer(help="Tells whether a video was manipulated.", no_args_is_help=True, pretty_exceptions_enable=False)
models_app = typer.Typer(help="The detectors.", no_args_is_help=True)
app.add_typer(models_app, name="models")
out = Console()
err = Console(stderr=True)

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON object per line; the default when piped.")]
ProfileOption = Annotated[Path, typer.Option(help="A Serve configuration file.")]


@app.command()
def up(
    profile: ProfileOption = Path("configs/serve/local.yaml"),
    port: Annotated[int, typer.Option(help="Port to serve on instead of the profile's.")] = 0,
    sample: Annotated[Path | None, typer.Option(help="Analyse this clip once the service is ready.")] = None,
) -> None:
    """Start the service and stay up until Ctrl-C or `unmask down`."""
    from serve_app import up as service

    _guarded(lambda: service.up(profile, port or None, sample, out))


@app.command()
def down() -> None:
    """Stop the service that `unmask up` started."""
    from serve_app import up as service

    _guarded(lambda: service.down(out))


@app.command()
def analyze(
    files: Annotated[list[Path], typer.Argument(help="Videos, pictures or recordings.")],
    model: Annotated[str, typer.Option(help="A model's id; by default all that apply.")] = "ensemble",
    as_json: JsonFlag = False,
    url: Annotated[str, typer.Option(help="Analyse on this server instead of in this process.")] = "",
    key: Annotated[str, typer.Option(help="The server's API key; by default API_KEY of the settings.")] = "",
) -> None:
    """Analyse videos, pictures or recordings, in this process or on a server."""
    from serve_app import analysis

    def run() -> None:
        analyst = analysis.remote(url, key or _own_key()) if url else analysis.local()
        failed = analysis.run(files, model, analyst, analysis.printer(as_json, out, err), err)
        if failed:
            raise typer.Exit(EXIT_NOT_ANALYSED)

    _guarded(run)


@models_app.command("list")
def list_models(as_json: JsonFlag = False) -> None:
    """The detectors of the catalogue."""
    from rich.table import Table

    from serve_app.settings import read_settings

    def run() -> None:
        rows = read_settings().read_catalogue().rows
        if as_json or not out.is_terminal:
            for row in rows:
                print_json(row.model_dump(mode="json"))
            return
        table = Table("id", "revision", "architecture", "licence", "summary")
        for row in rows:
            table.add_row(row.id, row.revision, row.architecture, row.licence, row.summary)
        out.print(table)

    _guarded(run)


@app.command()
def settings() -> None:
    """Every setting: name, value in force, help."""
    from rich.table import Column, Table

    from serve_app.settings import Settings, read_settings

    def run() -> None:
        table = Table(Column("environment variable", no_wrap=True), Column("value", overflow="fold"), "help")
        values = read_settings()
        for name, info in Settings.model_fields.items():
            table.add_row(f"UNMASK_{name.upper()}", str(getattr(values, name)), info.description or "")
        out.print(table)

    _guarded(run)


@app.command()
def key() -> None:
    """Print a new random API key."""
    from serve_app.auth import new_key

    typer.echo(new_key())


@app.command()
def bench(as_json: JsonFlag = False) -> None:
    """Measure the service against its floors."""
    import subprocess

    command = [sys.executable, "-m", "benchmarks", *(["--json"] if as_json or not out.is_terminal else [])]
    raise typer.Exit(subprocess.call(command))  # noqa: S603 - our own module


def print_json(content: dict[str, Any]) -> None:
    """One JSON object on one line of standard output."""
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def _own_key() -> str:
    from serve_app.settings import read_settings

    return read_settings().required_key()


def _guarded(command: Any) -> None:
    """Run a command; our own errors end it with one line and exit code 2."""
    try:
        command()
    except UnmaskError as error:
        err.print("[bold red]error:[/]", Text(str(error)))
        raise typer.Exit(EXIT_USAGE) from None


def main() -> None:
    """Entry point of the console script."""
    app()
