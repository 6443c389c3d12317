"""Pairs of a real stretch of speech and its copy through the same history: made once, kept on disk, read in any order.

Encoding takes ten times as long as learning from what was encoded, so each family's pairs are one file, whole or not
there at all. A pair is known by the split, the family and its number alone.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from models.media.limits import SAMPLE_RATE_HZ
from training.forgeries.voice_augment import degrade_voice, draw_voice_degradation
from training.vocoders.families import Samples, Vocode
from training.vocoders.speech import READ, Recording, read_samples

Pairs = NDArray[np.int16]
"""`(N, 2, LENGTH)`, real then copy, 16 kHz."""

LENGTH = 5 * SAMPLE_RATE_HZ // 2  # samples: short enough for most single words to fill half of it
SHORTEST = SAMPLE_RATE_HZ // 2  # samples of a recording that is worth copying
SHARE_READ = 0.65  # of pairs from read sentences, where there are both; the rest are single words
QUIET = 0.3  # of a recording's root mean square: a stretch below it is a pause, and drawn again
TRIES = 4
FULL_SCALE = 32767


@dataclass(frozen=True, slots=True)
class Corpus:
    """Recordings of one split, in memory; the order of `all` is that of the tables.

    Attributes:
        all: the recordings.
        sounds: their samples.
    """

    all: Sequence[Recording]
    sounds: Sequence[Samples]

    def stretch(self, rng: np.random.Generator) -> tuple[int, Samples]:
        """The number of a recording and at most `LENGTH` samples of it that are not a pause."""
        picked = self._pick(rng)
        sound = self.sounds[picked]
        loud = QUIET * float(np.sqrt(np.mean(sound**2)))
        for _ in range(TRIES):
            start = int(rng.integers(max(len(sound) - LENGTH, 0) + 1))
            part = sound[start : start + LENGTH]
            if float(np.sqrt(np.mean(part**2))) >= loud:
                break
        return picked, part

    def _pick(self, rng: np.random.Generator) -> int:
        read = [i for i, of in enumerate(self.all) if of.source == READ]
        words = [i for i, of in enumerate(self.all) if of.source != READ]
        chosen = read if rng.random() < SHARE_READ else words
        return int(rng.choice(chosen or read or words))


def corpus(recordings: Sequence[Recording]) -> Corpus:
    """The recordings that are long enough, read."""
    sounds = [read_samples(of.path) for of in recordings]
    kept = [(of, sound) for of, sound in zip(recordings, sounds, strict=True) if len(sound) >= SHORTEST]
    return Corpus(*(tuple(part) for part in zip(*kept, strict=True)))


@dataclass(frozen=True)
class Family:
    """The pairs of one family, on disk.

    Attributes:
        path: of the file; beside it lies `<name>.picks.npy`, the number of each pair's recording.
        pairs: mapped, not read.
    """

    path: Path

    @cached_property
    def pairs(self) -> Pairs:
        """`(N, 2, LENGTH)` int16."""
        return np.load(self.path, mmap_mode="r")  # type: ignore[no-any-return]

    @cached_property
    def picks(self) -> NDArray[np.int64]:
        """`(N,)`: the recording of each pair, in the order of the tables."""
        return np.load(_picks(self.path))  # type: ignore[no-any-return]


def made(folder: Path, split: str, family: str, vocode: Vocode, speech: Corpus, count: int) -> Family:  # noqa: PLR0917
    """The pairs of one family, made if they are not there.

    Args:
        folder: of the pairs.
        split: of the recordings.
        family: its name.
        vocode: copies.
        speech: of that split.
        count: of pairs; a file with another number is made anew.
    """
    path = folder / f"{split}-{family}.npy"
    if not path.exists() or len(np.load(path, mmap_mode="r")) != count:
        folder.mkdir(parents=True, exist_ok=True)
        drawn = [pair(speech, vocode, _rng(split, family, i)) for i in track(range(count), f"{split} {family}")]
        np.save(_picks(path), np.array([picked for picked, _ in drawn]))
        part = path.with_suffix(".part.npy")
        np.save(part, np.stack([both for _, both in drawn]))
        part.replace(path)
    return Family(path)


def pair(speech: Corpus, vocode: Vocode, rng: np.random.Generator) -> tuple[int, Pairs]:
    """The number of a recording, and `(2, LENGTH)` int16: a stretch of it and its copy; short ones are repeated."""
    picked, real = speech.stretch(rng)
    copy = vocode(real, rng)
    how = draw_voice_degradation(rng)
    both = [np.resize(degrade_voice(sound, how), LENGTH) for sound in (real, copy)]
    return picked, np.rint(np.stack(both) * FULL_SCALE).astype(np.int16)


def _picks(path: Path) -> Path:
    return path.with_suffix(".picks.npy")


def _rng(split: str, family: str, number: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(f"{split}/{family}".encode()), number])
