"""Waiting for a job: its events as they come, and where they do not come, asking now and then."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import httpx

from serve_app.client.receive import Event, Events
from serve_app.client.steps import Flow, Pause, Send
from serve_app.schemas import JobBody

ENDED = frozenset({"done", "failed", "cancelled"})
# The service sends a comment now and then where nothing happens; without a sign for so long the connection is dead.
SILENCE_S = 60.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0  # between two questions; short jobs end soon
GONE_ON = 1e9  # no time limit


@dataclass(frozen=True, slots=True)
class JobProgress:
    """A moment of a job.

    Attributes:
        state: `queued`, `running`, `done`, `failed` or `cancelled`.
        stage: of the file in work: `waiting`, `extracting`, `detecting`, `explaining`, `drawing`.
        fraction: how much of the whole job is done, 0 to 1.
        position: of the file in work, or of that which was just finished; None where no file is meant.
    """

    state: str
    stage: str
    fraction: float
    position: int | None = None


OnProgress = Callable[[JobProgress], None]


class Follower:
    """Tells what is new of a job, from wherever it is learnt."""

    def __init__(self, on_progress: OnProgress | None, timeout_s: float | None) -> None:
        self._tell = on_progress
        self._last = JobProgress("", "", 0.0)
        self._deadline_s = time.monotonic() + (GONE_ON if timeout_s is None else timeout_s)
        self._timeout_s = timeout_s
        self.events = Events(self.hear)

    def hear(self, event: Event) -> bool:
        """Take an event; whether that is enough."""
        said = {name: event.data[name] for name in ("state", "stage", "fraction", "position") if name in event.data}
        self._now(replace(self._last, **{"position": None, **said}))
        return event.name == "end" or self._last.state in ENDED or self.over

    def see(self, job: JobBody) -> bool:
        """Take the job's state; whether it has ended."""
        position = next((file.position for file in job.files if file.state == "running"), None)
        self._now(JobProgress(job.state, job.stage, job.fraction, position))
        return job.state in ENDED

    def _now(self, progress: JobProgress) -> None:
        if progress != self._last and self._tell:
            self._tell(progress)
        self._last = progress

    @property
    def over(self) -> bool:
        """Whether the time to wait is over."""
        return time.monotonic() >= self._deadline_s

    def check(self, job: JobBody) -> None:
        """Raises `TimeoutError` when the time to wait is over; the job goes on."""
        if self.over:
            raise TimeoutError(f"{job.id} is {job.state} at {job.fraction:.0%} after {self._timeout_s:g} s.")

    @property
    def silence_s(self) -> float:
        """How long an open stream may say nothing."""
        return max(0.1, min(SILENCE_S, self._deadline_s - time.monotonic()))


def followed(read: Callable[[], Flow[JobBody]], path: str, follower: Follower) -> Flow[JobBody]:
    """The job once it has ended.

    Args:
        read: asks for the job.
        path: of its events.
        follower: hears of progress.

    Raises:
        ServiceError: as `read`.
        TimeoutError: the time to wait is over.
    """
    pause_s, streamed = FIRST_PAUSE_S, True
    while True:
        heard = follower.events.last_id
        streamed = streamed and (yield from _listened(path, follower))
        job = yield from read()
        if follower.see(job):
            return job
        follower.check(job)
        # A stream that told something and broke off is taken up again at once; else it is asked less and less.
        pause_s = FIRST_PAUSE_S if follower.events.last_id != heard else min(LONGEST_PAUSE_S, 2 * pause_s)
        yield Pause(min(pause_s, follower.silence_s))


def _listened(path: str, follower: Follower) -> Flow[bool]:
    """Listen until the stream ends or breaks; whether there is one."""
    resume = {"Last-Event-ID": follower.events.last_id} if follower.events.last_id else {}
    send = Send(
        method="GET",
        path=path,
        headers={"Accept": "text/event-stream", **resume},
        sink=follower.events,
        read_timeout_s=follower.silence_s,
    )
    try:
        response: httpx.Response = yield send
    except httpx.TransportError:
        return True  # whether the service is away shows when the job is asked for
    return response.is_success and follower.events.accepts(response)
