"""Rows that need no Ray."""

from collections import deque

import numpy as np

from benchmarks.clip import SECONDS
from benchmarks.rows import Row, against_clock, in_turns
from models.detectors.catalogue import read_catalogue
from models.extraction import DECODER_THREADS, Extractor
from models.media.facts import Request
from models.media.limits import Limits
from models.media.stream import MediaStream, read, read_in_process
from models.pipeline import Pipeline
from models.render.scene import Scene
from models.render.stream import render

DECODE_BOUND = 1.10
PIPELINE_BOUND = 1.35
DRAWING_BOUND = 1.0


def decode_row(clip: bytes) -> Row:
    """Decoding in the confined child against the same code in this process, for the frames that `/analyze` wants."""
    counts = tuple({row.view.count for row in read_catalogue().rows})
    request = Request(counts=counts, threads=DECODER_THREADS)
    return in_turns(
        "decode: confined child / in process",
        lambda: drain(read(clip, request)),
        lambda: drain(read_in_process(clip, request)),
        DECODE_BOUND,
    )


def pipeline_row(clip: bytes) -> Row:
    """The whole pipeline against decoding its frames and passing its crops through the detectors, nothing else."""
    pipeline = Pipeline()
    rows = pipeline.catalogue.rows
    views = tuple(dict.fromkeys(row.view.view() for row in rows))
    _, clips = Extractor(Limits()).extract(np.frombuffer(clip, np.uint8), "", views)
    crops = [(pipeline.detector(row), np.concatenate([c.data for c in clips[row.view.view()]])) for row in rows]
    request = Request(counts=tuple(view.count for view in views), threads=DECODER_THREADS)

    def floor() -> None:
        drain(read_in_process(clip, request))
        for detector, batch in crops:
            detector.encode(batch)

    return in_turns(
        "pipeline in one process / decode + forward passes", lambda: pipeline.analyze(clip), floor, PIPELINE_BOUND
    )


def drawing_row(clip: bytes) -> Row:
    """Drawing the verdict into the clip and encoding it anew, against playing it."""
    pipeline = Pipeline()
    scene = Scene.of(pipeline.analyze(clip), pipeline.catalogue.verdict)
    return against_clock(
        f"drawing the verdict into {SECONDS} s of 720p / playing them",
        lambda: deque(render(clip, scene), maxlen=0),
        SECONDS,
        DRAWING_BOUND,
    )


def drain(stream: MediaStream) -> None:
    """Take every frame and touch its pixels."""
    with stream:
        for frame in stream.frames():
            frame.pixels[0, 0, 0].item()
