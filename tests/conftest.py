"""What all tests share."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from serve_app.artifacts import Artifacts, S3Options
from serve_app.database import migrate
from serve_app.settings import Settings
from tests.servers import S3, Postgres, postgres, s3
from tests.service import running
from tests.stores import EMBEDDED, NETWORKED, OPTION, new_database, new_stores

__all__ = ["new_database", "new_stores", "portrait", "running"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        OPTION,
        choices=(EMBEDDED, NETWORKED),
        default=EMBEDDED,
        help="what routes and the graph keep things in: SQLite and a folder, or PostgreSQL and an S3 server",
    )


@pytest.fixture(scope="session")
def portrait() -> NDArray[np.uint8]:
    """`(512, 512, 3)` uint8 RGB: astronaut Eileen Collins, NASA, public domain; one frontal face of about 90 px."""
    return np.asarray(data.astronaut(), np.uint8)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One PostgreSQL server for the session."""
    with postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without tables: a test that asks for it runs on both kinds."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/unmask.db"
    server: Postgres = request.getfixturevalue("postgres_server")
    name = f"test_{abs(hash(tmp_path)):x}"
    server.execute(f"CREATE DATABASE {name}")
    return server.url.removesuffix("postgres") + name


@pytest.fixture
def database_url(empty_database_url: str) -> str:
    """The address of a database with our tables, and nothing in them."""
    migrate(empty_database_url)
    return empty_database_url


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """One S3 server for the session."""
    with s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(params=["folder", "s3"])
def artifacts_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty artefact store: a test that asks for it runs on both kinds.

    How the bucket is reached is in the environment, where `Settings` and the processes of a graph read it.
    """
    if request.param == "folder":
        return str(tmp_path / "artifacts")
    server: S3 = request.getfixturevalue("s3_server")
    bucket = f"test-{abs(hash(tmp_path)):x}"
    server.create_bucket(bucket)
    for name, value in server.settings().items():
        monkeypatch.setenv(name, value)
    return f"s3://{bucket}/unmask"


@pytest.fixture
def artifacts(artifacts_url: str) -> Artifacts:
    """An empty artefact store, of both kinds."""
    return Artifacts(artifacts_url, b"secret", Settings(_env_file=None).s3_options())  # type: ignore[call-arg]


@pytest.fixture
def s3_artifacts(s3_server: S3, tmp_path: Path) -> Artifacts:
    """An empty artefact store in a bucket."""
    bucket = f"own-{abs(hash(tmp_path)):x}"
    s3_server.create_bucket(bucket)
    return Artifacts(
        f"s3://{bucket}/unmask", b"secret", S3Options(s3_server.endpoint, "", "us-east-1", S3.KEY, S3.SECRET)
    )
