"""What one process does: a file's views, through the extractor the service uses, into the cache."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path

import cv2
import numpy as np

from models.errors import MediaError
from models.extraction import Extractor, nothing_to_see
from models.pipeline import read_bytes
from models.types import View
from training.datasets.cache import ViewCache, sha256_of


@dataclass(frozen=True, slots=True)
class Job:
    """A file and what is wanted of it. The hash is empty if it is not known yet."""

    path: Path
    sha256: str
    views: tuple[View, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a job.

    Attributes:
        job: it.
        sha256: of the file's bytes; empty if it could not be read.
        written: new entries of the cache.
        empty: of those without a clip, why there is none.
        code: of the error; empty unless it failed.
        detail: of the error, in words.
    """

    job: Job
    sha256: str = ""
    written: int = 0
    empty: tuple[str, ...] = ()
    code: str = ""
    detail: str = ""


Work = Callable[[Job], Done]


@dataclass(frozen=True, slots=True)
class Setup:
    """How a worker is made, in its own process."""

    cache: ViewCache

    def __call__(self) -> Work:
        """A worker; its extractor decodes on one thread, since there are as many workers as cores."""
        return Worker(self.cache, Extractor(self.cache.limits, threads=1, tools=self.cache.tools))


class Worker:
    """Extracts one file after another. No file ends it."""

    def __init__(self, cache: ViewCache, extractor: Extractor) -> None:
        self._cache = cache
        self._extractor = extractor

    def __call__(self, job: Job) -> Done:
        """Extract what the cache lacks."""
        sha256 = job.sha256
        try:
            sha256 = sha256 or sha256_of(job.path)
            lacking = self._cache.lacking(sha256, job.views)
            whys = self._extract(job.path, sha256, lacking) if lacking else []
            return Done(job, sha256, len(lacking), tuple(filter(None, whys)))
        except MediaError as error:
            return Done(job, sha256, code=error.code, detail=str(error))
        except OSError as error:
            return Done(job, sha256, code="unreadable", detail=f"{error.strerror or error}")
        except Exception as error:  # noqa: BLE001 - one strange file must not end the run of a hundred thousand
            return Done(job, sha256, code="unexpected", detail=f"{type(error).__name__}: {error}")

    def _extract(self, path: Path, sha256: str, views: Sequence[View]) -> list[str]:
        """Write the views; returns, for each, why it has no clip, or nothing."""
        media = np.asarray(read_bytes(path))
        extraction, clips = self._extractor.extract(media, sha256, views)
        whys = ["" if clips[view] else nothing_to_see(view, extraction).why for view in views]
        for view, why in zip(views, whys, strict=True):
            self._cache.save(sha256, view, clips[view], why)
        return whys


_work: Work | None = None  # of this process; functions sent to a pool carry no state


def start(setup: Callable[[], Work]) -> None:
    """What a new process does first. Ctrl-C is for the parent, which ends its workers."""
    global _work  # noqa: PLW0603 - one worker per process is the point
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    _work = setup()


def _end_with_parent() -> None:
    """A parent that is killed tells nobody: its workers would wait for jobs for ever."""
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


def work(job: Job) -> Done:
    """One job, in a process that was started."""
    assert _work is not None
    return _work(job)
