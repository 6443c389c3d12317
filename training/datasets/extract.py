"""The views of a data set: `python -m training.datasets.extract KIND PATH --cache FOLDER [--workers N]`.

Everything goes through `models.extraction`, as in the service, and is kept under a folder by content. A run that was
interrupted goes on where it was; a file that cannot be extracted is written down with its error and passed over.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.detectors.catalogue import ENSEMBLE, read_catalogue
from models.faces.tools import FaceTools
from models.media.limits import Limits
from models.types import Clip, View
from training.datasets.cache import ViewCache
from training.datasets.command import add_data, data_of, ended
from training.datasets.crew import run_jobs
from training.datasets.items import Item
from training.datasets.ledger import FAILURES, Failure, Ledger
from training.datasets.worker import Done, Job, Setup

EXIT_FAILED = 3  # as `unmask analyze` when a file could not be analysed
PATIENT = Limits(wall_s=300.0, cpu_s=300)  # nobody waits for an answer, and workers share the cores

Views = dict[View, tuple[Clip, ...]]


@dataclass(slots=True)
class Summary:
    """What a run came to, in files; `empty` counts the views it wrote that have no clip, by the reason."""

    cached: int = 0
    extracted: int = 0
    failures: list[Failure] = field(default_factory=list)
    empty: Counter[str] = field(default_factory=Counter)

    def lines(self) -> Iterator[str]:
        """For a person."""
        yield f"{self.extracted} files extracted, {self.cached} were there, {len(self.failures)} failed"
        for code, count in Counter(failure.code for failure in self.failures).most_common():
            first = next(failure for failure in self.failures if failure.code == code)
            yield f"  {code}: {count}, such as {first.path}: {first.detail}"
        for why, count in self.empty.most_common():
            yield f"  views with nothing to see: {count}, {why}"


def extracted(
    items: Iterable[Item],
    views: Sequence[View],
    cache: Path | ViewCache,
    workers: int = 0,
    console: Console | None = None,
) -> Iterator[tuple[Item, Views]]:
    """Every item with its views, in the order of the items; those that cannot be extracted are left out.

    The cache is filled first, with progress on standard error, and then read item by item.

    Args:
        items: a `Manifest`, or some items of one.
        views: each once.
        cache: the folder; or a cache of its own face finder and limits.
        workers: processes; 0 works in this one.
        console: where progress and summary go; None for standard error.

    Yields:
        The item, and for each view its clips: one per face track, one for frames or sound, or none.
    """
    chosen, store = tuple(items), as_cache(cache)
    out = console or Console(stderr=True)
    summary = fill(chosen, views, store, workers, out)
    out.print("\n".join(summary.lines()), markup=False, highlight=False, soft_wrap=True)
    ledger = Ledger(store.folder)
    for item in chosen:
        sha256 = ledger.sha256(item.path)
        if sha256 and not store.lacking(sha256, views):
            yield item, {view: store.load(sha256, view) for view in views}


def fill(items: Iterable[Item], views: Sequence[View], cache: ViewCache, workers: int, console: Console) -> Summary:
    """Extract what the cache lacks.

    Raises:
        CatalogueError: a view needs points of the face that the face finder does not give.
        WeightsError: a file of the face finder or of the landmarks is wrong.
    """
    cache.sweep()
    ledger, summary = Ledger(cache.folder), Summary()
    chosen = tuple(items)
    with _progress(console) as progress:
        bar = progress.add_task("extracting", total=len(chosen), failed=0)
        jobs = [job for item in chosen if (job := _job(item, tuple(views), cache, ledger, summary))]
        progress.update(bar, completed=len(chosen) - len(jobs), failed=len(summary.failures))
        if jobs:
            _check(cache.tools, views)
        for done in run_jobs(jobs, workers, Setup(cache)):
            _note(done, cache, ledger, summary)
            progress.update(bar, advance=1, failed=len(summary.failures))
    return summary


def _check(tools: FaceTools, views: Sequence[View]) -> None:
    """Find here what would else fail once for each file."""
    for view in views:
        tools.check(view)
    if tools != FaceTools():  # the finder without a file takes a second and cannot be wrong
        tools.finder()
        tools.predictor()


def as_cache(cache: Path | ViewCache) -> ViewCache:
    """A cache with the face finder that needs no file, unless it is one already."""
    return cache if isinstance(cache, ViewCache) else ViewCache(cache, FaceTools(), PATIENT)


def _job(item: Item, views: tuple[View, ...], cache: ViewCache, ledger: Ledger, summary: Summary) -> Job | None:
    """What is to be done for an item; None if its views are there, or known never to come."""
    sha256 = ledger.sha256(item.path)
    lacking = cache.lacking(sha256, views) if sha256 else views
    keys = [cache.key(sha256, view) for view in lacking] if sha256 else []
    if failure := ledger.lasting_failure(sha256, keys):
        summary.failures.append(failure)
    elif not lacking:
        summary.cached += 1
    else:
        return Job(item.path, sha256, lacking)
    return None


def _note(done: Done, cache: ViewCache, ledger: Ledger, summary: Summary) -> None:
    ledger.learn(done.job.path, done.sha256)
    summary.empty.update(why.partition(":")[0] for why in done.empty)  # up to its figures
    if done.code:
        keys = tuple(cache.key(done.sha256, view) for view in done.job.views) if done.sha256 else ()
        failure = Failure(str(done.job.path), done.sha256, done.code, done.detail, keys)
        ledger.fail(failure)
        summary.failures.append(failure)
    elif done.written:
        summary.extracted += 1
    else:
        summary.cached += 1


def _progress(console: Console) -> Progress:
    failed = TextColumn("{task.fields[failed]} failed")
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        failed,
        TimeRemainingColumn(),
        console=console,
    )


def main() -> int:
    """Read the command line and extract; exit code 3 if a file failed."""
    parser = argparse.ArgumentParser(prog="python -m training.datasets.extract", description="Extract a data set.")
    add_data(parser)
    parser.add_argument("--cache", type=Path, required=True, help="folder of extracted views")
    parser.add_argument("--model", default=ENSEMBLE, help="whose views: a detector's id, or all that are served")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes; 0 works in this one")
    args = parser.parse_args()
    return ended(lambda: _run(args, Console(stderr=True)))


def _run(args: argparse.Namespace, console: Console) -> int:
    views = tuple(dict.fromkeys(row.view.view() for row in read_catalogue().choose(args.model)))
    summary = fill(data_of(args), views, as_cache(args.cache), args.workers, console)
    console.print("\n".join(summary.lines()), markup=False, highlight=False, soft_wrap=True)
    console.print(f"failures are in {args.cache / FAILURES}" if summary.failures else "done", soft_wrap=True)
    return EXIT_FAILED if summary.failures else 0


if __name__ == "__main__":
    sys.exit(main())
