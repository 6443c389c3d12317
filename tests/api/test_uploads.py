import errno
import hashlib
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

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
