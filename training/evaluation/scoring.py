"""Every item through the pipeline that the service uses, one record each. Several processes, each with its own."""

import hashlib
import json
import math
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import av
import torch

from models.detectors.catalogue import CASCADE, ENSEMBLE, Catalogue, ModelRow
from models.detectors.store import ROOT
from models.errors import MediaError, UnmaskError
from models.pipeline import Pipeline
from models.types import DetectorReport, Verdict
from serve_app.settings import Settings, read_settings
from training.evaluation.degrade import degraded, variant
from training.evaluation.errors import EvaluationError
from training.evaluation.listing import Listed
from training.evaluation.measures import measure
from training.evaluation.records import DetectorScore, Record, blank

SCORING = ("degrade", "measures", "scoring")
"""The modules of this package that records depend on; reports may change without scoring anew."""
LOGIT_KEYS = {"id", "architecture", "view", "labels", "options"}
DIGITS = 6  # of the scores of frames: there are many of them
LARGEST_P = 1 - 2.0**-53  # the largest double below 1


@dataclass(frozen=True, slots=True)
class Task:
    """One item, as it is (`how` empty) or degraded; `kind` says what its media turned out to be."""

    of: Listed
    how: str = ""
    kind: str = ""


class Analyst:
    """The service's pipeline with the service's settings, for a detector of the catalogue or the served ensemble."""

    def __init__(self, model: str, catalogue: Path | None = None) -> None:
        settings = settings_for(model, catalogue)
        self.catalogue = settings.read_catalogue()
        self.basis = basis_of(settings, self.catalogue, model)
        self.bases = logit_bases(settings, self.catalogue)
        self.model, self.made_from = model, (model, catalogue)
        self._limits = settings.limits()
        tools = settings.face_tools(self.catalogue)
        self._pipeline = Pipeline(self.catalogue, self._limits, precision=settings.precision, tools=tools)

    def record(self, task: Task) -> Record:
        """Analyse one item. What is wrong with its media is in the record.

        Raises:
            UnmaskError: something is wrong that is not the item's fault, such as weights that are missing.
        """
        started = time.monotonic()
        empty = blank(task.of, task.how, self.basis)
        try:
            found = self._found(task, replace(empty, sha256=hash_of(task.of.item.path)))
        except MediaError as error:
            found = replace(empty, error=error.code, detail=str(error))
        except UnmaskError:
            raise
        except OSError as error:
            found = replace(empty, error="cannot_read_file", detail=error.strerror or str(error))
        except Exception as error:  # noqa: BLE001 - one file must not end a night's run; it is counted under this name
            found = replace(empty, error="internal_error", detail=f"{type(error).__name__}: {error}")
        return replace(found, seconds=round(time.monotonic() - started, 3))

    def _found(self, task: Task, empty: Record) -> Record:
        path = task.of.item.path
        if not task.how:
            found = self._filled(empty, path)
            return replace(found, measures=measure(path, self._limits))
        with tempfile.TemporaryDirectory(prefix="unmask-evaluate-") as folder:
            try:
                worse = degraded(path, task.kind, variant(task.kind, task.how), Path(folder))
            except av.FFmpegError as error:
                return replace(empty, error="cannot_degrade", detail=str(error))
            return self._filled(empty, worse)

    def _filled(self, empty: Record, path: Path) -> Record:
        found = filled(empty, self._pipeline.analyze(path, self.model), self.catalogue)
        based = (replace(score, basis=self.bases[score.id]) for score in found.detectors)
        return replace(found, detectors=tuple(based))


def settings_for(model: str, catalogue: Path | None = None) -> Settings:
    """The service's settings, perhaps with another catalogue; what is named by its id is served, enabled or not."""
    update = {} if catalogue is None else {"catalogue": catalogue}
    named = model not in {ENSEMBLE, CASCADE}
    return read_settings().model_copy(update={**update, "models": model} if named else update)


