"""`unmask keys`: keys made, listed, revoked and rotated, in the database of the settings. The service need not run."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.table import Table
from rich.text import Text

from serve_app.terminal import JsonFlag, ending, err, out, print_json

if TYPE_CHECKING:  # each command imports what it needs, so that `unmask --help` loads no database
    from serve_app.keys import Keys, NewKey
    from serve_app.tables import Key

T = TypeVar("T")

keys_app = typer.Typer(help="API keys beside the operator's own.", no_args_is_help=True)

COLUMNS = ("id", "owner", "name", "scopes", "state", "ends", "last used", "requests a minute", "media seconds an hour")
Id = Annotated[str, typer.Argument(metavar="ID", help="A key's id, key_…, as `unmask keys list` prints it.")]
Limit = Annotated[int | None, typer.Option(min=0, help="The key's own limit; 0 for none. By default the setting's.")]


@keys_app.command()
def create(  # noqa: PLR0917 - typer reads them by name
    owner: Annotated[str, typer.Argument(help="Whose analyses it makes and sees. Several keys may have one owner.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="What it may do: analyze, read, admin; may be given again. By default the first two."),
    ] = None,
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    days: Annotated[float | None, typer.Option(max=36_500, help="Days until it ends; by default never.")] = None,
    requests_per_minute: Limit = None,
    media_seconds_per_hour: Limit = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a key. It is printed once, and not kept."""
    from serve_app.asking import ANALYZE, READ
    from serve_app.keys import KeyOptions

    with ending():
        ends = None if days is None else datetime.now(UTC) + timedelta(days=days)
        options = KeyOptions(owner, scope or (ANALYZE, READ), name, ends, requests_per_minute, media_seconds_per_hour)
        _show_new(_with_keys(lambda keys: keys.create(options)), as_json)


@keys_app.command("list")
def list_keys(
    owner: Annotated[str, typer.Option(help="Only keys of this owner.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Every key, newest first, also those that have ended."""
    from serve_app.routes.keys import body

    with ending():
        rows = _with_keys(lambda keys: keys.list(owner, limit=10_000))
        if as_json or not out.is_terminal:
            for row in rows:
                print_json(body(row).model_dump())
            return
        table = Table(*COLUMNS)
        for row in rows:
            table.add_row(*(Text(cell) for cell in _cells(row)))
        out.print(table)


@keys_app.command()
def revoke(key_id: Id) -> None:
    """End a key at once: the next request that carries it is refused."""
    with ending():
        row = _with_keys(lambda keys: keys.revoke(key_id))
        err.print(f"{row.id} of {row.owner} is revoked.", markup=False, soft_wrap=True)


@keys_app.command()
def rotate(
    key_id: Id,
    overlap_hours: Annotated[float, typer.Option(min=0, max=720, help="Hours that the old key still works.")] = 0.0,
    as_json: JsonFlag = False,
) -> None:
    """Make a key with the powers of another, which ends. The new one is printed once."""
    with ending():
        _show_new(_with_keys(lambda keys: keys.rotate(key_id, overlap_hours * 3600)), as_json)


def _with_keys(work: "Callable[[Keys], Awaitable[T]]") -> T:
    from serve_app.database import Database, migrate
    from serve_app.keys import Keys
    from serve_app.settings import read_settings

    url = read_settings().database_url
    migrate(url)  # a key may be made before the service first starts

    async def run() -> T:
        database = Database(url)
        try:
            return await work(Keys(database))
        finally:
            await database.close()

    return asyncio.run(run())


def _show_new(made: "NewKey", as_json: bool) -> None:
    """The key alone goes to standard output, so that it can be piped into a store of secrets."""
    from serve_app.routes.keys import body

    if as_json:
        print_json({**body(made.row).model_dump(), "key": made.secret})
        return
    who = f"{made.row.id} of {made.row.owner} ({', '.join(made.row.scopes)})."
    err.print(who, "Keep it: it is not shown again.", markup=False, soft_wrap=True)
    typer.echo(made.secret)


def _cells(row: "Key") -> tuple[str, ...]:
    from serve_app.routes.keys import body

    shown = body(row)
    limits = (row.requests_per_minute, row.media_seconds_per_hour)
    return (
        row.id,
        row.owner,
        row.name,
        " ".join(row.scopes),
        shown.state,
        shown.expires_at or "never",
        shown.last_used_at or "never",
        *("default" if limit is None else str(limit or "none") for limit in limits),
    )
