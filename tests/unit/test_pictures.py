"""Pictures of verdicts lie beside the rows, in a folder or a bucket."""

import asyncio
from typing import Any

import pytest

from models.types import Evidence
from serve_app.artifacts import Artifacts, StorageFull, StorageUnavailable
from serve_app.database import Database
from serve_app.history import History
from serve_app.settings import Settings
from tests.unit.test_history import SHA256, finished
from tests.verdicts import verdict_body

PAIRS = [("sqlite", "folder"), ("postgresql", "s3")]
pytestmark = pytest.mark.parametrize(("empty_database_url", "artifacts_url"), PAIRS, indirect=True)


def with_history(url: str, artifacts: Artifacts, scene: Any) -> Any:
    async def play() -> Any:
        database = Database(url)
        try:
            return await scene(History(database, artifacts, Settings(_env_file=None)))  # type: ignore[call-arg]
        finally:
            await database.close()

    return asyncio.run(play())


async def names(artifacts: Artifacts) -> list[str]:
    return [name async for name in artifacts.names("pictures")]


@pytest.mark.parametrize("error", [StorageUnavailable, StorageFull])
def test_where_the_store_is_away_or_full_the_pictures_stay_in_the_row(
    database_url: str, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    made = finished()

    async def refuse(*_: Any) -> int:
        raise error("No.")

    async def scene(history: History) -> Any:
        monkeypatch.setattr(artifacts, "put", refuse)
        row = await history.record(made)
        return row.artifacts, await history.verdict(await history.get("ann", made.id))

    assert with_history(database_url, artifacts, scene) == ({}, made.verdict)


def test_erased_pictures_are_empty_and_the_verdict_is_not_answered_again(
    database_url: str, artifacts: Artifacts
) -> None:
    made = finished()

    async def scene(history: History) -> Any:
        row = await history.record(made)
        await artifacts.delete(*row.artifacts.values())
        return await history.verdict(row), await history.same("ann", SHA256, "models")

    verdict, same = with_history(database_url, artifacts, scene)
    assert [face.thumbnail for face in verdict.faces] == [""]
    assert verdict.p_fake == made.verdict.p_fake
    assert same is None


def test_while_the_store_is_away_reading_says_so_and_the_work_is_done_again(
    database_url: str, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = finished()

    async def refuse(*_: Any) -> bytes:
        raise StorageUnavailable("No.")

    async def scene(history: History) -> Any:
        row = await history.record(made)
        monkeypatch.setattr(artifacts, "read", refuse)
        with pytest.raises(StorageUnavailable):
            await history.verdict(row)
        return await history.same("ann", SHA256, "models")

    assert with_history(database_url, artifacts, scene) is None


def test_deleting_an_analysis_erases_its_files(database_url: str, artifacts: Artifacts) -> None:
    made, other = finished(), finished()

    async def scene(history: History) -> Any:
        for analysis in (made, other):
            await history.record(analysis)
        await artifacts.put("visual/1.mp4", b"drawn")
        await history.attach("ann", made.id, "visual", "visual/1.mp4")
        await history.delete("ann", made.id)
        return await names(artifacts), await artifacts.exists("visual/1.mp4")

    assert with_history(database_url, artifacts, scene) == ([f"pictures/{other.id}.json"], False)


def test_an_analysis_whose_files_cannot_be_erased_is_kept(
    database_url: str, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = finished()

    async def refuse(*_: Any) -> None:
        raise StorageUnavailable("No.")

    async def scene(history: History) -> Any:
        await history.record(made)
        monkeypatch.setattr(artifacts, "delete", refuse)
        with pytest.raises(StorageUnavailable):
            await history.delete("ann", made.id)
        return (await history.get("ann", made.id)).id

    assert with_history(database_url, artifacts, scene) == made.id


def test_an_analysis_that_is_refused_leaves_no_files(database_url: str, artifacts: Artifacts) -> None:
    async def refuse(*_: Any) -> None:
        raise KeyError

    async def scene(history: History) -> Any:
        with pytest.raises(KeyError):
            await history.record(finished(), refuse)
        return await names(artifacts)

    assert with_history(database_url, artifacts, scene) == []


def test_a_verdict_without_pictures_makes_no_file(database_url: str, artifacts: Artifacts) -> None:
    made = finished(faces=(), evidence=Evidence())

    async def scene(history: History) -> Any:
        row = await history.record(made)
        return row.artifacts, await history.verdict(row)

    assert with_history(database_url, artifacts, scene) == ({}, made.verdict)
    assert verdict_body().faces[0].thumbnail.startswith("data:image/jpeg")
