"""The client for ordinary programs."""

import time
from collections.abc import Callable, Iterator, Sequence
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
TIMEOUT_S = 330.0  # above the service's own limit, which answers with a reason
CONNECT_TIMEOUT_S = 10.0
KEY = "X-API-Key"


class Carrier:
    """Carries out flows over one set of connections."""

    def __init__(self, url: str, key: str, timeout_s: float, transport: httpx.BaseTransport | None) -> None:
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S))
        headers = {KEY: key}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def items(self, page: Callable[[str], Flow[Page[P]]]) -> Iterator[P]:
        """What is on all pages; each is fetched when it is needed."""
        cursor: str | None = ""
        while cursor is not None:
            found = self.run(page(cursor))
            yield from found.items
            cursor = found.next_cursor

    def run(self, flow: Flow[T]) -> T:
        """What a flow comes to."""
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
            params=step.params or None,
            headers={**step.headers, **(step.body.headers if step.body else {})},
            content=step.body.pieces(step.on_upload) if step.body else None,
        )
        if step.keyless:
            del request.headers[KEY]
        if step.read_timeout_s is not None:
            request.extensions["timeout"]["read"] = step.read_timeout_s
        return request


class Job:
    """A job of the service: `body` is how it was when it was last seen."""

    def __init__(self, carrier: Carrier, calls: Calls, body: JobBody) -> None:
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

    def refresh(self) -> JobBody:
        """How it is now."""
        self.body = self._carrier.run(self._calls.job(self.id))
        return self.body

    def wait(self, on_progress: OnProgress | None = None, timeout_s: float | None = None) -> JobBody:
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
        self.body = self._carrier.run(self._calls.wait(self.id, on_progress, timeout_s))
        return self.body

    def cancel(self) -> JobBody:
        """End it: its work is stopped and its media erased. One that has ended stays as it is."""
        self.body = self._carrier.run(self._calls.cancel(self.id))
        return self.body


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
        self._carrier = Carrier(url, key, timeout_s, transport)
        self._calls = Calls(retries or Retries())

    def health(self) -> HealthBody:
        """State of the service; raises `ServiceError` at once while it is not ready."""
        return self._carrier.run(self._calls.health())

    def about(self) -> RootBody:
        """What the service is and allows."""
        return self._carrier.run(self._calls.about())

    def analyze(self, media: Media, model: str = "", **how: Unpack[How]) -> AnalyzeBody:
        """The verdict of one video, picture or recording: a path, bytes, or an open binary file; see `How`."""
        return self._carrier.run(self._calls.analysis("/analyze", AnalyzeBody, media, model, how))

    def detailed(self, media: Media, model: str = "", **how: Unpack[How]) -> DetailedBody:
        """The same, with figures over the frames and facts about models and devices."""
        return self._carrier.run(self._calls.analysis("/analyze/detailed", DetailedBody, media, model, how))

    def frames(self, media: Media, model: str = "", **how: Unpack[How]) -> FramesBody:
        """The same, with what every frame was found to be."""
        return self._carrier.run(self._calls.analysis("/analyze/frames", FramesBody, media, model, how))

    def image(self, media: Media, model: str = "", **how: Unpack[How]) -> AnalyzeBody:
        """The verdict of one picture; anything else is refused."""
        return self._carrier.run(self._calls.analysis("/analyze/image", AnalyzeBody, media, model, how))

    def audio(self, media: Media, model: str = "", **how: Unpack[How]) -> AnalyzeBody:
        """The verdict of one recording; anything else is refused."""
        return self._carrier.run(self._calls.analysis("/analyze/audio", AnalyzeBody, media, model, how))

    def batch(self, media: Sequence[Media], model: str = "", **how: Unpack[How]) -> BatchBody:
        """The verdicts of many files of any kind; one that cannot be analysed fails alone, with its problem."""
        return self._carrier.run(self._calls.batch(media, model, how))

    def visualize(
        self, media: Media, *, to: Target, model: str = "", heatmap: bool = False, **how: Unpack[How]
    ) -> Drawn:
        """Write the media with the verdict drawn into it to a path, into a folder, or to an open binary file."""
        return self._carrier.run(self._calls.visualize(media, to, model, how, heatmap=heatmap))

    def submit(self, media: Media | Sequence[Media] = (), model: str = "", **how: Unpack[JobHow]) -> Job:
        """A new job, of one file or several, or of media that is elsewhere; see `JobHow`."""
        return Job(self._carrier, self._calls, self._carrier.run(self._calls.submit(media, model, how)))

    def job(self, job_id: str) -> Job:
        """A job by its id."""
        return Job(self._carrier, self._calls, self._carrier.run(self._calls.job(job_id)))

    def jobs(self, state: str = "") -> Iterator[JobBody]:
        """Your jobs, newest first; all, or those in one state. Pages are fetched as they are needed."""
        return self._carrier.items(lambda cursor: self._calls.page("/v1/jobs", JobBody, {"state": state}, cursor))

    def upload(self, media: Media, on_progress: OnUpload | None = None) -> str:
        """Put large media where the service keeps files, past its front door; an id for `submit(uploads=[...])`."""
        return self._carrier.run(self._calls.upload(media, on_progress))

    def history(self, **which: Unpack[Which]) -> Iterator[RecordBody]:
        """What was analysed for you, newest first; see `Which`. Pages are fetched as they are needed."""
        return self._carrier.items(lambda cursor: self._calls.page("/v1/analyses", RecordBody, asked(which), cursor))

    def analysis(self, analysis_id: str) -> AnalysisBody:
        """One analysis, as it was answered."""
        return self._carrier.run(self._calls.get(of_analysis(analysis_id), AnalysisBody))

    def report(self, analysis_id: str, *, to: Target) -> Path | None:
        """Write the report on an analysis, one page of HTML that needs nothing else; where it was written."""
        return self._carrier.run(self._calls.download(of_analysis(analysis_id) + "/report", {}, to))

    def visual(self, analysis_id: str, *, to: Target) -> Path | None:
        """Write the media with the verdict drawn into it, where a job made it; where it was written."""
        return self._carrier.run(self._calls.download(of_analysis(analysis_id) + "/visual", {}, to))

    def delete(self, analysis_id: str) -> None:
        """Erase an analysis with its pictures and its annotated media."""
        self._carrier.run(self._calls.delete(of_analysis(analysis_id)))

    def export(self, *, to: Target, file_format: ExportFormat = "csv", **which: Unpack[Which]) -> Path | None:
        """Write what was analysed for you as a table, or as JSON lines with everything; where it was written."""
        params = asked(which) | {"format": file_format}
        return self._carrier.run(self._calls.download("/v1/analyses/export", params, to))

    def statistics(self, **which: Unpack[Which]) -> StatisticsBody:
        """Figures over what was analysed for you: of all, or of some."""
        return self._carrier.run(self._calls.get("/v1/statistics", StatisticsBody, asked(which)))

    def models(self) -> ModelsBody:
        """Every detector that is served, and what it is worth."""
        return self._carrier.run(self._calls.get("/v1/models", ModelsBody))

    def limits(self) -> LimitsBody:
        """What the service and your key allow."""
        return self._carrier.run(self._calls.get("/v1/limits", LimitsBody))

    def close(self) -> None:
        """Close the connections."""
        self._carrier.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
