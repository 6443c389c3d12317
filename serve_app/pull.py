"""`unmask models pull`: the files of a model from where the catalogue says, each verified before it counts.

A download goes into `<name>.<suffix>.part` and may break off at any byte: the next attempt, of this process or a later
one, asks for the rest only, under the condition that the file is still the same one (RFC 9110, `If-Range`). Nothing
that does not hash to what the catalogue pins, or to what the hub itself says, is ever installed.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import quote

import httpx

from models.detectors.catalogue import AssetRow, FileRow
from models.detectors.store import Store, source_of
from models.detectors.weights import sha256_of
from models.errors import NotInstalled, UnmaskError, WeightsError

# Kinds that can run code or need their framework; they are converted on the way in and the original is not kept.
CONVERTED = frozenset({".pth", ".pt", ".bin", ".ckpt", ".h5", ".hdf5", ".keras"})
ATTEMPTS = 5  # in a row without a byte received
PAUSE_S = 0.5  # before the second attempt; doubled for each further one
TIMEOUT_S = 30.0  # of silence, before a connection counts as dropped
MAX_HOPS = 5
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})  # may pass
SHA256_DIGITS, SHA1_DIGITS = 64, 40
CHUNK_BYTES = 2**18

GOES_ON = (
    "What was received is kept; the same command goes on. Without internet: HF_ENDPOINT names a mirror of the hub, and "
    "`unmask models convert FILE --id ID` takes in a file that came another way."
)
T = TypeVar("T")


class PullFailed(UnmaskError):
    """A file could not be brought here."""

    code = "pull_failed"


class _Again(Exception):
    """An attempt that may pass when it is repeated."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a file must be.

    Attributes:
        sha256: of its bytes; empty if only `git_sha1` is known.
        git_sha1: git's name of its content, which the hub gives for small files.
        size_bytes: None if unknown.
        commit: of the hub's repository.
    """

    sha256: str = ""
    git_sha1: str = ""
    size_bytes: int | None = None
    commit: str = ""

    def refusal(self, path: Path) -> str:
        """Why a file is not the expected one; empty if it is."""
        if self.size_bytes is not None and path.stat().st_size != self.size_bytes:
            return f"it has {path.stat().st_size} bytes, not {self.size_bytes}"
        if self.sha256:
            found, wanted, name = sha256_of(path), self.sha256, "sha256"
        else:
            found, wanted, name = git_sha1_of(path), self.git_sha1, "git blob"
        return "" if found == wanted else f"its {name} is {found}, not {wanted}"


class Puller:
    """Brings models into the store.

    Args:
        store: where to.
        hub_url: of the Hugging Face hub or a mirror of it.
        token: sent to the hub's own origin only, whatever it redirects to.
        say: called with one line about each thing that is done.
        show: called with a file's name, the bytes that are here, and the bytes there will be, or None.
        pause_s: before the second attempt.
    """

    def __init__(
        self,
        store: Store,
        hub_url: str,
        token: str = "",
        *,
        say: Callable[[str], None] = lambda _: None,
        show: Callable[[str, int, int | None], None] = lambda *_: None,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._store, self._hub, self._token = store, hub_url.rstrip("/"), token
        self._say, self._show, self._pause_s = say, show, pause_s
        # Bytes must arrive as they are: a length or a hash of compressed ones would say nothing.
        self._client = httpx.Client(timeout=TIMEOUT_S, headers={"Accept-Encoding": "identity"})

    def pull(self, asset: AssetRow) -> list[str]:
        """Bring every file that is not here yet; the names of those that only the operator has.

        Raises:
            PullFailed: a host cannot be reached, refuses, or the disk is full. What was received is kept.
            WeightsError: what was received is not what it should be. It was deleted.
        """
        self._store.record(asset)  # a damaged one is said before anything is downloaded
        with self._store.locked(asset, lambda: self._say(f"Another process is pulling {asset.id}; waiting for it.")):
            return [name for name, file in asset.files.items() if not self._brought(asset, name, file)]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _brought(self, asset: AssetRow, name: str, file: FileRow) -> bool:
        """Whether the file is here now."""
        try:
            self._store.file(asset, name)
        except WeightsError as error:
            missing = isinstance(error, NotInstalled)
            if file.path == "" and missing:
                return False
            if file.path is not None or file.bundled:
                raise
            if not missing:
                self._say(f"{error} It is replaced.")
        else:
            self._say(f"{name}: already here.")
            return True
        try:
            self._bring(asset, name, file)
        except OSError as error:
            raise PullFailed(f"{error.filename or name}: {error.strerror or error}.", _kept(asset)) from error
        return True

    def _bring(self, asset: AssetRow, name: str, file: FileRow) -> None:
        expected, url = self._expected(file)
        if expected.sha256 and (linked := self._store.link(asset, name, expected.sha256)):
            self._say(f"{name}: another model has it; linked, {linked.size_bytes} bytes saved.")
            return
        part = self._store.home(asset) / f"{name}{PurePosixPath(file.file or _parsed(url).path).suffix}.part"
        self._download(asset, url, file, expected, part)
        if refusal := expected.refusal(part):
            _forget(part)
            raise WeightsError(f"{source_of(file)} was altered: {refusal}.", "It was deleted; nothing was installed.")
        found = expected.sha256 or sha256_of(part)
        entry = self._store.install(asset, name, self._taken_in(name, part), found, expected.commit)
        _forget(part)
        if file.sha256 is None:
            at = f" of commit {entry.commit}" if entry.commit else ""
            self._say(f"{name}: not pinned by the catalogue: recorded as sha256 {found}{at}.")

    def _taken_in(self, name: str, part: Path) -> Path:
        """The verified file itself, or what a pickle or HDF5 file became."""
        suffix = PurePosixPath(part.stem).suffix
        if suffix not in CONVERTED:
            return part.replace(part.with_name(f".{name}{suffix}"))
        from models.detectors.convert import convert  # noqa: PLC0415 - loads torch

        try:
            new = convert(part, part.with_name(f".{name}.safetensors"))
        except WeightsError:
            _forget(part)  # it will not convert next time either
            raise
        beside = f"; left out: {', '.join(new.dropped)}" if new.dropped else ""
        self._say(f"{name}: converted from {suffix} to safetensors{beside}.")
        return new.path

    def _expected(self, file: FileRow) -> tuple[Expected, str]:
        """What the file must be, and its address."""
        if file.url:
            return Expected(file.sha256 or "", size_bytes=file.size_bytes), file.url
        if file.sha256:
            return Expected(file.sha256, size_bytes=file.size_bytes), self._address(file, file.revision)
        said = self._patiently(lambda: self._ask(self._address(file, file.revision)))
        if not (said.sha256 or said.git_sha1):
            raise WeightsError(
                f"nothing says what {source_of(file)} should hash to: neither the catalogue nor {self._hub}.",
                "Put its sha256 into the catalogue.",
            )
        size_bytes = said.size_bytes if file.size_bytes is None else file.size_bytes
        return replace(said, size_bytes=size_bytes), self._address(file, said.commit or file.revision)

    def _address(self, file: FileRow, revision: str) -> str:
        return f"{self._hub}/{file.huggingface}/resolve/{quote(revision, safe='')}/{quote(file.file)}"

    def _ask(self, url: str) -> Expected:
        """What the hub says of a file, from its headers alone."""
        response, said = self._send("HEAD", url, {})
        response.close()
        if response.is_error:
            _refuse(response, url)
        return said

    def _patiently(self, attempt: Callable[[], T], received: Callable[[], int] = lambda: 0) -> T:
        """Repeat an attempt until it passes, or has failed too often without a byte more."""
        failed, had = 0, received()
        while True:
            try:
                return attempt()
            except (httpx.TransportError, _Again) as error:
                failed, had = (1 if received() > had else failed + 1), received()
                if failed >= ATTEMPTS:
                    raise PullFailed(_why(error), GOES_ON) from error
                time.sleep(self._pause_s * 2 ** (failed - 1))

    def _download(self, asset: AssetRow, url: str, file: FileRow, expected: Expected, part: Path) -> None:
        self._patiently(
            lambda: self._attempt(asset, url, file, expected, part),
            lambda: part.stat().st_size if part.exists() else 0,
        )

    def _attempt(self, asset: AssetRow, url: str, file: FileRow, expected: Expected, part: Path) -> None:
        """One request for what is missing of a file."""
        here, validator = _partial(part, source_of(file))
        if here and here == expected.size_bytes:
            return
        response, _ = self._send("GET", url, {"Range": f"bytes={here}-", "If-Range": validator} if here else {})
        with closing(response):
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                if not expected.refusal(part):
                    return  # it was complete already
                _forget(part)
                raise _Again(f"{response.url.host} has less of {url} than is here")
            if response.is_error:
                _refuse(response, url)
            if here and not _goes_on(response, here):
                self._say(f"{part.stem}: the source cannot go on where it stopped, or has changed; from the start.")
                here = 0
            total = _total(response, here)
            if expected.size_bytes is not None and total not in {None, expected.size_bytes}:
                _forget(part)
                raise WeightsError(f"{url} has {total} bytes, not {expected.size_bytes}.", "Nothing was installed.")
            self._check_room(asset, part, total, here)
            if not here:
                _forget(part)
            _remember(part, source_of(file), response)
            self._write(response, part, here, expected.size_bytes or total)

    def _write(self, response: httpx.Response, part: Path, here: int, total: int | None) -> None:
        """Append the body. A server that states no length may send too little or too much without an error."""
        with part.open("ab" if here else "wb") as out:
            self._show(part.stem, here, total)
            for chunk in response.iter_raw():
                out.write(chunk)
                here += len(chunk)
                self._show(part.stem, here, total)
                if total is not None and here > total:
                    break
        if total is not None and here < total:
            raise _Again(f"{response.url.host} stopped at {here} of {total} bytes")

    def _check_room(self, asset: AssetRow, part: Path, total: int | None, here: int) -> None:
        free = shutil.disk_usage(part.parent).free
        if total is not None and total - here > free:
            raise PullFailed(f"{part.parent}: {total - here} bytes are needed and {free} are free.", _kept(asset))

    def _send(self, method: str, url: str, headers: dict[str, str]) -> tuple[httpx.Response, Expected]:
        """The answer after redirects, its body unread; what the hub itself said on the way."""
        said, at = Expected(), _parsed(url)
        for _ in range(MAX_HOPS):
            ours = _origin(at) == _origin(httpx.URL(self._hub))
            secret = {"Authorization": f"Bearer {self._token}"} if self._token and ours else {}
            request = self._client.build_request(method, at, headers={**headers, **secret})
            response = self._client.send(request, stream=True)
            if ours:
                said = _heard(said, response)
            if not response.has_redirect_location:
                return response, said
            response.close()
            at = _parsed(response.headers["Location"], at)
            if at.scheme not in {"http", "https"}:
                raise PullFailed(f"{url} leads to {at.scheme}:, which is not followed.")
            if method == "HEAD" and _origin(at) != _origin(httpx.URL(self._hub)):
                return response, said  # what another host says of the file is not asked
        raise PullFailed(f"{url} leads from one address to the next, {MAX_HOPS} times.")


def git_sha1_of(path: Path) -> str:
    """Git's name of a file's content: SHA-1 of `blob <length>`, a zero byte and the bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _parsed(address: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        return base.join(address) if base else httpx.URL(address)
    except httpx.InvalidURL as error:
        raise PullFailed(f"{address} is no address: {error}.") from error


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _heard(said: Expected, response: httpx.Response) -> Expected:
    """What one more answer of the hub adds; the first that says something counts."""
    headers = response.headers
    own = "" if response.has_redirect_location else headers.get("ETag", "")  # a redirect's tag is not the file's
    tag = headers.get("X-Linked-Etag", own).removeprefix("W/").strip('"')
    size = headers.get("X-Linked-Size", "")
    return Expected(
        said.sha256 or (tag if len(tag) == SHA256_DIGITS else ""),
        said.git_sha1 or (tag if len(tag) == SHA1_DIGITS else ""),
        int(size) if said.size_bytes is None and size.isdigit() else said.size_bytes,
        said.commit or headers.get("X-Repo-Commit", ""),
    )


def _refuse(response: httpx.Response, url: str) -> None:
    """Raise what an error status means."""
    status, host = response.status_code, response.url.host
    if status in BUSY:
        raise _Again(f"{host} answers {status}")
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise PullFailed(
            f"{host} answers {status} for {url}.",
            "If its terms must be accepted, do so on its page and set HF_TOKEN to a token of your account.",
        )
    raise PullFailed(f"{host} answers {status} for {url}.")


def _why(error: Exception) -> str:
    """An attempt's failure in one line. Addresses after a redirect carry secrets: their host is named alone."""
    if not isinstance(error, httpx.TransportError):
        return f"{error}."
    what = "cannot be reached" if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else "broke off"
    return f"{error.request.url.host} {what}: {error or type(error).__name__}."


def _kept(asset: AssetRow) -> str:
    return f"What was received is kept; `unmask models pull {asset.id}` goes on."


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _partial(part: Path, source: str) -> tuple[int, str]:
    """How many bytes of this source are here, and what tells whether it is still the same file."""
    try:
        note = json.loads(_note(part).read_text("utf-8"))
        if note["source"] == source and note["validator"]:
            return part.stat().st_size, str(note["validator"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return 0, ""


def _remember(part: Path, source: str, response: httpx.Response) -> None:
    """Note what the rest of a download can be asked for by. A weak tag does not promise the same bytes."""
    tag = response.headers.get("ETag", "")
    validator = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")
    _note(part).write_text(json.dumps({"source": source, "validator": validator}), "utf-8")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _goes_on(response: httpx.Response, here: int) -> bool:
    start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return response.status_code == HTTPStatus.PARTIAL_CONTENT and start == str(here)


def _total(response: httpx.Response, here: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return here + int(length) if length.isdigit() else None
