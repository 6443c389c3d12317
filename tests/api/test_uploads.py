import asyncio
import errno
import hashlib
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.requests import Request
from starlette.types import Message

from serve_app.errors import ApiError
from serve_app.uploads import Intake, Uploads, base_name, receive_all
from tests.api.conftest import MAX_UPLOAD_BYTES, FakeService, assert_problem

BOUNDARY = "frontier"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(name: str, content: bytes, filename: str | None = "clip.mp4") -> bytes:
    file = f'; filename="{filename}"' if filename is not None else ""
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


@pytest.mark.parametrize("field", ["video", "media", "file"])
def test_the_file_arrives_unchanged_and_is_hashed(client: TestClient, service: FakeService, field: str) -> None:
    content = bytes(range(256)) * 500
    response = client.post("/analyze", files={field: ("clip.mp4", content)})
    assert response.status_code == 200
    assert service.received == [content]
    assert response.json()["media"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert response.json()["media"]["size_bytes"] == len(content)


def test_a_body_that_comes_in_pieces_without_a_length_arrives_whole(client: TestClient, service: FakeService) -> None:
    body = part("video", b"x" * 1000 + b"\r\n--front" + b"y" * 1000) + END

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(body), 7):
            yield body[at : at + 7]

    assert client.post("/analyze", content=pieces(), headers=FORM).status_code == 200
    assert service.received == [b"x" * 1000 + b"\r\n--front" + b"y" * 1000]


def test_a_file_of_exactly_the_limit_is_accepted(client: TestClient) -> None:
    assert client.post("/analyze", files={"video": b"x" * MAX_UPLOAD_BYTES}).status_code == 200


def test_a_file_over_the_limit_is_413(client: TestClient, service: FakeService) -> None:
    body = assert_problem(
        client.post("/analyze", files={"video": b"x" * (MAX_UPLOAD_BYTES + 1)}), 413, "body_too_large"
    )
    assert f"{MAX_UPLOAD_BYTES} bytes" in body["detail"]
    assert service.received == []


def test_an_endless_body_without_a_length_is_413_while_it_streams(client: TestClient) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield part("video", b"")[:-2]
        while sent < 50 * MAX_UPLOAD_BYTES:
            sent += 10_000
            yield b"x" * 10_000

    assert_problem(client.post("/analyze", content=endless(), headers=FORM), 413, "body_too_large")


def test_a_declared_length_over_the_limit_is_413_before_the_body_is_read(client: TestClient) -> None:
    headers = {**FORM, "Content-Length": str(10**12)}
    assert_problem(client.post("/analyze", content=b"", headers=headers), 413, "body_too_large")


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"", {}, 415, "not_a_form"),
        (b"{}", {"Content-Type": "application/json"}, 415, "not_a_form"),
        (b"x", {"Content-Type": "multipart/form-data"}, 415, "not_a_form"),
        (b"", FORM, 400, "missing_file"),
        (END, FORM, 400, "missing_file"),
        (part("model", b"ensemble", None) + END, FORM, 400, "missing_file"),
        (part("picture", b"x") + END, FORM, 400, "unexpected_file"),
        (part("video", b"x") + part("video", b"y") + END, FORM, 400, "too_many_files"),
        (part("video", b"x"), FORM, 400, "malformed_form"),
        (b"no boundary here", FORM, 400, "malformed_form"),
        (part("note", b"x" * 70_000, None) + END, FORM, 400, "field_too_large"),
        (b"".join(part(f"f{i}", b"x", None) for i in range(9)) + END, FORM, 400, "too_many_fields"),
        (part("video" + "x" * 9000, b"x") + END, FORM, 400, "malformed_form"),
    ],
)
def test_each_malformed_body_has_its_own_error(
    client: TestClient, content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    assert_problem(client.post("/analyze", content=content, headers=headers), status, code)


@pytest.mark.parametrize("field", ["model", "model_name"])
def test_the_model_can_be_named_in_the_form(client: TestClient, field: str) -> None:
    response = client.post("/analyze", files={"video": b"x"}, data={field: "mobilenet-sbi-v1"})
    assert response.json()["model"] == "mobilenet-sbi-v1"


def test_a_full_disk_is_507(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk:
        def write(self, _: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            pass

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: FullDisk())
    assert_problem(client.post("/analyze", files={"video": b"x"}), 507, "storage_full")


@pytest.mark.parametrize("kind", ["video/mp4", "audio/x-wav", "image/svg+xml", "application/octet-stream"])
def test_a_body_that_is_the_media_itself_arrives_unchanged_and_is_hashed(
    client: TestClient, service: FakeService, kind: str
) -> None:
    content = bytes(range(256)) * 500
    response = client.post("/analyze", content=content, headers={"Content-Type": kind})
    assert response.status_code == 200
    assert service.received == [content]
    assert response.json()["media"]["sha256"] == hashlib.sha256(content).hexdigest()


def test_a_raw_body_over_the_limit_is_413_while_it_streams(client: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(50):
            yield b"x" * MAX_UPLOAD_BYTES

    headers = {"Content-Type": "video/mp4"}
    assert_problem(client.post("/analyze", content=endless(), headers=headers), 413, "body_too_large")


@pytest.mark.parametrize("length", ["", "-1", "many", "9" * 5000])
def test_a_length_that_is_no_number_is_400(client: TestClient, length: str) -> None:
    headers = {"Content-Type": "video/mp4", "Content-Length": length}
    assert_problem(client.post("/analyze", content=b"x", headers=headers), 400, "malformed_request")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("", ""),
        ("clip.mp4", "clip.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\films\\clip.mp4", "clip.mp4"),
        ("cl\x00ip\r\n.mp4", "clip.mp4"),
        ("снимок 片.mp4", "снимок 片.mp4"),
        ("x" * 300, "x" * 255),
    ],
)
def test_of_a_sent_name_the_last_part_is_kept_without_control_characters(sent: str, kept: str) -> None:
    assert base_name(sent) == kept


def asked(body: bytes, kind: str, query: str = "", disposition: str = "") -> Request:
    """A request with that body, in pieces of a thousand bytes."""
    headers = [(b"content-type", kind.encode()), (b"content-disposition", disposition.encode("latin-1"))]
    pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)] or [b""]
    messages: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": at < len(pieces) - 1} for at, piece in enumerate(pieces)
    ]

    async def receive() -> Message:
        return messages.pop(0)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "query_string": query.encode()}
    return Request(scope, receive)


