"""Ids of stored things: a prefix that tells what it is, then 26 characters that sort by time of making."""

import hashlib
import secrets
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no letters that look like digits
RANDOM_BITS = 80
CHARACTERS = 26


def new_id(prefix: str) -> str:
    """A new id such as `job_01h5…`: 48 bits of milliseconds, then 80 random ones (as a ULID).

    Args:
        prefix: `ana` for an analysis, `bat` a batch, `job` a job, `key` a key, `upl` an upload, `whk` a delivery.
    """
    return _spelt(prefix, time.time_ns() // 1_000_000 << RANDOM_BITS | secrets.randbits(RANDOM_BITS))


def id_of(prefix: str, content: str) -> str:
    """The id that belongs to some content: the same each time. It does not sort by time."""
    return _spelt(prefix, int.from_bytes(hashlib.sha256(content.encode()).digest()[:16]))


def _spelt(prefix: str, number: int) -> str:
    digits = (ALPHABET[number >> 5 * place & 31] for place in reversed(range(CHARACTERS)))
    return f"{prefix}_{''.join(digits)}"
