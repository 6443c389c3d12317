"""`unmask jobs`: long work on a running service: sent, followed, cancelled."""

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from serve_app.client import Client
from serve_app.progress import showing
from serve_app.remote_cli import KeyOption, UrlOption, connected
from serve_app.schemas import JobBody
from serve_app.terminal import EXIT_FAILED, JsonFlag, out, print_json

jobs_app = typer.Typer(help="Long work on a running service.", no_args_is_help=True)

COLUMNS = ("id", "state", "done", "files", "model", "made")
FILE_COLUMNS = ("file", "state", "verdict", "p(fake)", "analysis")
Id = Annotated[str, typer.Argument(metavar="ID", help="A job's id, job_…, as `unmask jobs list` prints it.")]
Timeout = Annotated[float | None, typer.Option(min=0, help="Wait no longer than this many seconds; the job goes on.")]


@jobs_app.command("list")
def list_jobs(
    state: Annotated[str, typer.Option(help="queued, running, done, failed or cancelled; by default all.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: JsonFlag = False,
    url: UrlOption = "",
    key: KeyOption = "",
) -> None:
    """Your jobs, newest first."""
    with connected(url, key) as client:
        found = list(islice(client.jobs(state), limit))
        if as_json or not out.is_terminal:
            for job in found:
                print_json(job.model_dump(mode="json"))
            return
        table = Table(*COLUMNS)
        for job in found:
            files = f"{len(job.files)}" if len(job.files) > 1 else next((file.filename for file in job.files), "")
            table.add_row(job.id, job.state, f"{job.fraction:.0%}", Text(files), Text(job.model), job.created_at)
        out.print(table)


@jobs_app.command()
def show(job_id: Id, as_json: JsonFlag = False, url: UrlOption = "", key: KeyOption = "") -> None:
    """How far a job is, and what came of each of its files."""
    with connected(url, key) as client:
        _show(client.job(job_id).body, as_json)


@jobs_app.command()
def wait(
    job_id: Id, timeout: Timeout = None, as_json: JsonFlag = False, url: UrlOption = "", key: KeyOption = ""
) -> None:
    """Wait until a job has ended; exit code 3 unless all of its files were analysed."""
    with connected(url, key) as client:
        _end(client, job_id, timeout, as_json)


@jobs_app.command()
def cancel(job_id: Id, as_json: JsonFlag = False, url: UrlOption = "", key: KeyOption = "") -> None:
    """End a job: its work is stopped and its media erased. One that has ended stays as it is."""
    with connected(url, key) as client:
        _show(client.job(job_id).cancel(), as_json)


@jobs_app.command()
def submit(  # noqa: PLR0917 - typer reads them by name
    files: Annotated[list[Path] | None, typer.Argument(help="Videos, pictures or recordings.")] = None,
    address: Annotated[
        list[str] | None, typer.Option("--from", help="Media that the service fetches itself, where that is allowed.")
    ] = None,
    model: Annotated[str, typer.Option(help="As of `unmask analyze`; by default the service's default.")] = "",
    explain: Annotated[bool, typer.Option("--explain", help="Make saliency maps.")] = False,
    visualize: Annotated[bool, typer.Option("--visualize", help="Draw the verdict into the media.")] = False,
    heatmap: Annotated[bool, typer.Option("--heatmap", help="Draw where the detector looked, too.")] = False,
    webhook_url: Annotated[str, typer.Option(help="Is sent a signed message when the job has ended.")] = "",
    webhook_secret: Annotated[str, typer.Option(help="Signs it: whsec_ and base64.")] = "",
    direct: Annotated[bool, typer.Option("--direct", help="Put the media straight into the service's store.")] = False,
    waiting: Annotated[bool, typer.Option("--wait", help="Wait until it has ended.")] = False,
    as_json: JsonFlag = False,
    url: UrlOption = "",
    key: KeyOption = "",
) -> None:
    """Send media to be analysed, and print the job."""
    if bool(files) == bool(address):
        raise typer.BadParameter("Give files, or addresses with --from.")
    with connected(url, key) as client:
        with showing(f"{len(files or address or [])} files") as bar:
            uploads = [client.upload(path, bar.uploaded) for path in files or []] if direct else []
            job = client.submit(
                () if uploads or not files else files,
                model,
                urls=address or [],
                uploads=uploads,
                explain=explain,
                visualize=visualize,
                heatmap=heatmap,
                webhook_url=webhook_url,
                webhook_secret=webhook_secret,
                on_progress=bar.uploaded,
            )
        if waiting:
            _end(client, job.id, None, as_json)
        else:
            _show(job.body, as_json)


def _end(client: Client, job_id: str, timeout_s: float | None, as_json: bool) -> None:
    with showing(job_id) as bar:
        body = client.job(job_id).wait(bar.worked, timeout_s)
    _show(body, as_json)
    if body.state != "done" or any(file.error for file in body.files):
        raise typer.Exit(EXIT_FAILED)


def _show(body: JobBody, as_json: bool) -> None:
    if as_json or not out.is_terminal:
        print_json(body.model_dump(mode="json"))
        return
    out.print(f"[bold]{body.id}[/]  {body.state}  {body.fraction:.0%}  {body.stage}", highlight=False)
    if body.error:
        out.print(Text(body.error.detail))
    table = Table(*FILE_COLUMNS)
    for file in body.files:
        score = "" if file.p_fake is None else f"{file.p_fake:.2f}"
        said = file.verdict or (file.error.detail if file.error else "")
        table.add_row(Text(file.filename), file.state, Text(said), score, file.analysis_id or "")
    out.print(table)
