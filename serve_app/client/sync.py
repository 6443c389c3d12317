"""The client for ordinary programs."""

import time
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from serve_app.client.calls import Calls, Drawn, How
from serve_app.client.media import Media
from serve_app.client.receive import Target
from serve_app.client.steps import Flow, Pause, Retries, Send, Step
from serve_app.schemas import AnalyzeBody, DetailedBody, HealthBody, RootBody

T = TypeVar("T")
TIMEOUT_S = 330.0  # above the service's own limit, which answers with a reason


class Client:
    """Calls one service with one key. Use it as a context manager, or close it. Threads may share it.

    Every method raises `ServiceError`, by the class that tells the cause, and `OSError` where a file cannot be read.
    A request whose connection breaks, or that the service refuses for the moment, is sent again, with one idempotency
    key for all tries: it is worked on once.

    Args:
        url: of the service.
        key: an API key.
        timeout_s: without a sign of life for so long, a try has failed.
        retries: how often and how long is tried.
        transport: of httpx, instead of the network.
    """

    def __init__(
        self,
        url: str,
        key: str,
        timeout_s: float = TIMEOUT_S,
        *,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, 10.0))
        headers = {"X-API-Key": key}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, transport=transport)
        self._calls = Calls(retries or Retries())

    def health(self) -> HealthBody:
        """State of the service; raises `ServiceError` at once while it is not ready."""
        return self._run(self._calls.health())

    def about(self) -> RootBody:
        """What the service is and allows."""
        return self._run(self._calls.about())

    def analyze(self, media: Media, model: str = "", **how: Unpack[How]) -> AnalyzeBody:
        """The verdict of one video, picture or recording: a path, bytes, or an open binary file; see `How`."""
        return self._run(self._calls.analyze(media, model, how))

    def detailed(self, media: Media, model: str = "", **how: Unpack[How]) -> DetailedBody:
        """The same, with figures over the frames and facts about models and devices."""
        return self._run(self._calls.detailed(media, model, how))

    def visualize(
        self, media: Media, *, to: Target, model: str = "", heatmap: bool = False, **how: Unpack[How]
    ) -> Drawn:
        """Write the media with the verdict drawn into it to a path, into a folder, or to an open binary file."""
        return self._run(self._calls.visualize(media, to, model, how, heatmap=heatmap))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    result = self._take(step)
                except httpx.TransportError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as end:
            done: T = end.value
            return done
        finally:
            flow.close()

    def _take(self, step: Step) -> httpx.Response | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        response = self._http.send(self._request(step), stream=True)
        try:
            if step.sink is None or not step.sink.begin(response):
                response.read()
                return response
            for piece in response.iter_bytes():
                if step.sink.write(piece):
                    break
            return response
        finally:
            response.close()

    def _request(self, step: Send) -> httpx.Request:
        request = self._http.build_request(
            step.method,
            step.path,
            params=step.params,
            headers={**step.headers, **(step.body.headers if step.body else {})},
            content=step.body.pieces(step.on_upload) if step.body else None,
        )
        if step.read_timeout_s is not None:
            request.extensions["timeout"]["read"] = step.read_timeout_s
        return request

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
