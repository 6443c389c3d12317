"""Tokens that this service signs and later takes back: what they say cannot be altered, and they expire."""

import base64
import hashlib
import hmac
import json
import time

from models.errors import UnmaskError

SIGNATURE_BYTES = 32


class WrongToken(UnmaskError):
    """The token was not made here, or for something else."""

    code = "wrong_address"


class ExpiredToken(UnmaskError):
    """The token's time is over."""

    code = "expired_address"


class Signer:
    """Signs with HMAC-SHA256 under one secret. A token serves the one purpose it was made for."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def token(self, purpose: str, lifetime_s: float, *says: str) -> str:
        """A token of characters that addresses may have."""
        payload = json.dumps([int(time.time() + lifetime_s), *says], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._signature(purpose, payload) + payload).decode().rstrip("=")

    def opened(self, purpose: str, token: str) -> list[str]:
        """What a token says.

        Raises:
            WrongToken: it was not signed here, or for another purpose.
            ExpiredToken: its time is over.
        """
        signature, payload = _parted(token)
        if not hmac.compare_digest(signature, self._signature(purpose, payload)):
            raise WrongToken("The address is not one that this service gave.")
        expires, *says = json.loads(payload)
        if expires <= time.time():
            raise ExpiredToken("The address is no longer valid.", "Ask for a new one.")
        return [str(said) for said in says]

    def _signature(self, purpose: str, payload: bytes) -> bytes:
        return hmac.digest(self._secret, purpose.encode() + b"\0" + payload, "sha256")


def secret_of(key_digest: bytes) -> bytes:
    """The secret of this service's tokens: all replicas have it, and it changes with the service's key."""
    return hmac.digest(key_digest, b"unmask: tokens", hashlib.sha256)


def _parted(token: str) -> tuple[bytes, bytes]:
    try:
        signed = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
    except ValueError:  # also binascii.Error, and characters outside ASCII
        raise WrongToken("The address is not one that this service gave.") from None
    return signed[:SIGNATURE_BYTES], signed[SIGNATURE_BYTES:]
