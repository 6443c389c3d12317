"""What the routes need from whatever answers them: the Ray graph in production, a few lines in tests."""

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from deployments.progress import Progress
from models.render.variants import Variant
from models.types import Verdict
from serve_app.asking import Ask
from serve_app.uploads import Upload


@dataclass(frozen=True, slots=True)
class DeploymentHealth:
    """Serve's word on one deployment."""

    status: str
    replicas: int

    @property
    def ready(self) -> bool:
        """Whether it can take requests: it has a replica, or was scaled to zero on purpose. Scaling is no outage."""
        return self.status != "DEPLOY_FAILED" and (self.replicas > 0 or self.status == "HEALTHY")


@dataclass(frozen=True, slots=True)
class Visual:
    """A verdict, and the file in which it is drawn, in pieces as it is made. Close `pieces` to stop the work."""

    verdict: Verdict
    pieces: AsyncGenerator[bytes]


def detector_name(model: str) -> str:
    """The name of a model's deployment."""
    return f"Detector-{model}"


class Service(Protocol):
    """Analyses uploads and knows the state of the graph."""

    async def analyze(self, upload: Upload, ask: Ask, watch: Callable[[Progress], None] | None = None) -> Verdict:
        """The verdict of one upload, with maps if they are asked for, or an error of `models.errors`.

        `watch` hears how far it is.
        """

    async def visualize(self, upload: Upload, ask: Ask) -> Visual:
        """The same, and the media with the verdict drawn into it, with heatmaps if they are asked for.

        Errors may also come with the first piece.
        """

    def vary(self, upload: Upload) -> AsyncGenerator[Variant]:
        """A still picture, changed in the ways of `models.render.variants`, or an error of `models.errors`."""

    def draw(self, upload: Upload, verdict: Verdict) -> AsyncGenerator[bytes]:
        """The media of an upload with its verdict drawn into it, in pieces, as `Visual.pieces`."""

    async def health(self) -> Mapping[str, DeploymentHealth]:
        """Every deployment by name."""
