"""What commands that ask a running service share: where it is, and with which key."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from serve_app.client import Client, ServiceError
from serve_app.terminal import ending

DEFAULT_URL = "http://localhost:8000"

UrlOption = Annotated[
    str, typer.Option(help=f"The service; by default the one `unmask up` started, else {DEFAULT_URL}.")
]
KeyOption = Annotated[str, typer.Option(help="Its API key; by default API_KEY of the settings.")]


@contextmanager
def connected(url: str, key: str) -> Iterator[Client]:
    """A client of the service; what goes wrong ends the command with one line."""
    with ending((ServiceError, OSError)), Client(url or running_url(), key or own_key()) as client:
        yield client


def running_url() -> str:
    """Where the service of this project runs."""
    from serve_app import up

    return up.url_of_running() if up.running_pid() else DEFAULT_URL


def own_key() -> str:
    """The key of the settings; raises `SettingsError` without one."""
    from serve_app.settings import read_settings

    return read_settings().required_key()
