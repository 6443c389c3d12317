"""The confined child: what it may do, how it may die, and that nothing is left of it."""

import json
import os
import signal
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from models import errors
from models.media import Limits, MediaStream, Request, confined, read, read_in_process
from models.media.ring import Ring
from models.media.source import Source
from tests import media
from tests.media import Coding, clip

CLIP = clip(30, coding=Coding(b_frames=2), sound=media.tone(1))


def _sums(stream: MediaStream) -> list[tuple[int, int]]:
    with stream:
        return [(frame.index, zlib.crc32(frame.pixels.tobytes())) for frame in stream.frames()]


def _children() -> set[int]:
    """Processes the zygote has forked and not yet reaped."""
    zygote = confined.zygote().process.pid
    return {int(pid) for pid in Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split()}


def _eventually(holds: object, within_s: float = 3.0) -> bool:
    assert callable(holds)
    until = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    yield
    assert _eventually(lambda: not _children())


@pytest.mark.parametrize("kind", ["bytes", "memoryview", "array", "path", "text path"])
def test_every_kind_of_source_gives_the_frames_of_a_decode_in_process(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(CLIP)
    array = np.frombuffer(CLIP, np.uint8)
    sources: dict[str, Source] = {
        "bytes": CLIP,
        "memoryview": memoryview(CLIP),
        "array": array,
        "path": path,
        "text path": str(path),
    }
    request = Request(counts=(7, 30))
    assert _sums(read(sources[kind], request)) == _sums(read_in_process(CLIP, request))


def test_probe_and_sound_are_those_of_a_decode_in_process() -> None:
    request = Request(counts=(4,), audio=True)
    with read(CLIP, request) as ours, read_in_process(CLIP, request) as theirs:
        assert ours.probe == theirs.probe
        sound, expected = ours.audio(), theirs.audio()
    assert sound is not None
    assert expected is not None
    assert np.array_equal(sound, expected)


def test_frames_cannot_be_written_to() -> None:
    with read(CLIP, Request(counts=(1,))) as stream, pytest.raises(ValueError, match="read-only"):
        next(stream.frames()).pixels[0, 0, 0] = 1


FAULTS = {
    "segv": (errors.DecoderCrashed, "SIGSEGV"),
    "abort": (errors.DecoderCrashed, "SIGABRT"),
    "memory": (errors.DecoderOutOfMemory, "2048 MiB"),
    "spin": (errors.DecoderTimeout, "processor time"),
    "hang": (errors.DecoderTimeout, "longer than 1 s"),
    "babble": (errors.DecoderCrashed, "no sense"),
}


@pytest.mark.parametrize(("fault", "error", "names"), [(k, *v) for k, v in FAULTS.items()], ids=FAULTS.keys())
def test_a_child_that_fails_is_named_and_the_next_job_works(
    fault: str, error: type[errors.MediaError], names: str
) -> None:
    started = time.monotonic()
    with pytest.raises(error, match=names):
        read(CLIP, Request(counts=(4,), fault=fault), Limits(wall_s=1 if fault == "hang" else 30, cpu_s=1))
    assert time.monotonic() - started < 10
    assert len(_sums(read(CLIP, Request(counts=(4,))))) == 4


def test_a_decode_that_needs_too_much_memory_is_refused_by_name() -> None:
    large = media.black(2048, 1152, 8)
    with (
        pytest.raises((errors.DecoderOutOfMemory, errors.CorruptMedia)),
        read(large, Request(counts=(8,)), Limits(memory_bytes=190 * 2**20)) as stream,
    ):
        list(stream.frames())


def test_refusals_come_through_with_their_words() -> None:
    with pytest.raises(errors.TooManyPixels, match="8192x8192") as refusal:
        read(media.pixel_bomb(), Request(counts=(1,)))
    assert "9.4 million" in refusal.value.accepted


def test_a_caller_who_goes_away_stops_the_child() -> None:
    cancelled = threading.Event()
    threading.Timer(0.2, cancelled.set).start()
    with pytest.raises(errors.Cancelled):
        read(CLIP, Request(counts=(4,), fault="hang"), cancelled=cancelled)


def test_closing_midway_stops_the_child() -> None:
    with read(clip(200), Request(counts=(200,))) as stream:
        next(stream.frames())


def test_a_killed_zygote_is_replaced() -> None:
    first = confined.zygote().process.pid
    os.kill(first, signal.SIGKILL)
    assert len(_sums(read(CLIP, Request(counts=(4,))))) == 4
    assert confined.zygote().process.pid != first


def test_jobs_of_several_threads_run_side_by_side() -> None:
    clips = [clip(20 + number) for number in range(4)]
    expected = [_sums(read_in_process(data, Request(counts=(16,)))) for data in clips]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            assert list(pool.map(lambda data: _sums(read(data, Request(counts=(16,)))), clips)) == expected


def test_thirty_jobs_leave_no_descriptor_and_no_thread() -> None:
    _sums(read(CLIP, Request(counts=(2,))))
    before, threads = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    for number in range(30):
        if number % 3:
            _sums(read(CLIP, Request(counts=(2,))))
        else:
            with pytest.raises(errors.DecoderCrashed):
                read(CLIP, Request(counts=(2,), fault="segv"))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert threading.active_count() == threads


def test_the_child_knows_no_secret_of_its_parents_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNMASK_API_KEY", "secret")
    monkeypatch.setattr(confined, "_zygote", None)
    _sums(read(CLIP, Request(counts=(1,))))
    environment = Path(f"/proc/{confined.zygote().process.pid}/environ").read_text()
    confined.zygote().close()
    assert "PYTHONPATH=" in environment
    assert "secret" not in environment


def test_the_child_can_open_no_file_no_socket_and_no_program() -> None:
    with pytest.raises(errors.CorruptMedia, match="escaped: none"):
        read(CLIP, Request(counts=(1,), fault="escape"))


def _said(message: bytes, request: Request) -> Iterator[object]:
    """The parent's side of a conversation in which the child says this."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.send(message)
        ring = Ring.create(Limits().slot_bytes)
        ring.close()
        yield from confined._Conversation(ours, ring, request, Limits(), None).events()


NONSENSE = [
    {"kind": "frame", "slot": 9, "index": 0, "t_s": 0.0, "height": 1, "width": 1},
    {"kind": "frame", "slot": 0, "index": 0, "t_s": 0.0, "height": 5000, "width": 5000},
    {"kind": "frame", "slot": 0, "index": 0, "t_s": 0.0, "height": -1, "width": -1},
    {"kind": "frame", "slot": 0, "index": 0, "t_s": float("nan"), "height": 1, "width": 1},
    {"kind": "frame", "slot": 0, "index": -1, "t_s": 0.0, "height": 1, "width": 1},
    {"kind": "frame", "slot": 0},
    {"kind": "sound", "slot": 0, "count": 10**9},
    {"kind": "sound", "slot": 0, "count": -1},
    {"kind": "probe", "container": "mp4"},
    {"kind": "report", "frames_decoded": "many"},
    {"kind": "import", "name": "os"},
    {"no": "kind"},
    [],
    "frame",
]


@pytest.mark.parametrize("message", NONSENSE, ids=str)
def test_a_message_that_makes_no_sense_ends_the_conversation(message: object) -> None:
    conversation = _said(json.dumps(message).encode(), Request(counts=(4,), audio=True))
    with pytest.raises(errors.DecoderCrashed, match="no sense"):
        next(conversation)


def test_an_error_the_child_invents_is_one_of_ours_and_short() -> None:
    message = {"kind": "error", "code": "os.system", "detail": "x" * 10_000, "accepted": ""}
    conversation = _said(json.dumps(message).encode(), Request(counts=(4,)))
    with pytest.raises(errors.CorruptMedia) as refusal:
        next(conversation)
    assert len(refusal.value.detail) <= 400
