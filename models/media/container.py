"""Opening a container and walking its packets: everything that is checked before the first picture is decoded."""

from __future__ import annotations  # PyAV's classes are generic to the type checker only

from collections.abc import Iterator
from typing import IO, Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from models.errors import (
    CorruptMedia,
    MediaError,
    NoVideoStream,
    TooLong,
    TooManyFrames,
    TooManyPixels,
    TruncatedMedia,
    UnsupportedMedia,
)
from models.media.limits import (
    ACCEPTED_MEDIA,
    AUDIO_CODECS,
    DECODER_ALIASES,
    VIDEO_CODECS,
    Limits,
)
from models.media.sniff import HEAD_BYTES, container_of, format_name
from models.media.walk import Track, Walk

_READ_BYTES = 1 << 20  # FFmpeg asks Python for the file in pieces of this size; small ones cost a call each
# FFmpeg refuses pictures this many times the limit without saying how large they are; from the limit up to there,
# `check_pixels` refuses them by name.
_SLACK = 8
_BOX_HEADER = 8  # bytes: length and type
_SOUND_PACKETS_PER_S = 1000  # the shortest audio frames in use last 2.5 ms; more packets than this are a bomb


class Media:
    """An open container with its picture and sound tracks chosen and allowed.

    Attributes:
        name: what people call the container.
        video, audio: the tracks to decode; None where there is none or, for sound, where its codec is not allowed.
        audio_codec: codec id of the sound track, also of one that is not allowed.
    """

    def __init__(self, file: IO[bytes], limits: Limits) -> None:
        file.seek(0)
        head = file.read(HEAD_BYTES)
        demuxer = container_of(head)
        self.name = format_name(demuxer, head)
        self.limits = limits
        self._file, self._demuxer = file, demuxer
        self._load()
        self._check_header()

    def _load(self) -> None:
        self._container = _open(self._file, self._demuxer, self.limits)
        streams = list(self._container.streams)
        if len(streams) > self.limits.max_streams:
            accepted = f"Accepted: up to {self.limits.max_streams}."
            raise TooManyFrames(f"The file has {len(streams)} tracks.", accepted)
        self.video = _main_video(streams)
        sound = next((stream for stream in streams if isinstance(stream, AudioStream)), None)
        self.audio_codec = _codec_of(sound)
        self.audio = sound if self.audio_codec in AUDIO_CODECS else None

    @property
    def codec(self) -> str:
        """Codec id of the pictures, or the empty string."""
        return _codec_of(self.video)

    def close(self) -> None:
        """Free the demuxer and the decoders."""
        self._container.close()

    def packets(self, *streams: Stream) -> Iterator[Packet[Any]]:
        """The packets from the current position to the end, without FFmpeg's empty ones that mark the end."""
        return (packet for packet in self._container.demux(streams) if packet.size)

    def seek(self, stream: Stream, timestamp: int) -> None:
        """Go to the key frame at or before a timestamp of that track, as well as the container can; resets decoders.

        Raises:
            av.error.FFmpegError: the container cannot seek.
        """
        self._container.seek(timestamp, stream=stream)

    def restart(self) -> None:
        """Open the file again. Slower than seeking, but the beginning is certain to be the beginning."""
        self._container.close()
        self._load()

    def require_video(self) -> VideoStream:
        """The picture track.

        Raises:
            NoVideoStream: there is none.
            UnsupportedMedia: its codec is not on the allow-list.
        """
        if self.video is None:
            raise NoVideoStream(f"The {self.name} file has no moving pictures.", ACCEPTED_MEDIA)
        if self.codec not in VIDEO_CODECS:
            raise UnsupportedMedia(f"The pictures are {self.codec or 'of an unknown codec'}.", ACCEPTED_MEDIA)
        return self.video

    def require_anything(self) -> None:
        """Raises unless there is a track that can be decoded.

        Raises:
            NoVideoStream: there are neither pictures nor sound.
            UnsupportedMedia: there is only sound, and its codec is not on the allow-list.
        """
        if self.video is None and self.audio is None:
            if self.audio_codec:
                raise UnsupportedMedia(f"The sound is {self.audio_codec}.", ACCEPTED_MEDIA)
            raise NoVideoStream(f"The {self.name} file has neither pictures nor sound.", ACCEPTED_MEDIA)

    def walk(self) -> Walk:
        """Read every packet of both tracks without decoding.

        Raises:
            TooManyFrames, TooLong: the packets pass a limit.
            TruncatedMedia: the packets end before the header says.
            CorruptMedia: there is no packet at all.
        """
        frames, sound = Track(self.video), Track(self.audio)
        announced = self._announced_frames()
        for packet in self.packets(*(stream for stream in (self.video, self.audio) if stream is not None)):
            (frames if packet.stream is self.video else sound).add(packet)
            self._check_counts(len(frames), len(sound))
        walk = Walk.of(frames, sound)
        if not frames and not sound:
            raise self._nothing_inside()
        self._check_rate(walk)
        self._check_complete(walk, len(frames), announced)
        return walk

    def _check_header(self) -> None:
        stated_s = (self._container.duration or 0) / av.time_base
        self._check_duration(stated_s)
        if self.video is None or self.video.codec_context is None:
            return
        width, height = self.video.codec_context.width, self.video.codec_context.height
        check_pixels(width, height, self.limits.max_pixels)

    def _check_duration(self, seconds: float) -> None:
        limit_s = self.limits.max_duration_s
        if seconds > limit_s:
            raise TooLong(f"The media lasts {seconds:.0f} s.", f"Accepted: up to {limit_s:.0f} s.")

    def _check_counts(self, frames: int, sound_packets: int) -> None:
        limits = self.limits
        if frames > limits.max_frames_total:
            raise TooManyFrames(
                f"The video has more than {limits.max_frames_total} frames.",
                f"Accepted: up to {limits.max_frames_total}.",
            )
        if sound_packets > limits.max_duration_s * _SOUND_PACKETS_PER_S:
            raise TooManyFrames(f"The sound track has more than {sound_packets - 1} packets.")

    def _check_rate(self, walk: Walk) -> None:
        self._check_duration(max(walk.duration_s, walk.audio_s))
        frames = len(walk.times_s)
        if frames > max(1.0, walk.duration_s * self.limits.max_fps):
            claimed = frames / walk.duration_s if walk.duration_s else float("inf")
            accepted = f"Accepted: up to {self.limits.max_fps:g} on average."
            raise TooManyFrames(f"The video claims {claimed:.0f} frames per second.", accepted)

    def _announced_frames(self) -> int:
        """What the container's own index promises. An MP4's header also counts frames that its edit list leaves out."""
        if self.video is None:
            return 0
        return len(self.video.index_entries) if self._demuxer == "mov" else self.video.frames

    def _nothing_inside(self) -> MediaError:
        if (self.video is not None and self.video.frames) or self._container.duration:
            return TruncatedMedia(f"The {self.name} file announces pictures or sound and ends before the first.")
        return CorruptMedia(f"The {self.name} file holds no picture and no sound.")

    def _check_complete(self, walk: Walk, frames: int, announced: int) -> None:
        """Compare with what the header announced; a little slack, for headers are often a frame or two off."""
        if frames < announced * 0.98 - 2:
            raise TruncatedMedia(f"The file ends after {frames} of the {announced} frames it announces.")
        stated_s = (self._container.duration or 0) / av.time_base
        if walk.span_s < stated_s * 0.9 - 1:
            raise TruncatedMedia(f"The file ends after {walk.span_s:.1f} of the {stated_s:.1f} s it announces.")


