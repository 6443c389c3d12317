"""Still pictures: one upright RGB picture out of a JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF file.

Pillow is told the format, never asked, so that only one of its plugins sees the file. Everything a decode imports is
imported here: the confined child can open no file.
"""

import io
import struct
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image, ImageCms, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin
from PIL.ImageFile import ImageFile

from models.errors import CorruptMedia, TooManyPixels, TruncatedMedia, UnmaskError, UnsupportedMedia
from models.media.container import check_pixels, is_cut_mp4
from models.media.facts import Event, Frame, Probe, Report, Request
from models.media.limits import ACCEPTED_MEDIA, Limits
from models.media.picture import Orientation

_THREADS = 2  # of the HEIC and AVIF decoders; left alone they take one per core of the machine
_PLUGINS = AvifImagePlugin, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin  # Pillow would import them when needed
Image.preinit()  # and these five: BMP, GIF, JPEG, PNG, PPM
AvifImagePlugin.DEFAULT_MAX_THREADS = _THREADS
pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=_THREADS)

# Tag 274 of EXIF (CIPA DC-008, 4.6.4 A): how the stored picture must be turned to stand upright.
_ORIENTATION_TAG = 274
_ORIENTATIONS = {
    2: Orientation(flip_x=True),
    3: Orientation(flip_x=True, flip_y=True),
    4: Orientation(flip_y=True),
    5: Orientation(transpose=True),
    6: Orientation(transpose=True, flip_x=True),
    7: Orientation(transpose=True, flip_x=True, flip_y=True),
    8: Orientation(transpose=True, flip_y=True),
}
_SRGB = ImageCms.createProfile("sRGB")
_ICC_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
# What is behind a transparent picture: browsers, viewers and paper are white.
_PAPER = (255, 255, 255, 255)
_DAMAGE = (OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, struct.error)
_ENDS = {"jpeg": b"\xff\xd9", "png": b"IEND\xaeB`\x82", "gif": b";"}  # the last bytes of a whole file
_STRIPS = (273, 279), (324, 325)  # tags of TIFF 6.0: offsets and byte counts of strips, and of tiles
_BIG_TIFF = 43  # the version of a BigTIFF file, whose header is twice as long


def still_events(file: IO[bytes], name: str, request: Request, limits: Limits) -> Iterator[Event]:
    """Decode a still picture: the first one, where the file holds several.

    Args:
        file: opened for reading.
        name: its format, as `sniff` tells.
        request: with any count, the picture is handed out; without, only what it is.
        limits: what it may cost.

    Yields:
        One `Probe`; one `Frame` at time 0 if it is wanted; one `Report`.

    Raises:
        TooManyPixels: by the header, before anything is decoded.
        TruncatedMedia, CorruptMedia: it cannot be decoded.
        UnsupportedMedia: its samples have no agreed meaning as RGB.
    """
    started = time.perf_counter()
    file.seek(0)
    data = file.read()
    with _named_errors(name, data):
        image = _opened(data, name, limits)
        opened = time.perf_counter()
        rgb = np.asarray(_rgb(image, limits.working_side), np.uint8)
        orientation = _orientation(image)  # after loading: TIFF's plugin turns the picture itself, PNG's reads it late
        pixels = orientation.apply(rgb)
        probe = _probe(image, name, orientation, pixels)
        report = Report(1, 0, probe_s=opened - started, decode_s=time.perf_counter() - opened)
    yield probe
    if request.counts:
        yield Frame(0, 0.0, pixels)
    yield report


@contextmanager
def _named_errors(name: str, data: bytes) -> Iterator[None]:
    """Whatever Pillow raises, as one of our own errors; what it warns of is decided here."""
    with warnings.catch_warnings(action="ignore"):
        try:
            yield
        except (UnmaskError, MemoryError):
            raise
        except Image.DecompressionBombError as error:
            raise TooManyPixels("A picture has hundreds of millions of pixels.") from error
        except Exception as error:  # the plugins raise what they like on damaged files
            if _is_cut(name, data):
                why = f"The {name} picture ends before it is complete: the upload or copy was cut."
                raise TruncatedMedia(why) from error
            raise CorruptMedia(f"The {name} picture cannot be decoded: it is damaged.") from error


