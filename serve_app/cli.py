"""The `unmask` command.

Exit codes: 0 done, 1 what `--fail-on` names was found, 2 wrong usage or configuration,
3 at least one file could not be analysed.
"""

import sys
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from models.errors import MediaError
from serve_app.config_cli import config_app
from serve_app.history_cli import history_app
from serve_app.jobs_cli import jobs_app
from serve_app.keys_cli import keys_app
from serve_app.models_cli import models_app
from serve_app.remote_cli import own_key
from serve_app.schemas import VerdictBody
from serve_app.terminal import EXIT_FAILED, EXIT_FOUND, EXIT_USAGE, JsonFlag, ending, err, guarded, out

app = typer.Typer(
    help="Tells whether a video, a picture or a voice was manipulated.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(jobs_app, name="jobs")
app.add_typer(history_app, name="history")
app.add_typer(keys_app, name="keys")
app.add_typer(models_app, name="models")
app.add_typer(config_app, name="config")

ProfileOption = Annotated[Path, typer.Option(help="A Serve configuration file.")]


class FailOn(StrEnum):
    """What a file may be found to be."""

    FAKE = "fake"
    REAL = "real"
    UNDETERMINED = "undetermined"


IN_WORDS = 3  # files; more are shown as a table
MODEL_HELP = "A model's id, several with commas between, `cascade`, or `ensemble`: all that apply."


@app.command()
def up(
    profile: ProfileOption = Path("configs/serve/local.yaml"),
    port: Annotated[int, typer.Option(help="Port to serve on instead of the profile's.")] = 0,
    sample: Annotated[Path | None, typer.Option(help="Analyse this clip once the service is ready.")] = None,
) -> None:
    """Start the service and stay up until Ctrl-C or `unmask down`."""
    from serve_app import up as service

    guarded(lambda: service.up(profile, port or None, sample, out))


@app.command()
def down() -> None:
    """Stop the service that `unmask up` started."""
    from serve_app import up as service

    guarded(lambda: service.down(out))


@app.command()
def analyze(  # noqa: PLR0917 - typer reads them by name
    files: Annotated[list[Path], typer.Argument(help="Videos, pictures or recordings.")],
    model: Annotated[str, typer.Option(help=MODEL_HELP)] = "ensemble",
    as_json: JsonFlag = False,
    explain: Annotated[
        Path | None, typer.Option(help="Write saliency maps and faces as pictures into this folder.")
    ] = None,
    kept: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write annotated media and reports into this folder.")
    ] = None,
    fail_on: Annotated[
        list[FailOn] | None, typer.Option(help="Exit with code 1 if a file is found to be this; may be given twice.")
    ] = None,
    url: Annotated[str, typer.Option(help="Analyse on this server instead of in this process.")] = "",
    key: Annotated[str, typer.Option(help="The server's API key; by default API_KEY of the settings.")] = "",
) -> None:
    """Analyse videos, pictures or recordings, in this process or on a server."""
    from serve_app import analysis, keeping
    from serve_app.client import Client
    from serve_app.explanation import folder_for, writing

    def run(client: Client | None) -> None:
        maps = explain is not None
        if kept is not None:
            analyst = keeping.analyst(folder_for(kept), client, explain=maps)
        else:
            analyst = analysis.remote(client, explain=maps) if client else analysis.local(explain=maps)
        results: list[tuple[Path, VerdictBody | analysis.Failure]] = []
        tabled = len(files) > IN_WORDS and out.is_terminal and not as_json
        show = (lambda *_: None) if tabled else analysis.printer(as_json, out, err)
        if explain is not None:
            show = writing(folder_for(explain), show)
        failed = analysis.run(files, model, analyst, analysis.noting(results, show))
        if tabled:
            out.print(analysis.table(results))
        if failed:
            raise typer.Exit(EXIT_FAILED)
        if {result.verdict.lower() for _, result in results if isinstance(result, VerdictBody)} & set(fail_on or ()):
            raise typer.Exit(EXIT_FOUND)

    with ending(), Client(url, key or own_key()) if url else nullcontext() as client:
        run(client)


@app.command()
def visualize(
    file: Annotated[Path, typer.Argument(help="A video, a picture or a recording.")],
    to: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to; by default beside it, FILE.unmask.*")
    ] = None,
    model: Annotated[str, typer.Option(help="A model's id; by default all that apply.")] = "ensemble",
    heatmap: Annotated[
        bool, typer.Option("--heatmap", help="Draw where the detector looked over the faces that decided.")
    ] = False,
) -> None:
    """Draw the verdict into a copy of a video or a picture, or over the spectrum of a recording."""
    from serve_app import visual

    with ending((MediaError, OSError)):
        visual.visualize(file, to, model, out, err, heatmap=heatmap)


@app.command()
def settings() -> None:
    """Every setting: name, value in force, help."""
    from rich.table import Column, Table

    from serve_app.settings import Settings, read_settings

    def run() -> None:
        wrapped = (Column(name, overflow="fold") for name in ("value", "help"))
        table = Table(Column("environment variable", no_wrap=True), *wrapped)
        values = read_settings()
        for name, info in Settings.model_fields.items():
            table.add_row(f"UNMASK_{name.upper()}", str(getattr(values, name)), info.description or "")
        out.print(table)

    guarded(run)


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


# Their options are read by what they start, which needs packages that serving does not.
TRAINING_PACKAGES = ("matplotlib", "sklearn")
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command(context_settings=PASSED_ON, add_help_option=False)
def evaluate(context: typer.Context) -> None:
    """Measure detectors on labelled files: figures with intervals, robustness, a report."""
    _training("evaluate", context.args)


@app.command(context_settings=PASSED_ON, add_help_option=False)
def calibrate(context: typer.Context) -> None:
    """Fit calibration and fusion weights to labelled files."""
    _training("calibrate", context.args)


def _training(command: str, arguments: list[str]) -> None:
    import subprocess
    from importlib.util import find_spec

    if absent := [package for package in TRAINING_PACKAGES if find_spec(package) is None]:
        err.print(f"[bold red]error:[/] `unmask {command}` needs {' and '.join(absent)}, which serving does not.")
        err.print('Run: .venv/bin/pip install --editable ".[training]"', markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_USAGE)
    started = [sys.executable, "-m", "training.evaluation", command, *arguments]
    raise typer.Exit(subprocess.call(started))  # noqa: S603 - our own module


def main() -> None:
    """Entry point of the console script."""
    app()
