"""`unmask models`: what there is, and bringing it here.

Exit codes: 0 done, 2 wrong usage or configuration, 3 something could not be brought or is not what it should be.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from models.detectors.catalogue import AssetRow, Catalogue
from models.detectors.store import Store
from models.errors import NotInstalled, WeightsError
from serve_app import cards
from serve_app.pull import Puller, PullFailed
from serve_app.settings import Settings, read_settings
from serve_app.terminal import EXIT_FAILED, EXIT_INTERRUPTED, JsonFlag, Refused, ending, err, out, print_json

# Licences that allow any use with attribution at most. Every other wording is put to the person first.
PERMISSIVE = re.compile(
    r"(mit(-0)?|apache-2\.0|bsd(-[23]-clause)?|isc|bsl-1\.0|zlib|unlicense|cc0(-1\.0)?|cc-by(-\d\.0)?)"
)

models_app = typer.Typer(help="The detectors.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="A model of the catalogue.")]
YesFlag = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def is_permissive(licence: str) -> bool:
    """Whether a licence, or every one of several, allows any use. A wording that is not known does not."""
    parts = re.split(r"\s+and\s+|\s*[,/+]\s*", licence.strip().lower())
    return all(PERMISSIVE.fullmatch(part.replace(" ", "-")) for part in parts)


@models_app.command("list")
def list_models(
    as_json: JsonFlag = False,
    served: Annotated[bool, typer.Option("--served", help="Only the detectors that are served.")] = False,
) -> None:
    """Every model of the catalogue: what it looks at, whether it is here, and what its licence is."""
    with ending():
        catalogue = read_settings().read_catalogue()
        rows = catalogue.rows if served else (*catalogue.every, *catalogue.tools)
        if not as_json and out.is_terminal:
            cards.print_list(catalogue, rows, out)
            return
        for row in rows:
            state = {"sees": cards.sees(row), "served": row.id in catalogue.ids}
            here = catalogue.store.is_installed(row)
            print_json({**row.model_dump(mode="json"), **state, "installed": here})


@models_app.command()
def show(model: Id) -> None:
    """The card of one model."""
    with ending((WeightsError, OSError)):
        catalogue = read_settings().read_catalogue()
        cards.print_card(catalogue, catalogue.asset(model), out)


@models_app.command()
def pull(model: Id, yes: YesFlag = False) -> None:
    """Bring a model here: its licence first, then its files, verified. Afterwards nothing needs the network."""
    with ending((WeightsError, PullFailed, OSError)):
        settings = read_settings()
        catalogue = settings.read_catalogue()
        row = catalogue.asset(model)
        if all(file.bundled for file in row.files.values()):
            err.print(f"{row.id} is part of the project; there is nothing to pull.")
            return
        _agreed(row, yes)
        with _puller(settings, catalogue, model) as puller:
            own = puller.pull(row)
        if own:
            _ask_for_own(catalogue, row, own)
        err.print(f"[green]{row.id} is installed[/] in {escape(str(catalogue.store.home(row)))}.", soft_wrap=True)


@models_app.command()
def verify(
    models: Annotated[list[str] | None, typer.Argument(metavar="[ID]...")] = None, as_json: JsonFlag = False
) -> None:
    """Read every installed file again: ok, missing or altered. By default of all models that are here or served."""
    with ending():
        catalogue = read_settings().read_catalogue()
        rows = [catalogue.asset(name) for name in models] if models else _here_or_served(catalogue)
        found = [check for row in rows for check in _checks(catalogue, row)]
    for check in found:
        if as_json or not out.is_terminal:
            print_json({"id": check.id, "file": check.file, "state": check.state, "detail": check.detail})
        else:
            colour = "green" if check.state == "ok" else "bold red"
            name = f"{check.id} {check.file}"
            out.print(Text.assemble((f"{check.state:8}", colour), f"{name:40} {check.detail}".rstrip()), soft_wrap=True)
    if any(check.state != "ok" for check in found):
        raise typer.Exit(EXIT_FAILED)


@models_app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="A .pth, .pt, .bin, .ckpt, .h5, .keras, .safetensors or .onnx file.")],
    architecture: Annotated[str, typer.Option("--as", help="What it is weights of, as `models list --json` names it.")],
    model: Annotated[str, typer.Option("--id", metavar="ID", help="Install it as this model of the catalogue.")] = "",
    name: Annotated[str, typer.Option("--file", help="With --id: which of the model's files it is.")] = "weights",
    output: Annotated[Path | None, typer.Option(help="Without --id: the file to write.")] = None,
) -> None:
    """Turn a file you hold into safetensors, and see that it fits. Nothing in it is run."""
    from serve_app import conversion  # noqa: PLC0415 - loads torch

    with ending((WeightsError, OSError)):
        catalogue = read_settings().read_catalogue()
        if not file.is_file():
            raise Refused(f"{file} is not there.")
        if model:
            conversion.into_store(catalogue, catalogue.asset(model), file, architecture, name)
        else:
            conversion.into_file(catalogue, file, architecture, output)


@models_app.command()
def remove(model: Id, yes: YesFlag = False) -> None:
    """Delete a model's files from this machine."""
    with ending((WeightsError, OSError)):
        catalogue = read_settings().read_catalogue()
        row, store = catalogue.asset(model), catalogue.store
        if all(file.bundled for file in row.files.values()):
            raise Refused(f"{row.id} is part of the project and stays.", "UNMASK_MODELS says what is served.")
        if not store.home(row).is_dir():
            raise Refused(f"{row.id} is not installed: there is no {store.home(row)}.")
        served = ", which is served" if row.id in catalogue.ids else ""
        if not yes and _is_interactive() and not typer.confirm(f"Delete {row.id}{served}?", err=True):
            raise Refused("Nothing was deleted.")
        freed = store.remove(row)
        err.print(f"{row.id} was removed; {cards.size(freed)} ({freed:,} bytes) were freed.", highlight=False)


