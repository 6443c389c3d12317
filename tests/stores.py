"""The two pairs of stores that the suite runs on: SQLite and a folder, or with `--stores networked` the servers."""

import shutil
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from serve_app.database import migrate
from tests.servers import S3, Postgres

OPTION = "--stores"
EMBEDDED, NETWORKED = "embedded", "networked"
TEMPLATE = "unmask_new"  # a database with tables and nothing in it, to be copied: migrating takes longer

# Makes an empty pair for one test, or one service, in a folder of its own: the settings that name it.
NewStores = Callable[[Path], dict[str, str]]


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database with tables and nothing in them, to be copied: migrating takes longer."""
    path = tmp_path_factory.mktemp("database") / "unmask.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def new_stores(request: pytest.FixtureRequest) -> NewStores:
    """Makes empty stores, of the kind that the option names."""
    if request.config.getoption(OPTION) == EMBEDDED:
        return partial(embedded, request.getfixturevalue("new_database"))
    server: Postgres = request.getfixturevalue("postgres_server")
    server.execute(f"CREATE DATABASE {TEMPLATE}")
    migrate(server.url.removesuffix("postgres") + TEMPLATE)
    return partial(networked, server, request.getfixturevalue("s3_server"))


def embedded(new_database: Path, folder: Path) -> dict[str, str]:
    """SQLite and a folder."""
    shutil.copy(new_database, folder / "unmask.db")
    return {
        "UNMASK_DATABASE_URL": f"sqlite:///{folder}/unmask.db",
        "UNMASK_ARTIFACTS_URL": str(folder / "artifacts"),
    }


def networked(server: Postgres, s3: S3, _folder: Path) -> dict[str, str]:
    """PostgreSQL and a bucket."""
    name = f"stores_{uuid.uuid4().hex}"
    server.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    bucket = name.replace("_", "-")
    s3.create_bucket(bucket)
    return {
        "UNMASK_DATABASE_URL": server.url.removesuffix("postgres") + name,
        "UNMASK_ARTIFACTS_URL": f"s3://{bucket}/unmask",
        **s3.settings(),
    }
