"""`POST /analyze/visualize`: media in, the same media with the verdict drawn into it out, streamed as it is made."""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from models.detectors.catalogue import Catalogue
from models.errors import UnmaskError
from models.render.stream import content_type, suffix
from models.types import MediaFacts, Verdict
from serve_app.analyst import Analysis
from serve_app.asking import Ask, origin_of
from serve_app.errors import from_cause
from serve_app.routes.analyze import KEYS, PROBLEMS, ModelName, asked, form, known, too_slow
from serve_app.settings import Settings
from serve_app.uploads import receive

router = APIRouter(prefix="/analyze/visualize", tags=["analyze"], dependencies=KEYS)

Heatmap = Annotated[bool, Query(description="draw where the detector looked over the faces that decided")]
_BINARY = {"schema": {"type": "string", "format": "binary"}}
DRAWN: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "the media with the verdict drawn into it; `X-Unmask-Verdict` and `X-Unmask-P-Fake` tell it too",
        "content": {"video/mp4": _BINARY, "image/png": _BINARY, "image/jpeg": _BINARY},
    },
    **PROBLEMS,
}


@router.post("", openapi_extra=form("heatmap"), responses=DRAWN, response_class=StreamingResponse)
async def visualize(request: Request, model: ModelName = "", heatmap: Heatmap = False) -> StreamingResponse:
    """The media with faces, scores over time and the verdict drawn into it.

    A video comes back as a video (fragmented MP4: it plays while it is made), a picture as a picture, a recording as
    the picture of its spectrum. Asked for a `heatmap`, `X-Unmask-Heatmap` says `drawn`, or `none` where there is none.
    """
    settings: Settings = request.app.state.settings
    catalogue: Catalogue = request.app.state.catalogue
    if model:
        known(catalogue, model)  # before the body is read: a misspelt name should not cost an upload
    async with AsyncExitStack() as held:  # what is held until the last byte, if there is a first
        try:
            await held.enter_async_context(request.app.state.admission.turn())
            upload = await receive(request, settings.max_upload_bytes, settings.upload_timeout_s)
            with upload.file:
                model = model or upload.fields.get("model") or upload.fields.get("model_name") or settings.default_model
                known(catalogue, model)
                heatmap = heatmap or asked(upload, "heatmap")
                deadline_s = asyncio.get_running_loop().time() + settings.request_timeout_s
                async with asyncio.timeout_at(deadline_s):
                    # Afresh: what is drawn is more than what is kept of an earlier verdict.
                    ask = Ask(model, heat=heatmap, fresh=True)
                    analysis: Analysis = await request.app.state.analyst.analyze(upload, ask, origin_of(request))
                    assert analysis.made
                    verdict: Verdict = analysis.made
                    upload.file.seek(0)
                    pieces: AsyncGenerator[bytes] = request.app.state.service.draw(upload, verdict)
                    held.push_async_callback(pieces.aclose)
                    first = await anext(pieces)  # what is wrong with the media shows here at the latest
        except TimeoutError:
            raise too_slow(settings.request_timeout_s) from None
        except UnmaskError as error:
            raise from_cause(error, catalogue.ids) from error
        recorded = {"X-Unmask-Analysis": analysis.id} if analysis.id else {}
        headers = headers_of(verdict, upload.filename, heatmap=heatmap) | recorded
        return Drawn(_within(deadline_s, first, pieces), held.pop_all(), headers, content_type(verdict.media))


class Drawn(StreamingResponse):
    """A file that is handed out while it is made; what it holds is let go with its last byte, or with its client."""

    def __init__(
        self, body: AsyncIterator[bytes], held: AsyncExitStack, headers: Mapping[str, str], media_type: str
    ) -> None:
        super().__init__(body, headers=headers, media_type=media_type)
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        async with self._held:
            await super().__call__(scope, receive, send)


def headers_of(verdict: Verdict, filename: str, *, heatmap: bool) -> dict[str, str]:
    """The verdict, what the file is called, and what became of heatmaps that were asked for."""
    drawn = {"X-Unmask-Heatmap": "drawn" if verdict.evidence.heat else "none"} if heatmap else {}
    score = {} if verdict.p_fake is None else {"X-Unmask-P-Fake": f"{verdict.p_fake:.6f}"}
    return {
        "Content-Disposition": disposition(filename, verdict.media),
        "Cache-Control": "no-store",
        "X-Unmask-Verdict": verdict.verdict,
        **score,
        **drawn,
    }


def disposition(filename: str, media: MediaFacts) -> str:
    """`Content-Disposition` with the sent file's name, in any script (RFC 6266, RFC 5987)."""
    stem = re.sub(r"[\x00-\x1f\x7f]", "", filename.replace("\\", "/").rpartition("/")[2])
    name = f"{stem.rpartition('.')[0] or stem or 'media'}.unmask{suffix(media)}"
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    encoded = quote(name.encode("utf-8", "replace"), safe="")
    return f"inline; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


async def _within(deadline_s: float, first: bytes, rest: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """The pieces; a file that is not complete in time ends in the middle, which the client sees as a broken answer."""
    yield first
    while True:
        async with asyncio.timeout_at(deadline_s):
            piece = await anext(rest, None)
        if piece is None:
            return
        yield piece
