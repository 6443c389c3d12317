"""All records of a manifest: what is already done is read, the rest is scored and written as it comes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training.evaluation.degrade import variants
from training.evaluation.listing import Listed
from training.evaluation.records import Key, Record, append, appending, read_records, relabelled
from training.evaluation.scoring import Analyst, Task, hash_of, scored

RESULTS = "results.jsonl"


@dataclass(frozen=True, slots=True)
class Run:
    """How items are scored.

    Attributes:
        model: a detector's id, or `ensemble`.
        folder: where `results.jsonl` is; it exists.
        workers: processes.
        robustness: whether each item is also scored at every strength of every degradation.
    """

    model: str
    folder: Path
    workers: int = 1
    robustness: bool = False


def records_of(items: Sequence[Listed], run: Run, analyst: Analyst, console: Console) -> list[Record]:
    """A record per item, in their order, and then those of the degraded items.

    Done before, with the same basis and of the same bytes, is done; what failed is tried again.
    """
    plain = _done("Analysing", [Task(of) for of in items], run, analyst, console)
    if not run.robustness:
        return plain
    kinds = {record.name: record.kind for record in plain if not record.error}
    worse = [Task(of, str(how), kinds[of.name]) for of in items if of.name in kinds for how in variants(kinds[of.name])]
    return plain + _done("Degrading and analysing", worse, run, analyst, console)


def _done(title: str, tasks: Sequence[Task], run: Run, analyst: Analyst, console: Console) -> list[Record]:
    results = run.folder / RESULTS
    known = still_good(read_records(results), tasks, analyst.basis)
    todo = [task for task in tasks if _key(task) not in known]
    if len(todo) < len(tasks):
        console.print(f"{len(tasks) - len(todo)} of {len(tasks)} are done already: {results}", highlight=False)
    with appending(results) as file, _progress(console) as progress:
        bar = progress.add_task(title, total=len(tasks), completed=len(tasks) - len(todo))
        for record in scored(todo, run.model, analyst, run.workers):
            append(file, record)
            known[record.key] = record
            progress.advance(bar)
    return [known[_key(task)] for task in tasks]


def still_good(found: dict[Key, Record], tasks: Iterable[Task], basis: str) -> dict[Key, Record]:
    """The records that need not be made again, with the labels that the manifest has now."""
    sha256_of = cache(_sha256)
    good = {}
    for task in tasks:
        record = found.get(_key(task))
        if record and not record.error and record.basis == basis and record.sha256 == sha256_of(task.of.item.path):
            good[record.key] = relabelled(record, task.of)
    return good


def _sha256(path: Path) -> str | None:
    return hash_of(path) if path.is_file() else None


def _key(task: Task) -> Key:
    return task.of.name, task.how


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console)
