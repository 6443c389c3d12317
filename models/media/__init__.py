"""Reading media: what it is, its frames and its sound, decoded in a confined child process."""

from models.media.audio import at_fixed_loudness, is_silent
from models.media.facts import Frame, Probe, Report, Request
from models.media.limits import SAMPLE_RATE_HZ, Limits
from models.media.plan import sample_indices
from models.media.source import Source
from models.media.stream import MediaStream, read, read_in_process

__all__ = [
    "SAMPLE_RATE_HZ",
    "Frame",
    "Limits",
    "MediaStream",
    "Probe",
    "Report",
    "Request",
    "Source",
    "at_fixed_loudness",
    "is_silent",
    "read",
    "read_in_process",
    "sample_indices",
]
