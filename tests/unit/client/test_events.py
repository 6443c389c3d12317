from typing import Any

import httpx
import pytest

from serve_app.client.receive import Event, Events, named

TEXT = (
    ": hello\n\n"
    'id: 1\nevent: state\ndata: {"a": 1}\n\n'
    'id: 2\r\ndata: {"b":\r\ndata: "\u00e9"}\r\n\r\n'
    "event: nothing\n\n"
    "data: words\n\n"
    "id\rdata: {}\revent:end\r\rdata: lost"
)
EXPECTED = [
    Event("state", {"a": 1}, "1"),
    Event("message", {"b": "é"}, "2"),
    Event("message", {"data": "words"}, "2"),
    Event("end", {}, ""),
]


def told(size: int) -> list[Event]:
    heard: list[Event] = []
    events = Events(lambda event: heard.append(event) or False)  # type: ignore[func-returns-value]
    content = TEXT.encode()
    for start in range(0, len(content), size):
        events.write(content[start : start + size])
    return heard


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_told_wherever_the_pieces_end(size: int) -> None:
    assert told(size) == EXPECTED


def test_enough_is_said_as_soon_as_it_was_heard() -> None:
    heard: list[Any] = []
    events = Events(lambda event: bool(heard.append(event)) or event.name == "end")  # type: ignore[func-returns-value]
    assert not events.write(b"event: state\ndata: {}\n\n")
    assert events.write(b"event: end\ndata: {}\n\nevent: state\ndata: {}\n\n")
    assert [event.name for event in heard] == ["state", "end"]


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("", ""),
        ("inline", ""),
        ('inline; filename="a.mp4"', "a.mp4"),
        ("attachment; filename=a.csv", "a.csv"),
        ("inline; filename=\"x.mp4\"; filename*=UTF-8''%C3%A9.mp4", "é.mp4"),
        ('inline; filename="../../etc/passwd"', "passwd"),
        ('inline; filename="..\\..\\a.exe"', "a.exe"),
        ("inline; filename*=UTF-8''..%2F..", ""),
        ("inline; filename*=UTF-8''a%00b%0A.mp4", "ab.mp4"),
    ],
)
def test_a_files_name_is_taken_without_any_folder(header: str, name: str) -> None:
    assert named(httpx.Response(200, headers={"Content-Disposition": header})) == name
