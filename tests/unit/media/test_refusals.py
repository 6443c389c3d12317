"""Hostile and unfit media: each cause has its own named error, and says so before much work is done."""

import pickle
from collections.abc import Callable

import pytest

from models import errors
from models.media import Limits, Request, read_in_process
from models.media.container import Media
from tests import media
from tests.media import Coding, clip

_MOOV_FIRST = Coding(b_frames=2, container_options={"moov_size": "20000"})


def _half(data: bytes, share: float = 0.5) -> bytes:
    return data[: round(len(data) * share)]


REFUSALS: dict[str, tuple[Callable[[], bytes], type[errors.MediaError], str]] = {
    "empty": (lambda: b"", errors.EmptyMedia, "no bytes"),
    "text named .mp4": (lambda: b"hello world\n" * 50, errors.UnsupportedMedia, "text"),
    "a codec off the list": (lambda: clip(3, coding=Coding("matroska", "ffv1")), errors.UnsupportedMedia, "ffv1"),
    "mp4 cut before its index": (lambda: _half(clip(60)), errors.TruncatedMedia, "cut"),
    "mp4 cut after its index": (lambda: _half(clip(120, coding=_MOOV_FIRST), 0.6), errors.TruncatedMedia, "of the 120"),
    "webm cut": (lambda: _half(clip(120, coding=Coding("webm", "libvpx"))), errors.TruncatedMedia, "of the 4.0 s"),
    "avi cut": (lambda: _half(clip(120, coding=Coding("avi", "mpeg4"))), errors.TruncatedMedia, "of the 120"),
    "a header without a body": (lambda: clip(3)[:40], errors.MediaError, r"\.$"),
    "mp4 whose boxes are noise": (lambda: clip(3)[:32] + b"\0\0\0\x10\xff\xff\xff\xff" * 30, errors.MediaError, r"\.$"),
    "only a cover": (media.cover_only, errors.NoVideoStream, "neither pictures nor sound"),
    "only sound of a codec off the list": (
        lambda: media.sound_only(media.tone(0.5), "mp4", "alac"),
        errors.UnsupportedMedia,
        "alac",
    ),
    "too many pixels": (media.pixel_bomb, errors.TooManyPixels, "8192x8192"),
    "ten hours of two frames": (media.time_bomb, errors.TooLong, "36000 s"),
    "a million frames per second": (media.rate_bomb, errors.TooManyFrames, "per second"),
    "twenty tracks": (lambda: media.many_tracks(20), errors.TooManyFrames, "20 tracks"),
}


@pytest.mark.parametrize(("make", "error", "names"), REFUSALS.values(), ids=REFUSALS.keys())
def test_unfit_media_is_refused_by_name(make: Callable[[], bytes], error: type[errors.MediaError], names: str) -> None:
    data = make()
    with pytest.raises(error, match=names) as refusal, read_in_process(data, Request(counts=(16,))) as stream:
        list(stream.frames())
    assert pickle.loads(pickle.dumps(refusal.value)).detail == refusal.value.detail  # noqa: S301 (our own)


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        (Limits(max_frames_total=29), errors.TooManyFrames),
        (Limits(max_fps=29), errors.TooManyFrames),
        (Limits(max_duration_s=0.9), errors.TooLong),
        (Limits(max_pixels=160 * 96 - 1), errors.TooManyPixels),
        (Limits(max_decoded_pixels=160 * 96 * 29), errors.TooManyPixels),
    ],
)
def test_each_limit_is_kept_when_it_is_passed_by_one(limits: Limits, error: type[errors.MediaError]) -> None:
    with pytest.raises(error) as refusal, read_in_process(clip(30), Request(counts=(30,)), limits) as stream:
        list(stream.frames())
    assert refusal.value.accepted


def test_limits_that_are_just_met_pass() -> None:
    limits = Limits(
        max_frames_total=30, max_fps=30, max_duration_s=1, max_pixels=160 * 96, max_decoded_pixels=160 * 96 * 30
    )
    with read_in_process(clip(30), Request(counts=(30,)), limits) as stream:
        assert len(list(stream.frames())) == 30


def test_pictures_that_grow_past_the_limit_midway_are_refused() -> None:
    limits = Limits(max_pixels=200 * 100)
    stream = read_in_process(media.resized_midway(20), Request(counts=(20,)), limits)
    with stream, pytest.raises(errors.TooManyPixels, match="320x192"):
        list(stream.frames())


def test_more_frames_than_are_ever_handed_out_are_a_callers_mistake() -> None:
    with pytest.raises(ValueError, match="at most 8"):
        read_in_process(clip(3), Request(counts=(4, 9)), Limits(max_frames_analysed=8))


def test_asking_for_nothing_is_a_callers_mistake() -> None:
    with pytest.raises(ValueError, match="neither"):
        read_in_process(clip(3), Request())


@pytest.mark.parametrize("seed", range(40))
def test_damaged_files_end_in_frames_or_in_a_named_error(seed: int) -> None:
    data = media.broken_midway(clip(20, coding=_MOOV_FIRST), seed / 40, 60)
    try:
        with read_in_process(data, Request(counts=(20,), audio=True)) as stream:
            assert sum(1 for _ in stream.frames()) + stream.report.frames_broken <= 20
    except errors.MediaError as error:
        assert error.detail.endswith(".")  # noqa: PT017 (either outcome is right)


def test_whatever_ffmpeg_raises_becomes_one_of_our_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    def undecodable(_: Media) -> None:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    monkeypatch.setattr(Media, "walk", undecodable)
    with pytest.raises(errors.CorruptMedia, match="UnicodeDecodeError"):
        read_in_process(clip(3), Request(counts=(1,)))
