"""`POST /detect_deepfake`: the smallest of the older services. A video in, one boolean out."""

from fastapi import APIRouter, Request
from pydantic import BaseModel

from serve_app.routes.analyze import KEYS
from serve_app.routes.seeds.contract import Contract, analyzed, decided, errors_as, form, model_of, received

CONTRACT = Contract(("video",), None, "File is too large")
router = APIRouter(tags=["older services: detect_deepfake"], dependencies=KEYS)


class DeepfakeBody(BaseModel):
    """The answer."""

    is_deepfake: bool


class ErrorBody(BaseModel):
    """An error; `reason` where the verdict is undetermined."""

    error: str
    reason: str | None = None


@router.post("/detect_deepfake", openapi_extra=form(CONTRACT, "a video"), responses=errors_as(ErrorBody))
async def detect_deepfake(request: Request) -> DeepfakeBody:
    """Whether a video is a deepfake; an error (422) with the reason where that is undetermined: no boolean says it."""
    async with received(request, CONTRACT) as uploads:
        analysis = await analyzed(request, uploads.files[0], model_of(request, uploads.fields))
        return DeepfakeBody(is_deepfake=decided(analysis.verdict) == "FAKE")
