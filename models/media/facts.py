"""What comes out of a decode, in order: one Probe, the Frames, the Sound in blocks, one Report.

Where a scene is drawn: the Pieces of the file that shows it, then one Report.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted of one piece of media.

    Attributes:
        counts: how many frames each view wants, spread evenly; the union is decoded once. Empty: no pictures.
        audio: whether the sound track is wanted.
        threads: decoder threads.
        fault: for tests only, what the child does instead of decoding: `segv`, `abort`, `hang`, `spin`, `memory`,
            `babble`, `escape`. It is set by Python callers; nothing that comes over HTTP or in media reaches it.
        scene_bytes: size of a scene in the ring's first slot, to be drawn into the media instead of handing out
            frames; 0 for none.
    """

    counts: tuple[int, ...] = ()
    audio: bool = False
    threads: int = 2
    fault: str = ""
    scene_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Probe:
    """What the file is, counted from its packets rather than believed from its header.

    Attributes:
        container: `mp4`, `mov`, `webm`, `matroska`, `avi`, or an audio container.
        codec: codec id of the pictures; empty if there are none.
        duration_s: presentation time of the pictures, or of the sound if there are no pictures.
        width, height: of the upright picture in square pixels, before scaling to the working size.
        frame_width, frame_height: of the frames handed out.
        fps: frames divided by duration.
        frames_total: frames that the file presents.
        audio_codec: codec id of the sound track; empty if there is none.
        audio_s: length of the sound track; 0 if there is none or its codec is not on the allow-list.
    """

    container: str
    codec: str = ""
    duration_s: float = 0.0
    width: int = 0
    height: int = 0
    frame_width: int = 0
    frame_height: int = 0
    fps: float = 0.0
    frames_total: int = 0
    audio_codec: str = ""
    audio_s: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture.

    Attributes:
        index: position in display order, counted from 0 over all frames of the file.
        t_s: presentation time; the file's first frame is at 0.
        pixels: `(H, W, 3)` uint8 RGB, upright, square pixels, full range; read-only and valid until the next frame
            is asked for: copy what must live longer.
    """

    index: int
    t_s: float
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A block of the sound track: `(S,)` float32 mono at 16 kHz, valid until the next block is asked for."""

    samples: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Report:
    """What the decode took.

    Attributes:
        frames_decoded: pictures decoded, wanted or only needed to reach a wanted one.
        frames_broken: wanted pictures that could not be decoded and are missing among the frames.
        probe_s: seconds until the file was understood and planned.
        decode_s: seconds of decoding after that, without the time spent waiting for the consumer.
    """

    frames_decoded: int = 0
    frames_broken: int = 0
    probe_s: float = 0.0
    decode_s: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """The next `(S,)` uint8 bytes of a file in which a scene was drawn, valid until the next piece is asked for."""

    data: NDArray[np.uint8]


Event = Probe | Frame | Sound | Piece | Report
