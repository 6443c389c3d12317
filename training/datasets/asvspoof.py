"""ASVspoof 2019 LA and 2021 LA and DF (Wang and others, 2020; Liu and others, 2023): protocols beside folders of FLAC.

2019, five columns in `ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.{train.trn,dev.trl,eval.trl}.txt`:

    LA_0079 LA_T_1138215 - - bonafide          speaker, file, environment, attack, key

2021, eight or more in `keys/{LA,DF}/CM/trial_metadata.txt`:

    LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval          speaker, file, codec, channel, attack, key, ...

The splits are the official ones: 2019 train, dev and eval are train, val and test, and all of 2021 is test. Speakers
keep their names across the years, so that manifests of both put together are checked against each other.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from models.types import Class
from training.datasets.items import DatasetError, Item, Split
from training.datasets.lines import each_line, words

KEYS: dict[str, Class] = {"bonafide": "real", "spoof": "fake"}
PARTS: dict[str, Split] = {"train": "train", "dev": "val", "eval": "test"}
SUBSETS = ("eval", "progress", "hidden", "all")
_PROTOCOL = re.compile(r"ASVspoof2019\.(LA|PA)\.cm\.(train|dev|eval)\.tr[nl]\.txt$")
_PLACES_2019 = ("", "*_cm_protocols/", "*/*_cm_protocols/")
_PLACES_2021 = ("CM/", "*/CM/", "*/*/CM/")
_COLUMNS_2019, _COLUMNS_2021 = 5, 8


def asvspoof(path: Path, *, subset: str = "eval", flac: str = "") -> tuple[Item, ...]:
    """Read every protocol that is there.

    Args:
        path: the folder of one track, or the one that holds protocols or keys and sound.
        subset: of 2021: `eval` is the one that published figures are of; `progress`, `hidden`, or `all`. What is not
            chosen is left out.
        flac: the folder of the FLAC files, where they are not where the official archives put them.

    Raises:
        DatasetError: there is no protocol, no sound, or a line is wrong.
    """
    if subset not in SUBSETS:
        raise DatasetError(f"subset is {subset!r}.", f"Known: {', '.join(SUBSETS)}.")
    items = [item for file in _found(path, _PLACES_2019, "*.txt") for item in _of_2019(file, flac)]
    for file in _found(path, _PLACES_2021, "trial_metadata.txt"):
        items += _of_2021(path, file, subset, flac) if file.parent.parent.name != "PA" else []
    if not items:
        raise DatasetError(f"{path} has neither ASVspoof2019.*.cm.*.txt nor CM/trial_metadata.txt.")
    return tuple(items)


def _found(root: Path, places: tuple[str, ...], name: str) -> Iterator[Path]:
    for place in places:
        yield from sorted(root.glob(place + name))


def _of_2019(file: Path, flac: str) -> list[Item]:
    named = _PROTOCOL.match(file.name)
    if named is None:
        return []
    track, part = named.groups()
    sound = _Sound(file.parent.parent, f"ASVspoof2019_{track}_{part}", flac)
    return each_line(file, words(file), lambda line: _line_2019(line, track.lower(), PARTS[part], sound))


def _of_2021(root: Path, file: Path, subset: str, flac: str) -> list[Item]:
    lines = list(words(file))
    track = "DF" if any(line[1].startswith("DF_") for _, line in lines[:1] if len(line) > 1) else "LA"
    sound = _Sound(root, f"ASVspoof2021_{track}_eval", flac)
    return each_line(file, lines, lambda line: _line_2021(line, track.lower(), subset, sound))


def _line_2019(line: list[str], track: str, split: Split, sound: "_Sound") -> Item:
    if len(line) != _COLUMNS_2019 or line[4] not in KEYS:
        raise ValueError(f"not `speaker file environment attack bonafide|spoof`: {' '.join(line)}")
    speaker, name, _, attack, key = line
    manipulation = attack if key == "spoof" else ""
    source = f"asvspoof2019-{track}"
    return Item(sound.path(name), KEYS[key], f"asvspoof/{speaker}", split, source, manipulation, "audio")


def _line_2021(line: list[str], track: str, subset: str, sound: "_Sound") -> Item:
    if len(line) < _COLUMNS_2021 or line[5] not in KEYS:
        raise ValueError(f"not `speaker file codec transmission attack bonafide|spoof trim subset`: {' '.join(line)}")
    speaker, name, _, _, attack, key, _, part = line[:_COLUMNS_2021]
    split: Split = "test" if subset in {part, "all"} else ""
    manipulation = attack if key == "spoof" else ""
    source = f"asvspoof2021-{track}"
    return Item(sound.path(name), KEYS[key], f"asvspoof/{speaker}", split, source, manipulation, "audio")


class _Sound:
    """Where the FLAC files of one archive are; DF comes in four parts."""

    def __init__(self, root: Path, archive: str, named: str) -> None:
        places = [root / archive / "flac", *sorted(root.glob(f"{archive}_part*/{archive}/flac"))]
        folders = [Path(named)] if named else [place for place in places if place.is_dir()]
        if not folders:
            raise DatasetError(f"{places[0]} is not there.", "Name the folder of the sound with flac=FOLDER.")
        self._first = folders[0]
        several = folders[1:]
        self._elsewhere = {file.name: file for folder in several for file in folder.glob("*.flac")}

    def path(self, name: str) -> Path:
        """The file, whether or not it is there."""
        file = f"{name}.flac"
        return self._elsewhere.get(file, self._first / file)
