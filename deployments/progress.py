"""How far an analysis is."""

from collections.abc import Callable
from dataclasses import dataclass

EXTRACTED = 0.6  # share of the time until every detector has answered, on a CPU with the bundled detectors
DETECTED = 0.5  # share of the whole where maps are asked for: they take about as long again


@dataclass(frozen=True, slots=True)
class Progress:
    """A moment of an analysis.

    Attributes:
        stage: `waiting`, `extracting`, `detecting`, `explaining`, `drawing`.
        fraction: how much is done of the whole analysis, 0 to 1; never falls.
    """

    stage: str
    fraction: float


Tell = Callable[[Progress], None]


class Steps:
    """Tells of the steps of one analysis. Steps that are gone again, after a replica died, do not go back.

    Args:
        tell: hears of each.
        detectors: how many may be asked.
        maps: whether maps are made in the end.
    """

    def __init__(self, tell: Tell, detectors: int, maps: bool) -> None:
        self._tell = tell
        self._detectors = max(1, detectors)
        self._whole = DETECTED if maps else 1.0
        self._answers = 0
        self._fraction = 0.0

    def extracting(self) -> None:
        """The media is being read."""
        self._at("extracting", 0.0)

    def detecting(self) -> None:
        """The views are there, and no detector has answered yet."""
        self._answers = 0
        self._at("detecting", EXTRACTED * self._whole)

    def answered(self) -> None:
        """One more detector has answered."""
        self._answers += 1
        share = min(1.0, self._answers / self._detectors)
        self._at("detecting", (EXTRACTED + (1 - EXTRACTED) * share) * self._whole)

    def explaining(self) -> None:
        """There is a verdict, and maps are being made."""
        self._at("explaining", self._whole)

    def _at(self, stage: str, fraction: float) -> None:
        self._fraction = max(self._fraction, fraction)
        self._tell(Progress(stage, self._fraction))
