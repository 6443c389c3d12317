"""Writes every pair that is not there yet, then the manifest."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training.datasets.manifest import write_manifest
from training.portraits import Split
from training.validation.faces import FaceStudio
from training.validation.people import whole_portraits
from training.validation.plan import WHICH, Pair, Which
from training.validation.voices import VoiceStudio, families, recordings

MANIFEST = "manifest.csv"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be written.

    Attributes:
        data: folder of the development data.
        shared: with `boxes.json`, the forging networks in `nets/` and the vocoders in `vocoders/`.
        out: for the files and `manifest.csv`.
        split: of persons and speakers.
        which: of clips, pictures and sound.
        persons: at most so many persons, and recordings of as many speakers; 0 for all.
    """

    data: Path
    shared: Path
    out: Path
    split: Split = "val"
    which: tuple[Which, ...] = tuple(WHICH)
    persons: int = 0


class Studio:
    """What makes pairs of every kind."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        most = wanted.persons or None
        looks = any(which != "sound" for which in wanted.which)
        faces = whole_portraits(wanted.data, wanted.split, wanted.shared / "boxes.json") if looks else []
        heard = recordings(wanted.data, wanted.split) if "sound" in wanted.which else []
        vocoders = families(wanted.shared / "vocoders") if heard else {}
        speakers = list(dict.fromkeys(of.speaker for of in heard))[:most]
        self._faces = FaceStudio(faces[:most], wanted.shared / "nets")
        self._voices = VoiceStudio([of for of in heard if of.speaker in speakers], vocoders)

    def planned(self) -> list[Pair]:
        """Every pair that is wanted."""
        faces = [pair for which in self._wanted.which if which != "sound" for pair in self._faces.planned(which)]
        return faces + self._voices.planned()

    def write(self, pair: Pair) -> None:
        """Write both files, the forged one last; each appears whole or not at all."""
        studio = self._voices if pair.which == "sound" else self._faces
        real, fake = studio.written(pair)
        _put(pair.path(self._wanted.out, "real"), real)
        _put(pair.path(self._wanted.out, "fake"), fake)


def write(wanted: Wanted, workers: int = 1) -> Path:
    """Write what is wanted, or what of it is not there yet; the path of the manifest.

    Args:
        wanted: what.
        workers: processes.
    """
    studio = Studio(wanted)
    pairs = studio.planned()
    todo = [pair for pair in pairs if not pair.path(wanted.out, "fake").exists()]
    for which in wanted.which:
        (wanted.out / which).mkdir(parents=True, exist_ok=True)
    with _progress() as progress:
        bar = progress.add_task("Writing pairs", total=len(pairs), completed=len(pairs) - len(todo))
        for _ in _each(studio, wanted, todo, workers):
            progress.advance(bar)
    manifest = wanted.out / MANIFEST
    write_manifest([item for pair in pairs for item in pair.items(wanted.out, wanted.split)], manifest)
    return manifest


def _each(studio: Studio, wanted: Wanted, pairs: Sequence[Pair], workers: int) -> Iterator[None]:
    if workers <= 1 or not pairs:
        yield from map(studio.write, pairs)
        return
    context = multiprocessing.get_context("spawn")  # torch has threads, which a fork would not copy
    with ProcessPoolExecutor(workers, context, initializer=_start, initargs=(wanted,)) as pool:
        for future in as_completed([pool.submit(_write, pair) for pair in pairs]):
            yield future.result()


_own: list[Studio] = []  # of a worker process


def _start(wanted: Wanted) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    _own.append(Studio(wanted))


def _write(pair: Pair) -> None:
    _own[0].write(pair)


def _put(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn())
