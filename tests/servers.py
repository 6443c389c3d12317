"""Servers that tests start for themselves. In CI what is missing is installed; elsewhere a test skips and says why."""

import os
import shutil
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import httpx
import pytest

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}
START_TIMEOUT_S = 60.0


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def needs(what: str, found: object, *install: str) -> None:
    """Install what is missing in CI; skip with the reason on a user's machine."""
    if found:
        return
    if not IN_CI:
        pytest.skip(f"{what} is not installed: {' '.join(install)}")
    if install[0] == "apt-get":
        subprocess.run(["apt-get", "update"], check=True, capture_output=True)
    subprocess.run(install, check=True, capture_output=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def postgres_programs() -> Path | None:
    """The folder of initdb, or None; Debian keeps it off the search path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


@dataclass(slots=True)
class Postgres:
    """A PostgreSQL server that can be stopped and started again."""

    programs: Path
    folder: Path
    port: int

    @property
    def url(self) -> str:
        """The address of its first database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -c fsync=off"
        self._control("start", "-w", "-l", str(self.folder / "log"), "-o", options)

    def stop(self) -> None:
        """Stop it at once, as a crash does."""
        self._control("stop", "-m", "immediate", "-w")

    def create(self) -> None:
        """Make the files of a new server. PostgreSQL refuses to run as root."""
        self._run("initdb", "-D", str(self.folder / "data"), "-U", "postgres", "-A", "trust", "--no-sync")

    def execute(self, statement: str) -> None:
        """Run one statement."""
        command = ["psql", "-v", "ON_ERROR_STOP=1", "-qAt", self.url, "-c", statement]
        subprocess.run(command, check=True, capture_output=True, timeout=30)

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        as_other = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*as_other, str(self.programs / program), *arguments]
        # The server keeps what it inherits open: a pipe would never end.
        log = self.folder / "control"
        with log.open("ab") as output:
            done = subprocess.run(command, stdout=output, stderr=output, timeout=START_TIMEOUT_S, check=False, cwd="/")
        assert done.returncode == 0, log.read_text()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A new PostgreSQL server, gone at the end.

    Not in pytest's own folder: every session that starts closes that to other users, and the server is one.
    """
    needs("PostgreSQL", postgres_programs(), "apt-get", "install", "-y", "--no-install-recommends", "postgresql")
    programs = postgres_programs()
    assert programs
    with TemporaryDirectory(prefix="unmask-postgres-") as folder:
        server = Postgres(programs, Path(folder), free_port())
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        server.create()
        server.start()
        try:
            yield server
        finally:
            with suppress(AssertionError):
                server.stop()


@dataclass(slots=True)
class S3:
    """An S3 server that can be stopped and started again; it forgets what it held."""

    port: int
    python: Path
    process: "subprocess.Popen[bytes] | None" = None

    KEY: ClassVar[str] = "unmask-test"
    SECRET: ClassVar[str] = "unmask-test-secret"  # noqa: S105 - of a server that lives for one test run

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def settings(self) -> dict[str, str]:
        """The service's settings for it, as environment variables."""
        return {
            "UNMASK_S3_ENDPOINT": self.endpoint,
            "UNMASK_S3_ACCESS_KEY_ID": self.KEY,
            "UNMASK_S3_SECRET_ACCESS_KEY": self.SECRET,
        }

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        command = [str(self.python), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_port(self.port, self.process)

    def stop(self) -> None:
        """Stop it at once, as a crash does."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def create_bucket(self, name: str) -> None:
        """Make a bucket."""
        httpx.put(f"{self.endpoint}/{name}").raise_for_status()


@contextmanager
def s3(folder: Path) -> Iterator[S3]:
    """A new S3 server, gone at the end. It runs from a folder of its own where it is not installed beside us."""
    python = Path(sys.executable)
    if not find_spec("moto"):
        python = folder / "bin/python"
        venv.create(folder, with_pip=True)
        needs("An S3 server", None, str(python), "-m", "pip", "install", "moto[server]>=5.2,<6")
    server = S3(free_port(), python)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def wait_for_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until a process takes connections; fails if it ends first."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{process.args!r} ended with {process.returncode}"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"{process.args!r} did not listen on {port} within {START_TIMEOUT_S:g} s")
