import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from models.detectors.store import ROOT
from serve_app import keys_cli
from serve_app.asking import Caller
from serve_app.cli import app
from serve_app.database import Database
from serve_app.keys import Keys
from serve_app.settings import Settings
from serve_app.terminal import EXIT_USAGE
from tests.keys import with_database

runner = CliRunner()


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a database that does not exist yet."""
    address = f"sqlite:///{tmp_path}/new/unmask.db"
    monkeypatch.setenv("UNMASK_DATABASE_URL", address)
    monkeypatch.setitem(Settings.model_config, "env_file", None)
    return address


def made(*options: str) -> dict[str, Any]:
    result = runner.invoke(app, ["keys", "create", "alice", "--json", *options])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_new_key_alone_is_on_standard_output_and_works(url: str) -> None:
    result = runner.invoke(app, ["keys", "create", "alice"])
    secret = result.stdout.strip()
    assert re.fullmatch(r"unm_[\w-]{43}", secret)
    caller = with_database(url, lambda database: Keys(database).find(secret))
    assert caller
    assert (caller.owner, caller.scopes) == ("alice", frozenset({"analyze", "read"}))


@pytest.mark.usefixtures("url")
def test_a_key_is_made_as_the_options_say() -> None:
    options = ("--scope", "read", "--name", "desk", "--days", "7", "--requests-per-minute", "5")
    key = made(*options, "--media-seconds-per-hour", "0")
    assert (key["scopes"], key["name"], key["requests_per_minute"]) == (["read"], "desk", 5)
    assert key["media_seconds_per_hour"] == 0
    assert key["expires_at"].endswith("Z")


@pytest.mark.usefixtures("url")
@pytest.mark.parametrize("wrong", [["--scope", "write"], ["--days", "-1"]])
def test_a_key_that_makes_no_sense_ends_with_one_line(wrong: list[str]) -> None:
    result = runner.invoke(app, ["keys", "create", "alice", *wrong])
    assert result.exit_code == EXIT_USAGE
    assert result.stderr.startswith("error: ")
    assert result.stdout == ""


def test_a_revoked_key_is_nobody(url: str) -> None:
    key = made()
    assert runner.invoke(app, ["keys", "revoke", key["id"]]).exit_code == 0
    assert with_database(url, lambda database: Keys(database).find(key["key"])) is None


@pytest.mark.usefixtures("url")
def test_an_id_of_no_key_ends_with_one_line_that_names_it() -> None:
    result = runner.invoke(app, ["keys", "revoke", "key_nope"])
    assert (result.exit_code, "key_nope" in result.stderr) == (EXIT_USAGE, True)


def test_a_rotated_key_is_replaced_by_what_is_printed(url: str) -> None:
    key = made()
    result = runner.invoke(app, ["keys", "rotate", key["id"], "--overlap-hours", "1"])

    async def found(database: Database) -> list[Caller | None]:
        return [await Keys(database).find(secret) for secret in (key["key"], result.stdout.strip())]

    assert [caller.owner for caller in with_database(url, found) if caller] == ["alice", "alice"]


@pytest.mark.usefixtures("url")
def test_the_list_is_json_lines_when_piped_and_shows_no_key() -> None:
    key = made()
    listed = runner.invoke(app, ["keys", "list", "--owner", "alice"]).stdout
    assert [json.loads(line)["id"] for line in listed.splitlines()] == [key["id"]]
    assert key["key"] not in listed


@pytest.mark.usefixtures("url")
def test_the_list_is_a_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    key = made("--name", "[red]desk[/]", "--requests-per-minute", "0")
    screen = Console(force_terminal=True, record=True, width=250)
    monkeypatch.setattr(keys_cli, "out", screen)
    runner.invoke(app, ["keys", "list"])
    text = screen.export_text()
    for shown in (key["id"], "alice", "[red]desk[/]", "active", "never", "none", "default"):
        assert shown in text


def test_help_loads_no_database() -> None:
    check = "import sys, serve_app.cli; assert 'sqlalchemy' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT, timeout=120)
