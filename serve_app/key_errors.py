"""What can be wrong with keys that are made, revoked or rotated."""

from models.errors import UnmaskError
from serve_app.database import NotStored


class UnknownKey(NotStored):
    """There is no key of this id."""

    code = "unknown_key"


class WrongKeyOptions(UnmaskError):
    """A key cannot be made or changed as asked; what is wrong is named."""

    code = "wrong_key_options"
