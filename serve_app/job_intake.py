"""What is sent to make a job, into a job: media that came along is stored first, then the job that needs it."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.exc import IntegrityError
from starlette.requests import Request

from models.detectors.catalogue import Catalogue, describe
from models.errors import UnmaskError
from serve_app.addresses import parsed
from serve_app.artifacts import Artifacts
from serve_app.asking import Ask, Caller, wants_fresh
from serve_app.errors import ApiError, problem_body
from serve_app.idempotency import Attempt, claim
from serve_app.ids import id_of, new_id
from serve_app.jobs import JobFile, Jobs, NewJob, Options, base_name_of
from serve_app.remote import Remote
from serve_app.routes.analyze import NO, YES, known
from serve_app.routes.small import small
from serve_app.settings import Settings
from serve_app.upload_errors import NoSuchUpload
from serve_app.uploads import FILE_FIELDS, Intake, Upload, receive_all, too_large
from serve_app.uploads_direct import arrived
from serve_app.webhooks import check_target

FIELDS = (*FILE_FIELDS, "files", "videos")
MAX_JSON_BYTES = 256 * 1024
SECRET = re.compile(r"whsec_[A-Za-z0-9+/]+={0,2}")
SECRET_BYTES = range(24, 65)  # of Standard Webhooks
FLAGS = ("explain", "visualize", "heatmap")


class WebhookAsk(BaseModel):
    """Where the end of a job is told, and with what it is signed: `whsec_` and base64 of 24 to 64 bytes."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, Field(max_length=2000)]
    secret: Annotated[str, Field(max_length=200)]


class JobAsk(BaseModel):
    """`POST /v1/jobs` as JSON: media that is elsewhere, and what is asked of it."""

    model_config = ConfigDict(extra="forbid")

    url: str = ""
    urls: list[str] = []
    upload: str = ""
    uploads: list[str] = []
    model: str = ""
    explain: bool = False
    visualize: bool = False
    heatmap: bool = False
    webhook: WebhookAsk | None = None


@dataclass(frozen=True, slots=True)
class JobIntake:
    """Makes jobs out of requests.

    Attributes:
        jobs: keeps them.
        artifacts: keeps their media.
        remote: tells which addresses media may be fetched from.
        settings: limits.
        catalogue: the models that can be asked.
    """

    jobs: Jobs
    artifacts: Artifacts
    remote: Remote
    settings: Settings
    catalogue: Catalogue

    async def make(self, request: Request, caller: Caller, query: JobAsk) -> dict[str, Any]:
        """The body of the new job, which is durable; `query` is what the query parameters say.

        Raises:
            ApiError, UnmaskError: nothing was kept.
        """
        if query.model:
            known(self.catalogue, query.model)  # before the body is read: a misspelt name should not cost an upload
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
            ask = joined(query, await json_of(request))
            return await self._once(request, caller, ask, ())
        intake = Intake(
            self.settings.max_upload_bytes,
            self.settings.upload_timeout_s,
            FIELDS,
            max_files=self.settings.max_batch_files,
            max_body_bytes=self.settings.max_batch_bytes,
        )
        with await receive_all(request, intake) as received:
            return await self._once(request, caller, joined(query, form_of(received.fields)), received.files)

    async def _once(self, request: Request, caller: Caller, ask: JobAsk, received: Sequence[Upload]) -> dict[str, Any]:
        """The job; the one that there is already, where an earlier try with this idempotency key made it and died."""
        job_id = job_id_of(request, caller, ask, received)
        if found := await self.jobs.existing(caller.owner, job_id):
            return found
        new = self._new(request, caller, ask, job_id)
        try:
            return await self._created(caller, new, ask, received)
        except (IntegrityError, NoSuchUpload):
            if found := await self.jobs.existing(caller.owner, job_id):
                return found  # the other try was thought dead, and was faster
            raise

    async def _created(self, caller: Caller, new: NewJob, ask: JobAsk, received: Sequence[Upload]) -> dict[str, Any]:
        if received:
            return await self._with_media(caller, new, received)
        files, uploads = await self._elsewhere(caller, ask)
        return await self.jobs.create(caller, replace(new, files=files, uploads=uploads))

    async def _with_media(self, caller: Caller, new: NewJob, received: Sequence[Upload]) -> dict[str, Any]:
        """Store the media, then the job. What is stored for no job, as when this process dies, a sweep finds."""
        if all(upload.over_limit for upload in received):
            raise too_large(self.settings.max_upload_bytes)
        # Of this try alone: what is erased after another try at the same job must not be this one's.
        folder = f"jobs/{new.id}/{new_id('try')}"
        names = [f"{folder}/{i}" for i in range(len(received))]
        reserved = await self.jobs.reserve(caller, names)
        try:
            files = [await self._kept(caller, new.id, *one) for one in zip(names, received, strict=True)]
            return await self.jobs.create(caller, replace(new, files=files, uploads=reserved))
        except BaseException:
            await self._forget(names)
            raise

    async def _kept(self, caller: Caller, job_id: str, name: str, upload: Upload) -> JobFile:
        if upload.over_limit:
            large = too_large(self.settings.max_upload_bytes)
            error = problem_body(large, f"/v1/jobs/{job_id}", caller.request_id)
            return JobFile(upload.filename, "", "", upload.size_bytes, error)
        await self.artifacts.put(name, upload.file)
        return JobFile(upload.filename, name, upload.sha256, upload.size_bytes)

    async def _forget(self, names: Sequence[str]) -> None:
        try:
            await self.artifacts.delete(*names)
        except UnmaskError:
            return  # the sweep of uploads that nobody took finds them

    async def _elsewhere(self, caller: Caller, ask: JobAsk) -> tuple[list[JobFile], list[str]]:
        """The files that are named, and the uploads among them."""
        urls = [url for url in (ask.url, *ask.urls) if url]
        uploads = [upload for upload in (ask.upload, *ask.uploads) if upload]
        if not urls + uploads:
            raise _invalid(
                "There is no media.", "Name it in `url`, `urls`, `upload` or `uploads`, or send it as a form"
            )
        if len(urls + uploads) > self.settings.max_batch_files:
            raise ApiError(400, "too_many_files", f"A job takes {self.settings.max_batch_files} files at most.")
        if len(set(uploads)) < len(uploads):
            raise _invalid("An upload is named twice.", "Name each once")
        for url in urls:
            self.remote.check(url)
        files = [JobFile(base_name_of(url), url) for url in urls]
        return files + [await self._uploaded(caller, upload) for upload in uploads], uploads

    async def _uploaded(self, caller: Caller, upload: str) -> JobFile:
        """What was put into a place; raises `NoSuchUpload`, `UploadMissing` or `UploadTooLarge`."""
        file = await self.jobs.uploaded(caller, upload)
        return replace(file, size_bytes=await arrived(self.artifacts, file.source, self.settings.max_upload_bytes))

    def _new(self, request: Request, caller: Caller, ask: JobAsk, job_id: str) -> NewJob:
        model = ask.model or self.settings.default_model
        known(self.catalogue, model)
        heat = ask.visualize and ask.heatmap
        options = Options(
            Ask(model, ask.explain, heat, wants_fresh(request)),
            ask.visualize,
            request.url.path,
            caller.requests_per_minute,
            caller.media_seconds_per_hour,
        )
        return NewJob(job_id, options, (), self._webhook(ask.webhook))

    def _webhook(self, webhook: WebhookAsk | None) -> dict[str, str] | None:
        """A webhook that can be signed and sent; raises `ApiError` or `AddressNotAllowed`."""
        if webhook is None:
            return None
        if not SECRET.fullmatch(webhook.secret) or secret_bytes(webhook.secret) not in SECRET_BYTES:
            raise _invalid(
                "The webhook's secret is not one of Standard Webhooks.",
                "Send whsec_ followed by the base64 of 24 to 64 random bytes",
            )
        check_target(webhook.url, parsed(self.settings.webhook_allow))
        return webhook.model_dump()


