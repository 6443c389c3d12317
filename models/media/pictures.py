"""Decoding exactly the wanted pictures of one track."""

from __future__ import annotations  # PyAV's classes are generic to the type checker only

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain

import av
from av.codec.context import ThreadType
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from models.errors import TooManyPixels
from models.media.container import Media, check_pixels, decoder_options
from models.media.picture import Numbered
from models.media.plan import Ints, PacketIndex, Run, plan_runs
from models.media.walk import Walk


class Pictures:
    """The picture track of an open file.

    Attributes:
        decoded: pictures decoded so far.
        missing: wanted pictures that could not be decoded.
    """

    def __init__(self, media: Media, walk: Walk, threads: int) -> None:
        self._media, self._walk, self._threads = media, walk, threads
        self._index: PacketIndex = walk.index
        self._position_of = {int(pts): position for position, pts in enumerate(walk.index.pts)}
        order = walk.index.display_order()
        self._number_of = {int(walk.index.pts[position]): number for number, position in enumerate(order)}
        self._size = _coded_pixels(media)
        self._pixels_left = media.limits.max_decoded_pixels
        self.decoded = 0
        self.missing = 0

    def frames(self, wanted: Ints) -> Iterator[Numbered]:
        """The wanted pictures, each with its display index, increasing. Those that cannot be decoded are counted.

        Args:
            wanted: display indices, increasing.

        Raises:
            TooManyPixels: reaching them means decoding more than the limit.
        """
        runs = plan_runs(self._index, wanted)
        self._check_cost(runs)
        left = deque(wanted.tolist())
        for run in runs if len(runs) > 1 or (runs and runs[0].first) else ():
            yield from self._strict(run, left)
            if left and left[0] <= run.indices[-1]:
                if self._affordable(runs[-1].last + 1):
                    break
                self._give_up(run, left)
        if left:
            yield from self._lenient(left, runs[-1].last)

    def _strict(self, run: Run, left: deque[int]) -> Iterator[Numbered]:
        """One run, up to the first wanted picture that does not come out of it."""
        for number, frame in self._numbered(self._seek(run.first), run.last):
            if number == left[0]:
                left.popleft()
                yield number, frame
            if not left or number > left[0] or left[0] > run.indices[-1]:
                return

    def _lenient(self, left: deque[int], last: int) -> Iterator[Numbered]:
        """What is left, decoded from the very beginning; what does not come out of that either is broken."""
        for number, frame in self._numbered(self._seek(0), last):
            while left and left[0] < number:
                left.popleft()
                self.missing += 1
            if left and left[0] == number:
                left.popleft()
                yield number, frame
            if not left:
                return
        self.missing += len(left)

    def _numbered(self, packets: Iterable[tuple[int, Packet[VideoStream]]], last: int) -> Iterator[Numbered]:
        """Decode up to a position, then drain. A frame is known by its timestamp, or else by being counted."""
        for count, frame in enumerate(self._decoded(packets, last)):
            number = count if not self._index.exact else self._known(frame.pts)
            if number is not None and not frame.is_corrupt:
                yield number, frame

    def _known(self, pts: int | None) -> int | None:
        return None if pts is None else self._number_of.get(pts)

    def _decoded(self, packets: Iterable[tuple[int, Packet[VideoStream]]], last: int) -> Iterator[VideoFrame]:
        video = self._media.require_video()
        for position, packet in packets:
            if position > last:
                break
            yield from self._feed(video, packet)
        yield from self._feed(video, None)

    def _feed(self, video: VideoStream, packet: Packet[VideoStream] | None) -> Iterator[VideoFrame]:
        try:
            frames = video.codec_context.decode(packet)
        except MemoryError:
            raise
        except av.error.FFmpegError:
            return  # a broken packet costs its own picture; whoever wanted it will miss it
        for frame in frames:
            self.decoded += 1
            self._spend(frame)
            yield frame

    def _seek(self, first: int) -> Iterator[tuple[int, Packet[VideoStream]]]:
        """Packets with their positions, from `first` or an earlier key frame; from the beginning if seeking fails."""
        targets = {int(self._index.pts[first]), int(self._walk.dts[first])} if self._index.exact else set()
        for timestamp in sorted(targets, reverse=True):
            packets = self._landing(timestamp)
            head = next(packets, None)
            if head is not None and head[0] <= first:
                return chain((head,), packets)
        self._media.restart()
        return enumerate(self._media.packets(self._configured()))

    def _landing(self, timestamp: int) -> Iterator[tuple[int, Packet[VideoStream]]]:
        """Packets from where the container takes us, if that is a place we know."""
        video = self._configured()
        try:
            self._media.seek(video, timestamp)
        except av.error.FFmpegError:
            return
        packets = self._media.packets(video)
        head = next(packets, None)
        position = self._position_of.get(head.pts) if head is not None and head.pts is not None else None
        if head is not None and position is not None:
            yield from enumerate(chain((head,), packets), start=position)

    def _configured(self) -> VideoStream:
        video = self._media.require_video()
        context = video.codec_context
        if not context.is_open:
            context.options = decoder_options(self._media.limits)
            context.thread_type = ThreadType.AUTO
            context.thread_count = self._threads
        return video

    def _spend(self, frame: VideoFrame) -> None:
        check_pixels(frame.width, frame.height, self._media.limits.max_pixels)
        self._pixels_left -= frame.width * frame.height
        if self._pixels_left < 0:
            limit = self._media.limits.max_decoded_pixels
            raise TooManyPixels(f"More than {limit / 1e9:.1f} billion pixels had to be decoded.")

    def _affordable(self, pictures: int) -> bool:
        return pictures * self._size <= self._pixels_left

    def _give_up(self, run: Run, left: deque[int]) -> None:
        """Starting over would cost more than is allowed: the rest of this run is missing."""
        while left and left[0] <= run.indices[-1]:
            left.popleft()
            self.missing += 1

    def _check_cost(self, runs: tuple[Run, ...]) -> None:
        cost = sum(run.cost for run in runs)
        if not self._affordable(cost):
            accepted = f"Accepted: up to {self._pixels_left / 1e9:.1f}: send a shorter part or smaller pictures."
            raise TooManyPixels(f"{cost * self._size / 1e9:.1f} billion pixels would have to be decoded.", accepted)


def _coded_pixels(media: Media) -> int:
    context = media.video.codec_context if media.video is not None else None
    return 0 if context is None else context.width * context.height
