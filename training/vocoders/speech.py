"""The recordings of speech that are at hand: who speaks, in which split, and their samples."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from models.media.limits import SAMPLE_RATE_HZ

Samples = NDArray[np.float32]

TABLES = ("speech_real_read.csv", "speech.csv")
READ, WORDS, DIGITS = "speech_real_read", "speech_real", "speech_real_8k"
GENERATED = "speech_fake"
TRAINING_SOURCES = (READ, WORDS)  # the digits are share-alike: to measure with, never to train on


@dataclass(frozen=True, slots=True)
class Recording:
    """One file of speech.

    Attributes:
        path: of the file.
        source: the folder it lies in.
        speaker: who speaks, or who gathered it where no speaker is named.
        split: `train`, `val` or `test`.
        label: `real` or `fake`.
    """

    path: Path
    source: str
    speaker: str
    split: str
    label: str

    @property
    def name(self) -> str:
        """Of the file, without its ending."""
        return self.path.stem


def recordings(data: Path, split: str, sources: Sequence[str] = TRAINING_SOURCES) -> list[Recording]:
    """The recordings of some sources and one split, in the order of the tables."""
    return [r for r in _all(data) if r.split == split and r.source in sources]


def _all(data: Path) -> Iterator[Recording]:
    for table in TABLES:
        with (data / table).open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                source = row["file"].split("/")[0]
                yield Recording(data / row["file"], source, row["speaker"], row["split"], row["label"])


def read_samples(path: Path) -> Samples:
    """`(S,)` float32 mono at 16 kHz, in [-1, 1]."""
    resampler = AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
    with av.open(str(path)) as source:
        frames = [part for frame in source.decode(audio=0) for part in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32, copy=False)
