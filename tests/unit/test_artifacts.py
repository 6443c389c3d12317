"""The artefact store, on a folder and on an S3 server alike."""

import asyncio
import io
import pickle
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from serve_app.artifacts import (
    PART_BYTES,
    Artifacts,
    ArtifactsError,
    NoSuchArtifact,
    S3Options,
    StorageUnavailable,
    opened,
    prepare,
)
from serve_app.settings import Settings
from serve_app.signing import ExpiredToken, Signer, WrongToken
from tests.servers import S3, free_port

T = TypeVar("T")
LARGE = bytes(range(256)) * (PART_BYTES // 256) * 2 + b"end"


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


async def pieces(content: bytes, size: int = 700_001) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def streamed(artifacts: Artifacts, name: str, *part: int) -> bytes:
    return b"".join([piece async for piece in artifacts.stream(name, *part)])


@pytest.mark.parametrize("content", [b"", b"few", LARGE], ids=["empty", "small", "of several parts"])
@pytest.mark.parametrize("kind", ["bytes", "path", "file", "pieces"])
def test_what_is_put_is_read_again_whatever_it_comes_from(
    artifacts: Artifacts, tmp_path: Path, kind: str, content: bytes
) -> None:
    async def there_and_back() -> tuple[int, int, bytes, bytes]:
        path = tmp_path / "source"
        path.write_bytes(content)
        source: Any = {"bytes": content, "path": path, "file": io.BytesIO(content), "pieces": pieces(content)}[kind]
        stored = await artifacts.put("visual/ana_1.mp4", source)
        name = "visual/ana_1.mp4"
        return stored, await artifacts.size(name), await streamed(artifacts, name), await artifacts.read(name)

    assert run(there_and_back()) == (len(content), len(content), content, content)


def test_a_part_of_a_file_is_streamed(artifacts: Artifacts) -> None:
    async def part() -> bytes:
        await artifacts.put("a.bin", b"0123456789")
        return await streamed(artifacts, "a.bin", 2, 5)

    assert run(part()) == b"234"


def test_a_source_that_fails_leaves_nothing_and_its_error_is_raised(artifacts: Artifacts) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield bytes(PART_BYTES + 1)
        raise LookupError("the client went away")

    async def put() -> bool:
        with pytest.raises(LookupError, match="went away"):
            await artifacts.put("a.bin", failing())
        return await artifacts.exists("a.bin")

    assert not run(put())


def test_what_was_stored_under_the_name_before_survives_a_source_that_fails(artifacts: Artifacts) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield bytes(PART_BYTES + 1)
        raise LookupError("the client went away")

    async def put() -> bytes:
        await artifacts.put("a.bin", b"before")
        with pytest.raises(LookupError):
            await artifacts.put("a.bin", failing())
        return await artifacts.read("a.bin")

    assert run(put()) == b"before"


def test_a_cancelled_put_leaves_nothing(artifacts: Artifacts, tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(2**20)
            await asyncio.sleep(0.01)

    async def put() -> bool:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(artifacts.put("a.bin", endless()), 0.3)
        return await artifacts.exists("a.bin")

    assert not run(put())
    folder = tmp_path / "artifacts"
    assert not folder.exists() or not [path for path in folder.rglob("*") if path.is_file()]


def test_erasing_takes_what_is_there_and_minds_nothing_that_is_not(artifacts: Artifacts) -> None:
    async def erase() -> list[bool]:
        await artifacts.put("a.bin", b"1")
        await artifacts.put("b.bin", b"1")
        await artifacts.delete("missing.bin", "a.bin")
        return [await artifacts.exists(name) for name in ("a.bin", "b.bin")]

    assert run(erase()) == [False, True]


def test_erasing_a_folder_spares_its_neighbours(artifacts: Artifacts) -> None:
    async def erase() -> list[str]:
        for name in ("jobs/job_1/0", "jobs/job_1/deep/1", "jobs/job_10/0"):
            await artifacts.put(name, b"1")
        await artifacts.delete_under("jobs/job_1")
        return [name async for name in artifacts.names("jobs")]

    assert run(erase()) == ["jobs/job_10/0"]


@pytest.mark.parametrize("method", ["read", "size", "stream"])
def test_what_is_not_there_is_named(artifacts: Artifacts, method: str) -> None:
    async def ask() -> None:
        await (streamed(artifacts, "a.bin") if method == "stream" else getattr(artifacts, method)("a.bin"))

    with pytest.raises(NoSuchArtifact, match=r"a\.bin"):
        run(ask())


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../a", "a/../b", "a//b", ".hidden", "a\0b", "a?b", "ü"])
def test_a_name_that_could_lead_elsewhere_is_refused(artifacts: Artifacts, name: str) -> None:
    with pytest.raises(ArtifactsError):
        run(artifacts.put(name, b"1"))


def test_it_pickles_as_its_address(artifacts: Artifacts) -> None:
    run(artifacts.put("a.bin", b"1"))
    assert run(pickle.loads(pickle.dumps(artifacts)).read("a.bin")) == b"1"  # noqa: S301


def test_a_store_that_answers_passes_the_check(artifacts: Artifacts) -> None:
    run(artifacts.check())


def test_a_link_to_a_bucket_gives_the_file_without_a_key(s3_artifacts: Artifacts) -> None:
    async def follow() -> httpx.Response:
        await s3_artifacts.put("visual/a.mp4", b"film", filename="clip.mp4")
        async with httpx.AsyncClient() as client:
            return await client.get(await s3_artifacts.link("visual/a.mp4", "clip.mp4", 60))

    answer = run(follow())
    assert (answer.content, answer.headers["content-type"]) == (b"film", "video/mp4")
    assert answer.headers["content-disposition"] == 'inline; filename="clip.mp4"'


def test_media_can_be_put_into_a_bucket_past_us(s3_artifacts: Artifacts) -> None:
    async def put() -> bytes:
        async with httpx.AsyncClient() as client:
            (await client.put(await s3_artifacts.place("uploads/a", 60), content=b"film")).raise_for_status()
        return await s3_artifacts.read("uploads/a")

    assert run(put()) == b"film"


def test_links_lead_where_clients_reach_the_bucket(s3_server: S3) -> None:
    options = S3Options(s3_server.endpoint, "https://files.example.org", "us-east-1", S3.KEY, S3.SECRET)
    link = run(Artifacts("s3://bucket", b"secret", options).link("a.mp4", "", 60))
    assert link.startswith("https://files.example.org/bucket/a.mp4?")


def test_a_bucket_whose_server_is_away_is_unavailable() -> None:
    options = S3Options(f"http://127.0.0.1:{free_port()}", "", "us-east-1", S3.KEY, S3.SECRET)
    artifacts = Artifacts("s3://bucket", b"secret", options)
    for ask in (artifacts.put("a", b"1"), artifacts.read("a"), artifacts.check(), artifacts.delete("a")):
        with pytest.raises(StorageUnavailable):
            run(ask)


def test_a_bucket_that_does_not_exist_is_unavailable_when_written_to(s3_server: S3) -> None:
    artifacts = Artifacts("s3://missing", b"secret", S3Options(s3_server.endpoint, "", "us-east-1", S3.KEY, S3.SECRET))
    for ask in (artifacts.put("a", b"1"), artifacts.check()):
        with pytest.raises(StorageUnavailable):
            run(ask)


FILL = """
import asyncio, sys
from serve_app.artifacts import Artifacts, StorageFull
artifacts = Artifacts(sys.argv[1], b"secret")
async def main():
    await artifacts.put("small", b"1")
    try:
        await artifacts.put("large", bytes(2**22))
    except StorageFull:
        print("full", [name async for name in artifacts.names("large")], await artifacts.read("small"))
asyncio.run(main())
"""


def test_a_full_disk_is_named_and_leaves_what_was_there(tmp_path: Path) -> None:
    allowed = shutil.which("unshare") and not subprocess.run(["unshare", "-rm", "true"], check=False).returncode
    if not allowed:
        pytest.skip("this machine lets nobody mount a small disk")
    mount = 'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$1" -c "$2" "$0"'
    command = ["unshare", "-rm", "sh", "-c", mount, str(tmp_path), sys.executable, FILL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "full [] b'1'\n", done.stderr


@pytest.mark.parametrize("url", ["gs://bucket", "s3://", "https://example.org"])
def test_an_address_of_no_store_is_refused(url: str) -> None:
    with pytest.raises(ArtifactsError):
        opened(url, S3Options())


def test_a_token_says_what_it_was_made_of() -> None:
    signer = Signer(b"secret")
    assert signer.opened("get", signer.token("get", 60, "a.mp4", "Über.mp4")) == ["a.mp4", "Über.mp4"]


def test_a_token_of_another_secret_or_purpose_or_altered_is_refused() -> None:
    token = Signer(b"secret").token("get", 60, "a.mp4")
    for secret, purpose, sent in (
        (b"other", "get", token),
        (b"secret", "put", token),
        (b"secret", "get", token[:-1]),
        (b"secret", "get", "x" + token[1:]),
        (b"secret", "get", ""),
        (b"secret", "get", "ü"),
    ):
        with pytest.raises(WrongToken):
            Signer(secret).opened(purpose, sent)


def test_a_token_is_over_after_its_time() -> None:
    signer = Signer(b"secret")
    with pytest.raises(ExpiredToken):
        signer.opened("get", signer.token("get", 0, "a.mp4"))


def test_a_store_that_is_prepared_is_empty(artifacts_url: str, artifacts: Artifacts) -> None:
    prepare(artifacts_url, Settings(_env_file=None).s3_options())  # type: ignore[call-arg]
    assert not run(artifacts.exists("check"))


def test_a_store_that_cannot_be_written_is_said_before_anything_starts(tmp_path: Path, s3_server: S3) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactsError):
        prepare(str(tmp_path / "file"), S3Options())
    with pytest.raises(StorageUnavailable):
        prepare("s3://missing", S3Options(s3_server.endpoint, "", "us-east-1", S3.KEY, S3.SECRET))


def test_a_link_to_a_bucket_is_signed_as_another_implementation_signs(
    s3_server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server for tests checks no signature.
    signing = pytest.importorskip("botocore.auth", reason="it comes with the S3 server, unless that has its own folder")
    credentials = pytest.importorskip("botocore.credentials").Credentials(S3.KEY, S3.SECRET)
    options = S3Options(s3_server.endpoint, "", "eu-west-3", S3.KEY, S3.SECRET)
    signed = httpx.URL(run(Artifacts("s3://bucket/a b", b"", options).link("visual/ana_1.mp4", "", 600)))
    request = pytest.importorskip("botocore.awsrequest").AWSRequest("GET", str(signed.copy_with(query=None)))
    at = datetime.strptime(signed.params["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    monkeypatch.setattr(signing, "get_current_datetime", lambda: at)
    signing.S3SigV4QueryAuth(credentials, "s3", "eu-west-3", expires=600).add_auth(request)
    assert dict(httpx.URL(request.url).params) == dict(signed.params)
