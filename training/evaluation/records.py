"""What is kept of one item, and the file of them, `results.jsonl`: appended as items are done, read when resuming."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from training.evaluation.listing import Listed
from training.evaluation.measures import Measures

Key = tuple[str, str]
"""An item's name, and the variant of it that was analysed."""


@dataclass(frozen=True, slots=True)
class DetectorScore:
    """One detector's answer for one item: `p_fake` and the logit before calibration, both of its most fake subject.

    `basis` is what the logit rests on, which does not change with calibration; `weight` is its share in the verdict, 0
    if it is only reported; `seconds` it took, 0 where that was not recorded.
    """

    id: str
    status: str
    p_fake: float | None = None
    logit: float | None = None
    basis: str = ""
    weight: float = 1.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Record:
    """What came of one item.

    Attributes:
        name: the file's path from the manifest's folder.
        fake: its label.
        group: whose items are resampled together.
        source, manipulation: as the manifest has them; may be empty.
        variant: empty for the file as it is, else how it was degraded: `compression 3`.
        basis: what the answer rests on: the code, the catalogue's rows, the settings.
        sha256: of the file's bytes; empty if they could not be read.
        error: short name of why it was not analysed, `detail` in words; empty if it was.
        verdict, p_fake, reason: the verdict's; `p_fake` None when nothing could be scored.
        frames: how many frames have a score of their own, over all faces; of detectors that score frames.
        frame_p_fake: those scores.
        detectors: each one's answer.
        kind: video, image or audio.
        measures: what can be measured without any detector.
    """

    name: str
    fake: bool
    group: str
    source: str
    manipulation: str
    variant: str
    basis: str
    sha256: str = ""
    error: str = ""
    detail: str = ""
    verdict: str = "UNDETERMINED"
    p_fake: float | None = None
    reason: str = ""
    degraded: bool = False
    frames: int = 0
    frame_p_fake: tuple[float, ...] = ()
    detectors: tuple[DetectorScore, ...] = ()
    kind: str = ""
    measures: Measures | None = None
    seconds: float = 0.0

    @property
    def key(self) -> Key:
        """What it is of."""
        return self.name, self.variant


def blank(of: Listed, variant: str, basis: str) -> Record:
    """The record of an item of which nothing is known yet."""
    item = of.item
    return Record(of.name, item.label == "fake", of.group, item.source, item.manipulation, variant, basis)


def relabelled(record: Record, of: Listed) -> Record:
    """The same results with what the manifest says now."""
    now = blank(of, record.variant, record.basis)
    return replace(record, fake=now.fake, group=now.group, source=now.source, manipulation=now.manipulation)


def read_records(path: Path) -> dict[Key, Record]:
    """The last record of each key. A line that a killed run left half written is skipped."""
    if not path.exists():
        return {}
    found = (_record(line) for line in path.read_text("utf-8").splitlines())
    return {record.key: record for record in found if record is not None}


@contextmanager
def appending(path: Path) -> Iterator[TextIO]:
    """The file, open to append whole lines to: the rest of a half-written last line is closed off first."""
    torn = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" if torn else "")
        yield file


def append(file: TextIO, record: Record) -> None:
    """Write one record and hand it to the operating system at once."""
    file.write(json.dumps(asdict(record)) + "\n")
    file.flush()


def _record(line: str) -> Record | None:
    try:
        content: dict[str, Any] = json.loads(line)
        content["detectors"] = tuple(DetectorScore(**score) for score in content["detectors"])
        content["frame_p_fake"] = tuple(content["frame_p_fake"])
        content["measures"] = Measures(**content["measures"]) if content["measures"] else None
        return Record(**content)
    except (ValueError, TypeError, KeyError):
        return None