def _is_cut(name: str, data: bytes) -> bool:
    """Whether a file that cannot be decoded ends before its own structure says."""
    if name in _ENDS:
        return not data.endswith(_ENDS[name])
    if name == "webp":
        return len(data) < 8 + int.from_bytes(data[4:8], "little")
    if name == "bmp":
        return len(data) < int.from_bytes(data[2:6], "little")
    return _is_cut_tiff(data) if name == "tiff" else is_cut_mp4(io.BytesIO(data))


def _is_cut_tiff(data: bytes) -> bool:
    """Whether the first directory, a strip or a tile lies beyond the end (TIFF 6.0, sections 2 and 15)."""
    file = io.BytesIO(data)
    directory = TiffImagePlugin.ImageFileDirectory_v2(data[:16] if data[2] == _BIG_TIFF else data[:8])
    file.seek(directory.next)
    try:
        with warnings.catch_warnings(action="error"):  # Pillow warns of directories that are cut
            directory.load(file)
        parts = [zip(directory.get(at, ()), directory.get(size, ()), strict=True) for at, size in _STRIPS]
    except (UserWarning, *_DAMAGE):
        return True
    return any(at + size > len(data) for part in parts for at, size in part)


def _opened(data: bytes, name: str, limits: Limits) -> ImageFile:
    image = Image.open(io.BytesIO(data), formats=["HEIF" if name == "heic" else name])
    check_pixels(*image.size, limits.max_still_pixels)
    return image


def _probe(image: ImageFile, name: str, orientation: Orientation, pixels: NDArray[np.uint8]) -> Probe:
    width, height = image.size[::-1] if orientation.transpose else image.size
    frame_height, frame_width = pixels.shape[:2]
    return Probe(
        name,
        width=width,
        height=height,
        frame_width=frame_width,
        frame_height=frame_height,
        frames_total=_pictures_in(image, name),
    )


def _pictures_in(image: Any, name: str) -> int:
    """Frames of an animation or pages; what follows in a JPEG are previews and brightness maps."""
    try:
        return 1 if name == "jpeg" else int(getattr(image, "n_frames", 1))
    except _DAMAGE:  # a later one is damaged
        return 1


def _orientation(image: ImageFile) -> Orientation:
    try:
        return _ORIENTATIONS.get(image.getexif().get(_ORIENTATION_TAG, 1), Orientation())
    except _DAMAGE:  # the picture stands as it is stored
        return Orientation()


def _rgb(image: ImageFile, working_side: int) -> Image.Image:
    """RGB in sRGB, eight bits, on white, scaled so that its longest side is at most `working_side`; not turned."""
    image.load()
    profile = image.info.get("icc_profile", b"")
    flat = _flat(image)
    scale = min(1.0, working_side / max(flat.size))
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in flat.size)
        flat = flat.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return _in_srgb(flat, profile).convert("RGB")


def _flat(image: Image.Image) -> Image.Image:
    """Eight bits per sample and no transparency: `L`, `RGB` or `CMYK`."""
    if image.mode.startswith("I;16"):
        return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
    if image.mode in {"I", "F", "LAB"}:
        raise UnsupportedMedia(f"The picture's samples are of Pillow's mode {image.mode}.", ACCEPTED_MEDIA)
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, _PAPER)
        return Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")
    return image if image.mode in _ICC_SPACES else image.convert("RGB")


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Converted from the embedded colour profile; as it is if there is none, or none that fits."""
    if not profile:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        fits = source.profile.xcolor_space.strip() == _ICC_SPACES[image.mode]
        if not fits or "sRGB" in ImageCms.getProfileDescription(source):
            return image
        return ImageCms.profileToProfile(image, source, _SRGB, outputMode="RGB") or image
    except (ImageCms.PyCMSError, *_DAMAGE):
        return image
