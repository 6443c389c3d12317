"""Pairs of recordings: real speech of speakers that no detector was trained on, and its copies by every vocoder."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.media.limits import SAMPLE_RATE_HZ
from training.datasets.items import Split
from training.forgeries.voice import FAMILIES as SIGNAL_PROCESSING
from training.forgeries.voice_augment import degrade_voice, draw_voice_degradation
from training.validation.files import read_samples, sound_bytes
from training.validation.plan import Pair, seeded, sound_pair
from training.vocoders.families import UNSEEN, Vocode, voice_families

LENGTH_S = (3.0, 4.6)  # more in 16 bit is above what files may have
SHORTEST_S = 1.2  # detectors want a second of sound
BIT_RATES = (24_000, 96_000)
READ_PAIRS, WORD_PAIRS = 8, 1  # of each recording of sentences, and of single words
MOST_WORDS = 36  # recordings of single words: they are all of one contributor, which is one group
SENTENCES, WORDS = "LibriSpeech", "Mycroft"

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Family:
    """One way to copy a voice, and whether detectors are trained on it."""

    vocode: Vocode
    unseen: bool


@dataclass(frozen=True, slots=True)
class Recording:
    """One real recording of a list."""

    name: str
    path: Path
    speaker: str
    source: str


def families(vocoders: Path) -> dict[str, Family]:
    """Every family by its name.

    Args:
        vocoders: folder of the neural vocoders; where it is missing their families are, too.
    """
    found = {name: Family(vocode, name in UNSEEN) for name, vocode in voice_families(vocoders).items()}
    if vocoders.is_dir():
        return found
    print(f"no neural vocoders in {vocoders}: voices are copied by signal processing only", flush=True)
    return {name: found[name] for name in SIGNAL_PROCESSING}


@dataclass(frozen=True, slots=True)
class VoiceStudio:
    """Makes pairs of recordings."""

    recordings: Sequence[Recording]
    families: Mapping[str, Family]

    def planned(self) -> list[Pair]:
        """Every pair; recordings take the families in turns."""
        return [
            sound_pair(of.name, of.speaker, of.source, name, unseen=self.families[name].unseen)
            for number, of in enumerate(self.recordings)
            for name in self._turn(number, READ_PAIRS if of.source == SENTENCES else WORD_PAIRS)
        ]

    def written(self, pair: Pair) -> tuple[bytes, bytes]:
        """The real file and the copied one: the same stretch, room, noise, level and codec."""
        path = next(of.path for of in self.recordings if of.name == pair.name)
        rng = pair.rng("history")
        real = _stretch(read_samples(path), rng)
        fake = self.families[pair.family].vocode(real, pair.rng("forgery"))
        how, bit_rate = replace(draw_voice_degradation(rng), codec=""), int(rng.integers(*BIT_RATES))
        both = (sound_bytes(degrade_voice(sound, how), pair.suffix, bit_rate) for sound in (real, fake))
        return next(both), next(both)

    def _turn(self, number: int, count: int) -> list[str]:
        names = list(self.families)
        return [names[(number * count + step) % len(names)] for step in range(min(count, len(names)))]


def recordings(data: Path, split: Split) -> list[Recording]:
    """Real speech of one split at 16 kHz: read sentences, and some single words."""
    sentences = _listed(data, "speech_real_read.csv", split, SENTENCES)
    words = [of for of in _listed(data, "speech.csv", split, WORDS) if of.path.parent.name == "speech_real"]
    chosen = sorted(seeded("words", split).permutation(len(words))[:MOST_WORDS])
    return sentences + [words[i] for i in chosen]


def _listed(data: Path, name: str, split: Split, source: str) -> list[Recording]:
    with (data / name).open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["split"] == split and row["label"] == "real"]
    kept = [row for row in rows if float(row["duration_s"]) >= SHORTEST_S]
    return [Recording(Path(row["file"]).stem, data / row["file"], row["speaker"], source) for row in kept]


def _stretch(samples: Samples, rng: np.random.Generator) -> Samples:
    length = min(len(samples), int(rng.uniform(*LENGTH_S) * SAMPLE_RATE_HZ))
    start = int(rng.integers(len(samples) - length + 1))
    return samples[start : start + length]
