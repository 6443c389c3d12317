"""Through deployment handles: for Python callers inside the service's Ray cluster, without HTTP between.

Ray, numpy and the graph's own types are imported when a caller connects: only here, where the whole package is
installed anyway, is more of ours needed than `serve_app.schemas`.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve_app.client.errors import Cancelled, Overloaded, Unreachable, from_code
from serve_app.client.media import Media, Part
from serve_app.schemas import VerdictBody

if TYPE_CHECKING:
    from ray import ObjectRef

ROUTER = "EnsembleRouter"
ATTEMPTS = 3  # a call is made again if the router's replica dies
PAUSE_S = 0.1  # about as long as Serve needs to notice the death

OnStage = Callable[[str, float], None]


class HandleClient:
    """Asks the router of a running graph. Made by `connect`; to be used outside of event loops.

    Every method raises the errors of `serve_app.client.errors`, and `OSError` where a file cannot be read.
    """

    def __init__(self, router: Any) -> None:
        self._router = router

    def analyze(
        self,
        media: "Media | ObjectRef[Any]",
        model: str = "",
        *,
        explain: bool = False,
        on_progress: OnStage | None = None,
        timeout_s: float | None = None,
    ) -> VerdictBody:
        """The verdict of one video, picture or recording.

        Args:
            media: a path, bytes, an open binary file, or a reference to bytes or to `(size_bytes,)` uint8 in Ray's
                object store. The media reaches the graph by reference: it is put there once, or was there before.
            model: a model's id, several with commas between, `ensemble` or `cascade`; empty for the default.
            explain: make saliency maps of what decided.
            on_progress: hears the stage, and how much is done of the whole, 0 to 1.
            timeout_s: stop the work after so long, with `TimeoutError`.
        """
        with _mirrored() as died:
            ref = stored(media)
            for _ in range(ATTEMPTS - 1):
                try:
                    return VerdictBody.model_validate(self._ask(ref, model, explain, on_progress, timeout_s))
                except died:
                    time.sleep(PAUSE_S)
            return VerdictBody.model_validate(self._ask(ref, model, explain, on_progress, timeout_s))

    def _ask(self, ref: Any, model: str, explain: bool, on_progress: OnStage | None, timeout_s: float | None) -> Any:
        if on_progress is None:
            response = self._router.analyze.remote(ref, model, explain)
            try:
                return response.result(timeout_s=timeout_s)
            except TimeoutError:
                response.cancel()
                raise
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        told = self._router.options(stream=True).watch.remote(ref, model, explain)
        try:
            for moment in told:
                if not hasattr(moment, "fraction"):
                    return moment
                on_progress(moment.stage, moment.fraction)
                if deadline_s is not None and time.monotonic() > deadline_s:
                    raise TimeoutError(f"There was no verdict within {timeout_s:g} s.")
        finally:
            told.cancel()
        raise _dead()


class AsyncHandleClient:
    """`HandleClient` with `async`: in deployments of one's own, and other programs with an event loop."""

    def __init__(self, router: Any) -> None:
        self._router = router

    async def analyze(
        self,
        media: "Media | ObjectRef[Any]",
        model: str = "",
        *,
        explain: bool = False,
        on_progress: OnStage | None = None,
        timeout_s: float | None = None,
    ) -> VerdictBody:
        """The verdict of one video, picture or recording, as `HandleClient.analyze`; cancelling it stops the work."""
        with _mirrored() as died:
            ref = await asyncio.to_thread(stored, media)
            async with asyncio.timeout(timeout_s):
                for _ in range(ATTEMPTS - 1):
                    try:
                        return VerdictBody.model_validate(await self._ask(ref, model, explain, on_progress))
                    except died:
                        await asyncio.sleep(PAUSE_S)
                return VerdictBody.model_validate(await self._ask(ref, model, explain, on_progress))

    def _ask(self, ref: Any, model: str, explain: bool, on_progress: OnStage | None) -> Awaitable[Any]:
        if on_progress:
            return self._watch(ref, model, explain, on_progress)
        return self._answer(ref, model, explain)

    async def _answer(self, ref: Any, model: str, explain: bool) -> Any:
        response = self._router.analyze.remote(ref, model, explain)
        try:
            return await response
        except asyncio.CancelledError:
            response.cancel()
            raise

    async def _watch(self, ref: Any, model: str, explain: bool, on_progress: OnStage) -> Any:
        told = self._router.options(stream=True).watch.remote(ref, model, explain)
        try:
            async for moment in told:
                if not hasattr(moment, "fraction"):
                    return moment
                on_progress(moment.stage, moment.fraction)
        finally:
            told.cancel()
        raise _dead()


