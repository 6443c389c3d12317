"""Which container the first bytes announce. FFmpeg is told, not asked: its 300 probes never see hostile bytes."""

from models.errors import EmptyMedia, UnsupportedMedia
from models.media.limits import ACCEPTED_MEDIA

HEAD_BYTES = 64

# Box types a QuickTime or MP4 file may begin with (ISO/IEC 14496-12, QuickTime File Format).
_MOV_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp"})

_SPACES = str.maketrans("\t\r\n", "   ")

# Formats people send by mistake, so that the refusal can name them.
_REFUSED = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
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
    """The demuxer for media that begins like this.

    Args:
        head: the first `HEAD_BYTES` bytes, or all of them if there are fewer.

    Returns:
        FFmpeg's demuxer: `mov`, `matroska`, `avi`, `wav`, `mp3`, `flac` or `ogg`. No other is ever opened or probed.

    Raises:
        EmptyMedia: there are no bytes.
        UnsupportedMedia: no container on the allow-list begins like this; what was found is named if known.
    """
    if not head:
        raise EmptyMedia("The file has no bytes.")
    found = _video_container(head) or _audio_container(head)
    if not found:
        raise UnsupportedMedia(f"The file is {_name_of(head)}.", ACCEPTED_MEDIA)
    return found


def format_name(container: str, head: bytes) -> str:
    """What people call the container: `mp4`, `mov`, `webm`, `matroska`, `avi`, `wav`, `mp3`, `flac` or `ogg`."""
    if container == "mov":
        return "mp4" if head[4:8] == b"ftyp" and head[8:12] != b"qt  " else "mov"
    if container == "matroska" and b"webm" in head:
        return "webm"
    return container


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
