"""`unmask history`: what a running service has analysed for the owner of the key."""

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from serve_app import analysis
from serve_app.client import ExportFormat
from serve_app.remote_cli import KeyOption, UrlOption, connected
from serve_app.terminal import JsonFlag, out, print_json

history_app = typer.Typer(help="What a running service has analysed.", no_args_is_help=True)

COLUMNS = ("id", "made", "file", "verdict", "p(fake)", "model")
Id = Annotated[str, typer.Argument(metavar="ID", help="An analysis's id, ana_…, as `unmask history list` prints it.")]
Verdict = Annotated[str, typer.Option(help="Only FAKE, REAL or UNDETERMINED.")]
Kind = Annotated[str, typer.Option(help="Only video, image or audio.")]
Model = Annotated[str, typer.Option(help="Only those for which this model was asked.")]
Name = Annotated[str, typer.Option(help="Only files whose name has this part.")]
Since = Annotated[str, typer.Option(help="Only those made at this moment or later: 2026-11-21 or 2026-11-21T10:00Z.")]
Until = Annotated[str, typer.Option(help="Only those made before this moment.")]


@history_app.command("list")
def list_analyses(  # noqa: PLR0917 - typer reads them by name
    verdict: Verdict = "",
    kind: Kind = "",
    model: Model = "",
    filename: Name = "",
    since: Since = "",
    until: Until = "",
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: JsonFlag = False,
    url: UrlOption = "",
    key: KeyOption = "",
) -> None:
    """What was analysed, newest first."""
    which = {"verdict": verdict, "kind": kind, "model": model, "filename": filename, "since": since, "until": until}
    with connected(url, key) as client:
        found = list(islice(client.history(**which), limit))
    if as_json or not out.is_terminal:
        for record in found:
            print_json(record.model_dump(mode="json"))
        return
    table = Table(*COLUMNS)
    for record in found:
        score = "" if record.p_fake is None else f"{record.p_fake:.2f}"
        said = Text(record.verdict, analysis.COLOURS[record.verdict])
        table.add_row(record.id, record.created_at, Text(record.filename), said, score, Text(record.model))
    out.print(table)


@history_app.command()
def show(analysis_id: Id, as_json: JsonFlag = False, url: UrlOption = "", key: KeyOption = "") -> None:
    """One analysis, as it was answered."""
    with connected(url, key) as client:
        body = client.analysis(analysis_id)
    if as_json or not out.is_terminal:
        print_json(body.model_dump(mode="json"))
    else:
        analysis.in_words(Path(body.filename or body.id), body, out)


@history_app.command()
def delete(
    analysis_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of analyses.")],
    url: UrlOption = "",
    key: KeyOption = "",
) -> None:
    """Erase analyses with their pictures and annotated media."""
    with connected(url, key) as client:
        for analysis_id in analysis_ids:
            client.delete(analysis_id)
            out.print(f"Erased {analysis_id}.", highlight=False)


@history_app.command()
def export(  # noqa: PLR0917 - typer reads them by name
    to: Annotated[Path | None, typer.Option("--out", "-o", help="Where to; by default standard output.")] = None,
    file_format: Annotated[ExportFormat, typer.Option("--format", help="A table, or a JSON object a line.")] = "csv",
    verdict: Verdict = "",
    kind: Kind = "",
    model: Model = "",
    filename: Name = "",
    since: Since = "",
    until: Until = "",
    url: UrlOption = "",
    key: KeyOption = "",
) -> None:
    """Everything that was analysed, as a table or as JSON lines."""
    which = {"verdict": verdict, "kind": kind, "model": model, "filename": filename, "since": since, "until": until}
    with connected(url, key) as client:
        target = to or sys.stdout.buffer
        client.export(to=target, file_format=file_format, **which)


@history_app.command()
def report(
    analysis_id: Id,
    to: Annotated[Path | None, typer.Option("--out", "-o", help="Where to; by default ID.html.")] = None,
    url: UrlOption = "",
    key: KeyOption = "",
) -> None:
    """Write the report on an analysis: one page of HTML, to be read or printed."""
    with connected(url, key) as client:
        written = client.report(analysis_id, to=to or Path(f"{analysis_id}.html"))
        out.print(f"{written}", highlight=False, soft_wrap=True)
