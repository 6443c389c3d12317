"""Jobs over several processes. A process that dies (a segmentation fault, no memory) costs its file, not the run."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context

from training.datasets.worker import Done, Job, Work, start, work

AHEAD = 3  # jobs per process that are handed out at once: none waits for work, and few are suspects when one dies


def run_jobs(jobs: Iterable[Job], workers: int, setup: Callable[[], Work]) -> Iterator[Done]:
    """Do every job, in the order in which they end.

    Args:
        jobs: what to do.
        workers: processes, started afresh (spawn): a script that calls this needs `if __name__ == "__main__"`. 0 does
            everything in this process.
        setup: makes a worker in its process; sent there, so it can be pickled.
    """
    if workers == 0:
        yield from map(setup(), jobs)
        return
    waiting = deque(jobs)
    while waiting:
        suspects = yield from _until_one_dies(waiting, workers, setup)
        for job in suspects:
            yield _alone(job, setup)


def _until_one_dies(waiting: deque[Job], workers: int, setup: Callable[[], Work]) -> Generator[Done, None, list[Job]]:
    """Takes jobs until there are none, or a process dies; returns those that were handed out and not done then."""
    suspects: list[Job] = []
    pending: dict[Future[Done], Job] = {}
    with _pool(min(workers, len(waiting)), setup) as pool:
        while (waiting and not suspects) or pending:
            while waiting and not suspects and len(pending) < AHEAD * workers:
                job = waiting.popleft()
                pending[_submitted(pool, job)] = job
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                job = pending.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    suspects.append(job)
                else:
                    yield future.result()
    return suspects


def _alone(job: Job, setup: Callable[[], Work]) -> Done:
    """One job in a process of its own: if that dies too, this job is why."""
    with _pool(1, setup) as pool:
        try:
            return pool.submit(work, job).result()
        except BrokenProcessPool:
            return Done(job, job.sha256, code="worker_died", detail="The process that extracted this file died.")


def _submitted(pool: ProcessPoolExecutor, job: Job) -> Future[Done]:
    """The job handed out; to a pool that broke meanwhile it fails as those before it did."""
    try:
        return pool.submit(work, job)
    except BrokenProcessPool as error:
        failed: Future[Done] = Future()
        failed.set_exception(error)
        return failed


@contextmanager
def _pool(workers: int, setup: Callable[[], Work]) -> Iterator[ProcessPoolExecutor]:
    """Spawned, not forked: dlib, OpenCV and PyAV keep threads, and a fork would copy their locks."""
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=start, initargs=(setup,))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
