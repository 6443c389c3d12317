"""What can be wrong with a place for media that does not pass the ingress."""

from models.errors import UnmaskError


class NoSuchUpload(UnmaskError):
    """There is no such place: its time is over, a job has taken it, or it is somebody else's."""

    code = "unknown_upload"


class UploadMissing(UnmaskError):
    """There is the place, but nothing was put there yet."""

    code = "upload_missing"


class UploadTooLarge(UnmaskError):
    """What was put there is over the limit."""

    code = "body_too_large"
