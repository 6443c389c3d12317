"""Videos drawn over, in the confined child as in production."""

import io
import threading
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from models.errors import Cancelled, MediaError, TooManyPixels, TruncatedMedia
from models.media.limits import Limits
from models.render.palette import FAKE
from models.render.scene import Scene
from models.render.stream import render
from tests.media import (
    Coding,
    broken_midway,
    clip,
    clip_from_frames,
    gradient,
    interlaced,
    number_in,
    numbered_frames,
    resized_midway,
    silence,
    tone,
    trimmed,
    variable_rate,
)
from tests.scenes import bare, scene

Picture = NDArray[np.uint8]


def opened(content: bytes) -> Any:
    """A container of any kind: PyAV's stubs know neither which, nor that frames of ours have times."""
    return av.open(io.BytesIO(content))


def drawn(content: bytes, what: Scene | None = None) -> bytes:
    return b"".join(render(content, what or bare(), threads=1))


def frames_of(film: bytes) -> list[tuple[float, Picture]]:
    with opened(film) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) in {("h264", "yuv420p"), ("h264", "yuvj420p")}
        return [
            (float(frame.pts * stream.time_base), frame.to_ndarray(format="rgb24"))
            for frame in container.decode(stream)
        ]


def times_ms(film: bytes) -> list[int]:
    return [round(time_s * 1000) for time_s, _ in frames_of(film)]


