"""What can be wrong with an evaluation as a whole. One item that fails is a record, not an error."""

from models.errors import UnmaskError


class EvaluationError(UnmaskError):
    """There is nothing that could be measured, or nowhere to write it."""

    code = "evaluation_error"
