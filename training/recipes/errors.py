"""What can be wrong with a training run as a whole."""

from models.errors import UnmaskError


class TrainingError(UnmaskError):
    """The command cannot be followed, or the run cannot go on."""

    code = "training_error"
