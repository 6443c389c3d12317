"""The ingress deployment: the HTTP application in front of the graph. Never decodes, never holds media."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from typing import Any

import numpy as np
import ray
from fastapi import FastAPI
from numpy.typing import NDArray
from ray import ObjectRef, serve
from ray.exceptions import RayActorError
from ray.serve._private.common import ReplicaState
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle

from deployments.ensemble_router import MediaRef
from deployments.progress import Tell
from deployments.retry import FIRST_PAUSE_S, call
from models.detectors.catalogue import Catalogue
from models.errors import DecoderCrashed, Overloaded, UnmaskError
from models.render.scene import Bounds, Scene
from models.render.variants import Variant
from models.types import Verdict
from serve_app.asking import Ask
from serve_app.http import create_http
from serve_app.service import DeploymentHealth, Visual
from serve_app.settings import Settings
from serve_app.uploads import Upload

HEALTH_AGE_S = 1.0  # probes come often; Serve's controller is asked once a second at most
ROUTER_ATTEMPTS = 3


class GraphService:
    """Answers the routes from the graph."""

    def __init__(self, router: DeploymentHandle[Any], visualizer: DeploymentHandle[Any], bounds: Bounds) -> None:
        self._router = router
        self._watched = router.options(stream=True)
        self._visualizer = visualizer.options(stream=True, _by_reference=True)
        self._bounds = bounds
        self._health: Mapping[str, DeploymentHealth] = {}
        self._asked_s = float("-inf")

    async def analyze(self, upload: Upload, ask: Ask, watch: Tell | None = None) -> Verdict:
        """The verdict of an upload; errors of `models` arrive as themselves, not wrapped in Ray's."""
        ref = await asyncio.to_thread(put_file, upload)
        media = MediaRef(ref, upload.sha256)
        return await self._verdict(media, ask) if watch is None else await self._watch(media, ask, watch)

    async def visualize(self, upload: Upload, ask: Ask) -> Visual:
        """The verdict of an upload, and the file that shows it, as it is made."""
        ref = await asyncio.to_thread(put_file, upload)
        verdict = await self._verdict(MediaRef(ref, upload.sha256), ask)
        return Visual(verdict, self._pieces(ref, Scene.of(verdict, self._bounds)))

    async def _verdict(self, media: MediaRef, ask: Ask) -> Verdict:
        with _own_errors():
            answer = call(self._router.analyze, media, ask.model, ask.explain, ask.heat, attempts=ROUTER_ATTEMPTS)
            verdict: Verdict = await answer
        return verdict

    async def _watch(self, media: MediaRef, ask: Ask, watch: Tell) -> Verdict:
        """The verdict, told of on the way; from the start when the router's replica dies, as `call` does."""
        for _ in range(ROUTER_ATTEMPTS - 1):
            with suppress(RayActorError):
                return await self._watch_once(media, ask, watch)
            await asyncio.sleep(FIRST_PAUSE_S)
        return await self._watch_once(media, ask, watch)

    async def _watch_once(self, media: MediaRef, ask: Ask, watch: Tell) -> Verdict:
        response: Any = self._watched.watch.remote(media, ask.model, ask.explain, ask.heat)
        try:
            with _own_errors():
                async for told in response:
                    if isinstance(told, Verdict):
                        return told
                    watch(told)
        finally:
            response.cancel()
        raise RayActorError(error_msg="The router's answer ended before its verdict.")

    async def draw(self, upload: Upload, verdict: Verdict) -> AsyncGenerator[bytes]:
        """The media of an upload, with its verdict drawn into it."""
        ref = await asyncio.to_thread(put_file, upload)
        async with aclosing(self._pieces(ref, Scene.of(verdict, self._bounds))) as pieces:
            async for piece in pieces:
                yield piece

    async def _pieces(self, ref: "ObjectRef[NDArray[np.uint8]]", scene: Scene) -> AsyncGenerator[bytes]:
        """The drawn file. Closing it, as when the client goes away, stops the work behind it."""
        response: Any = self._visualizer.render.remote(ref, scene)
        try:
            with _own_errors():
                async for piece in response:
                    yield piece
        except RayActorError as error:
            raise DecoderCrashed("the process that draws died on this file.") from error
        finally:
            response.cancel()

    async def vary(self, upload: Upload) -> AsyncGenerator[Variant]:
        """A still picture, changed in several ways."""
        ref = await asyncio.to_thread(put_file, upload)
        response: Any = self._visualizer.vary.remote(ref)
        try:
            with _own_errors():
                async for variant in response:
                    yield variant
        except RayActorError as error:
            raise DecoderCrashed("the process that changes pictures died on this file.") from error
        finally:
            response.cancel()

    async def health(self) -> Mapping[str, DeploymentHealth]:
        """Every deployment of this application, as Serve's controller sees it."""
        if time.monotonic() - self._asked_s > HEALTH_AGE_S:
            self._health = await asyncio.to_thread(deployments)
            self._asked_s = time.monotonic()
        return self._health


@contextmanager
def _own_errors() -> Iterator[None]:
    """Errors of `models` as themselves, not wrapped in Ray's; a full queue as one of them."""
    try:
        yield
    except BackPressureError:
        raise Overloaded("The service has as much to do as it accepts.", "Try again later.") from None
    except UnmaskError as error:
        raise getattr(error, "cause", error) from None


@serve.ingress()
class Ingress:
    """Checks the key, receives bodies, and shapes the graph's answers."""

    def __init__(
        self,
        router: DeploymentHandle[Any],
        visualizer: DeploymentHandle[Any],
        settings: Settings,
        catalogue: Catalogue,
        key_digest: bytes,
        _runner: DeploymentHandle[Any],  # it is part of the application, and takes no requests
    ) -> None:
        self._parts = (GraphService(router, visualizer, catalogue.verdict), settings, catalogue, key_digest)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The application this replica answers with."""
        return create_http(*self._parts)


def put_file(upload: Upload) -> "ObjectRef[NDArray[np.uint8]]":
    """Put an upload into the object store as `(size_bytes,)` uint8, without reading it into this process first."""
    if not upload.size_bytes:
        return ray.put(np.zeros(0, np.uint8))
    mapped = np.memmap(upload.file, np.uint8, "r")
    return ray.put(np.asarray(mapped))


def deployments() -> dict[str, DeploymentHealth]:
    """Health of every deployment of the application this replica belongs to."""
    name = serve.get_replica_context().app_name
    found = serve.status().applications[name].deployments
    return {
        deployment: DeploymentHealth(overview.status.value, overview.replica_states.get(ReplicaState.RUNNING, 0))
        for deployment, overview in found.items()
    }