def job_id_of(request: Request, caller: Caller, ask: JobAsk, received: Sequence[Upload]) -> str:
    """A new id; of requests that are the same, with the same idempotency key, one and the same."""
    attempt = request.scope.get("state", {}).get("idempotent")
    if not isinstance(attempt, Attempt):
        return new_id("job")
    asked = [caller.owner, attempt.key, ask.model_dump_json(), *(upload.sha256 for upload in received)]
    return id_of("job", json.dumps(asked))


async def json_of(request: Request) -> JobAsk:
    """A JSON body, told apart by its idempotency key if it has one; raises `ApiError`, `Replayed`."""
    body = await small(request, MAX_JSON_BYTES)
    await claim(request, (), {"json": hashlib.sha256(body).hexdigest()})
    try:
        return JobAsk.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(f"The JSON does not say a job: {describe(error)}", "See /docs") from None


def form_of(fields: dict[str, str]) -> JobAsk:
    """What the small fields of a form say; raises `ApiError`."""
    said: dict[str, Any] = {"model": fields.get("model") or fields.get("model_name") or ""}
    for name in FLAGS:
        value = fields.get(name, "").lower()
        if value not in YES | NO:
            raise _invalid(f"The field {name} is {value[:20]!r}.", "Send true or false")
        said[name] = value in YES
    if fields.get("webhook_url"):
        said["webhook"] = {"url": fields["webhook_url"], "secret": fields.get("webhook_secret", "")}
    try:
        return JobAsk.model_validate(said)
    except ValidationError as error:
        raise _invalid(f"The form does not say a job: {describe(error)}", "See /docs") from None


def joined(query: JobAsk, body: JobAsk) -> JobAsk:
    """What query and body say together: the query's model goes before, a yes in either is one."""
    flags = {name: getattr(query, name) or getattr(body, name) for name in FLAGS}
    return body.model_copy(update={"model": query.model or body.model, **flags})


def secret_bytes(secret: str) -> int:
    """How many bytes a secret has; 0 if it is no base64."""
    try:
        return len(base64.b64decode(secret.removeprefix("whsec_"), validate=True))
    except binascii.Error:
        return 0


def _invalid(detail: str, suggestion: str) -> ApiError:
    return ApiError(422, "invalid_request", detail, suggestions=[suggestion])
