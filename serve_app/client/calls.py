"""Every request of the surface as a flow: what is sent, and what its answer is read as."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from serve_app.client.errors import NotFound, UnreadableAnswer
from serve_app.client.media import Body, Media, OnUpload, form
from serve_app.client.receive import Download, Target, downloading
from serve_app.client.steps import ONCE, Flow, Retries, Send, tried
from serve_app.schemas import AnalyzeBody, DetailedBody, HealthBody, RootBody

B = TypeVar("B", bound=BaseModel)


class How(TypedDict, total=False):
    """What may be said with every analysis.

    Attributes:
        explain: ask for saliency maps; takes as long again or longer.
        fresh: an earlier analysis of the same file may not be answered instead.
        on_progress: hears how many bytes of media have left, and of how many; from the start again with every try.
        idempotency_key: names this request in all its tries; by default a random one. With a key of one's own the same
            analysis can be asked for again after a restart, and is made once.
    """

    explain: bool
    fresh: bool
    on_progress: OnUpload | None
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """A verdict (FAKE, REAL or UNDETERMINED) drawn into its media.

    `path` is where it was written; None where the caller gave an open file.
    """

    verdict: str
    p_fake: float | None
    content_type: str
    path: Path | None
    heatmap: bool


class Calls:
    """Makes flows that are tried as `retries` says."""

    def __init__(self, retries: Retries) -> None:
        self._retries = retries

    def health(self) -> Flow[HealthBody]:
        """One try: who asks wants to know how it is now."""
        response = yield from tried(Send(method="GET", path="/health"), ONCE)
        return read(HealthBody, response)

    def about(self) -> Flow[RootBody]:
        """What the service is and allows."""
        return (yield from self.get("/", RootBody))

    def analyze(self, media: Media, model: str, how: How) -> Flow[AnalyzeBody]:
        """The verdict of one file."""
        return (yield from self._analysis("/analyze", AnalyzeBody, media, model, how))

    def detailed(self, media: Media, model: str, how: How) -> Flow[DetailedBody]:
        """The same, with figures over the frames."""
        return (yield from self._analysis("/analyze/detailed", DetailedBody, media, model, how))

    def visualize(self, media: Media, to: Target, model: str, how: How, *, heatmap: bool) -> Flow[Drawn]:
        """The media with the verdict drawn into it."""
        flags = {"heatmap": "true"} if heatmap else {}
        with downloading(to) as download:
            send = self._sending("/analyze/visualize", form(media), {**query(model, how), **flags}, how, download)
            response = yield from tried(send, self._retries)
        score = response.headers.get("x-unmask-p-fake")
        return Drawn(
            response.headers["x-unmask-verdict"],
            float(score) if score else None,
            response.headers.get("content-type", ""),
            download.path,
            response.headers.get("x-unmask-heatmap") == "drawn",
        )

    def get(self, path: str, kind: type[B], params: Mapping[str, str] | None = None) -> Flow[B]:
        """What is at an address."""
        response = yield from tried(Send(method="GET", path=path, params=params or {}), self._retries)
        return read(kind, response)

    def delete(self, path: str) -> Flow[None]:
        """Erase what is at an address. Where an earlier try erased it and its answer was lost, it is gone too."""
        try:
            yield from tried(Send(method="DELETE", path=path), self._retries)
        except NotFound as error:
            if error.tries == 1:
                raise

    def _analysis(self, path: str, kind: type[B], media: Media, model: str, how: How) -> Flow[B]:
        send = self._sending(path, form(media), query(model, how), how)
        response = yield from tried(send, self._retries)
        return read(kind, response)

    @staticmethod
    def _sending(path: str, body: Body, params: Mapping[str, str], how: How, sink: Download | None = None) -> Send:
        caching = {"Cache-Control": "no-cache"} if how.get("fresh") else {}
        return Send(
            method="POST",
            path=path,
            params=params,
            headers={"Idempotency-Key": how.get("idempotency_key") or str(uuid.uuid4()), **caching},
            body=body,
            on_upload=how.get("on_progress"),
            sink=sink,
        )


def query(model: str, how: How) -> dict[str, str]:
    """The query of an analysis."""
    return ({"model": model} if model else {}) | ({"explain": "true"} if how.get("explain") else {})


def read(kind: type[B], response: httpx.Response) -> B:
    """An answer as what it must be; raises `UnreadableAnswer`."""
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the answer"
        said = f"The answer of {response.request.url.path} is no {kind.__name__}: {where}: {first['msg']}."
        raise UnreadableAnswer(response.status_code, "unreadable_answer", said) from None
