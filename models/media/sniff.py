"""Which format the first bytes announce. FFmpeg and Pillow are told, not asked: no other parser sees hostile bytes."""

from models.errors import EmptyMedia, UnsupportedMedia
from models.media.limits import ACCEPTED_MEDIA

HEAD_BYTES = 64

# Box types a QuickTime or MP4 file may begin with (ISO/IEC 14496-12, QuickTime File Format).
_MOV_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp"})

# Still pictures by their first bytes; WebP, BMP, HEIC and AVIF need a second look.
_STILLS = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
)
STILLS = frozenset({"jpeg", "png", "gif", "tiff", "webp", "bmp", "heic", "avif"})

# Pictures in the box structure of MP4 say so by their brands (ISO/IEC 23008-12, AV1 Image File Format 1.1).
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_IMAGE_BRANDS = frozenset({b"mif1", b"msf1"})  # of any codec: the compatible brands say which
_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})  # sizes in bytes; "BM" alone begins many a text

_M4A_BRANDS = frozenset({b"M4A ", b"M4B "})
_SPACES = str.maketrans("\t\r\n", "   ")

# Formats people send by mistake, so that the refusal can name them.
_REFUSED = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"FLV\x01", "Flash video"),
    (b"\x30\x26\xb2\x75", "Windows Media"),
    (b"\x00\x00\x01\xba", "an MPEG program stream"),
    (b"\x00\x00\x01\xb3", "an MPEG-1/2 elementary stream"),
    (b"\x00\x00\x00\x01", "an H.264 or H.265 elementary stream"),
    (b"DKIF", "an IVF file"),
    (b".RMF", "RealMedia"),
    (b"#EXTM3U", "an HLS playlist"),
    (b"ffconcat", "a concat script"),
    (b"YUV4MPEG2", "raw YUV4MPEG video"),
    (b"nut/multimedia", "NUT"),
    (b"<", "markup text"),
)


def container_of(head: bytes) -> str:
    """The demuxer, or the kind of still picture, for media that begins like this.

    Args:
        head: the first `HEAD_BYTES` bytes, or all of them if there are fewer.

    Returns:
        FFmpeg's demuxer: `mov`, `matroska`, `avi`, `wav`, `mp3`, `flac` or `ogg`, or one of `STILLS`. No other is
        ever opened or probed.

    Raises:
        EmptyMedia: there are no bytes.
        UnsupportedMedia: no container on the allow-list begins like this; what was found is named if known.
    """
    if not head:
        raise EmptyMedia("The file has no bytes.")
    found = _still(head) or _video_container(head) or _audio_container(head)
    if not found:
        raise UnsupportedMedia(f"The file is {_name_of(head)}.", ACCEPTED_MEDIA)
    return found


def format_name(container: str, head: bytes) -> str:
    """What people call the container: `mp4`, `m4a` or `mov` for `mov`, `webm` for some of `matroska`, else its name."""
    if container == "mov":
        is_mp4 = head[4:8] == b"ftyp" and head[8:12] != b"qt  "
        return "m4a" if is_mp4 and head[8:12] in _M4A_BRANDS else "mp4" if is_mp4 else "mov"
    if container == "matroska" and b"webm" in head:
        return "webm"
    return container


def _still(head: bytes) -> str:
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    if head[4:8] == b"ftyp":
        return _boxed_still(head)
    return next((name for magic, name in _STILLS if head.startswith(magic)), "")


def _boxed_still(head: bytes) -> str:
    """By the major brand of the `ftyp` box, or by the compatible ones where that only says "pictures"."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    major, compatible = head[8:12], {head[at : at + 4] for at in range(16, end, 4)}
    brands = compatible if major in _IMAGE_BRANDS else {major}
    if brands & _AVIF_BRANDS:
        return "avif"
    return "heic" if brands & _HEIC_BRANDS or major in _IMAGE_BRANDS else ""


def _video_container(head: bytes) -> str:
    if head[4:8] in _MOV_BOXES:
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):  # EBML
        return "matroska"
    return "avi" if head.startswith(b"RIFF") and head[8:12] == b"AVI " else ""


def _audio_container(head: bytes) -> str:
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        return "wav"
    if head.startswith(b"fLaC"):
        return "flac"
    if head.startswith(b"OggS"):
        return "ogg"
    # An ID3 tag, or the sync word of an MPEG-1 or MPEG-2 layer III frame.
    is_mp3 = head.startswith(b"ID3") or (head[:1] == b"\xff" and head[1:2] in (b"\xfb", b"\xfa", b"\xf3", b"\xf2"))
    return "mp3" if is_mp3 else ""


def _name_of(head: bytes) -> str:
    for magic, name in _REFUSED:
        if head.startswith(magic):
            return name
    if head[:1] == b"G" and (len(head) < HEAD_BYTES or not head.isascii()):
        return "an MPEG transport stream"  # its packets begin with the sync byte 0x47
    is_text = head.isascii() and head.decode("ascii").translate(_SPACES).isprintable()
    return "text" if is_text else f"of an unknown format (it begins with {head[:8].hex(' ')})"
