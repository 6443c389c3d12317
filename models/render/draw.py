"""One scene drawn from start to end, in whatever process it is called."""

import time
from collections.abc import Iterator
from typing import IO

import numpy as np

from models.media.container import Media
from models.media.decode import named_errors
from models.media.facts import Event, Piece, Report, Request
from models.media.limits import Limits
from models.media.sniff import HEAD_BYTES, STILLS, container_of
from models.render.film import film
from models.render.picture import picture
from models.render.scene import Scene
from models.render.spectrogram import spectrogram


def draw(file: IO[bytes], scene: bytes, request: Request, limits: Limits) -> Iterator[Event]:
    """Draw a scene into the media it was found in. The same code runs in the confined child and in process.

    Args:
        file: a real file, opened for reading.
        scene: as `Scene.to_json` gives it.
        request: how many threads decode, and as many encode.
        limits: what it may cost.

    Yields:
        The `Piece`s of one file, whose kind `content_type` tells, then one `Report`.

    Raises:
        MediaError: one of its subclasses, for every way in which media can be unfit.
    """
    started = time.perf_counter()
    with named_errors(limits):
        for data in _pieces(file, Scene.from_json(scene), request, limits):
            yield Piece(np.frombuffer(data, np.uint8))
    yield Report(decode_s=time.perf_counter() - started)


def _pieces(file: IO[bytes], scene: Scene, request: Request, limits: Limits) -> Iterator[bytes]:
    file.seek(0)
    name = container_of(file.read(HEAD_BYTES))
    if name in STILLS:
        return picture(file, name, scene, limits)
    if scene.kind == "audio":
        return spectrogram(Media(file, limits), scene)
    return film(file, scene, request, limits)
