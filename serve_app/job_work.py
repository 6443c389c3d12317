"""What a runner does: takes up jobs, works on their files, and leaves what is not its own any more.

A job's lease is watched while its files are worked on; when it is lost, because the job was cancelled or taken over,
the work is cancelled, and with it what the graph does for it.
"""

import asyncio
import logging
import time
from dataclasses import dataclass

from deployments.progress import Progress
from models.errors import UnmaskError
from serve_app.database import DatabaseUnavailable
from serve_app.job_errors import LeaseLost
from serve_app.job_file import Bench, FileWork, patiently
from serve_app.job_queue import Claimed, JobQueue

LOGGER = logging.getLogger("ray.serve")
POLL_S = 0.5  # how long a job waits at most when a runner is idle
TICK_S = 0.5  # between looks at a lease: a cancelled job's work goes on no longer than that
RENEWALS = 4  # per lease: three may fail
WAITING = Progress("waiting", 0.0)


@dataclass(slots=True)
class Heart:
    """Renews a job's lease while it is worked on, and tells how far it is."""

    queue: JobQueue
    claimed: Claimed
    done: int
    now: Progress = WAITING
    told: Progress = WAITING

    def tell(self, progress: Progress) -> None:
        """How far the file is that is worked on."""
        whole = (self.done + min(1.0, progress.fraction)) / self.claimed.total
        self.now = Progress(progress.stage, round(max(whole, self.now.fraction), 3))

    async def beat(self) -> None:
        """Renew until cancelled; raises `LeaseLost`, also when the database was away for as long as the lease lasts."""
        renewed_s = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            asked_s = time.monotonic()
            try:
                if self.now != self.told or asked_s - renewed_s > self.queue.lease_s / RENEWALS:
                    progress = self.now
                    await self.queue.renew(self.claimed.lease, progress)
                    self.told, renewed_s = progress, asked_s
                else:
                    await self.queue.check(self.claimed.lease)
            except DatabaseUnavailable:
                if time.monotonic() - renewed_s > self.queue.lease_s:
                    raise LeaseLost(f"{self.claimed.lease.job_id}: the database was away for too long.") from None


class JobWork:
    """Works on jobs, `at_once` of them, until it is cancelled."""

    def __init__(self, bench: Bench, at_once: int) -> None:
        self._bench, self._queue = bench, bench.queue
        self._slots = asyncio.Semaphore(at_once)

    async def run(self) -> None:
        """Take up jobs until cancelled. What is under way then is given back."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._slots.acquire()
                claimed = await self._next()
                group.create_task(self._one(claimed))

    async def work(self, claimed: Claimed) -> None:
        """Work on a job until it has ended, or is not this runner's any more."""
        try:
            await self._files(claimed)
            await patiently(lambda: self._queue.finish(claimed.lease))
            await self._erase(claimed.lease.job_id)
        except* LeaseLost as lost:
            LOGGER.info("%s", lost.exceptions[0])

    async def erase_leftovers(self) -> None:
        """Erase media of jobs that ended without that: they were cancelled, or their runner was killed."""
        for names in (await self._queue.ended_with_media()).values():
            await self._bench.artifacts.delete(*names)
            await self._queue.erased(names)

    async def _next(self) -> Claimed:
        while True:
            try:
                if claimed := await self._queue.claim():
                    return claimed
            except DatabaseUnavailable:
                LOGGER.warning("the database is away: no job is taken up")
            await asyncio.sleep(POLL_S)

    async def _one(self, claimed: Claimed) -> None:
        try:
            await self.work(claimed)
        except asyncio.CancelledError:
            await asyncio.shield(self._give_back(claimed))
            raise
        except Exception:  # its lease runs out, and it is begun again; others go on
            LOGGER.exception("%s was left", claimed.lease.job_id)
        finally:
            self._slots.release()

    async def _files(self, claimed: Claimed) -> None:
        heart = Heart(self._queue, claimed, claimed.total - len(claimed.files))
        async with asyncio.TaskGroup() as group:
            beat = group.create_task(heart.beat())
            for file in claimed.files:
                await FileWork(self._bench, claimed, file, heart.tell).to_its_end()
                heart.done += 1
            beat.cancel()

    async def _erase(self, job_id: str) -> None:
        try:
            names = await self._queue.media_of(job_id)
            await self._bench.artifacts.delete(*names)
            await self._queue.erased(names)
        except UnmaskError:
            LOGGER.warning("media of %s is erased later", job_id, exc_info=True)

    async def _give_back(self, claimed: Claimed) -> None:
        try:
            await self._queue.release(claimed.lease)
        except UnmaskError:  # it is taken up when the lease runs out
            LOGGER.warning("%s could not be given back", claimed.lease.job_id, exc_info=True)