def received(body: bytes, intake: Intake, kind: str = FORM["Content-Type"], **asks: str) -> Uploads:
    return asyncio.run(receive_all(asked(body, kind, **asks), intake))


@pytest.mark.parametrize(
    ("query", "disposition", "name"),
    [
        ("", "", ""),
        ("filename=a%20b.mp4", "", "a b.mp4"),
        ("", 'attachment; filename="clip.mp4"', "clip.mp4"),
        ("", "attachment; filename=\"x.mp4\"; filename*=UTF-8''%E7%89%87.mp4", "片.mp4"),
        ("filename=query.mp4", "attachment; filename=header.mp4", "header.mp4"),
    ],
)
def test_a_raw_body_is_named_by_its_header_or_the_query(query: str, disposition: str, name: str) -> None:
    with received(b"x", Intake(10, 1), "video/mp4", query=query, disposition=disposition) as uploads:
        assert uploads.files[0].filename == name


def test_several_files_arrive_in_the_order_sent_with_their_names_fields_and_hashes() -> None:
    contents = [b"first" * 500, b"", b"third"]
    body = b"".join(part("images", content, f"{i}.png") for i, content in enumerate(contents))
    intake = Intake(10_000, 1, fields=("images",), max_files=3)
    with received(body + part("model", b"ensemble", None) + END, intake) as uploads:
        assert [upload.file.read() for upload in uploads.files] == contents
        assert [upload.filename for upload in uploads.files] == ["0.png", "1.png", "2.png"]
        assert [upload.sha256 for upload in uploads.files] == [hashlib.sha256(c).hexdigest() for c in contents]
        assert all(upload.fields == uploads.fields == {"model": "ensemble"} for upload in uploads.files)
    assert all(upload.file.closed for upload in uploads.files)


def test_of_several_files_one_over_the_limit_is_marked_and_keeps_no_bytes() -> None:
    body = part("images", b"x" * 2001) + part("images", b"y" * 2000) + END
    intake = Intake(2000, 1, fields=("images",), max_files=2, max_body_bytes=10_000)
    with received(body, intake) as uploads:
        large, other = uploads.files
        assert (large.over_limit, large.size_bytes, large.sha256, large.file.read()) == (True, 2001, "", b"")
        assert (other.over_limit, other.file.read()) == (False, b"y" * 2000)


def test_several_files_over_the_limit_on_all_are_413() -> None:
    body = b"".join(part("images", b"x" * 50_000) for _ in range(3)) + END
    with pytest.raises(ApiError) as refused:
        received(body, Intake(50_000, 1, fields=("images",), max_files=3))
    assert (refused.value.status, refused.value.code) == (413, "body_too_large")


def test_more_files_than_are_taken_are_400() -> None:
    body = b"".join(part("images", b"x") for _ in range(3)) + END
    with pytest.raises(ApiError) as refused:
        received(body, Intake(100, 1, fields=("images",), max_files=2))
    assert (refused.value.status, refused.value.code) == (400, "too_many_files")
