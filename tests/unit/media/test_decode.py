"""Ordinary media, decoded in process: the child runs the same code."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from models.media import Frame, Limits, MediaStream, Request, read_in_process, sample_indices
from tests import media
from tests.media import Coding, clip

Pictures = dict[int, NDArray[np.uint8]]
ALL = Request(counts=(500,))


def _pictures(stream: MediaStream) -> Pictures:
    with stream:
        return {frame.index: frame.pixels.copy() for frame in stream.frames()}


def _decoded(data: bytes, count: int = 500) -> Pictures:
    return _pictures(read_in_process(data, Request(counts=(count,))))


def _first(data: bytes, limits: Limits | None = None) -> NDArray[np.uint8]:
    return _pictures(read_in_process(data, Request(counts=(1,)), limits))[0]


_OPEN_HEVC = {"x265-params": "open-gop=1:bframes=3:log-level=none"}
CODINGS = {
    "h264, closed groups": Coding(gop=10, b_frames=0),
    "h264, b-frames": Coding(gop=12, b_frames=3),
    "h264, open groups": Coding(gop=10, b_frames=3, options={"x264-params": "open-gop=1:b-pyramid=normal"}),
    "h264, one group": Coding(gop=250, b_frames=2),
    "h264, groups of two": Coding(gop=2, b_frames=1),
    "h264 in matroska": Coding("matroska", gop=10, b_frames=2),
    "h264 in avi": Coding("avi", gop=10, b_frames=2),
    "hevc, open groups": Coding(
        codec="libx265", gop=10, options={"x265-params": "open-gop=1:bframes=3:log-level=none"}
    ),
    "hevc, ten bits": Coding(codec="libx265", pix_fmt="yuv420p10le"),
    "vp8 with hidden frames": Coding("webm", "libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "10"}),
    "vp9": Coding("webm", "libvpx-vp9", options={"deadline": "realtime"}),
    "vp9 without an index": Coding("webm", "libvpx-vp9", container_options={"live": "1"}),
    "mpeg4 in avi": Coding("avi", "mpeg4", b_frames=2),
    "mjpeg in avi": Coding("avi", "mjpeg", pix_fmt="yuvj420p"),
    "fragmented mp4": Coding(b_frames=2, container_options={"movflags": "frag_keyframe+empty_moov"}),
}


@pytest.mark.parametrize("coding", CODINGS.values(), ids=CODINGS.keys())
def test_sampled_pictures_are_those_of_a_full_decode(coding: Coding) -> None:
    data = clip(60, coding=coding)
    every = _decoded(data)
    assert [media.number_in(every[number]) for number in sorted(every)] == list(range(60))
    for count in (1, 2, 7, 23):
        some = _decoded(data, count)
        assert list(some) == sample_indices(60, count).tolist()
        assert all(np.array_equal(some[number], every[number]) for number in some)


def test_all_pictures_are_those_that_ffmpeg_decodes() -> None:
    data = clip(30, coding=Coding(b_frames=2))
    with av.open(io.BytesIO(data), "r") as container:
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    pictures = _decoded(data)
    assert len(pictures) == len(expected)
    assert all(np.array_equal(pictures[number], expected[number]) for number in pictures)


def test_sparse_samples_of_a_long_clip_cost_a_fraction_of_it() -> None:
    data = clip(600, 64, 48, Coding(gop=12))
    with read_in_process(data, Request(counts=(32,))) as stream:
        assert len(list(stream.frames())) == 32
    assert stream.report.frames_decoded <= 0.35 * 600


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (180, 2), (-90, 3)])
def test_rotated_pictures_stand_upright(rotation: int, turns: int) -> None:
    plain, rotated = clip(3), clip(3, coding=Coding(rotation=rotation))
    assert np.array_equal(_first(rotated), np.rot90(_first(plain), turns))
    with read_in_process(rotated, ALL) as stream:
        height, width = _first(rotated).shape[:2]
        assert (stream.probe.width, stream.probe.height) == (width, height)


def test_mirrored_pictures_are_mirrored_back() -> None:
    assert np.array_equal(_first(clip(3, coding=Coding(mirrored=True))), _first(clip(3))[:, ::-1])


@pytest.mark.parametrize("container", ["mp4", "matroska"])
def test_times_are_those_of_the_packets_when_the_rate_varies(container: str) -> None:
    times_ms = [0, 40, 50, 200, 1000, 1033, 1100]
    with read_in_process(media.variable_rate(times_ms, container), ALL) as stream:
        frames = [(frame.index, round(frame.t_s * 1000)) for frame in stream.frames()]
    assert frames == list(enumerate(times_ms))


def test_times_start_at_zero_when_the_file_starts_later() -> None:
    with read_in_process(clip(4, times_ms=[5000, 5100, 5200, 5300]), ALL) as stream:
        assert [round(frame.t_s, 3) for frame in stream.frames()] == [0.0, 0.1, 0.2, 0.3]
    assert 0.3 < stream.probe.duration_s <= 0.4


def test_a_trimmed_clip_shows_what_its_edit_list_shows() -> None:
    with read_in_process(media.trimmed(5, 10), ALL) as stream:
        frames = [(media.number_in(frame.pixels), round(frame.t_s * 30)) for frame in stream.frames()]
    assert frames[:9] == [(5 + number, number) for number in range(9)]
    assert len(frames) in {9, 10}  # the edit list counts in milliseconds


@pytest.mark.parametrize("size", [(161, 97), (33, 17), (2, 2)])
def test_odd_sizes_keep_every_pixel(size: tuple[int, int]) -> None:
    picture = np.full((size[1], size[0], 3), 128, np.uint8)
    data = media.clip_from_frames([picture], Coding(pix_fmt="yuv444p"))
    assert _first(data).shape == picture.shape


COLOURS = {
    "standard definition that does not say": (Coding(), 96),
    "high definition that does not say": (Coding(), 720),
    "BT.709": (Coding(colorspace=1, color_range=1), 96),
    "BT.601": (Coding(colorspace=5, color_range=1), 720),
    "full range": (Coding(colorspace=1, color_range=2), 96),
    "ten bits": (Coding(colorspace=1, color_range=1, pix_fmt="yuv420p10le"), 96),
}


@pytest.mark.parametrize(("coding", "height"), COLOURS.values(), ids=COLOURS.keys())
def test_colours_survive_their_matrix_and_range(coding: Coding, height: int) -> None:
    colour = (200, 40, 90)
    if coding.colorspace is None:  # written with the matrix that such a height implies, but without saying so
        picture = _as_709(colour, height) if height >= 720 else np.full((height, 160, 3), colour, np.uint8)
    else:
        picture = np.full((height, 160, 3), colour, np.uint8)
    decoded = _first(media.clip_from_frames([picture], coding))
    assert np.abs(decoded.astype(int) - colour).max() <= 5


def _as_709(colour: tuple[int, int, int], height: int) -> NDArray[np.uint8]:
    """A picture that the encoder's BT.601 matrix turns into the YCbCr values BT.709 has for this colour."""
    rgb = av.VideoFrame.from_ndarray(np.full((height, 160, 3), colour, np.uint8), format="rgb24")
    yuv = rgb.reformat(format="yuv444p", dst_colorspace=1, dst_color_range=1)
    return np.asarray(yuv.reformat(format="rgb24", src_colorspace=5, src_color_range=1).to_ndarray(), np.uint8)