def connect(application: str = "unmask", address: str = "auto") -> HandleClient:
    """A client of the graph that runs in this Ray cluster.

    Args:
        application: the name it was deployed under.
        address: of the cluster, if this process is not connected to one; `auto` finds the one of this machine.

    Raises:
        Unreachable: there is no such cluster, or no such application in it.
    """
    return HandleClient(_router(application, address))


def connect_async(application: str = "unmask", address: str = "auto") -> AsyncHandleClient:
    """The same for programs with an event loop, and for deployments of one's own."""
    return AsyncHandleClient(_router(application, address))


def _router(application: str, address: str) -> Any:
    import ray
    from ray import serve
    from ray.serve.exceptions import RayServeException

    try:
        if not ray.is_initialized():
            ray.init(address, namespace="serve", log_to_driver=False)
        return serve.get_deployment_handle(ROUTER, application)
    except (ConnectionError, RayServeException, KeyError) as error:  # KeyError: no such deployment
        said = f"There is no application {application!r} to connect to: {error}"
        raise Unreachable(0, "unreachable", said) from error


def stored(media: "Media | ObjectRef[Any]") -> Any:
    """Media in the object store, as the router takes it."""
    import numpy as np
    import ray
    from ray import ObjectRef

    from deployments.ensemble_router import MediaRef

    if isinstance(media, ObjectRef):
        there = ray.get(media)
        if isinstance(there, np.ndarray):
            if there.dtype != np.uint8 or there.ndim != 1:
                raise TypeError(f"The object is {there.dtype} of shape {there.shape}; it must be (size_bytes,) uint8.")
            return MediaRef(media, hashlib.sha256(there.data).hexdigest())
        media = bytes(there)
    if isinstance(media, (str, Path)) and Path(media).stat().st_size:
        content = np.asarray(np.memmap(media, np.uint8, "r"))
    else:
        with Part(media).opened() as file:
            content = np.frombuffer(file.read(), np.uint8)
    return MediaRef(ray.put(content), hashlib.sha256(content.data).hexdigest())


@contextmanager
def _mirrored() -> Iterator[type[Exception]]:
    """Errors of the graph, which arrive wrapped in Ray's, as those of the client; gives that of a replica's death."""
    from ray.exceptions import RayActorError
    from ray.serve.exceptions import BackPressureError, RequestCancelledError

    try:
        yield RayActorError
    except BackPressureError:
        said = "The service has as much to do as it accepts."
        raise Overloaded(Overloaded.http_status, Overloaded.codes[0], said) from None
    except RequestCancelledError:
        raise Cancelled(0, Cancelled.codes[0], "The work was cancelled.") from None
    except RayActorError as error:
        raise Unreachable(0, "unreachable", f"The router died at every of {ATTEMPTS} tries: {error}") from error
    except Exception as error:
        cause = getattr(error, "cause", None) or error
        code = getattr(cause, "code", None)
        if not isinstance(code, str) or not hasattr(cause, "accepted"):  # as the errors of `models` have
            raise
        raise from_code(code, str(cause)) from None


def _dead() -> Exception:
    from ray.exceptions import RayActorError

    return RayActorError(error_msg="The router's answer ended before its verdict.")
