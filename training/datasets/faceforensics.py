"""FaceForensics++ (Rossler and others, 2019) and Google's DeepFakeDetection, as the official script downloads them.

    original_sequences/{youtube,actors}/c23/videos/*.mp4
    manipulated_sequences/{Deepfakes,Face2Face,FaceSwap,NeuralTextures,FaceShifter,DeepFakeDetection}/c23/videos/*.mp4

A sequence `071_054` shows the video 071 with the face of 054 and belongs to the groups of both. The official splits
(github.com/ondyari/FaceForensics, dataset/splits) are lists of such pairs, so no pair is torn apart. For
DeepFakeDetection there are none: its 28 actors are split by a hash, and swaps between actors of two splits left out.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.types import Class
from training.datasets.items import SPLITS, DatasetError, Item, Split, joined
from training.datasets.splits import by_groups

COMPRESSIONS = ("raw", "c0", "c23", "c40")
METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
ACTORS, SWAPPED_ACTORS = "actors", "DeepFakeDetection"
_PAIR_LENGTH = 2
_ACTORS = re.compile(r"(\d\d)(?:_(\d\d))?__")  # 01__walking.mp4, 01_02__walking__ABCD1234.mp4
_VIDEOS = re.compile(r"(\d{3})(?:_(\d{3}))?$")


def faceforensics(path: Path, *, compression: str = "", splits: str = "", seed: int = 0) -> tuple[Item, ...]:
    """Read the videos of one compression.

    Args:
        path: the folder with `original_sequences` and `manipulated_sequences`.
        compression: `raw`, `c0`, `c23` or `c40`; may be empty where only one is there.
        splits: folder with `train.json`, `val.json` and `test.json`; empty looks in `path`, `path/splits` and
            `path/dataset/splits`.
        seed: of the split of the actors.

    Raises:
        DatasetError: compression or splits are missing or contradict themselves, or a file's name is none of theirs.
    """
    quality = _compression(path, compression)
    videos = [*_named(path, "real", ("youtube",), quality, _VIDEOS), *_named(path, "fake", METHODS, quality, _VIDEOS)]
    actors = [
        *_named(path, "real", (ACTORS,), quality, _ACTORS),
        *_named(path, "fake", (SWAPPED_ACTORS,), quality, _ACTORS),
    ]
    official = official_splits(_splits_folder(path, splits)) if videos else {}
    return (*(_in_official_split(item, official) for item in videos), *by_groups(actors, seed))


def official_splits(folder: Path) -> dict[str, Split]:
    """The split of each group, from the three lists of pairs of ids; raises `DatasetError` if an id is in two."""
    found: dict[str, Split] = {}
    for split in SPLITS:
        for pair in _pairs(folder / f"{split}.json"):
            for group in map(_video_group, pair):
                if found.setdefault(group, split) != split:
                    raise DatasetError(f"{folder}: {group} is in {found[group]}.json and in {split}.json.")
    return found


def _pairs(file: Path) -> list[list[str]]:
    try:
        content: Any = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file} cannot be read: {error}.") from error
    for number, pair in enumerate(content if isinstance(content, list) else [content], start=1):
        if not isinstance(pair, list) or len(pair) != _PAIR_LENGTH or not all(isinstance(name, str) for name in pair):
            raise DatasetError(f'{file}: entry {number} is no pair of ids, such as ["071", "054"].')
    return list(content)


def _splits_folder(root: Path, named: str) -> Path:
    places = [Path(named)] if named else [root, root / "splits", root / "dataset" / "splits"]
    for place in places:
        if (place / "train.json").is_file():
            return place
    raise DatasetError(
        f"The official splits are not there: no train.json in {', '.join(map(str, places))}.",
        "They are dataset/splits of github.com/ondyari/FaceForensics; name their folder with splits=FOLDER.",
    )


def _compression(root: Path, wanted: str) -> str:
    there = [c for c in COMPRESSIONS if any(root.glob(f"*_sequences/*/{c}/videos"))]
    if not there or (wanted and wanted not in there):
        what = f"videos of compression {wanted}" if wanted else "*_sequences/*/*/videos"
        raise DatasetError(f"{root} has no {what}.", f"There are: {', '.join(there) or 'none'}.")
    if not wanted and len(there) > 1:
        raise DatasetError(f"{root} has {', '.join(there)}.", "Choose one with compression=...: they show the same.")
    return wanted or there[0]


def _named(root: Path, label: Class, folders: tuple[str, ...], quality: str, ids: re.Pattern[str]) -> Iterator[Item]:
    """The videos of some folders, their groups by the ids in their names."""
    sequences = root / ("original_sequences" if label == "real" else "manipulated_sequences")
    for folder in folders:
        for file in sorted((sequences / folder / quality / "videos").glob("*.mp4")):
            found = ids.match(file.stem)
            if found is None:
                raise DatasetError(f"{file} is not named as in the official download.")
            groups = [name for name in found.groups() if name]
            yield Item(
                path=file,
                label=label,
                group=joined(map(_actor_group if ids is _ACTORS else _video_group, groups)),
                source=f"faceforensics-{ACTORS if ids is _ACTORS else 'youtube'}-{quality}",
                manipulation=folder if label == "fake" else "",
            )


def _in_official_split(item: Item, official: dict[str, Split]) -> Item:
    splits = {official.get(group, "") for group in item.groups}
    if len(splits) > 1 or "" in splits:
        where = ", ".join(f"{group} in {official.get(group) or 'none'}" for group in item.groups)
        raise DatasetError(f"{item.path} is in no one official split: {where}.")
    return Item(item.path, item.label, item.group, splits.pop(), item.source, item.manipulation)


def _video_group(name: str) -> str:
    return f"faceforensics/{name}"


def _actor_group(name: str) -> str:
    return f"faceforensics/actor{name}"