def test_pixels_that_are_not_square_become_square() -> None:
    assert _first(clip(1, 160, 96, Coding(aspect=Fraction(4, 3)))).shape == (96, 213, 3)


def test_an_absurd_pixel_shape_is_ignored() -> None:
    assert _first(clip(1, 160, 96, Coding(aspect=Fraction(100, 1)))).shape == (96, 160, 3)


def test_interlaced_pictures_are_woven_without_combing_however_sparse() -> None:
    data = media.interlaced(12)
    every, some = _decoded(data), _decoded(data, 4)
    assert len(every) == 12
    for pixels in every.values():
        assert np.abs(np.diff(pixels[40:150, :, 0].astype(int), axis=0)).max() < 100
    assert all(np.array_equal(some[number], every[number]) for number in some)


def test_large_pictures_are_scaled_to_the_working_side() -> None:
    with read_in_process(clip(2, 400, 240), ALL, Limits(working_side=200)) as stream:
        assert [frame.pixels.shape for frame in stream.frames()] == [(120, 200, 3)] * 2
    probe = stream.probe
    assert (probe.width, probe.height, probe.frame_width, probe.frame_height) == (400, 240, 200, 120)


def test_a_resolution_that_changes_midway_is_scaled_to_the_first() -> None:
    pictures = _decoded(media.resized_midway(20))
    assert [pictures[number].shape for number in sorted(pictures)] == [(96, 160, 3)] * 20


def test_a_cover_picture_is_not_the_video() -> None:
    with read_in_process(media.with_cover(10), ALL) as stream:
        assert (stream.probe.codec, stream.probe.width, stream.probe.frames_total) == ("h264", 160, 10)


def test_the_larger_of_two_videos_is_read() -> None:
    with read_in_process(media.with_two_videos(10), ALL) as stream:
        assert stream.probe.width == 192


def test_one_picture_is_a_video() -> None:
    with read_in_process(clip(1), Request(counts=(16,))) as stream:
        assert [(frame.index, frame.t_s) for frame in stream.frames()] == [(0, 0.0)]
    assert stream.probe.duration_s > 0


def test_length_is_counted_where_the_file_does_not_say() -> None:
    with read_in_process(media.live_webm(30), ALL) as stream:
        assert (stream.probe.frames_total, round(stream.probe.duration_s, 1)) == (30, 1.0)


def test_a_broken_picture_is_skipped_and_counted() -> None:
    jpegs = clip(60, coding=Coding("mov", "mjpeg", pix_fmt="yuvj420p"))
    data = _without_jpeg_header(jpegs, 30)
    with read_in_process(data, ALL) as stream:
        numbers = [frame.index for frame in stream.frames()]
    assert numbers == [number for number in range(60) if number != 30]
    assert stream.report.frames_broken == 1


@pytest.mark.parametrize("limits", [Limits(), Limits(max_decoded_pixels=160 * 96 * 30)], ids=["ample", "tight"])
def test_a_broken_picture_among_sparse_ones_costs_only_itself(limits: Limits) -> None:
    data = _without_jpeg_header(clip(60, coding=Coding("mov", "mjpeg", pix_fmt="yuvj420p")), 30)
    with read_in_process(data, Request(counts=(3,)), limits) as stream:
        assert [media.number_in(frame.pixels) for frame in stream.frames()] == [0, 59]
    assert stream.report.frames_broken == 1


def _without_jpeg_header(data: bytes, number: int) -> bytes:
    at = -1
    for _ in range(number + 1):
        at = data.index(b"\xff\xd8\xff", at + 1)
    return data[:at] + bytes(700) + data[at + 700 :]


def test_pixels_are_valid_until_the_next_frame_and_hold_their_number() -> None:
    with read_in_process(clip(20), Request(counts=(5,))) as stream:
        seen = [(frame.index, media.number_in(frame.pixels)) for frame in stream.frames() if isinstance(frame, Frame)]
    assert seen == [(0, 0), (5, 5), (10, 10), (14, 14), (19, 19)]
