"""What the older services have in common: files under a cap of theirs, one analysis, a verdict that must be decided."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from fastapi import Request, Response
from pydantic import BaseModel

from models.detectors.catalogue import Catalogue
from models.errors import UnmaskError, UnsupportedMedia
from models.media.limits import ACCEPTED_MEDIA
from models.media.sniff import HEAD_BYTES
from models.types import Kind
from serve_app.analyst import Analysis
from serve_app.asking import Ask, Origin, origin_of, wants_fresh
from serve_app.errors import RETRY_AFTER_S, ApiError, from_cause
from serve_app.kinds import NOUNS, kind_of
from serve_app.routes.analyze import known, too_slow
from serve_app.schemas import VerdictBody
from serve_app.settings import Settings
from serve_app.uploads import Intake, Upload, Uploads, receive_all

_DESCRIBED = {
    400: "no file, an empty one, or one that is refused",
    401: "the key is missing or wrong",
    403: "the key may not do this",
    404: "no such model or row",
    405: "not this method",
    408: "the body took too long",
    409: "the same request is still running",
    413: "the file is too large",
    415: "not an accepted format",
    422: "the media cannot be analysed, or the verdict is undetermined",
    429: "too many requests",
    500: "an unexpected failure",
    503: "the service is not ready or has too much to do",
    504: "the analysis took too long",
    507: "there is no room to receive the file",
}


@dataclass(frozen=True, slots=True)
class Contract:
    """What an older service takes.

    Attributes:
        fields: of the form, in which its clients send files.
        max_mib: its cap on a file; the service's own holds where it is lower, or where that service enforced none.
        too_large: its words for a file over the cap, with `{}` for the cap in MiB.
        max_files: how many files a request may have.
    """

    fields: tuple[str, ...]
    max_mib: int | None
    too_large: str
    max_files: int = 1

    def max_bytes(self, settings: Settings) -> int:
        """The cap in force."""
        own = settings.max_upload_bytes
        return own if self.max_mib is None else min(self.max_mib * 2**20, own)

    def refusal(self, max_bytes: int) -> ApiError:
        """The answer to a file over the cap."""
        return ApiError(413, "body_too_large", self.too_large.format(f"{max_bytes / 2**20:.4g}"))


@asynccontextmanager
async def received(request: Request, contract: Contract) -> AsyncIterator[Uploads]:
    """The files of a request, when it is its turn, for as long as an analysis may take.

    Where a request may have several files, each is to have that time limit of its own: what is done must not be lost.

    Raises:
        ApiError: they cannot be received, or what is done with them fails or takes too long.
    """
    settings: Settings = request.app.state.settings
    try:
        async with request.app.state.admission.turn():
            with await _files(request, contract, settings) as uploads:
                async with asyncio.timeout(settings.request_timeout_s if contract.max_files == 1 else None):
                    yield uploads
    except TimeoutError:
        raise too_slow(settings.request_timeout_s) from None
    except UnmaskError as error:
        raise from_cause(error, request.app.state.catalogue.ids) from error


async def _files(request: Request, contract: Contract, settings: Settings) -> Uploads:
    cap = contract.max_bytes(settings)
    together = settings.max_batch_bytes if contract.max_files > 1 else cap
    intake = Intake(cap, settings.upload_timeout_s, contract.fields, contract.max_files, together)
    try:
        return await receive_all(request, intake)
    except ApiError as error:
        raise contract.refusal(cap) if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else error from None


def model_of(request: Request, fields: Mapping[str, str]) -> str:
    """The model that a request names in its query or form, or none; raises `ApiError` for one that does not exist."""
    model = request.query_params.get("model") or fields.get("model") or fields.get("model_name") or ""
    if model:
        known(request.app.state.catalogue, model)
    return model


async def analyzed(request: Request, upload: Upload, model: str, origin: Origin | None = None) -> Analysis:
    """The analysis of one file, recorded as those of the native routes are."""
    ask = Ask(model or request.app.state.settings.default_model, fresh=wants_fresh(request))
    analysis: Analysis = await request.app.state.analyst.analyze(upload, ask, origin or origin_of(request))
    return analysis


def decided(verdict: VerdictBody) -> Literal["FAKE", "REAL"]:
    """The verdict where only FAKE and REAL can be said; raises `ApiError` for UNDETERMINED, with the reason."""
    if verdict.verdict != "UNDETERMINED":
        return verdict.verdict
    raise undetermined(verdict.reason_code, verdict.reason, verdict.p_fake)


def undetermined(reason_code: str, reason: str, p_fake: float | None) -> ApiError:
    """The answer where a contract has no word for UNDETERMINED: never a guess."""
    if reason_code == "no_answer":
        return ApiError(503, "no_answer", f"{reason}.", headers={"Retry-After": "2"})
    told = {"reason": reason, "reason_code": reason_code, "p_fake": p_fake}
    return ApiError(422, "undetermined", f"The verdict is undetermined: {reason}.", extra=told)


def must_be(upload: Upload, *kinds: Kind | None) -> None:
    """Raises `UnsupportedMedia` for a file whose first bytes announce another kind, before anything is decoded.

    None among the kinds stands for containers that only their tracks tell apart.
    """
    head = upload.file.read(HEAD_BYTES)
    upload.file.seek(0)
    if (found := kind_of(head)) not in kinds:
        raise UnsupportedMedia(f"The file is {NOUNS[found]}." if found else "The file is a video.", ACCEPTED_MEDIA)


def form(contract: Contract, what: str, **more: str) -> dict[str, Any]:
    """What the documentation says of a form: the file or files, and further fields by name and description."""
    file = {"type": "string", "format": "binary", "description": what}
    first = contract.fields[0]
    files = {"type": "array", "items": file, "maxItems": contract.max_files} if contract.max_files > 1 else file
    fields = {first: files, "model": {"type": "string", "description": "a model's id; by default the service's"}}
    fields |= {name: {"type": "string", "description": said} for name, said in more.items()}
    schema = {"type": "object", "required": [first], "properties": fields}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def errors_as(body: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """What the documentation says of errors, all of one body."""
    return {status: {"model": body, "description": what} for status, what in _DESCRIBED.items()}


def is_ready(request_health: Mapping[str, Any]) -> bool:
    """Whether every deployment of the graph is ready."""
    return bool(request_health) and all(found.ready for found in request_health.values())


def tell(response: Response, *, ready: bool) -> None:
    """200 where the service can answer, else 503 and when to come again."""
    if not ready:
        response.status_code = 503
        response.headers["Retry-After"] = RETRY_AFTER_S


def answering(catalogue: Catalogue, model: str, *, sound: bool) -> tuple[str, ...]:
    """Of the rows that a model's name stands for, those that listen, or those that look: what is fused, else all."""
    rows = [row for row in catalogue.choose(model) if (row.view.region == "audio") == sound]
    return tuple(row.id for row in rows if row.fused) or tuple(row.id for row in rows)
