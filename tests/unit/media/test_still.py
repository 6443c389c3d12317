"""Still pictures: the right pixels whatever the format, and named errors whatever the damage."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from models import errors
from models.media import Limits, MediaStream, Request, read, read_in_process
from tests.media import clip, gradient, number_in, still

Picture = NDArray[np.uint8]
ONE = Request(counts=(4,))
UPRIGHT = gradient()

FORMATS: dict[str, tuple[str, dict[str, Any], float]] = {
    "jpeg": ("jpeg", {"quality": 95}, 2),
    "progressive jpeg": ("jpeg", {"quality": 95, "progressive": True}, 2),
    "png": ("png", {}, 0),
    "webp, lossless": ("webp", {"lossless": True}, 0),
    "webp": ("webp", {"quality": 95}, 3),
    "gif": ("gif", {}, 8),
    "bmp": ("bmp", {}, 0),
    "tiff": ("tiff", {}, 0),
    "tiff, lzw": ("tiff", {"compression": "tiff_lzw"}, 0),
    "tiff, jpeg": ("tiff", {"compression": "jpeg", "quality": 95}, 2),
    "tiff, big": ("tiff", {"big_tiff": True}, 0),
    "heic": ("heic", {"quality": 95}, 3),
    "avif": ("avif", {"quality": 95}, 3),
}
EVERY_FORMAT = pytest.mark.parametrize(("name", "options", "off"), FORMATS.values(), ids=FORMATS.keys())


def only(stream: MediaStream) -> Picture:
    """The pixels of a stream that has one frame, at time 0."""
    with stream:
        frames = [(frame.index, frame.t_s, frame.pixels.copy()) for frame in stream.frames()]
    ((index, t_s, pixels),) = frames
    assert (index, t_s) == (0, 0.0)
    return pixels


def decoded(data: bytes, limits: Limits | None = None) -> Picture:
    return only(read_in_process(data, ONE, limits))


def distance(a: Picture, b: Picture) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@EVERY_FORMAT
def test_every_format_gives_the_pixels_it_was_made_of(name: str, options: dict[str, Any], off: float) -> None:
    stream = read_in_process(still(UPRIGHT, name, **options), ONE)
    assert distance(only(stream), UPRIGHT) <= off
    probe = stream.probe
    assert (probe.container, probe.width, probe.height, probe.frames_total) == (name, 160, 96, 1)


@EVERY_FORMAT
def test_the_confined_child_decodes_every_format_alike(name: str, options: dict[str, Any], off: float) -> None:
    exif = Image.Exif()
    exif[274] = 1
    data = still(UPRIGHT, name, icc_profile=_swapped_profile(), exif=exif.tobytes(), **options)
    del off
    assert np.array_equal(only(read(data, ONE)), decoded(data))


def test_what_no_view_wants_to_see_is_not_handed_out() -> None:
    with read_in_process(still(UPRIGHT), Request(audio=True)) as stream:
        assert list(stream.frames()) == []
        assert stream.audio() is None
    assert (stream.probe.width, stream.probe.height) == (160, 96)


# How a picture is stored that each value of the EXIF tag turns upright (CIPA DC-008, 4.6.4 A).
STORED: dict[int, Callable[[Picture], Picture]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff", "heic", "avif"])
def test_a_picture_is_turned_upright(name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    stored = np.ascontiguousarray(STORED[orientation](UPRIGHT))
    # As bytes: then HEIC, whose readers must ignore EXIF, says it in a box of its own (ISO/IEC 23008-12, 6.5.10).
    stream = read_in_process(still(stored, name, exif=exif.tobytes(), quality=95), ONE)
    assert distance(only(stream), UPRIGHT) <= 3
    assert (stream.probe.width, stream.probe.height) == (160, 96)


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0noise", b"Exif\0\0"])
def test_damaged_exif_data_leaves_the_picture_as_it_stands(exif: bytes) -> None:
    assert distance(decoded(still(UPRIGHT, exif=exif, quality=95)), UPRIGHT) <= 2


def _flat(mode: str, colour: Any) -> Image.Image:
    return Image.new(mode, (16, 16), colour)


def _palette_with_alpha() -> Image.Image:
    image = _flat("P", 1)
    image.putpalette([0, 0, 0, 200, 100, 0])
    image.info["transparency"] = 1
    return image


COLOURS: dict[str, tuple[Image.Image, str, tuple[int, int, int]]] = {
    "half transparent red": (_flat("RGBA", (255, 0, 0, 128)), "png", (255, 127, 127)),
    "fully transparent black": (_flat("RGBA", (0, 0, 0, 0)), "webp", (255, 255, 255)),
    "half transparent grey": (_flat("LA", (0, 128)), "png", (127, 127, 127)),
    "transparent entry of a palette": (_palette_with_alpha(), "gif", (255, 255, 255)),
    "transparency in tiff": (_flat("RGBA", (0, 0, 255, 128)), "tiff", (127, 127, 255)),
    "transparency in avif": (_flat("RGBA", (0, 0, 0, 0)), "avif", (255, 255, 255)),
    "transparency in heic": (_flat("RGBA", (0, 0, 0, 0)), "heic", (255, 255, 255)),
    "grey": (_flat("L", 99), "jpeg", (99, 99, 99)),
    "one bit, white": (_flat("1", 1), "png", (255, 255, 255)),
    "one bit, black": (_flat("1", 0), "tiff", (0, 0, 0)),
    "no ink": (_flat("CMYK", (0, 0, 0, 0)), "jpeg", (255, 255, 255)),
    "red in ink": (_flat("CMYK", (0, 255, 255, 0)), "jpeg", (255, 0, 0)),
    "black ink in tiff": (_flat("CMYK", (0, 0, 0, 255)), "tiff", (0, 0, 0)),
    "luma and chroma": (_flat("YCbCr", (255, 128, 128)), "tiff", (255, 255, 255)),
}


@pytest.mark.parametrize(("image", "name", "colour"), COLOURS.values(), ids=COLOURS.keys())
def test_every_kind_of_colour_becomes_rgb_on_white(image: Image.Image, name: str, colour: tuple[int, ...]) -> None:
    pixels = decoded(still(image, name))
    assert pixels.shape == (16, 16, 3)
    assert np.abs(pixels.astype(int) - colour).max() <= 2


@pytest.mark.parametrize("name", ["png", "tiff"])
def test_sixteen_bits_of_grey_are_scaled_and_not_cut_off(name: str) -> None:
    values = np.arange(256, dtype=np.uint16).reshape(16, 16)
    pixels = decoded(still(Image.fromarray(values * 257), name))
    assert np.array_equal(pixels, np.repeat(values[..., None], 3, axis=2))


def test_sixteen_bits_of_colour_keep_their_upper_byte() -> None:
    row = np.array([[0x1234, 0xABCD, 0x00FF]], ">u2").tobytes()
    pixels = decoded(_png(1, 1, bits=16, rows=b"\0" + row))
    assert pixels.tolist() == [[[0x12, 0xAB, 0x00]]]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_samples_without_an_agreed_white_are_refused_by_name(mode: str) -> None:
    with pytest.raises(errors.UnsupportedMedia, match=f"mode {mode}"):
        decoded(still(_flat(mode, 7), "tiff"))


def _swapped_profile(space: bytes = b"RGB ") -> bytes:
    """sRGB with the red and green primaries exchanged: what it calls red is green to everybody else."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
    table = profile[128:400].replace(b"rXYZ", b"tmp.").replace(b"gXYZ", b"rXYZ").replace(b"tmp.", b"gXYZ")
    return profile[:16] + space + profile[20:128] + table + profile[400:]


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff", "heic", "avif"])
def test_an_embedded_profile_is_converted_from(name: str) -> None:
    pixels = decoded(still(_flat("RGB", (255, 0, 0)), name, icc_profile=_swapped_profile()))
    assert pixels[8, 8, 0] < 60
    assert pixels[8, 8, 1] > 200


