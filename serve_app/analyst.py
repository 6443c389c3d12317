"""One file to one recorded analysis: the way that every route and every job goes."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from deployments.progress import Progress
from serve_app.asking import Ask, Origin
from serve_app.ids import new_id
from serve_app.schemas import VerdictBody
from serve_app.service import Service
from serve_app.uploads import Upload

Watch = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Analysis:
    """A finished analysis; `reused_from` is the earlier one whose verdict it repeats, if it does."""

    id: str
    verdict: VerdictBody
    reused_from: str | None = None


class Analyst:
    """Analyses uploads and records what came of it."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def analyze(self, upload: Upload, ask: Ask, origin: Origin, watch: Watch | None = None) -> Analysis:  # noqa: ARG002 - the record will tell it
        """The analysis of one upload; `watch` hears of progress. Errors are those of `Service.analyze`."""
        verdict = await self._service.analyze(upload, ask, watch)
        verdict = replace(verdict, timings=replace(verdict.timings, receive_s=upload.receive_s))
        return Analysis(new_id("ana"), VerdictBody.model_validate(verdict))
