"""An ingress replica dies under a request: the client sends it again with its idempotency key, and it is done once."""

import os
import signal
import struct
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select

from models.detectors.store import ROOT
from serve_app.client import Client
from serve_app.database import Database
from serve_app.keys import NewKey
from serve_app.schemas import AnalyzeBody
from serve_app.settings import read_settings
from serve_app.tables import AnalysisRow, IdempotentRow
from tests.graph.test_graph import wait_until
from tests.keys import make_key, with_database
from tests.service import Running, replicas

CLIP = ROOT / "assets/sample_real.mp4"
PADDING_BYTES = 4 * 2**20


@pytest.fixture
def key(running: Running, request: pytest.FixtureRequest) -> NewKey:
    """A key of an owner of its own."""
    assert running.url
    return make_key(read_settings().database_url, owner=request.node.name)


def count(table: type[AnalysisRow | IdempotentRow], owner: str) -> int:
    async def ask(database: Database) -> int:
        async with database.transaction() as session:
            return await session.scalar(select(func.count()).select_from(table).where(table.owner == owner)) or 0

    return with_database(read_settings().database_url, ask)


def kill_ingress() -> None:
    for victim in replicas("Ingress"):
        os.kill(victim, signal.SIGKILL)


def test_while_it_analyses(running: Running, key: NewKey) -> None:
    def ask() -> AnalyzeBody:
        with Client(running.url, key.secret) as client:
            return client.analyze(CLIP, idempotency_key="k", fresh=True)

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask)
        wait_until(lambda: count(IdempotentRow, key.row.owner) == 1)
        kill_ingress()
        assert not answer.done(), "nothing was under way when the replica died"
        first = answer.result(120)
    assert (first.verdict, count(AnalysisRow, key.row.owner)) == ("REAL", 1)
    assert ask() == first


def test_while_the_file_is_sent(running: Running, key: NewKey) -> None:
    killed: list[int] = []

    def kill_half_way(sent: int, total: int) -> None:
        if sent >= total // 2 and not killed:
            killed.append(sent)
            kill_ingress()

    padding = struct.pack(">I4s", 8 + PADDING_BYTES, b"free") + bytes(PADDING_BYTES)  # a box that players pass over
    with Client(running.url, key.secret) as client:
        answer = client.analyze(CLIP.read_bytes() + padding, fresh=True, on_progress=kill_half_way)
    assert answer.verdict == "REAL"
    assert killed[0] < answer.media.size_bytes
    assert count(AnalysisRow, key.row.owner) == 1
