"""Every error that media, weights or configuration can cause.

    UnmaskError
    +-- MediaError                what was sent cannot be analysed
    |   +-- EmptyMedia            no bytes at all
    |   +-- UnsupportedMedia      container or codec is not on the allow-list, or not media
    |   +-- TruncatedMedia        the file ends before its own index says
    |   +-- CorruptMedia          the right format, but nothing could be decoded
    |   +-- NoVideoStream         there are neither pictures nor sound in the file
    |   +-- MediaLimitExceeded    more pixels, seconds or frames than allowed; `code` says which
    |   +-- DecoderCrashed        the confined child died (signal)
    |   +-- DecoderTimeout        the confined child passed its wall-clock or CPU limit
    |   +-- DecoderOutOfMemory    the confined child passed its memory limit
    +-- Cancelled                 the caller went away
    +-- Overloaded                there is as much to do as is accepted; later it may pass
    +-- CatalogueError            configs/models.yaml is wrong; the row and key are named
    +-- UnknownModel              no row of the catalogue has that id
    +-- WrongSelection            a list of models names one twice, or something that is no single model
    +-- WeightsError              weights are altered, or do not fit their architecture
        +-- NotInstalled          weights are not on this machine; the command that brings them is named

Raise with one sentence that names what was wrong; `accepted` says what would be right.
"""

from typing import ClassVar


class UnmaskError(Exception):
    """Base of all errors raised by `models`. Survives pickling between processes."""

    code: ClassVar[str] = "unmask_error"

    def __init__(self, detail: str, accepted: str = "") -> None:
        super().__init__(detail, accepted)
        self.detail = detail
        self.accepted = accepted

    def __str__(self) -> str:
        return f"{self.detail} {self.accepted}".strip()


class MediaError(UnmaskError):
    """What was sent cannot be analysed."""

    code = "media_error"


class EmptyMedia(MediaError):
    """There are no bytes."""

    code = "empty_media"


class UnsupportedMedia(MediaError):
    """The container or codec is not on the allow-list, or the bytes are no media."""

    code = "unsupported_media"


class TruncatedMedia(MediaError):
    """The file ends before its own index says."""

    code = "truncated_media"


class CorruptMedia(MediaError):
    """The format is accepted but nothing could be decoded."""

    code = "corrupt_media"


class NoVideoStream(MediaError):
    """The file has neither pictures nor sound."""

    code = "no_video_stream"


class MediaLimitExceeded(MediaError):
    """The media has more pixels, seconds, frames or tracks than allowed."""

    code = "media_limit_exceeded"


class TooManyPixels(MediaLimitExceeded):
    """A frame has more pixels than allowed."""

    code = "too_many_pixels"


class TooLong(MediaLimitExceeded):
    """The media lasts longer than allowed."""

    code = "too_long"


class TooManyFrames(MediaLimitExceeded):
    """More frames, a higher frame rate, or more tracks than allowed."""

    code = "too_many_frames"


class DecoderCrashed(MediaError):
    """The confined child died of a signal."""

    code = "decoder_crashed"


class DecoderTimeout(MediaError):
    """The confined child passed its wall-clock or CPU limit."""

    code = "decoder_timeout"


class DecoderOutOfMemory(MediaError):
    """The confined child passed its memory limit."""

    code = "decoder_out_of_memory"


class Cancelled(UnmaskError):
    """The caller went away; the work was stopped."""

    code = "cancelled"


class Overloaded(UnmaskError):
    """There is as much to do as is accepted; the same request may pass later."""

    code = "busy"


class CatalogueError(UnmaskError):
    """configs/models.yaml is wrong."""

    code = "catalogue_error"


class UnknownModel(UnmaskError):
    """No row of the catalogue has that id."""

    code = "unknown_model"


class WrongSelection(UnmaskError):
    """A list of models names one twice, names none, or a mode among them."""

    code = "wrong_selection"


class WeightsError(UnmaskError):
    """Weights are missing, altered, or do not fit their architecture."""

    code = "weights_error"


class NotInstalled(WeightsError):
    """A model's weights are not on this machine."""

    code = "model_not_installed"
