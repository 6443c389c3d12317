import pytest

from models.errors import EmptyMedia, UnsupportedMedia
from models.media.sniff import container_of, format_name
from tests import media


@pytest.mark.parametrize(
    ("head", "container", "name"),
    [
        (b"\0\0\0\x20ftypisom", "mov", "mp4"),
        (b"\0\0\0\x14ftypqt  ", "mov", "mov"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "mov", "mov"),
        (b"\x1a\x45\xdf\xa3\x01\x42\x82\x84webm", "matroska", "webm"),
        (b"\x1a\x45\xdf\xa3\x01\x42\x82\x88matroska", "matroska", "matroska"),
        (b"RIFF\0\0\0\0AVI LIST", "avi", "avi"),
        (b"RIFF\0\0\0\0WAVEfmt ", "wav", "wav"),
        (b"fLaC\0\0\0\x22", "flac", "flac"),
        (b"OggS\0\x02", "ogg", "ogg"),
        (b"ID3\x04\0", "mp3", "mp3"),
        (b"\xff\xfb\x90\x64", "mp3", "mp3"),
        (b"\0\0\0\x1cftypM4A \0\0\0\0", "mov", "m4a"),
        (b"\xff\xd8\xff\xe1", "jpeg", "jpeg"),
        (b"\x89PNG\r\n\x1a\n", "png", "png"),
        (b"GIF87a", "gif", "gif"),
        (b"GIF89a", "gif", "gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "webp", "webp"),
        (b"BM" + bytes(12) + b"\x28\0\0\0", "bmp", "bmp"),
        (b"II*\0\x08\0\0\0", "tiff", "tiff"),
        (b"MM\0*\0\0\0\x08", "tiff", "tiff"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "heic", "heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "heic", "heic"),
        (b"\0\0\0\x18ftypavif\0\0\0\0avifmif1", "avif", "avif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "avif", "avif"),
        (b"\0\0\0\x14ftypmif1\0\0\0\0mif1avif", "heic", "heic"),  # the box ends before `avif`
        (b"\0\0\0\x18ftypisom\0\0\0\0isomheic", "mov", "mp4"),  # a film whose writer also writes pictures
    ],
)
def test_accepted_containers_are_known_by_their_first_bytes(head: bytes, container: str, name: str) -> None:
    assert container_of(head) == container
    assert format_name(container, head) == name


@pytest.mark.parametrize(
    ("head", "named"),
    [
        (b"%PDF-1.7", "PDF"),
        (b"BM reads like text", "text"),
        (b"#EXTM3U\n#EXT-X-VERSION:3", "HLS"),
        (b"ffconcat version 1.0\nfile /etc/passwd", "concat"),
        (b"dear all,\r\n\tplease find", "text"),
        (b"\x01\x02\x03\x04\x05\x06\x07\x08\x09", "01 02 03 04 05 06 07 08"),
        (b"\0", "unknown"),
    ],
)
def test_what_is_refused_is_named(head: bytes, named: str) -> None:
    with pytest.raises(UnsupportedMedia, match=named) as refusal:
        container_of(head)
    assert "MP4" in refusal.value.accepted


@pytest.mark.parametrize("muxer", ["flv", "asf", "mpegts", "mpeg", "nut", "rawvideo"])
def test_other_containers_of_ffmpeg_are_refused(muxer: str) -> None:
    with pytest.raises(UnsupportedMedia):
        container_of(media.in_container(muxer)[:64])


def test_no_bytes_are_no_media() -> None:
    with pytest.raises(EmptyMedia):
        container_of(b"")
