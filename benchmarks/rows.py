"""One row of the table, and how it is measured."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

ROUNDS = 15
WARM_UP = 3
CLOCK_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """A figure against its floor. `figure` and `floor` are medians in `unit`; the ratio is the median of the pairs'."""

    name: str
    figure: float
    floor: float
    ratio: float
    bound: float
    unit: str = "s"

    @property
    def holds(self) -> bool:
        """Whether the ratio is within its bound."""
        return self.ratio <= self.bound


def in_turns(name: str, work: Callable[[], object], floor: Callable[[], object], bound: float) -> Row:
    """Measure two pieces of work in turns, A B A B, so that a machine that slows down slows both."""
    for _ in range(WARM_UP):
        work()
        floor()
    pairs = [(seconds(work), seconds(floor)) for _ in range(ROUNDS)]
    figures, floors = zip(*pairs, strict=True)
    ratio = statistics.median(a / b for a, b in pairs)
    return Row(name, statistics.median(figures), statistics.median(floors), ratio, bound)


def against_clock(name: str, work: Callable[[], object], clock_s: float, bound: float) -> Row:
    """Measure work that must be done within a time that no machine changes, such as that of the clip it is done on."""
    work()
    figure = statistics.median(seconds(work) for _ in range(CLOCK_ROUNDS))
    return Row(name, figure, clock_s, figure / clock_s, bound)


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
