"""A verdict drawn into its media, through the running graph."""

import io
import time
from pathlib import Path
from typing import Any

import av
import httpx
import pytest
from PIL import Image

from models.detectors.store import ROOT
from tests.api.conftest import assert_problem
from tests.media import sound_only, still, tone
from tests.service import Running, replicas


@pytest.fixture(scope="module")
def forged_clip() -> bytes:
    return (ROOT / "assets/sample_forged.mp4").read_bytes()


def send(running: Running, name: str, content: bytes, **form: str) -> httpx.Response:
    return httpx.post(
        running.url + "/analyze/visualize",
        files={"video": (name, content)},
        data=form,
        headers={"X-API-Key": running.key},
        timeout=120,
    )


def test_a_video_comes_back_whole_with_the_verdict_of_analyze(running: Running, forged_clip: bytes) -> None:
    verdict = running.post("/analyze", forged_clip).json()
    drawn = send(running, "видео.mp4", forged_clip)
    assert drawn.headers["x-unmask-verdict"] == verdict["verdict"]
    assert float(drawn.headers["x-unmask-p-fake"]) == pytest.approx(verdict["p_fake"], abs=1e-5)
    assert "%D0%B2%D0%B8%D0%B4%D0%B5%D0%BE.unmask.mp4" in drawn.headers["content-disposition"]
    assert frames_in(drawn.content) == frames_in(forged_clip)


def test_heatmaps_are_drawn_where_they_are_asked_for(running: Running, forged_clip: bytes) -> None:
    drawn = send(running, "clip.mp4", forged_clip, heatmap="true")
    assert drawn.headers["x-unmask-heatmap"] == "drawn"
    assert frames_in(drawn.content) == frames_in(forged_clip)


def test_a_picture_and_a_recording_come_back_as_pictures(running: Running, portrait: object) -> None:
    for sent in (still(portrait, "png"), sound_only(tone(3), "wav", "pcm_s16le")):  # type: ignore[arg-type]
        drawn = send(running, "file", sent)
        assert drawn.headers["content-type"] == "image/png"
        Image.open(io.BytesIO(drawn.content)).load()


def test_media_that_ends_early_is_a_problem_and_no_half_film(running: Running, forged_clip: bytes) -> None:
    body = assert_problem(send(running, "cut.mp4", forged_clip[: len(forged_clip) // 2]), 422, "truncated_media")
    assert body["suggestions"]


def test_a_client_that_goes_away_stops_the_work(running: Running, forged_clip: bytes) -> None:
    long = looped(forged_clip, 100)  # twenty seconds of drawing: not over before the first byte is seen
    request: Any = {"files": {"video": ("long.mp4", long)}, "headers": {"X-API-Key": running.key}, "timeout": 120}
    with httpx.stream("POST", running.url + "/analyze/visualize", **request) as answer:
        assert answer.status_code == 200, answer.read()
        next(answer.iter_raw(1024))
        assert drawing()
    deadline_s = time.monotonic() + 10
    while drawing() and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert not drawing()


def looped(video: bytes, times: int) -> bytes:
    """The pictures of a clip, so many times over, without coding them anew."""
    file = io.BytesIO()
    with av.open(io.BytesIO(video), "r") as source, av.open(file, "w", "mp4") as copy:
        packets = [packet for packet in source.demux(video=0) if packet.size]
        stream = copy.add_stream_from_template(source.streams.video[0])
        length = max((packet.pts or 0) + (packet.duration or 0) for packet in packets)
        for i in range(times):
            for packet in packets:
                packet.pts, packet.dts = (packet.pts or 0) + length * (i > 0), (packet.dts or 0) + length * (i > 0)
                packet.stream = stream
                copy.mux(packet)
    return file.getvalue()


def frames_in(video: bytes) -> int:
    with av.open(io.BytesIO(video), "r") as container:
        return len(list(container.decode(video=0)))


def drawing() -> list[int]:
    """Process ids of the children that draw: those of the fork servers of the visualizer's replicas."""
    return [child for replica in replicas("Visualizer") for server in children(replica) for child in children(server)]


def children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, ppid = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # ended while we looked
        if int(ppid) == parent and state != "Z":
            found.append(int(stat.parent.name))
    return found
