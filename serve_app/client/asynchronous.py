"""The client for programs with an event loop."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx

from serve_app.client.calls import Calls, Drawn, How
from serve_app.client.media import Media
from serve_app.client.receive import Target
from serve_app.client.steps import Flow, Pause, Retries, Send, Step
from serve_app.client.sync import TIMEOUT_S
from serve_app.schemas import AnalyzeBody, DetailedBody, HealthBody, RootBody

T = TypeVar("T")


class AsyncClient:
    """`Client` with `async`: the same arguments, the same results, the same errors."""

    def __init__(
        self,
        url: str,
        key: str,
        timeout_s: float = TIMEOUT_S,
        *,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, 10.0))
        headers = {"X-API-Key": key}
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout, transport=transport)
        self._calls = Calls(retries or Retries())

    async def health(self) -> HealthBody:
        """State of the service; raises `ServiceError` at once while it is not ready."""
        return await self._run(self._calls.health())

    async def about(self) -> RootBody:
        """What the service is and allows."""
        return await self._run(self._calls.about())

    async def analyze(self, media: Media, model: str = "", **how: Unpack[How]) -> AnalyzeBody:
        """The verdict of one video, picture or recording: a path, bytes, or an open binary file; see `How`."""
        return await self._run(self._calls.analyze(media, model, how))

    async def detailed(self, media: Media, model: str = "", **how: Unpack[How]) -> DetailedBody:
        """The same, with figures over the frames and facts about models and devices."""
        return await self._run(self._calls.detailed(media, model, how))

    async def visualize(
        self, media: Media, *, to: Target, model: str = "", heatmap: bool = False, **how: Unpack[How]
    ) -> Drawn:
        """Write the media with the verdict drawn into it to a path, into a folder, or to an open binary file."""
        return await self._run(self._calls.visualize(media, to, model, how, heatmap=heatmap))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _run(self, flow: Flow[T]) -> T:
        try:
            step = next(flow)
            while True:
                try:
                    result = await self._take(step)
                except httpx.TransportError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as end:
            done: T = end.value
            return done
        finally:
            flow.close()

    async def _take(self, step: Step) -> httpx.Response | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        response = await self._http.send(self._request(step), stream=True)
        try:
            if step.sink is None or not step.sink.begin(response):
                await response.aread()
                return response
            async for piece in response.aiter_bytes():
                if step.sink.write(piece):
                    break
            return response
        finally:
            await response.aclose()

    def _request(self, step: Send) -> httpx.Request:
        request = self._http.build_request(
            step.method,
            step.path,
            params=step.params,
            headers={**step.headers, **(step.body.headers if step.body else {})},
            content=_off_the_loop(step.body.pieces(step.on_upload)) if step.body else None,
        )
        if step.read_timeout_s is not None:
            request.extensions["timeout"]["read"] = step.read_timeout_s
        return request

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _off_the_loop(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces of a body, read in a thread: a disk can be slow."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
