"""Routes that take pictures or recordings only: a file of another kind is refused with the route that takes it."""

from dataclasses import dataclass

from models.media.sniff import HEAD_BYTES, STILLS, container_of, format_name
from models.types import Kind
from serve_app.errors import ApiError
from serve_app.uploads import FILE_FIELDS, Upload

NOUNS: dict[Kind, str] = {"video": "a video", "image": "a picture", "audio": "a recording"}
ROUTES: dict[Kind, str] = {"video": "/analyze", "image": "/analyze/image", "audio": "/analyze/audio"}
# What a file of that format can be; the others (MP4, Matroska, OGG) hold sound with or without pictures.
ONLY: dict[str, Kind] = {"wav": "audio", "mp3": "audio", "flac": "audio", "m4a": "audio", "avi": "video"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a route takes: files of one kind, or of all, in these fields of a form."""

    fields: tuple[str, ...] = FILE_FIELDS
    kind: Kind | None = None

    def check_upload(self, upload: Upload) -> None:
        """Raises `ApiError` (415) for a file whose first bytes tell that it is of another kind.

        Raises:
            MediaError: the file is empty, or of no format that is accepted.
        """
        if self.kind is None:
            return
        head = upload.file.read(HEAD_BYTES)
        upload.file.seek(0)
        self.check(kind_of(head))

    def check(self, found: Kind | None) -> None:
        """Raises `ApiError` (415) if a kind is known and is another."""
        if self.kind and found and found != self.kind:
            raise ApiError(
                415,
                "wrong_kind",
                f"The file is {NOUNS[found]}; this route takes {NOUNS[self.kind]}.",
                suggestions=[f"Send it to {ROUTES[found]}", "/analyze takes every kind"],
            )


ANY = Wanted()
PICTURE = Wanted(("image", "media", "file"), "image")
RECORDING = Wanted(("audio", "media", "file"), "audio")


def kind_of(head: bytes) -> Kind | None:
    """The kind of a file that begins like this; None where only its tracks tell. Raises as `container_of`."""
    container = container_of(head)
    return "image" if container in STILLS else ONLY.get(format_name(container, head))