def basis_of(settings: Settings, catalogue: Catalogue, model: str) -> str:
    """What a result rests on, as a hash: a result with another basis is made anew.

    The served rows, which of them are installed, the bounds, what else of the settings bears on scores, and the source
    code of `models` and of this package.
    """
    content = {
        "model": model,
        "rows": [row.model_dump(mode="json") for row in catalogue.rows],
        "installed": [catalogue.store.is_installed(row) for row in catalogue.rows],
        "verdict": catalogue.verdict.model_dump(),
        "cascade": catalogue.cascade.model_dump() if model == CASCADE else {},
        **_surroundings(settings),
    }
    return _hash(content)


def logit_bases(settings: Settings, catalogue: Catalogue) -> dict[str, str]:
    """What each served detector's logits rest on, by id: as `basis_of`, but for what only weighs and judges them."""
    around = _surroundings(settings)
    bases = {}
    for row in catalogue.rows:
        files = catalogue.store.files(row) if catalogue.store.is_installed(row) else {}
        hashes = {name: hash_of(path) for name, path in files.items()}
        bases[row.id] = _hash({"row": row.model_dump(mode="json", include=LOGIT_KEYS), "files": hashes, **around})
    return bases


def _surroundings(settings: Settings) -> dict[str, Any]:
    sources = [*sorted((ROOT / "models").rglob("*.py")), *(Path(__file__).with_name(f"{name}.py") for name in SCORING)]
    return {
        "settings": [settings.precision, settings.face_finder, settings.landmarks, asdict(settings.limits())],
        "code": [hash_of(file) for file in sources],
    }


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def hash_of(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def filled(empty: Record, verdict: Verdict, catalogue: Catalogue) -> Record:
    """A record with what the pipeline found."""
    rows = {row.id: row for row in catalogue.rows}
    points = tuple(round(point.p_fake, DIGITS) for point in verdict.timeline if point.region != "audio")
    return replace(
        empty,
        verdict=verdict.verdict,
        p_fake=verdict.p_fake,
        reason=verdict.reason,
        degraded=verdict.degraded,
        frames=len(points),
        frame_p_fake=points,
        detectors=tuple(_score(report, rows[report.id]) for report in verdict.detectors),
        kind=verdict.media.kind,
    )


def _score(report: DetectorReport, row: ModelRow) -> DetectorScore:
    logit = None if report.p_fake is None else raw_logit(report.p_fake, row)
    seconds = round(report.seconds, DIGITS)
    return DetectorScore(report.id, report.status, report.p_fake, logit, weight=report.weight, seconds=seconds)


def raw_logit(p_fake: float, row: ModelRow) -> float:
    """The logit before Platt scaling, of the subject the detector found most fake: the scaling undone.

    Exact to the precision of `p_fake`. Calibrated logits above 36.7 are 1 in double precision: they come back as 36.7.
    """
    p_fake = min(max(p_fake, 5e-324), LARGEST_P)
    return (math.log(p_fake) - math.log1p(-p_fake) - row.calibration.bias) / row.calibration.scale


def scored(tasks: Sequence[Task], analyst: Analyst, workers: int) -> Iterator[Record]:
    """Records of the tasks as they are done, in any order.

    Args:
        tasks: what to do.
        analyst: of this process; does the work if there is one worker, else others like it do.
        workers: processes.

    Raises:
        UnmaskError: as `Analyst.record`.
        EvaluationError: a process died; what was done before is kept.
    """
    if workers <= 1 or not tasks:
        yield from map(analyst.record, tasks)
        return
    with _pool(analyst.made_from, workers) as pool:
        try:
            for future in as_completed([pool.submit(_record, task) for task in tasks]):
                yield future.result()
        except BrokenProcessPool as error:
            raise EvaluationError("A worker died; memory may be short.", "Run again with fewer --workers.") from error


@contextmanager
def _pool(made_from: tuple[str, Path | None], workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that are told of no more work once anything goes wrong here. Not forked: torch has threads."""
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // workers)
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(*made_from, threads))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


_own: list[Analyst] = []  # of a worker process


def _start(model: str, catalogue: Path | None, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the run in the first process, which ends this one
    torch.set_num_threads(threads)
    _own.append(Analyst(model, catalogue))


def _record(task: Task) -> Record:
    return _own[0].record(task)
