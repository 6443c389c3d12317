"""How far an analysis is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of an analysis.

    Attributes:
        stage: `waiting`, `extracting`, `detecting`, `explaining`, `drawing`.
        fraction: how much is done of the whole analysis, 0 to 1; never falls.
    """

    stage: str
    fraction: float
