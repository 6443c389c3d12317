"""Which pairs are written: a real file and its forgery, of which person, by which family. Nothing is decoded here.

A pair is known by its kind, its name and its family alone: its random choices, and so its bytes, stay what they are
when other persons or families are left out.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from models.types import Class, Kind
from training.datasets.items import Item, Split
from training.forgeries.families import FAMILIES, UNSEEN_NAME

SEED = 20261121
FACE_PAIRS = 2  # of each person and kind; with four families every person meets each once, moving or still
VIDEO_SUFFIXES = (".mp4",)
# What pictures and sound on the web come as, JPEG and MP3 most often.
PICTURE_SUFFIXES = (".jpg", ".jpg", ".jpg", ".webp", ".png")
SOUND_SUFFIXES = (".mp3", ".mp3", ".m4a", ".ogg", ".flac", ".wav")
Which = Literal["clips", "pictures", "sound"]
WHICH: dict[Which, Kind] = {"clips": "video", "pictures": "image", "sound": "audio"}


@dataclass(frozen=True, slots=True)
class Pair:
    """One real file and its forgery, which share everything but the forging.

    Attributes:
        which: the sub-folder.
        name: of the portrait or the recording.
        group: person or speaker; of a swap both persons, joined.
        source: the collection.
        family: how the forgery is made.
        unseen: whether no detector is trained on that family.
        suffix: of both files.
    """

    which: Which
    name: str
    group: str
    source: str
    family: str
    unseen: bool
    suffix: str

    def path(self, folder: Path, label: Class) -> Path:
        """Where one of the two lies."""
        return folder / self.which / f"{self.name}-{self.family}-{label}{self.suffix}"

    def items(self, folder: Path, split: Split) -> tuple[Item, Item]:
        """Lines of the manifest: the real file, then the forgery."""
        how = f"{self.family}, unseen" if self.unseen else self.family
        kind = WHICH[self.which]
        person = self.group.split("|")[0]  # a real picture shows one person, whoever its forgery borrows from
        real = Item(self.path(folder, "real"), "real", person, split, self.source, "", kind)
        return real, Item(self.path(folder, "fake"), "fake", self.group, split, self.source, how, kind)

    def rng(self, purpose: str = "") -> np.random.Generator:
        """The generator of all its random choices of one purpose."""
        return seeded(self.which, self.name, self.family, purpose)


def seeded(*words: str) -> np.random.Generator:
    """A generator that depends on these words alone."""
    return np.random.default_rng([SEED, zlib.crc32("/".join(words).encode())])


def families_of(which: Which, number: int) -> list[str]:
    """The families by which the person of that number is forged."""
    first = number + (which == "pictures")
    return [FAMILIES[(first + step) % len(FAMILIES)] for step in range(0, 2 * FACE_PAIRS, 2)]


def face_pair(which: Which, name: str, family: str, group: str) -> Pair:
    """A pair of clips or pictures."""
    source = "portraits, moving" if which == "clips" else "portraits"
    suffix = _drawn(PICTURE_SUFFIXES if which == "pictures" else VIDEO_SUFFIXES, which, name, family)
    return Pair(which, name, group, source, family, family == UNSEEN_NAME, suffix)


def sound_pair(name: str, speaker: str, source: str, family: str, *, unseen: bool) -> Pair:
    """A pair of recordings."""
    return Pair("sound", name, speaker, source, family, unseen, _drawn(SOUND_SUFFIXES, "sound", name, family))


def _drawn(suffixes: Sequence[str], *words: str) -> str:
    return str(seeded(*words, "suffix").choice(list(suffixes)))
