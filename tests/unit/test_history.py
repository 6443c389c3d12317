"""What is kept of analyses, on SQLite and PostgreSQL alike."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from serve_app.artifacts import Artifacts
from serve_app.asking import Caller, Origin
from serve_app.database import Database, NotStored
from serve_app.history import Earlier, Filters, Finished, History, cursor_of, number_of
from serve_app.ids import new_id
from serve_app.schemas import VerdictBody
from serve_app.settings import Settings
from serve_app.tables import AnalysisRow, Counter
from tests.verdicts import verdict_body

SHA256 = "ab" * 32
ANN, BOB = (Origin(Caller(owner=name, key_id=f"key_{name}"), "/analyze") for name in ("ann", "bob"))
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def finished(origin: Origin = ANN, **changes: Any) -> Finished:
    """An analysis; `changes` are of its verdict, or of itself."""
    own = {name: changes.pop(name) for name in ("filename", "sha256", "answered_by", "reused_from") if name in changes}
    fields = {"filename": "clip.mp4", "sha256": SHA256, "answered_by": "models", **own}
    return Finished(id=new_id("ana"), verdict=verdict_body(**changes), origin=origin, **fields)


def on(url: str, scene: Callable[[History, Database], Awaitable[Any]], **settings: Any) -> Any:
    """What a scene gives that has a history on that database, and keeps pictures beside a database that is a file."""

    async def play() -> Any:
        database = Database(url)
        try:
            chosen = Settings(_env_file=None).model_copy(update=settings)  # type: ignore[call-arg]
            with tempfile.TemporaryDirectory() as folder:
                return await scene(History(database, Artifacts(folder, b"secret"), chosen), database)
        finally:
            await database.close()

    return asyncio.run(play())


def test_what_is_recorded_comes_back_whole(database_url: str) -> None:
    made = finished()

    async def scene(history: History, _: Database) -> tuple[AnalysisRow, VerdictBody]:
        await history.record(made)
        row = await history.get("ann", made.id)
        return row, await history.verdict(row)

    row, verdict = on(database_url, scene)
    assert verdict == made.verdict
    assert "data:image" not in str(row.body)
    assert (row.owner, row.key_id, row.route, row.filename) == ("ann", "key_ann", "/analyze", "clip.mp4")
    assert (row.verdict, row.p_fake, row.kind, row.sha256) == ("FAKE", 0.9, "video", SHA256)
    assert row.created_at.tzinfo is UTC


def test_recording_again_after_a_lost_answer_changes_nothing(database_url: str) -> None:
    made = finished()

    async def scene(history: History, _: Database) -> list[int]:
        first, second = await history.record(made), await history.record(made)
        return [first.number, second.number, len(await history.recent("ann", 9))]

    first, second, amount = on(database_url, scene)
    assert (first, amount) == (second, 1)


def test_what_is_written_with_it_fails_or_succeeds_with_it(database_url: str) -> None:
    async def note(session: AsyncSession, row: AnalysisRow) -> None:
        session.add(Counter(name=row.id, amount=1, expires_at=NOON))

    async def refuse(session: AsyncSession, row: AnalysisRow) -> None:
        await note(session, row)
        raise KeyError(row.id)

    kept, lost = finished(), finished()

    async def scene(history: History, database: Database) -> tuple[list[str], list[bool]]:
        await history.record(kept, note)
        with pytest.raises(KeyError):
            await history.record(lost, refuse)
        async with database.transaction() as session:
            noted = [await session.get(Counter, made.id) is not None for made in (kept, lost)]
        return [row.id for row in await history.recent("ann", 9)], noted

    assert on(database_url, scene) == ([kept.id], [True, False])


def test_another_owners_analyses_are_as_if_they_did_not_exist(database_url: str) -> None:
    made = finished()

    async def scene(history: History, _: Database) -> None:
        number = (await history.record(made)).number
        for found in (
            history.get("bob", made.id),
            history.by_number("bob", number),
            history.delete("bob", made.id),
            history.attach("bob", made.id, "visual", "visual/1.mp4"),
        ):
            with pytest.raises(NotStored):
                await found
        assert not await history.recent("bob", 9)
        assert not await history.by_label("bob", "FAKE", 9)
        assert not (await history.page("bob", Filters(), 9)).rows
        assert not [row async for row in history.export("bob", Filters())]
        assert (await history.statistics("bob")).total == 0
        assert await history.same("bob", SHA256, "models") is None
        assert "visual" not in (await history.get("ann", made.id)).artifacts

    on(database_url, scene)


def test_pages_go_through_all_once_newest_first_while_more_are_made(database_url: str) -> None:
    async def scene(history: History, _: Database) -> tuple[list[str], list[str]]:
        made = [(await history.record(finished())).id for _ in range(5)]
        page = await history.page("ann", Filters(), 2)
        seen = list(page.rows)
        while page.next_cursor:
            await history.record(finished())
            page = await history.page("ann", Filters(), 2, number_of(page.next_cursor))
            seen += page.rows
        return made, [row.id for row in seen]

    made, seen = on(database_url, scene)
    assert seen == made[::-1]


def test_a_page_that_ends_with_the_last_one_has_no_next(database_url: str) -> None:
    async def scene(history: History, _: Database) -> str:
        for made in (finished(), finished()):
            await history.record(made)
        return (await history.page("ann", Filters(), 2)).next_cursor

    assert on(database_url, scene) == ""


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (Filters(), ["c", "b", "a"]),
        (Filters(verdict="REAL"), ["b"]),
        (Filters(kind="audio"), ["c"]),
        (Filters(model="cascade"), ["c"]),
        (Filters(sha256="cd" * 32), ["a"]),
        (Filters(filename="LIP_%"), ["a"]),
        (Filters(since=NOON + timedelta(hours=1)), ["c", "b"]),
        (Filters(until=NOON + timedelta(hours=1)), ["a"]),
        (Filters(verdict="REAL", kind="audio"), []),
    ],
)
def test_each_filter_takes_what_it_names(database_url: str, filters: Filters, found: list[str]) -> None:
    made = {
        "a": finished(filename="cLip_%1.mp4", sha256="cd" * 32),
        "b": finished(verdict="REAL", p_fake=0.1, filename="clip_x.mp4"),
        "c": finished(model="cascade", kind="audio"),
    }

    async def scene(history: History, database: Database) -> list[str]:
        names = {}
        for hours, (name, analysis) in enumerate(made.items()):
            await history.record(analysis)
            names[analysis.id] = name
            await move(database, analysis.id, NOON + timedelta(hours=hours))
        return [names[row.id] for row in (await history.page("ann", filters, 9)).rows]

    assert on(database_url, scene) == found


async def move(database: Database, analysis_id: str, created_at: datetime) -> None:
    async with database.transaction() as session:
        await session.execute(update(AnalysisRow).where(AnalysisRow.id == analysis_id).values(created_at=created_at))


def test_the_export_reads_every_analysis_once(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.history.EXPORT_ROWS", 2)

    async def scene(history: History, _: Database) -> tuple[list[str], list[str]]:
        made = [(await history.record(finished())).id for _ in range(5)]
        return made, [row.id async for row in history.export("ann", Filters()) if row.body]

    made, seen = on(database_url, scene)
    assert seen == made[::-1]


@pytest.mark.parametrize(
    "change", [{}, {"sha256": "cd" * 32}, {"answered_by": "others"}, {"origin": BOB}, {"degraded": True}]
)
def test_only_a_whole_answer_to_the_same_question_of_the_same_owner_is_the_same(
    database_url: str, change: dict[str, Any]
) -> None:
    made = finished(**change)

    async def scene(history: History, _: Database) -> Earlier | None:
        await history.record(made)
        return await history.same("ann", SHA256, "models")

    assert on(database_url, scene) == (None if change else Earlier(made.id, made.verdict))


def test_the_figures_count_by_verdict_model_kind_and_day(database_url: str) -> None:
    first = finished(confidence=0.9)
    others = [
        finished(verdict="REAL", confidence=0.7, model="cascade", reused_from="ana_1"),
        finished(verdict="UNDETERMINED", confidence=0.0, kind="audio"),
    ]

    async def scene(history: History, database: Database) -> Any:
        empty = await history.statistics("ann")
        for hours, made in zip((0, 11, 13), (first, *others), strict=True):
            await history.record(made)
            await move(database, made.id, NOON + timedelta(hours=hours))
        return empty, await history.statistics("ann"), await history.statistics("ann", Filters(kind="audio"))

    empty, figures, of_audio = on(database_url, scene)
    assert (empty.total, empty.average_confidence, empty.last, empty.days) == (0, None, None, {})
    assert (figures.total, figures.reused, figures.last) == (3, 1, NOON + timedelta(hours=13))
    assert figures.verdicts == {"FAKE": 1, "REAL": 1, "UNDETERMINED": 1}
    assert figures.average_confidence == pytest.approx(0.8)
    assert figures.models == {"cascade": {"REAL": 1}, "ensemble": {"FAKE": 1, "UNDETERMINED": 1}}
    assert figures.kinds == {"audio": {"UNDETERMINED": 1}, "video": {"FAKE": 1, "REAL": 1}}
    assert figures.days == {"2026-11-21": {"FAKE": 1, "REAL": 1}, "2026-11-22": {"UNDETERMINED": 1}}
    assert of_audio.total == 1


def test_numbers_and_labels_find_the_rows_that_older_clients_ask_for(database_url: str) -> None:
    real = finished(verdict="REAL")

    async def scene(history: History, _: Database) -> tuple[str, list[str]]:
        await history.record(finished())
        number = (await history.record(real)).number
        labelled = [row.id for row in await history.by_label("ann", "real", 9)]
        return (await history.by_number("ann", number)).id, labelled

    assert on(database_url, scene) == (real.id, [real.id])


@pytest.mark.parametrize("number", [0, -1, 2**63, 10**30])
def test_a_number_that_no_row_can_have_is_not_found(database_url: str, number: int) -> None:
    async def scene(history: History, _: Database) -> None:
        with pytest.raises(NotStored):
            await history.by_number("ann", number)

    on(database_url, scene)


def test_a_batch_is_listed_with_its_analyses(database_url: str) -> None:
    batch_id = new_id("bat")
    inside, outside = finished(replace(ANN, batch_id=batch_id)), finished()

    async def scene(history: History, _: Database) -> tuple[Any, list[str], int]:
        await history.record(inside)
        await history.record(outside)
        await history.record_batch("ann", batch_id, successful=1, failed=2)
        (batch,) = await history.batches("ann", 9)
        of_batch = [row.id for row in await history.of_batch("ann", batch_id)]
        return batch, of_batch, len(await history.batches("bob", 9))

    batch, of_batch, of_others = on(database_url, scene)
    assert (batch.id, batch.total, batch.successful, batch.failed) == (batch_id, 3, 1, 2)
    assert (of_batch, of_others) == ([inside.id], 0)


def test_artefacts_are_noted_beside_each_other(database_url: str) -> None:
    made = finished()

    async def scene(history: History, _: Database) -> Any:
        await history.record(made)
        await history.attach("ann", made.id, "visual", "visual/1.mp4")
        await history.attach("ann", made.id, "report", "report/1.html")
        return (await history.get("ann", made.id)).artifacts

    own = {"pictures": f"pictures/{made.id}.json"}
    assert on(database_url, scene) == own | {"visual": "visual/1.mp4", "report": "report/1.html"}


def test_what_is_deleted_is_gone(database_url: str) -> None:
    made, other = finished(), finished()

    async def scene(history: History, _: Database) -> list[str]:
        await history.record(made)
        await history.record(other)
        await history.delete("ann", made.id)
        with pytest.raises(NotStored):
            await history.delete("ann", made.id)
        return [row.id for row in await history.recent("ann", 9)]

    assert on(database_url, scene) == [other.id]


def test_names_that_a_database_refuses_are_kept_as_far_as_it_takes_them(database_url: str) -> None:
    origin = Origin(Caller(owner="ann", request_id="r" * 9000), "/analyze")
    made = finished(origin, filename="a\0" + "ü" * 300)

    async def scene(history: History, _: Database) -> AnalysisRow:
        return await history.record(made)

    row = on(database_url, scene)
    assert (row.filename, row.request_id) == ("a" + "ü" * 254, "r" * 255)


def test_nothing_is_found_by_an_id_with_a_nul_in_it(database_url: str) -> None:
    async def scene(history: History, _: Database) -> None:
        with pytest.raises(NotStored):
            await history.get("ann", "ana_\0")
        row = await history.record(finished())
        with pytest.raises(NotStored):
            await history.delete("ann", row.id + "\0")
        assert await history.get("ann", row.id)

    on(database_url, scene)


@pytest.mark.parametrize(("days", "kept"), [(0, None), (2, timedelta(days=2))])
def test_a_row_knows_when_it_expires(database_url: str, days: float, kept: timedelta | None) -> None:
    async def scene(history: History, _: Database) -> AnalysisRow:
        return await history.record(finished())

    row = on(database_url, scene, history_days=days)
    assert row.expires_at == (row.created_at + kept if kept else None)


@pytest.mark.parametrize("cursor", ["", "!", "x", cursor_of(-1), cursor_of(2**63), "ü", "MTIz\n"])
def test_a_cursor_that_is_not_ours_is_refused(cursor: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any of its kinds
        number_of(cursor)


@pytest.mark.parametrize("number", [0, 1, 12345, 2**63 - 1])
def test_a_cursor_gives_its_number_back(number: int) -> None:
    assert number_of(cursor_of(number)) == number
