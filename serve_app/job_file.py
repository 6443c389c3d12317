"""One file of a job, from its media to its recorded analysis."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from deployments.progress import Progress
from models.errors import UnmaskError
from models.render.stream import content_type, suffix
from models.types import Verdict
from serve_app.analyst import Analyst
from serve_app.artifacts import Artifacts
from serve_app.asking import Origin
from serve_app.errors import PASSING, ApiError, from_cause, problem_body
from serve_app.job_errors import LeaseLost
from serve_app.job_queue import Claimed, ClaimedFile, JobQueue
from serve_app.jobs import is_address
from serve_app.remote import Remote
from serve_app.service import Service, Visual
from serve_app.uploads import Upload, keep

LOGGER = logging.getLogger("ray.serve")
PATIENCE_S = 600.0  # with what may pass; a rolling update of the graph takes minutes
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
STUBBORN = 3  # tries of what fails without a reason that we know
UNCLAIMED_S = 600.0  # after its time, how long drawn media waits for the note that it is an analysis's
ANALYSED = 0.6  # share of the work that is done when a film is still to be drawn

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Bench:
    """What jobs are worked on with.

    Attributes:
        queue: where they wait.
        service: draws verdicts.
        analyst: analyses and records.
        artifacts: where their media comes from, and what is drawn goes to.
        remote: where media comes from that a client named by its address.
        max_bytes: of a file.
        file_timeout_s: of the work on one file.
    """

    queue: JobQueue
    service: Service
    analyst: Analyst
    artifacts: Artifacts
    remote: Remote
    max_bytes: int
    file_timeout_s: float


@dataclass(slots=True)
class FileWork:
    """The work on one file. It can be begun again, and records nothing twice."""

    bench: Bench
    claimed: Claimed
    file: ClaimedFile
    tell: Callable[[Progress], None]
    analysis_id: str = ""

    async def to_its_end(self) -> None:
        """Until the file is done, or has failed for a reason that is noted; raises `LeaseLost`."""
        lease, position = self.claimed.lease, self.file.position
        try:
            async with asyncio.timeout(self.bench.file_timeout_s):
                await patiently(self.once)
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and logged where its cause is unknown
            problem = problem_of(error, self.claimed, self.bench.file_timeout_s)
            await patiently(lambda: self.bench.queue.file_failed(lease, position, problem))

    async def once(self) -> None:
        """Fetch the media, analyse and record it, and draw the verdict into it if that is asked for."""
        options = self.claimed.options
        self.analysis_id = self.analysis_id or self.file.analysis_id or ""
        upload = await received(self.bench, self.file)
        with upload.file:
            made = None if self.analysis_id else await self._analysed(upload)
            if options.visualize:
                await self._draw(upload, made)

    async def _analysed(self, upload: Upload) -> Verdict | None:
        """The verdict as the graph gave it; None where an earlier one was repeated."""
        options, lease = self.claimed.options, self.claimed.lease
        share = ANALYSED if options.visualize else 1.0
        analysis = await self.bench.analyst.analyze(
            upload,
            options.ask,
            Origin(self.claimed.caller, options.route, job_id=lease.job_id),
            lambda progress: self.tell(Progress(progress.stage, progress.fraction * share)),
            self.bench.queue.recorded(lease, self.file.position, last=not options.visualize),
        )
        self.analysis_id = analysis.id
        return analysis.made

    async def _draw(self, upload: Upload, made: Verdict | None) -> None:
        self.tell(Progress("drawing", ANALYSED))
        upload.file.seek(0)
        service = self.bench.service
        visual = (
            Visual(made, service.draw(upload, made))
            if made
            else await service.visualize(upload, self.claimed.options.ask)
        )
        lease, queue, artifacts = self.claimed.lease, self.bench.queue, self.bench.artifacts
        name = f"visual/{self.analysis_id}{suffix(visual.verdict.media)}"
        await queue.drawing(lease, name, self.bench.file_timeout_s + UNCLAIMED_S)
        async with aclosing(visual.pieces) as pieces:
            await artifacts.put(name, pieces, content_type(visual.verdict.media), self.file.filename)
        if not await queue.file_drawn(lease, self.file.position, name):
            await artifacts.delete(name)


async def received(bench: Bench, file: ClaimedFile) -> Upload:
    """A file's media in an unlinked temporary file, hashed on the way; the caller closes it.

    Raises:
        NoSuchArtifact: it was never uploaded.
        AddressNotAllowed, AddressFailed: it cannot be fetched.
        ApiError: it is larger than allowed, or other bytes than were sent.
    """
    if is_address(file.source):
        return await bench.remote.fetch(file.source, bench.max_bytes, bench.file_timeout_s)
    upload = await keep(bench.artifacts.stream(file.source), file.filename, bench.max_bytes, bench.file_timeout_s)
    try:
        _check(upload, file)
    except BaseException:
        upload.file.close()
        raise
    return upload


def _check(upload: Upload, file: ClaimedFile) -> None:
    if file.sha256 not in {"", upload.sha256}:
        raise ApiError(500, "media_altered", "The stored media is not what was sent.", suggestions=["Send it again"])


async def patiently(do: Callable[[], Awaitable[Result]]) -> Result:
    """Do something, again while what hinders it may pass: the graph is busy, the database or the store is away."""
    deadline_s, pause_s, strange = time.monotonic() + PATIENCE_S, FIRST_PAUSE_S, 0
    while True:
        try:
            return await do()
        except PASSING:
            if time.monotonic() + pause_s > deadline_s:
                raise
        except (UnmaskError, ApiError, TimeoutError):
            raise
        except Exception:
            strange += 1
            if strange == STUBBORN:
                raise
            LOGGER.exception("failed, try %d of %d", strange, STUBBORN)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def problem_of(error: Exception, claimed: Claimed, timeout_s: float) -> dict[str, Any]:
    """What a job says of a file that failed."""
    if isinstance(error, ApiError):
        answer = error
    elif isinstance(error, UnmaskError):
        answer = from_cause(error)
    elif isinstance(error, TimeoutError):
        answer = ApiError(504, "analysis_timeout", f"The file took longer than {timeout_s:g} s.")
    else:
        LOGGER.error("unexpected error, %s", claimed.lease.job_id, exc_info=error)
        answer = ApiError(500, "internal_error", "The service failed.", suggestions=["Report the request_id"])
    return problem_body(answer, f"/v1/jobs/{claimed.lease.job_id}", claimed.caller.request_id)
