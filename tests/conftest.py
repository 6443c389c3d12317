"""What all tests share."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from serve_app.database import migrate
from tests.servers import Postgres, postgres
from tests.service import running

__all__ = ["portrait", "running"]


@pytest.fixture(scope="session")
def portrait() -> NDArray[np.uint8]:
    """`(512, 512, 3)` uint8 RGB: astronaut Eileen Collins, NASA, public domain; one frontal face of about 90 px."""
    return np.asarray(data.astronaut(), np.uint8)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """One PostgreSQL server for the session."""
    with postgres(tmp_path_factory.mktemp("postgres")) as server:
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
