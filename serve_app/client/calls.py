"""Every request of the surface as a flow: what is sent, and what its answer is read as."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Generic, Literal, TypedDict, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from serve_app.client.errors import NotFound, UnreadableAnswer
from serve_app.client.following import Follower, OnProgress, followed
from serve_app.client.media import Body, Json, Media, OnUpload, Part, Raw, form
from serve_app.client.receive import Download, Target, downloading
from serve_app.client.steps import ONCE, Flow, Retries, Send, tried
from serve_app.schemas import BatchBody, HealthBody, JobBody, PlaceBody, RootBody

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


class JobHow(How, total=False):
    """What may be said with a job beside that.

    Attributes:
        visualize: also draw the verdict into the media.
        heatmap: with `visualize`: draw where the detector looked, too.
        webhook_url: is sent a signed message when the job ends (Standard Webhooks).
        webhook_secret: signs it.
        urls: addresses of media, which the operator must have allowed; instead of media.
        uploads: ids of `/v1/uploads`; instead of media.
    """

    visualize: bool
    heatmap: bool
    webhook_url: str
    webhook_secret: str
    urls: Sequence[str]
    uploads: Sequence[str]


class Which(TypedDict, total=False):
    """Which analyses; what is not said takes all.

    Attributes:
        verdict: FAKE, REAL or UNDETERMINED.
        kind: video, image or audio.
        model: that was asked.
        sha256: of the file.
        filename: a part of the file's name, in any case.
        since: made at this moment or later; RFC 3339, or a datetime.
        until: made before this moment.
    """

    verdict: str
    kind: str
    model: str
    sha256: str
    filename: str
    since: str | datetime
    until: str | datetime


ExportFormat = Literal["csv", "jsonl"]


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


class Page(BaseModel, Generic[B]):
    """A page of a list."""

    items: list[B]
    next_cursor: str | None


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

    def analysis(self, path: str, kind: type[B], media: Media, model: str, how: How) -> Flow[B]:
        """The verdict of one file, from one of the routes of analysis."""
        send = self._sending(path, form(media), query(model, how), how)
        return read(kind, (yield from tried(send, self._retries)))

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

    def page(self, path: str, kind: type[B], params: Mapping[str, str], cursor: str) -> Flow[Page[B]]:
        """A page of a list; `cursor` is `next_cursor` of the page before, empty for the first."""
        asked = {name: value for name, value in {**params, "cursor": cursor}.items() if value}
        # Page[kind] is a class made at run time.
        return (yield from self.get(path, Page[kind], asked))  # type: ignore[valid-type]

    def download(self, path: str, params: Mapping[str, str], to: Target) -> Flow[Path | None]:
        """A file, from where it is kept; the path it was written to."""
        with downloading(to) as download:
            send = Send(method="GET", path=path, params=params, sink=download)
            response = yield from tried(send, self._retries)
            if response.has_redirect_location:
                there = str(response.request.url.join(response.headers["location"]))
                yield from tried(Send(method="GET", path=there, sink=download, keyless=True), self._retries)
        return download.path

    def upload(self, media: Media, on_progress: OnUpload | None) -> Flow[str]:
        """Media, put where the service keeps files; the upload's id."""
        part = Part(media)
        ask = Send(method="POST", path="/v1/uploads", body=Json({"filename": part.name}))
        response = yield from tried(ask, self._retries)
        place = read(PlaceBody, response)
        there = str(response.request.url.join(place.url))
        put = Send(method=place.method, path=there, body=Raw(part), on_upload=on_progress, keyless=True)
        yield from tried(put, self._retries)
        return place.id

    def batch(self, media: Sequence[Media], model: str, how: How) -> Flow[BatchBody]:
        """The verdicts of many files."""
        send = self._sending("/analyze/batch", form(media), query(model, how), how)
        return read(BatchBody, (yield from tried(send, self._retries)))

    def submit(self, media: Media | Sequence[Media], model: str, how: JobHow) -> Flow[JobBody]:
        """A new job; raises `ValueError` for media beside media that is elsewhere, of which one would be left out."""
        drawing = {name: True for name in ("visualize", "heatmap") if how.get(name)}
        elsewhere = {name: list(how[name]) for name in ("urls", "uploads") if how.get(name)}
        url, secret = how.get("webhook_url", ""), how.get("webhook_secret", "")
        body: Body
        if elsewhere and (not isinstance(media, Sequence) or media):
            raise ValueError("A job takes either media, or urls and uploads.")
        if elsewhere:
            webhook = {"webhook": {"url": url, "secret": secret}} if url else {}
            explain = bool(how.get("explain"))
            body = Json({"model": model, "explain": explain, **drawing, **webhook, **elsewhere})
        else:
            flags = dict.fromkeys(drawing, "true")
            body = form(media, **flags, **query(model, how), webhook_url=url, webhook_secret=secret)
        return read(JobBody, (yield from tried(self._sending("/v1/jobs", body, {}, how), self._retries)))

    def job(self, job_id: str) -> Flow[JobBody]:
        """A job as it is now."""
        return (yield from self.get(_job(job_id), JobBody))

    def cancel(self, job_id: str) -> Flow[JobBody]:
        """A job, ended."""
        response = yield from tried(Send(method="DELETE", path=_job(job_id)), self._retries)
        return read(JobBody, response)

    def wait(self, job_id: str, on_progress: OnProgress | None, timeout_s: float | None) -> Flow[JobBody]:
        """A job once it has ended."""
        follower = Follower(on_progress, timeout_s)
        return (yield from followed(lambda: self.job(job_id), f"{_job(job_id)}/events", follower))

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


def of_analysis(analysis_id: str) -> str:
    """The address of an analysis."""
    return f"/v1/analyses/{quote(analysis_id, safe='')}"


def asked(which: Which) -> dict[str, str]:
    """The query of a list of analyses. A moment without a time zone is one of this machine's."""
    moments = {name: value.astimezone().isoformat() for name, value in which.items() if isinstance(value, datetime)}
    return {name: str(value) for name, value in (which | moments).items() if value}


def _job(job_id: str) -> str:
    return f"/v1/jobs/{quote(job_id, safe='')}"


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
