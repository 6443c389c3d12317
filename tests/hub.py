"""A small hub of files for tests: ranges, redirects, dropped connections, the headers of Hugging Face."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40


@dataclass
class Hub:
    """What is served, and what was asked for.

    Attributes:
        files: content by path; `etags` are the hashes of the content unless stated.
        redirects: paths that lead elsewhere, with the answer's headers kept.
        cut_after: the next answers end after so many bytes of their body, one answer each.
        busy: the next answers are 503, so many.
        speaks: whether the hub's own headers (X-Linked-Etag, X-Repo-Commit) are sent.
        git: whether files are named as git names them, as the hub does with small ones.
        ranges: whether parts of a file are given.
        lengths: whether answers state their length.
        gated: paths that need the token.
        asked: `(method, path, Range, Authorization)` of each request.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)
    busy: int = 0
    speaks: bool = True
    git: bool = False
    ranges: bool = True
    lengths: bool = True
    gated: set[str] = field(default_factory=set)
    tampered: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str, str, str]] = field(default_factory=list)

    def put(self, repository: str, file: str, content: bytes) -> None:
        """A file of a repository, under the names `main` and its commit."""
        for revision in ("main", COMMIT):
            self.files[f"/{repository}/resolve/{revision}/{file}"] = content

    def gets(self) -> list[tuple[str, str]]:
        """Path and Range of the requests for content."""
        return [(path, asked_range) for method, path, asked_range, _ in self.asked if method == "GET"]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        hub, path = self.hub, self.path
        token = self.headers.get("Authorization", "")
        hub.asked.append((self.command, path, self.headers.get("Range", ""), token))
        if hub.busy:
            hub.busy -= 1
            self._end(503)
        elif path in hub.gated and not token:
            self._end(401)
        elif path in hub.redirects:
            self._end(302, {"Location": hub.redirects[path], **self._said(hub.files.get(path))})
        elif path not in hub.files:
            self._end(404)
        else:
            self._give(hub.tampered.get(path, hub.files[path]), with_body)

    def _said(self, content: bytes | None) -> dict[str, str]:
        if content is None or not self.hub.speaks:
            return {}
        blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False)
        name = blob if self.hub.git else hashlib.sha256(content)
        return {"X-Linked-Etag": f'"{name.hexdigest()}"', "X-Linked-Size": str(len(content)), "X-Repo-Commit": COMMIT}

    def _give(self, content: bytes, with_body: bool) -> None:
        tag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()[:20]}"'
        headers = {"ETag": tag, "Accept-Ranges": "bytes", **self._said(self.hub.files[self.path])}
        start, status = 0, 200
        if self.hub.ranges and "Range" in self.headers and self.headers.get("If-Range", tag) == tag:
            start, status = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")), 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            if start >= len(content):
                self._end(416)
                return
        if self.hub.lengths:
            headers["Content-Length"] = str(len(content) - start)
        cut = self.hub.cut_after.pop(0) if with_body and self.hub.cut_after else None
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content[start:][:cut])
        self.close_connection = cut is not None or not self.hub.lengths

    def _end(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Tests print nothing."""


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub on a free port of this machine."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
