"""Either client against a server that breaks off."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from serve_app.client import AsyncClient, Client, Retries, errors

FAST = Retries(first_pause_s=0.001)
FACTS = {
    "service": "unmask",
    "version": "1",
    "status": "ok",
    "available_models": [],
    "default_model": "ensemble",
    "models": [],
    "verdict": {"real_below": 0.4, "fake_above": 0.6, "face_px": 1},
    "limits": {},
    "documentation": "/docs",
}
ROOT = json.dumps(FACTS).encode()


def answer(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    told = len(body) if length is None else length
    head = [f"HTTP/1.1 {status}", f"Content-Length: {told}", "Connection: close", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@dataclass
class Fragile:
    """Answers each connection with the next of `answers`, and notes what was sent; empty breaks off at once."""

    listening: socket.socket
    answers: list[bytes] = field(default_factory=list)
    heard: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}"

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                with connection:
                    self._one(connection)

    def _one(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        sent = self.answers.pop(0)
        with connection.makefile("rb") as file, suppress(OSError):
            head = b"".join(iter(file.readline, b"\r\n"))
            if sent:
                length = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
                head += file.read(int(length[0].partition(b":")[2])) if length else b""
            self.heard.append(head)
            connection.sendall(sent)

    def headers(self, name: str) -> list[str]:
        lines = [line for head in self.heard for line in head.split(b"\r\n")]
        return [line.partition(b": ")[2].decode() for line in lines if line.lower().startswith(name.encode() + b":")]


@pytest.fixture
def fragile() -> Iterator[Fragile]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Fragile(listening)
        thread = threading.Thread(target=server.serve)
        thread.start()
        yield server
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


Ask = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, fragile: Fragile) -> Ask:
    async def awaited(name: str, *args: Any, url: str, **how: Any) -> Any:
        async with AsyncClient(url, "key", retries=FAST) as client:
            return await getattr(client, name)(*args, **how)

    def call(name: str, *args: Any, url: str = "", **how: Any) -> Any:
        if request.param == "async":
            return asyncio.run(awaited(name, *args, url=url or fragile.url, **how))
        with Client(url or fragile.url, "key", retries=FAST) as client:
            return getattr(client, name)(*args, **how)

    return call


def test_a_broken_connection_is_tried_again(ask: Ask, fragile: Fragile) -> None:
    fragile.answers = [b"", b"", answer(ROOT)]
    assert ask("about").service == "unmask"
    assert len(fragile.heard) == 3


def test_all_tries_carry_one_idempotency_key_and_all_of_the_media(ask: Ask, fragile: Fragile, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(bytes(1_000_000))
    fragile.answers = [b"", answer(b"gone", status="502 Bad Gateway"), answer(b"", status="418 No")]
    with pytest.raises(errors.InvalidRequest):
        ask("analyze", clip)
    keys = fragile.headers("idempotency-key")
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert min(len(keys[0]), 32) == 32
    assert fragile.heard[1].count(b"\0") == fragile.heard[2].count(b"\0") == 1_000_000


def test_each_request_has_a_key_of_its_own_unless_it_is_named(ask: Ask, fragile: Fragile) -> None:
    fragile.answers = [answer(b"", status="418 No")] * 4
    for how in ({}, {}, {"idempotency_key": "mine"}, {"idempotency_key": "mine"}):
        with pytest.raises(errors.InvalidRequest):
            ask("analyze", b"media", **how)
    first, second, *named = fragile.headers("idempotency-key")
    assert first != second
    assert named == ["mine", "mine"]


def test_nobody_there_is_unreachable(ask: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(errors.Unreachable, match=str(port)) as caught:
        ask("about", url=f"http://127.0.0.1:{port}")
    assert caught.value.tries == 4


def test_an_answer_of_another_service_is_unreadable(ask: Ask, fragile: Fragile) -> None:
    fragile.answers = [answer(b'{"hello": "world"}')]
    with pytest.raises(errors.UnreadableAnswer, match="no RootBody: service"):
        ask("about")


def test_a_download_that_breaks_off_is_begun_again(ask: Ask, fragile: Fragile, tmp_path: Path) -> None:
    verdict = "X-Unmask-Verdict: REAL"
    fragile.answers = [answer(b"first ha", verdict, length=100), answer(b"whole", verdict)]
    drawn = ask("visualize", b"media", to=tmp_path / "drawn.mp4")
    assert drawn.path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [drawn.path]


def test_a_download_that_always_breaks_off_leaves_nothing(ask: Ask, fragile: Fragile, tmp_path: Path) -> None:
    fragile.answers = [answer(b"half", "X-Unmask-Verdict: REAL", length=100)] * 8
    with pytest.raises(errors.Unreachable):
        ask("visualize", b"media", to=tmp_path / "drawn.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_download_into_a_folder_cannot_leave_it(ask: Ask, fragile: Fragile, tmp_path: Path) -> None:
    named = "Content-Disposition: inline; filename=\"x\"; filename*=UTF-8''..%2F..%2Fevil.mp4"
    fragile.answers = [answer(b"film", "X-Unmask-Verdict: REAL", named)]
    assert ask("visualize", b"media", to=tmp_path).path == tmp_path / "evil.mp4"
