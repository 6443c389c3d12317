"""Media by its address: from a real HTTPS server, and from a bucket."""

import asyncio
import hashlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from serve_app.artifacts import Artifacts, S3Options
from serve_app.errors import ApiError
from serve_app.remote import AddressFailed, AddressNotAllowed, Remote
from serve_app.uploads import Upload
from tests.servers import S3
from tests.tls import certificate, https_server

HERE = "127.0.0.0/8"
CONTENT = b"film" * 1000


@dataclass
class Site:
    """A server under two names, what it answers by path, and what it was asked."""

    port: int = 0
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    resolved: list[str] = field(default_factory=list)

    def url(self, path: str, host: str = "media.test") -> str:
        return f"https://{host}:{self.port}{path}"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append((self.headers["Host"], self.path))
            status, headers, content = site.answers[self.path]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    addresses = {
        "media.test": "127.0.0.1",
        "other.test": "127.0.0.1",
        "wrong.test": "127.0.0.1",
        "far.test": "10.0.0.1",
    }
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *arguments: Any, **named: Any) -> Any:
        site.resolved.append(host)
        return real(addresses.get(host, host), port, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    files = certificate(tmp_path, "media.test", "other.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    with https_server(Handler, *files) as site.port:
        yield site


def fetch(remote: Remote, url: str, max_bytes: int = 10_000, timeout_s: float = 10) -> tuple[bytes, Upload]:
    async def there() -> tuple[bytes, Upload]:
        upload = await remote.fetch(url, max_bytes, timeout_s)
        with upload.file:
            return upload.file.read(), upload

    return asyncio.run(there())


def test_media_is_fetched_from_a_host_of_the_list(site: Site) -> None:
    site.answers["/a/clip%20one.mp4?x=1"] = (200, {}, CONTENT)
    content, upload = fetch(Remote(f"media.test,{HERE}"), site.url("/a/clip%20one.mp4?x=1"))
    assert content == CONTENT
    assert (upload.filename, upload.size_bytes) == ("clip one.mp4", len(CONTENT))
    assert upload.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert site.asked == [(f"media.test:{site.port}", "/a/clip%20one.mp4?x=1")]
    assert site.resolved.count("media.test") == 1, "resolved again, it could be another address"


@pytest.mark.parametrize("allow", ["", HERE, f"elsewhere.test,{HERE}", "media.test", "media.test,10.0.0.0/8"])
def test_nothing_is_asked_of_a_host_or_address_that_is_not_listed(site: Site, allow: str) -> None:
    with pytest.raises(AddressNotAllowed):
        fetch(Remote(allow), site.url("/a"))
    assert site.asked == []


def test_a_redirect_inside_the_list_is_followed(site: Site) -> None:
    site.answers["/a"] = (302, {"Location": site.url("/b", "other.test")}, b"")
    site.answers["/b"] = (307, {"Location": "/c"}, b"")
    site.answers["/c"] = (200, {}, CONTENT)
    assert fetch(Remote(f"*.test,{HERE}"), site.url("/a"))[0] == CONTENT
    assert [host.partition(":")[0] for host, _ in site.asked] == ["media.test", "other.test", "other.test"]


@pytest.mark.parametrize(
    "location",
    [
        "https://elsewhere.test/b",
        "https://127.0.0.2:1/b",
        "https://far.test/b",
        "http://media.test/b",
        "file:///etc/passwd",
        "https://me:secret@media.test/b",
        "s3://bucket/b",
    ],
)
def test_a_redirect_out_of_the_list_is_not_followed(site: Site, location: str) -> None:
    site.answers["/a"] = (302, {"Location": location}, b"")
    with pytest.raises(AddressNotAllowed):
        fetch(Remote("media.test,far.test,127.0.0.1"), site.url("/a"))
    assert len(site.asked) == 1


def test_a_chain_of_redirects_ends(site: Site) -> None:
    site.answers["/a"] = (302, {"Location": "/a"}, b"")
    with pytest.raises(AddressFailed, match="times"):
        fetch(Remote(f"media.test,{HERE}"), site.url("/a"))


def test_a_certificate_of_another_name_is_refused(site: Site) -> None:
    with pytest.raises(AddressFailed, match="does not answer"):
        fetch(Remote(f"wrong.test,{HERE}"), site.url("/a", "wrong.test"))


def test_media_over_the_cap_is_given_up(site: Site) -> None:
    site.answers["/a"] = (200, {}, bytes(3_000_000))
    with pytest.raises(ApiError) as refused:
        fetch(Remote(f"media.test,{HERE}"), site.url("/a"), max_bytes=1_000_000)
    assert refused.value.status == 413


@pytest.mark.parametrize(("status", "headers"), [(404, {}), (500, {}), (204, {}), (200, {"Content-Encoding": "gzip"})])
def test_what_is_no_media_is_said(site: Site, status: int, headers: dict[str, str]) -> None:
    site.answers["/a"] = (status, headers, b"")
    with pytest.raises(AddressFailed):
        fetch(Remote(f"media.test,{HERE}"), site.url("/a"))


def test_a_proxy_of_the_environment_is_not_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    site.answers["/a"] = (200, {}, CONTENT)
    assert fetch(Remote(f"media.test,{HERE}"), site.url("/a"))[0] == CONTENT


def stored(server: S3, folder: Path) -> tuple[str, S3Options]:
    bucket = f"remote-{abs(hash(folder)):x}"
    server.create_bucket(bucket)
    options = S3Options(server.endpoint, "", "us-east-1", S3.KEY, S3.SECRET)
    artifacts = Artifacts(f"s3://{bucket}", b"", options)
    for name in ("media/clip.mp4", "artifacts/secret.mp4"):
        asyncio.run(artifacts.put(name, CONTENT))
    return f"s3://{bucket}", options


def test_an_object_is_fetched_from_a_place_of_the_list(s3_server: S3, tmp_path: Path) -> None:
    bucket, options = stored(s3_server, tmp_path)
    content, upload = fetch(Remote(f"{bucket}/media", options), f"{bucket}/media/clip.mp4")
    assert (content, upload.filename) == (CONTENT, "clip.mp4")


@pytest.mark.parametrize(
    "path", ["artifacts/secret.mp4", "media/../artifacts/secret.mp4", "media2/a", "media/", "media"]
)
def test_an_object_elsewhere_is_not_fetched(s3_server: S3, tmp_path: Path, path: str) -> None:
    bucket, options = stored(s3_server, tmp_path)
    with pytest.raises(AddressNotAllowed):
        fetch(Remote(f"{bucket}/media", options), f"{bucket}/{path}")


def test_the_artefact_store_itself_is_never_a_source(s3_server: S3, tmp_path: Path) -> None:
    bucket, options = stored(s3_server, tmp_path)
    with pytest.raises(AddressNotAllowed):
        fetch(Remote(bucket, options, f"{bucket}/artifacts"), f"{bucket}/artifacts/secret.mp4")


def test_an_object_that_is_not_there_is_said(s3_server: S3, tmp_path: Path) -> None:
    bucket, options = stored(s3_server, tmp_path)
    with pytest.raises(AddressFailed):
        fetch(Remote(f"{bucket}/media", options), f"{bucket}/media/missing.mp4")


def test_a_redirect_to_what_is_no_address_is_said(site: Site) -> None:
    site.answers["/a"] = (302, {"Location": "https://[media.test/b"}, b"")
    with pytest.raises((AddressFailed, AddressNotAllowed)):
        fetch(Remote(f"media.test,{HERE}"), site.url("/a"))


def test_an_object_whose_name_no_database_takes_is_refused() -> None:
    with pytest.raises(AddressNotAllowed):
        Remote("s3://bucket/media").check("s3://bucket/media/a\0.mp4")
