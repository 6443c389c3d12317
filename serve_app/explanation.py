"""`unmask analyze --explain FOLDER`: the pictures of an answer as files."""

import base64
from collections.abc import Iterator
from pathlib import Path

from serve_app.analysis import Failure, Printer
from serve_app.schemas import VerdictBody
from serve_app.terminal import Refused

SUFFIXES = {"data:image/jpeg;base64": ".jpg", "data:image/png;base64": ".png"}


def writing(folder: Path, show: Printer) -> Printer:
    """A printer that also writes each result's pictures, into a folder of its own below `folder`."""

    def shown(path: Path, result: VerdictBody | Failure) -> None:
        if isinstance(result, VerdictBody):
            write(folder / f"{path.stem}-{result.media.sha256[:8]}", result)
        show(path, result)

    return shown


def folder_for(folder: Path) -> Path:
    """The folder, made if it is not there; raises `Refused`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{folder} cannot be made: {error.strerror}.") from error
    return folder


def write(folder: Path, result: VerdictBody) -> None:
    """Write thumbnails, heatmaps and crops over those of an earlier run; raises `Refused` where that cannot be."""
    folder_for(folder)
    for name, uri in _pictures(result):
        head, _, content = uri.partition(",")
        path = folder / (name + SUFFIXES[head])
        try:
            path.write_bytes(base64.b64decode(content))
        except OSError as error:
            raise Refused(f"{path} cannot be written: {error.strerror}.") from error


def _pictures(result: VerdictBody) -> Iterator[tuple[str, str]]:
    """Names without suffix, and `data:` URIs."""
    yield from ((f"face-{face.track}", face.thumbnail) for face in result.faces if face.thumbnail)
    for found in result.evidence.maps:
        who = "frame" if found.track is None else f"face-{found.track}"
        name = f"{who}-{found.t_s:07.3f}s-{found.detector}"
        yield f"{name}-{found.method}", found.heatmap
        yield f"{name}-crop", found.crop
