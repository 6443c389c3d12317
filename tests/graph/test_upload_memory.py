"""A large upload passes the ingress, and is never whole in its memory."""

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from models.detectors.store import ROOT
from tests.service import Running, replicas

UPLOAD_BYTES = 200 * 2**20
SPARE_BYTES = 4096  # of the form around it
# It is never held whole. What is in flight is what Serve's proxy hands over at once: see docs/decisions/0012.
MAY_GROW_BYTES = UPLOAD_BYTES // 2
LOOK_S = 0.02


def own_bytes(process: int) -> int:
    """Memory that belongs to a process alone: neither the object store's pages nor those of mapped files."""
    status = Path(f"/proc/{process}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


@contextmanager
def peak_of(process: int) -> Iterator[list[int]]:
    """A list whose last entry is the most that was seen."""
    seen, done = [own_bytes(process)], threading.Event()

    def look() -> None:
        while not done.wait(LOOK_S):
            seen.append(max(seen[-1], own_bytes(process)))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        done.set()
        looking.join()


def large_clip() -> bytes:
    """A clip with a box that players pass over behind it."""
    clip = (ROOT / "assets/sample_real.mp4").read_bytes()
    padding_bytes = UPLOAD_BYTES - len(clip) - SPARE_BYTES
    return clip + struct.pack(">I4s", padding_bytes, b"free") + bytes(padding_bytes - 8)


def test_two_hundred_megabytes_are_never_held_whole_by_the_ingress(running: Running) -> None:
    (ingress,) = replicas("Ingress")
    running.post("/analyze", (ROOT / "assets/sample_real.mp4").read_bytes())  # what grows with the first request
    content = large_clip()
    for path, status in (("/analyze", 200), ("/v1/jobs", 202)):
        before = own_bytes(ingress)
        with peak_of(ingress) as seen:
            answer = httpx.post(
                running.url + path,
                content=content,
                headers={"X-API-Key": running.key, "Content-Type": "video/mp4", "Cache-Control": "no-cache"},
                timeout=240,
            )
        assert answer.status_code == status, answer.text
        after = own_bytes(ingress)
        print(path, *(f"{figure / 2**20:.0f} MiB" for figure in (before, seen[-1], after)))  # noqa: T201 - figures
        assert seen[-1] - before <= MAY_GROW_BYTES
