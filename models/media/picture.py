"""From a decoded picture to upright RGB in square pixels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

Numbered = tuple[int, VideoFrame]  # display index, picture

_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_HD_HEIGHT = 720  # from here on, video that does not say is BT.709; below, BT.601 (what every player assumes)
MAX_STRETCH = 8  # a sample aspect ratio beyond this is a damaged header, not an anamorphic lens


@dataclass(frozen=True, slots=True)
class Orientation:
    """How the picture must be turned to stand upright: transposed first, then mirrored."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def of(cls, frame: VideoFrame) -> "Orientation":
        """Read from the frame's display matrix, to the nearest quarter turn (ISO/IEC 14496-12, 8.2.2)."""
        side_data: Any = frame.side_data  # its stub is an untyped Mapping
        data = side_data.get(SideDataType.DISPLAYMATRIX)
        if data is None:
            return cls()
        a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(transpose=False, flip_x=a < 0, flip_y=d < 0)
        return cls(transpose=True, flip_x=c < 0, flip_y=b < 0)

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture upright, as a view: `(H, W, 3)` or, when transposed, `(W, H, 3)`. No pixel is copied."""
        upright = pixels.transpose(1, 0, 2) if self.transpose else pixels
        return upright[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]


class Upright:
    """Turns decoded pictures into RGB of one size. Made from the first picture, used for all.

    Attributes:
        size_wh: of the upright picture in square pixels, not scaled.
        frame_size_wh: of the pictures handed out; the longest side is at most `working_side`.
    """

    def __init__(self, first: VideoFrame, aspect: float, working_side: int) -> None:
        self._orientation = Orientation.of(first)
        self._reformatter = VideoReformatter()
        stretch = aspect if 1 / MAX_STRETCH <= aspect <= MAX_STRETCH else 1.0
        width, height = max(1, round(first.width * stretch)), first.height
        scale = min(1.0, working_side / max(width, height))
        self._coded_wh = max(1, round(width * scale)), max(1, round(height * scale))
        self.size_wh = self._turned(width, height)
        self.frame_size_wh = self._turned(*self._coded_wh)

    def pixels(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """The picture as `(H, W, 3)` uint8 RGB, full range: a view, possibly mirrored or transposed.

        A picture whose size differs from the first one's (the resolution changed within the stream) is scaled to it.
        """
        width, height = self._coded_wh
        rgb = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=colorspace(frame),
            dst_color_range=ColorRange.JPEG,
            threads=1,  # the conversion takes 0.4 ms at 720p; the cores are busy decoding
        )
        return self._orientation.apply(_rows(rgb))

    def _turned(self, width: int, height: int) -> tuple[int, int]:
        return (height, width) if self._orientation.transpose else (width, height)


def copy_pixels(source: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
    """Copy `(H, W, 3)`. A turned picture goes channel by channel, which numpy does three times faster."""
    if source.strides[1:] == (3, 1):
        np.copyto(target, source)
        return
    for channel in range(3):
        target[..., channel] = source[..., channel]


def deinterlaced(frames: Iterable[Numbered], wanted: frozenset[int]) -> Iterator[Numbered]:
    """Only the wanted frames, without combing.

    Args:
        frames: (display index, frame), increasing, with the neighbours of every wanted frame.
        wanted: display indices.
    """
    trio: list[Numbered] = []
    for item in frames:
        trio = [*trio[-2:], item]
        if len(trio) > 1 and trio[-2][0] in wanted:
            yield _without_combing(trio, trio[-2][0])
    if trio and trio[-1][0] in wanted:
        yield _without_combing(trio[-2:], trio[-1][0])


def _without_combing(near: list[Numbered], index: int) -> Numbered:
    """The bwdif filter over a frame and its neighbours: the same result however sparsely frames are wanted."""
    near = [item for item in near if abs(item[0] - index) <= 1]
    position = [number for number, _ in near].index(index)
    frame = near[position][1]
    if not frame.interlaced_frame or any(_shape(other) != _shape(frame) for _, other in near):
        return index, frame
    graph = _bwdif(frame)
    for number, other in near:
        other.pts = number  # the filter needs times, and the file's own may be missing
        graph.push(other)
    graph.push(None)
    return index, list(_drained(graph))[position]


def _bwdif(frame: VideoFrame) -> Graph:
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1))
    filter_ = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    graph.link_nodes(source, filter_, graph.add("buffersink")).configure()
    return graph


def _drained(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.error.EOFError, av.error.BlockingIOError):
            return


def _shape(frame: VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


def colorspace(frame: VideoFrame) -> int:
    """The colour space of a frame (AVColorSpace); by its height where the file does not say."""
    if frame.colorspace != _UNSPECIFIED:
        return frame.colorspace
    return int(Colorspace.ITU709 if frame.height >= _HD_HEIGHT else Colorspace.ITU601)


def _rows(rgb: VideoFrame) -> NDArray[np.uint8]:
    """The picture's own memory as an array: rows are padded, so the strides say where each begins."""
    plane: Any = rgb.planes[0]
    return np.ndarray((rgb.height, rgb.width, 3), np.uint8, buffer=plane, strides=(plane.line_size, 3, 1))
