"""One implementation for both clients: what is to be done as a generator of steps, which either of them carries out.

A `Flow` yields `Send` and `Pause`, gets the response back, and returns its result. It opens no connection and never
waits by itself; so retries, cursors and waiting for a job are written, and tested, once.
"""

import random
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import httpx

from serve_app.client.errors import ServiceError, Unreachable, from_response
from serve_app.client.media import Body, OnUpload

T = TypeVar("T")

# Refusals of the service's own that may pass, if it says in Retry-After when. Not 504: it has tried for minutes.
PASSING = frozenset({409, 425, 429, 503, 507})
# Of these, what an operator has to mend.
LASTING = frozenset({"model_not_installed", "weights_error"})
# What proxies answer, in words of their own, while the process behind them is away.
OF_PROXIES = frozenset({500, 502, 503, 504})
STILL_RUNNING = "still_running"
_CHANCE = random.SystemRandom()


class Sink(Protocol):
    """Takes an answer piece by piece as it arrives."""

    def begin(self, response: httpx.Response) -> bool:
        """Whether it takes this answer, which it may have to take anew from the start; else it is read whole."""

    def write(self, piece: bytes) -> bool:
        """Take a piece; whether it has heard enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """A request to be sent once; the step's result is the response, read whole or into the sink."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    on_upload: OnUpload | None = None
    sink: Sink | None = None
    read_timeout_s: float | None = None
    keyless: bool = False  # an address that carries its own proof, maybe of another machine: it must not get the key


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait."""

    seconds: float


Step = Send | Pause
Flow = Generator[Step, Any, T]


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and for how long, a request is tried.

    Args:
        attempts: tries at most. With the default pauses they span about 40 s: a database or an ingress that starts anew
            is back by then.
        unreached_attempts: tries at most where nobody listens at all: more likely the address is wrong.
        first_pause_s: after the first try; it doubles each time, and a random part of up to a half is taken off, so
            that clients which failed together do not come back together.
        longest_pause_s: what it doubles up to. `Retry-After` counts before either.
        patience_s: no try begins later than this after the first.
    """

    attempts: int = 8
    unreached_attempts: int = 4
    first_pause_s: float = 0.5
    longest_pause_s: float = 16.0
    patience_s: float = 600.0

    def pause_s(self, attempt: int) -> float:
        """Seconds to wait after that many tries."""
        return min(self.longest_pause_s, self.first_pause_s * 2.0 ** (attempt - 1)) * _CHANCE.uniform(0.5, 1.0)


ONCE = Retries(attempts=1)


def tried(send: Send, retries: Retries) -> Flow[httpx.Response]:
    """Send until there is an answer that stands.

    Raises:
        ServiceError: the refusal, or what the last try came to.
    """
    give_up_s = time.monotonic() + retries.patience_s
    attempt = tries = 0
    while True:
        tries += 1
        try:
            response: httpx.Response = yield send
        except httpx.TransportError as error:
            failure: ServiceError = unreachable(error)
            most = _attempts(error, retries)
        else:
            if response.is_success or response.has_redirect_location:
                return response
            failure = from_response(response)
            most = retries.attempts if may_pass(response, failure) else 1
        # A request that is under way elsewhere ends in its own time: waiting for it is no failed try.
        attempt += failure.code != STILL_RUNNING
        failure.tries = tries
        if attempt >= most:
            raise failure
        pause_s = retries.pause_s(max(1, attempt))
        if failure.retry_after_s is not None:
            pause_s += failure.retry_after_s
        if time.monotonic() + pause_s > give_up_s:
            raise failure
        yield Pause(pause_s)


def _attempts(error: httpx.TransportError, retries: Retries) -> int:
    if isinstance(error, (httpx.LocalProtocolError, httpx.UnsupportedProtocol)):
        return 1  # the request itself is wrong
    unreached = isinstance(error, httpx.ConnectError)
    return min(retries.attempts, retries.unreached_attempts) if unreached else retries.attempts


def may_pass(response: httpx.Response, failure: ServiceError) -> bool:
    """Whether the same request may be answered otherwise later."""
    if failure.problem:
        told_when = failure.retry_after_s is not None
        return response.status_code in PASSING and told_when and failure.code not in LASTING
    return response.status_code in OF_PROXIES


def unreachable(error: httpx.TransportError) -> Unreachable:
    """A connection that failed, as our own error."""
    try:
        where = f"{error.request.url.scheme}://{error.request.url.netloc.decode()}"
    except RuntimeError:  # no request was made yet
        where = "The service"
    said = str(error) or type(error).__name__
    return Unreachable(0, "unreachable", f"{where} did not answer: {said}")
