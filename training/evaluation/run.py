"""All records of a manifest: what is already done is read, the rest is scored and written as it comes."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training.evaluation.degrade import variants
from training.evaluation.errors import EvaluationError
from training.evaluation.listing import Listed
from training.evaluation.records import Key, Record, append, appending, read_records, relabelled
from training.evaluation.replay import replayed
from training.evaluation.scoring import Analyst, Task, hash_of, scored

RESULTS = "results.jsonl"


@dataclass(frozen=True, slots=True)
class Run:
    """How items are scored.

    Attributes:
        folder: where `results.jsonl` is; it exists.
        workers: processes.
        robustness: whether items are also scored at every strength of every degradation.
        degraded_groups: of how many groups those items are, per kind of media; 0 for all.
    """

    folder: Path
    workers: int = 1
    robustness: bool = False
    degraded_groups: int = 0


def records_of(items: Sequence[Listed], run: Run, analyst: Analyst, console: Console) -> list[Record]:
    """A record per item, in their order, and then those of the degraded items.

    Done before, with the same basis and of the same bytes, is done; what failed is tried again.
    """
    plain = _done("Analysing", [Task(of) for of in items], run, analyst, console)
    if not run.robustness:
        return plain
    kinds = {record.name: record.kind for record in plain if not record.error}
    chosen = drawn_groups(plain, run.degraded_groups)
    items = [of for of in items if (kinds.get(of.name, ""), of.group) in chosen]
    worse = [Task(of, str(how), kinds[of.name]) for of in items for how in variants(kinds[of.name])]
    return plain + _done("Degrading and analysing", worse, run, analyst, console)


def drawn_groups(plain: Sequence[Record], count: int) -> set[tuple[str, str]]:
    """So many groups of each kind of media (0: all), as pairs of kind and group; the same whenever they are drawn."""
    found = {(record.kind, record.group) for record in plain if not record.error}
    by_kind = {kind: sorted((of for of in found if of[0] == kind), key=_order) for kind, _ in found}
    return {of for groups in by_kind.values() for of in groups[: count or None]}


def _order(of: tuple[str, str]) -> str:
    return hashlib.sha256("/".join(of).encode()).hexdigest()


def _done(title: str, tasks: Sequence[Task], run: Run, analyst: Analyst, console: Console) -> list[Record]:
    results = run.folder / RESULTS
    known = still_good(read_records(results), tasks, analyst.basis)
    todo = [task for task in tasks if _key(task) not in known]
    if len(todo) < len(tasks):
        console.print(f"{len(tasks) - len(todo)} of {len(tasks)} are done already: {results}", highlight=False)
    with appending(results) as file, _progress(console) as progress:
        bar = progress.add_task(title, total=len(tasks), completed=len(tasks) - len(todo))
        for record in scored(todo, analyst, run.workers):
            append(file, record)
            known[record.key] = record
            progress.advance(bar)
    return [known[_key(task)] for task in tasks]


def earlier(items: Sequence[Listed], folder: Path, analyst: Analyst) -> list[Record]:
    """Records of an earlier run, degraded ones too, as the catalogue calibrates and fuses them now.

    Args:
        items: of the manifest.
        folder: where that run's `results.jsonl` is.
        analyst: says which detectors, how they are calibrated, and what their logits must rest on.

    Raises:
        EvaluationError: an item has no result there or has changed, or a detector has.
    """
    found = read_records(folder / RESULTS)
    by_name = {of.name: of for of in items}
    plain = [found[of.name, ""] for of in items if (of.name, "") in found and _is_same(found[of.name, ""], of)]
    if len(plain) < len(items):
        lacking = f"{len(items) - len(plain)} of {len(items)} items have no result in {folder}"
        raise EvaluationError(f"{lacking}, or have changed since.", "Evaluate them first.")
    basis = {record.name: record.basis for record in plain}
    worse = [record for record in found.values() if record.variant and basis.get(record.name) == record.basis]
    now = [relabelled(record, by_name[record.name]) for record in plain + worse]
    return replayed(now, analyst.catalogue, analyst.bases, analyst.model)


def _is_same(record: Record, of: Listed) -> bool:
    return bool(record.error) or record.sha256 == _sha256(of.item.path)


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
