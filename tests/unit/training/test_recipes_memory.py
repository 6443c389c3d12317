import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from training.recipes.memory import keep_freed_memory
print(keep_freed_memory() if sys.argv[1] == "kept" else False)
for _ in range(6):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    taken = np.ones(64 << 20, np.uint8)
    del taken
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_freed_memory_is_taken_again_without_a_page_fault() -> None:
    kept, known = _faults("kept")
    if not known:
        pytest.skip("the C library of this machine has no mallopt")
    given_back, _ = _faults("given back")
    assert kept < 100 < given_back


def _faults(how: str) -> tuple[int, bool]:
    """Page faults of taking 64 MiB for the sixth time, and whether the C library could be told."""
    run = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    known, faults = run.stdout.split()
    return int(faults), known == "True"