def check_pixels(width: int, height: int, most: int) -> None:
    """Raise TooManyPixels for a picture above the limit."""
    if width * height > most:
        raise TooManyPixels(
            f"A picture has {width}x{height} pixels.", f"Accepted: up to {most / 1e6:.1f} million pixels."
        )


def is_cut_mp4(file: IO[bytes]) -> bool:
    """Whether an MP4's outermost boxes run past the end of the file (ISO/IEC 14496-12, 4.2)."""
    size, position = file.seek(0, 2), 0
    while position < size:
        file.seek(position)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        length = int.from_bytes(header[8:16], "big") if length == 1 else length
        if length == 0:  # "to the end of the file"
            return False
        if length < _BOX_HEADER or position + length > size:
            return position + length > size
        position += length
    return False


def _open(file: IO[bytes], demuxer: str, limits: Limits) -> InputContainer:
    file.seek(0)
    options = decoder_options(limits) | {"protocol_whitelist": "none"}
    try:
        return av.open(file, "r", format=demuxer, options=options, metadata_errors="replace", buffer_size=_READ_BYTES)
    except av.error.InvalidDataError as error:
        if demuxer == "mov" and is_cut_mp4(file):
            raise TruncatedMedia("The MP4 file ends before its index: the upload or recording was cut.") from error
        raise CorruptMedia(f"The {demuxer} file cannot be read: its header is damaged.") from error


def decoder_options(limits: Limits) -> dict[str, str]:
    """What every decoder is opened with, also the ones FFmpeg opens by itself to understand the header."""
    decoders = sorted(VIDEO_CODECS | AUDIO_CODECS | DECODER_ALIASES)
    return {"codec_whitelist": ",".join(decoders), "max_pixels": str(limits.max_pixels * _SLACK)}


def _main_video(streams: list[Stream]) -> VideoStream | None:
    """The track with the most pixels that is not a cover picture."""
    videos = [
        stream
        for stream in streams
        if isinstance(stream, VideoStream) and not stream.disposition & Disposition.attached_pic
    ]
    return max(videos, key=_pixels_of, default=None)


def _pixels_of(stream: VideoStream) -> int:
    context = stream.codec_context
    return 0 if context is None else context.width * context.height


def _codec_of(stream: Stream | None) -> str:
    if stream is None or stream.codec_context is None:
        return ""
    return stream.codec_context.codec.canonical_name
