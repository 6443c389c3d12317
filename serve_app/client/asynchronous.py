"""The client for programs with an event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx
from pydantic import BaseModel

from serve_app.client.calls import Calls, Drawn, ExportFormat, How, JobHow, Page, Which, asked, of_analysis
from serve_app.client.following import ENDED, OnProgress
from serve_app.client.media import Media, OnUpload
from serve_app.client.receive import Target
from serve_app.client.steps import Flow, Pause, Retries, Send, Step
from serve_app.client.sync import CONNECT_TIMEOUT_S, KEY, TIMEOUT_S
from serve_app.schemas import (
    AnalysisBody,
    AnalyzeBody,
    BatchBody,
    DetailedBody,
    FramesBody,
    HealthBody,
    JobBody,
    LimitsBody,
    ModelsBody,
    RecordBody,
    RootBody,
    StatisticsBody,
)

T = TypeVar("T")
P = TypeVar("P", bound=BaseModel)


class AsyncCarrier:
    """Carries out flows over one set of connections."""

    def __init__(self, url: str, key: str, timeout_s: float, transport: httpx.AsyncBaseTransport | None) -> None:
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S))
        headers = {KEY: key}
        self._http = httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout, transport=transport)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def items(self, page: Callable[[str], Flow[Page[P]]]) -> AsyncIterator[P]:
        """What is on all pages; each is fetched when it is needed."""
        cursor: str | None = ""
        while cursor is not None:
            found = await self.run(page(cursor))
            for item in found.items:
                yield item
            cursor = found.next_cursor

    async def run(self, flow: Flow[T]) -> T:
        """What a flow comes to."""
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
            params=step.params or None,
            headers={**step.headers, **(step.body.headers if step.body else {})},
            content=_off_the_loop(step.body.pieces(step.on_upload)) if step.body else None,
        )
        if step.keyless:
            del request.headers[KEY]
        if step.read_timeout_s is not None:
            request.extensions["timeout"]["read"] = step.read_timeout_s
        return request


class AsyncJob:
    """A job of the service: `body` is how it was when it was last seen."""

    def __init__(self, carrier: AsyncCarrier, calls: Calls, body: JobBody) -> None:
        self._carrier, self._calls = carrier, calls
        self.body = body

    @property
    def id(self) -> str:
        """What it is found by again."""
        return self.body.id

    @property
    def ended(self) -> bool:
        """Whether it was done, failed or cancelled."""
        return self.body.state in ENDED

    async def refresh(self) -> JobBody:
        """How it is now."""
        self.body = await self._carrier.run(self._calls.job(self.id))
        return self.body

    async def wait(self, on_progress: OnProgress | None = None, timeout_s: float | None = None) -> JobBody:
        """How it ended.

        Follows the job's events, from where it was when a connection breaks, and asks for the job now and then where
        there are no events to be had.

        Args:
            on_progress: hears of each step; it is not to block.
            timeout_s: wait no longer. The job goes on.

        Raises:
            TimeoutError: it has not ended by then.
            NotFound: it was erased.
        """
        self.body = await self._carrier.run(self._calls.wait(self.id, on_progress, timeout_s))
        return self.body

    async def cancel(self) -> JobBody:
        """End it: its work is stopped and its media erased. One that has ended stays as it is."""
        self.body = await self._carrier.run(self._calls.cancel(self.id))
        return self.body


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
        self._carrier = AsyncCarrier(url, key, timeout_s, transport)
        self._calls = Calls(retries or Retries())

    async def health(self) -> HealthBody:
        """State of the service; raises `ServiceError` at once while it is not ready."""
        return await self._carrier.run(self._calls.health())

    async def about(self) -> RootBody:
        """What the service is and allows."""
        return await self._carrier.run(self._calls.about())

    async def analyze(self, media: Media, model: str = "", **how: Unpack[How]) -> AnalyzeBody:
        """The verdict of one video, picture or recording: a path, bytes, or an open binary file; see `How`."""
        return await self._carrier.run(self._calls.analysis("/analyze", AnalyzeBody, media, model, how))

    async def detailed(self, media: Media, model: str = "", **how: Unpack[How]) -> DetailedBody:
        """The same, with figures over the frames and facts about models and devices."""
        return await self._carrier.run(self._calls.analysis("/analyze/detailed", DetailedBody, media, model, how))

    async def frames(self, media: Media, model: str = "", **how: Unpack[How]) -> FramesBody:
        """The same, with what every frame was found to be."""
        return await self._carrier.run(self._calls.analysis("/analyze/frames", FramesBody, media, model, how))

    async def image(self, media: Media, model: str = "", **how: Unpack[How]) -> AnalyzeBody:
        """The verdict of one picture; anything else is refused."""
        return await self._carrier.run(self._calls.analysis("/analyze/image", AnalyzeBody, media, model, how))

    async def audio(self, media: Media, model: str = "", **how: Unpack[How]) -> AnalyzeBody:
        """The verdict of one recording; anything else is refused."""
        return await self._carrier.run(self._calls.analysis("/analyze/audio", AnalyzeBody, media, model, how))

    async def batch(self, media: Sequence[Media], model: str = "", **how: Unpack[How]) -> BatchBody:
        """The verdicts of many files of any kind; one that cannot be analysed fails alone, with its problem."""
        return await self._carrier.run(self._calls.batch(media, model, how))

    async def visualize(
        self, media: Media, *, to: Target, model: str = "", heatmap: bool = False, **how: Unpack[How]
    ) -> Drawn:
        """Write the media with the verdict drawn into it to a path, into a folder, or to an open binary file."""
        return await self._carrier.run(self._calls.visualize(media, to, model, how, heatmap=heatmap))

    async def submit(self, media: Media | Sequence[Media] = (), model: str = "", **how: Unpack[JobHow]) -> AsyncJob:
        """A new job, of one file or several, or of media that is elsewhere; see `JobHow`."""
        return AsyncJob(self._carrier, self._calls, await self._carrier.run(self._calls.submit(media, model, how)))

    async def job(self, job_id: str) -> AsyncJob:
        """A job by its id."""
        return AsyncJob(self._carrier, self._calls, await self._carrier.run(self._calls.job(job_id)))

    def jobs(self, state: str = "") -> AsyncIterator[JobBody]:
        """Your jobs, newest first; all, or those in one state. Pages are fetched as they are needed."""
        return self._carrier.items(lambda cursor: self._calls.page("/v1/jobs", JobBody, {"state": state}, cursor))

    async def upload(self, media: Media, on_progress: OnUpload | None = None) -> str:
        """Put large media where the service keeps files, past its front door; an id for `submit(uploads=[...])`."""
        return await self._carrier.run(self._calls.upload(media, on_progress))

    def history(self, **which: Unpack[Which]) -> AsyncIterator[RecordBody]:
        """What was analysed for you, newest first; see `Which`. Pages are fetched as they are needed."""
        return self._carrier.items(lambda cursor: self._calls.page("/v1/analyses", RecordBody, asked(which), cursor))

    async def analysis(self, analysis_id: str) -> AnalysisBody:
        """One analysis, as it was answered."""
        return await self._carrier.run(self._calls.get(of_analysis(analysis_id), AnalysisBody))

    async def report(self, analysis_id: str, *, to: Target) -> Path | None:
        """Write the report on an analysis, one page of HTML that needs nothing else; where it was written."""
        return await self._carrier.run(self._calls.download(of_analysis(analysis_id) + "/report", {}, to))

    async def visual(self, analysis_id: str, *, to: Target) -> Path | None:
        """Write the media with the verdict drawn into it, where a job made it; where it was written."""
        return await self._carrier.run(self._calls.download(of_analysis(analysis_id) + "/visual", {}, to))

    async def delete(self, analysis_id: str) -> None:
        """Erase an analysis with its pictures and its annotated media."""
        await self._carrier.run(self._calls.delete(of_analysis(analysis_id)))

    async def export(self, *, to: Target, file_format: ExportFormat = "csv", **which: Unpack[Which]) -> Path | None:
        """Write what was analysed for you as a table, or as JSON lines with everything; where it was written."""
        params = asked(which) | {"format": file_format}
        return await self._carrier.run(self._calls.download("/v1/analyses/export", params, to))

    async def statistics(self, **which: Unpack[Which]) -> StatisticsBody:
        """Figures over what was analysed for you: of all, or of some."""
        return await self._carrier.run(self._calls.get("/v1/statistics", StatisticsBody, asked(which)))

    async def models(self) -> ModelsBody:
        """Every detector that is served, and what it is worth."""
        return await self._carrier.run(self._calls.get("/v1/models", ModelsBody))

    async def limits(self) -> LimitsBody:
        """What the service and your key allow."""
        return await self._carrier.run(self._calls.get("/v1/limits", LimitsBody))

    async def close(self) -> None:
        """Close the connections."""
        await self._carrier.close()

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