def _is_interactive() -> bool:
    return sys.stdin.isatty() and err.is_terminal


def _agreed(row: AssetRow, yes: bool) -> None:
    """Show the licence; ask where it restricts. Raises `Refused` without an answer."""
    err.print(Text.assemble((row.id, "bold"), f"  {row.summary}"))
    err.print(Text.assemble(("licence  ", "dim"), (row.licence, "bold")))
    err.print(Text.assemble(("usage    ", "dim"), row.usage))
    nothing_to_pull = all(file.path is not None for file in row.files.values())
    if yes or nothing_to_pull or is_permissive(row.licence):
        return
    if not _is_interactive():
        raise Refused(f"the licence of {row.id}, {row.licence}, may restrict its use.", "Pass --yes to accept it.")
    if not typer.confirm("This licence may restrict the use. Accept it?", err=True):
        raise Refused("Nothing was pulled.")


@contextmanager
def _puller(settings: Settings, catalogue: Catalogue, model: str) -> Iterator[Puller]:
    """A puller that shows its progress; Ctrl-C says what is kept."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def show(name: str, here: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=here, total=total)

        def say(line: str) -> None:
            err.print(Text(line), soft_wrap=True)

        token = settings.hub_token.get_secret_value() if settings.hub_token else ""
        with closing(Puller(catalogue.store, settings.hub_url, token, say=say, show=show)) as puller:
            try:
                yield puller
            except KeyboardInterrupt:
                say(f"Stopped. What was received is kept; `unmask models pull {model}` goes on.")
                raise typer.Exit(EXIT_INTERRUPTED) from None


def _ask_for_own(catalogue: Catalogue, row: AssetRow, own: list[str]) -> None:
    """Raise what is still needed from the operator."""
    try:
        catalogue.store.file(row, own[0])
    except NotInstalled as error:
        raise NotInstalled(
            f"{row.id} needs a file that is published nowhere it may be taken from: {', '.join(own)}.",
            f"With your own: {error.accepted}",
        ) from None


@dataclass(frozen=True, slots=True)
class _Check:
    """What re-reading one file found."""

    id: str
    file: str
    state: str
    detail: str = ""


def _here_or_served(catalogue: Catalogue) -> list[AssetRow]:
    rows = (*catalogue.every, *catalogue.tools)
    return [row for row in rows if row.id in catalogue.ids or _is_begun(catalogue.store, row)]


def _is_begun(store: Store, row: AssetRow) -> bool:
    """Whether something of a model is here. A pull that brought nothing leaves a folder, but an empty one."""
    return any(store.home(row).glob("*")) or store.is_installed(row)


def _checks(catalogue: Catalogue, row: AssetRow) -> Iterator[_Check]:
    for name, problem in catalogue.store.problems(row).items():
        state = "ok" if problem is None else "missing" if isinstance(problem, NotInstalled) else "altered"
        yield _Check(row.id, name, state, str(problem or ""))