def sound_of(film: bytes) -> tuple[str, list[tuple[float, bytes]]]:
    with opened(film) as container:
        stream = container.streams.audio[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        return stream.codec_context.name, [(float(packet.pts * stream.time_base), bytes(packet)) for packet in packets]


def test_every_frame_comes_back_in_order() -> None:
    film = drawn(clip_from_frames(np.roll(pixels, -60, 0) for pixels in numbered_frames(40, 320, 240)))
    painted = [number_in(np.roll(pixels, 60, 0)) for _, pixels in frames_of(film)]  # the strip covers the lower edge
    assert painted == list(range(40))


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_a_variable_rate_keeps_every_time(container: str) -> None:
    shown = [0, 33, 90, 100, 500, 533, 1500, 1533]
    assert times_ms(drawn(variable_rate(shown, container))) == shown


def test_a_constant_rate_keeps_its_exact_times() -> None:
    film = drawn(clip(12, coding=Coding(fps=25, b_frames=2)))
    assert [time_s for time_s, _ in frames_of(film)] == [number / 25 for number in range(12)]


def test_only_what_an_edit_list_shows_is_drawn() -> None:
    assert times_ms(drawn(trimmed(10, 12))) == [round(number * 1000 / 30) for number in range(12)]


@pytest.mark.parametrize(
    ("content", "size_wh"),
    [
        (clip_from_frames([gradient(160, 96)] * 3), (160, 96)),
        (clip_from_frames([gradient(161, 97)] * 3, Coding(pix_fmt="yuv444p")), (162, 98)),
        (clip_from_frames([gradient(160, 96)] * 3, Coding(rotation=90)), (96, 160)),
        (clip_from_frames([gradient(160, 96)] * 3, Coding(aspect=Fraction(2))), (320, 96)),
        (resized_midway(), (160, 96)),
        (clip(3, 32, 32), (32, 32)),
    ],
    ids=["even", "odd", "rotated", "anamorphic", "resized midway", "tiny"],
)
def test_a_film_has_the_upright_size_of_its_source_made_even(content: bytes, size_wh: tuple[int, int]) -> None:
    assert {pixels.shape[1::-1] for _, pixels in frames_of(drawn(content))} == {size_wh}


@pytest.mark.parametrize(("rotation", "mirrored"), [(0, False), (90, False), (180, False), (270, False), (0, True)])
def test_pictures_stand_upright_and_keep_their_colours(rotation: int, mirrored: bool) -> None:
    picture = gradient(320, 320)
    coding = Coding(rotation=rotation, mirrored=mirrored, options={"crf": "10"})
    _, pixels = frames_of(drawn(clip_from_frames([picture] * 2, coding)))[0]
    with opened(clip_from_frames([picture] * 2, coding)) as source:
        player = next(source.decode(video=0))
    turned = np.rot90(player.to_ndarray(format="rgb24"), round(player.rotation / 90))
    turned = turned[::-1] if mirrored else turned
    middle = slice(100, 220)
    assert np.abs(pixels[middle, middle].astype(int) - turned[middle, middle]).mean() < 4


@pytest.mark.parametrize(
    "coding",
    [
        Coding(),
        Coding(pix_fmt="yuv444p"),
        Coding(codec="libx265", pix_fmt="yuv420p10le"),
        Coding("mov", "mjpeg", pix_fmt="yuvj422p"),
        Coding(color_range=2),
    ],
    ids=["plain", "444", "ten bits", "full range 422", "full range tagged"],
)
def test_colours_look_as_before_whatever_the_pixel_format(coding: Coding) -> None:
    source = clip_from_frames([gradient(320, 320)] * 2, coding)
    with opened(source) as container:
        before = next(container.decode(video=0)).to_ndarray(format="rgb24")
    _, after = frames_of(drawn(source))[0]
    assert np.abs(after[100:220].astype(int) - before[100:220]).mean() < 4


def test_interlaced_pictures_come_back_without_combing() -> None:
    pixels = frames_of(drawn(interlaced()))[5][1][60:130, :, 0].astype(int)
    assert np.abs(np.diff(pixels, axis=0)).mean() < 3


def test_a_box_is_painted_in_the_colour_of_its_score() -> None:
    grey = [np.full((240, 320, 3), 128, np.uint8)] * 30
    _, pixels = frames_of(drawn(clip_from_frames(grey), scene()))[0]
    assert np.abs(pixels[50, 22].astype(int) - FAKE).max() < 40  # the box's left edge at time 0


def test_sound_in_aac_is_copied_byte_for_byte() -> None:
    source = clip(60, sound=tone(2))
    codec, packets = sound_of(drawn(source, bare(2)))
    assert codec == "aac"
    assert packets == sound_of(source)[1]


@pytest.mark.parametrize(
    ("container", "video", "sound"),
    [("webm", "libvpx", "libopus"), ("matroska", "libx264", "flac"), ("avi", "mpeg4", "libmp3lame")],
)
def test_other_sound_becomes_aac_of_the_same_length(container: str, video: str, sound: str) -> None:
    source = clip(60, coding=Coding(container, video), sound=tone(2), sound_codec=sound)
    codec, packets = sound_of(drawn(source, bare(2)))
    assert codec == "aac"
    assert packets[-1][0] - packets[0][0] == pytest.approx(2, abs=0.1)


def test_sound_stays_beside_the_pictures() -> None:
    late = np.concatenate([silence(1), tone(1)])
    film = drawn(clip(60, coding=Coding("matroska"), sound=late, sound_codec="flac"), bare(2))
    with opened(film) as container:
        stream = container.streams.audio[0]
        blocks = [(float(f.pts * stream.time_base), np.abs(f.to_ndarray()).max()) for f in container.decode(stream)]
    assert next(time_s for time_s, peak in blocks if peak > 0.1) == pytest.approx(1, abs=0.05)


def test_a_film_can_be_played_from_its_first_pieces() -> None:
    source = clip(300, 320, 240, Coding(options={"crf": "10"}))
    pieces = list(render(source, bare(10), threads=1))
    assert len(pieces) > 2
    with opened(b"".join(pieces[:2])) as container:
        assert next(container.decode(video=0)).key_frame


def test_broken_packets_cost_their_own_pictures_only() -> None:
    assert len(frames_of(drawn(broken_midway(clip(40), 0.5)))) >= 20


def test_a_cut_file_is_refused_before_the_first_piece() -> None:
    source = clip(40)
    with pytest.raises(TruncatedMedia):
        next(render(source[: len(source) // 2], bare()))


def test_limits_hold_for_drawing_too() -> None:
    with pytest.raises(TooManyPixels):
        next(render(clip(10), bare(), Limits(max_pixels=100)))
    with pytest.raises(TooManyPixels):
        next(render(clip(10), bare(), Limits(max_decoded_pixels=100)))


def test_a_caller_that_went_away_stops_the_work() -> None:
    cancelled = threading.Event()
    pieces = render(clip(300, 320, 240, Coding(options={"crf": "10"})), bare(10), cancelled=cancelled)
    next(pieces)
    cancelled.set()
    with pytest.raises(Cancelled):
        for _ in pieces:
            pass


def test_a_scene_is_drawn_into_nothing_but_media() -> None:
    with pytest.raises(MediaError):
        next(render(b"no media " * 100, bare()))