@pytest.mark.parametrize("profile", [b"noise", _swapped_profile(b"CMYK"), _swapped_profile()[:300]])
def test_a_profile_that_does_not_fit_is_ignored(profile: bytes) -> None:
    assert decoded(still(_flat("RGB", (255, 0, 0)), "png", icc_profile=profile)).max(axis=(0, 1)).tolist() == [
        255,
        0,
        0,
    ]


@pytest.mark.parametrize("name", ["gif", "png", "webp", "tiff", "avif"])
def test_the_first_of_several_pictures_is_handed_out_and_all_are_counted(name: str) -> None:
    others = [Image.fromarray(np.full_like(UPRIGHT, level)) for level in (0, 128, 255)]
    stream = read_in_process(still(UPRIGHT, name, save_all=True, append_images=others), ONE)
    assert distance(only(stream), UPRIGHT) < 8
    assert stream.probe.frames_total == 4


def test_damage_in_a_later_picture_does_not_cost_the_first() -> None:
    data = still(UPRIGHT, "gif", save_all=True, append_images=[Image.fromarray(UPRIGHT[::-1].copy())])
    assert distance(decoded(data[: len(data) * 3 // 4]), UPRIGHT) < 8


def test_large_pictures_are_scaled_to_the_working_side_and_tell_their_size() -> None:
    stream = read_in_process(still(gradient(400, 240)), ONE, Limits(working_side=200))
    assert distance(only(stream), gradient(200, 120)) < 3
    probe = stream.probe
    assert (probe.width, probe.height, probe.frame_width, probe.frame_height) == (400, 240, 200, 120)


def test_a_thread_of_a_picture_is_scaled_to_at_least_one_pixel() -> None:
    assert decoded(still(gradient(5000, 1), "png"), Limits(working_side=100)).shape == (1, 100, 3)


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    film, picture = tmp_path / "film.jpg", tmp_path / "picture.mp4"
    film.write_bytes(clip(3))
    picture.write_bytes(still(UPRIGHT))
    with read(film, Request(counts=(3,))) as stream:
        assert [number_in(frame.pixels) for frame in stream.frames()] == [0, 1, 2]
    with read(picture, ONE) as stream:
        assert stream.probe.container == "jpeg"


def test_a_film_behind_a_picture_is_not_seen() -> None:
    assert distance(decoded(still(UPRIGHT, quality=95) + clip(3)), UPRIGHT) <= 2


# Damage.


@EVERY_FORMAT
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_picture_that_was_cut_is_truncated(name: str, options: dict[str, Any], off: float, share: float) -> None:
    data = still(UPRIGHT, name, **options)
    del off
    with pytest.raises(errors.TruncatedMedia, match="cut"):
        decoded(data[: round(len(data) * share)])


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "heic", "avif"])
def test_a_whole_picture_of_noise_is_corrupt(name: str) -> None:
    data = still(UPRIGHT, name)
    start, end = data.find(b"mdat") + 4 if name in {"heic", "avif"} else 64, len(data) - 16
    noise = np.random.default_rng(3).integers(0, 128, end - start, np.uint8).tobytes()
    with pytest.raises(errors.CorruptMedia):
        decoded(data[:start] + noise + data[end:])


@EVERY_FORMAT
def test_flipped_bits_end_in_pixels_or_in_a_named_error(name: str, options: dict[str, Any], off: float) -> None:
    whole, rng = still(UPRIGHT, name, **options), np.random.default_rng(11)
    del off
    for _ in range(12):
        data = np.frombuffer(whole, np.uint8).copy()
        at = rng.integers(0, len(data), rng.integers(1, 8))
        data[at] ^= (1 << rng.integers(0, 8, len(at))).astype(np.uint8)
        try:
            assert only(read(data, ONE)).shape[2] == 3
        except errors.DecoderCrashed:
            raise
        except errors.MediaError as error:
            assert str(error).strip()  # noqa: PT017 (either outcome is right)


def _png(width: int, height: int, bits: int = 8, rows: bytes = b"", *extra: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    parts = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _patched(data: bytes, at: int, form: str, *values: int) -> bytes:
    return data[:at] + struct.pack(form, *values) + data[at + struct.calcsize(form) :]


def _jpeg(width: int, height: int) -> bytes:
    data = still(UPRIGHT)
    return _patched(data, data.index(b"\xff\xc0") + 5, ">HH", height, width)


def _webp(width: int, height: int) -> bytes:
    data = still(UPRIGHT, "webp", lossless=True)
    return _patched(data, 21, "<I", (width - 1) | (height - 1) << 14)


def _tiff(width: int, height: int) -> bytes:
    data = still(UPRIGHT, "tiff")
    for tag, value in ((256, width), (257, height)):
        at = data.index(struct.pack("<HH", tag, 4), 8)
        data = _patched(data, at + 8, "<I", value)
    return data


def _boxed(name: str, width: int, height: int) -> bytes:
    data = still(UPRIGHT, name)
    return _patched(data, data.index(b"ispe") + 8, ">II", width, height)


BOMBS: dict[str, Callable[[int, int], bytes]] = {
    "jpeg": _jpeg,
    "png": _png,
    "gif": lambda width, height: _patched(still(UPRIGHT, "gif"), 6, "<HH", width, height),
    "webp": _webp,
    "bmp": lambda width, height: _patched(still(UPRIGHT, "bmp"), 18, "<ii", width, height),
    "tiff": _tiff,
    "heic": lambda width, height: _boxed("heic", width, height),
    "avif": lambda width, height: _boxed("avif", width, height),
}


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS.keys())
def test_a_header_above_the_limit_is_refused_with_its_size(make: Callable[[int, int], bytes]) -> None:
    with pytest.raises(errors.TooManyPixels, match="9000x8000") as refusal:
        decoded(make(9000, 8000))
    assert "51.0 million" in refusal.value.accepted


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS.keys())
def test_a_header_of_hundreds_of_millions_of_pixels_ends_in_a_named_error(make: Callable[[int, int], bytes]) -> None:
    side = 16384 if make is _webp else 30000
    refusals = errors.TooManyPixels, errors.CorruptMedia, errors.DecoderOutOfMemory
    with pytest.raises(refusals):
        only(read(make(side, side), ONE))


def test_a_picture_of_just_the_limit_passes() -> None:
    assert decoded(still(UPRIGHT), Limits(max_still_pixels=160 * 96)).shape == (96, 160, 3)
    with pytest.raises(errors.TooManyPixels, match="160x96"):
        decoded(still(UPRIGHT), Limits(max_still_pixels=160 * 96 - 1))


def test_a_photograph_of_a_phone_is_within_the_limits() -> None:
    picture = np.full((3024, 4032, 3), 120, np.uint8)
    assert decoded(still(picture, "jpeg")).shape == (1440, 1920, 3)


def test_a_text_chunk_that_inflates_to_gigabytes_is_refused() -> None:
    bomb = zlib.compress(bytes(40 << 20), 1)
    data = _png(1, 1, 8, b"\0\1\2\3", (b"iCCP", b"x\0\0" + bomb))
    with pytest.raises(errors.CorruptMedia):
        only(read(data, ONE))


def test_refusals_name_the_accepted_pictures() -> None:
    with pytest.raises(errors.UnsupportedMedia, match="HEIC"):
        read_in_process(io.BytesIO(b"%PDF-1.7").getvalue(), ONE)
