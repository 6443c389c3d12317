"""What goes wrong with jobs.

UnmaskError
+-- UnknownJob   there is no such job, or it is somebody else's
+-- LeaseLost    a runner's job is not its own any more
"""

from models.errors import UnmaskError


class UnknownJob(UnmaskError):
    """There is no such job, or it is somebody else's."""

    code = "unknown_job"


class LeaseLost(UnmaskError):
    """The job was cancelled, or another runner has taken it: nothing may be written about it."""

    code = "lease_lost"
