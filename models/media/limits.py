"""What media may be, and how much of it: the codecs that are allowed, and the limits on one decode."""

from dataclasses import dataclass

# Codec ids. The heap overflows of 2026 (MagicYUV, FLIC, Hap, Motion Pixels) were all in decoders outside this list.
VIDEO_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mjpeg"})
AUDIO_CODECS = frozenset(
    {"aac", "mp3", "opus", "vorbis", "flac", "ac3", "pcm_u8", "pcm_s16le", "pcm_s16be", "pcm_s24le"}
    | {"pcm_s32le", "pcm_f32le", "pcm_alaw", "pcm_mulaw"}
)
# Decoders FFmpeg uses for those codec ids under another name.
DECODER_ALIASES = frozenset({"libdav1d", "libvpx", "libvpx-vp9", "mp3float", "libopus", "libvorbis"})

SAMPLE_RATE_HZ = 16_000

ACCEPTED_MEDIA = (
    "Accepted: video in MP4/MOV, WebM/Matroska or AVI with H.264, H.265, VP8, VP9, AV1, MPEG-4 or MJPEG; "
    "pictures in JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF; "
    "sound in WAV, MP3, M4A, OGG or FLAC with AAC, MP3, Opus, Vorbis, FLAC, AC-3 or PCM."
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Everything one decode may cost. A limit that is passed raises the error named beside it.

    Attributes:
        max_pixels: of one coded picture of a video (TooManyPixels). 4096 x 2304: everything phones and cameras call 4K.
        max_still_pixels: of a still picture (TooManyPixels). Phones take up to 50 million; there is only one.
        max_decoded_pixels: of all pictures that must be decoded for one request (TooManyPixels). What two cores
            decode within `wall_s` at the 330 Mpx/s measured with 1080p H.264: the refusal comes before the work.
        max_duration_s: of picture or sound (TooLong). Half an hour: beyond it, people mean to send a part.
        max_fps: frames divided by duration (TooManyFrames). Slow-motion phones write 120 or 240 and play at 30;
            above it are time bombs, whose timestamps say a million frames a second.
        max_frames_total: in the file, read or not (TooManyFrames). `max_duration_s` at `max_fps`.
        max_frames_analysed: wanted by one view (ValueError: it is the caller's mistake).
        max_streams: tracks of any kind (TooManyFrames). Broadcast files have up to ten.
        wall_s: waiting for the child (DecoderTimeout). Time in which the child waits for us is not counted.
        cpu_s: processor time of the child (DecoderTimeout). The kernel's backstop for `wall_s`, over all its threads.
        memory_bytes: address space of the child (DecoderOutOfMemory). 4096x2304 H.265 on two threads stays within
            0.4 GiB; streams with sixteen reference pictures need several times that.
        nofile: open files of the child. It needs three; the rest is slack for the C library.
        working_side: longest side of a frame handed out, in pixels; larger pictures are scaled while converting.
            Faces are searched at this size: a face of 64 pixels in 4K is still 30 pixels wide.
    """

    max_pixels: int = 4096 * 2304
    max_still_pixels: int = 51_000_000
    max_decoded_pixels: int = 20_000_000_000
    max_duration_s: float = 1800.0
    max_fps: float = 120.0
    max_frames_total: int = 216_000
    max_frames_analysed: int = 512
    max_streams: int = 16
    wall_s: float = 60.0
    cpu_s: int = 60
    memory_bytes: int = 2 * 1024**3
    nofile: int = 64
    working_side: int = 1920

    @property
    def slot_bytes(self) -> int:
        """Size of the largest frame that can be handed out, in bytes."""
        return self.working_side * self.working_side * 3
