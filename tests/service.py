"""One Ray and one running service for all tests that need it, started as `unmask up` starts it."""

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from models.detectors.catalogue import read_catalogue
from models.detectors.store import ROOT
from serve_app.auth import new_key
from serve_app.profile import check_profile
from serve_app.up import deploy, ray_running
from tests.stores import NewStores


@dataclass(frozen=True)
class Running:
    """The service under test."""

    url: str
    key: str

    def post(self, path: str, content: bytes, *, reuse: bool = False, **params: str) -> httpx.Response:
        """Send a file. Many tests send the same one: unless `reuse`, an answer that was given before does not count."""
        return httpx.post(
            self.url + path,
            params=params,
            files={"video": ("clip.mp4", content)},
            headers={"X-API-Key": self.key} | ({} if reuse else {"Cache-Control": "no-cache"}),
            timeout=120,
        )


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, new_stores: NewStores) -> Iterator[Running]:
    kept = tmp_path_factory.mktemp("kept")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    profile = check_profile(ROOT / "configs/serve/local.yaml")
    profile["http_options"]["port"] = port
    key = new_key()
    console = Console(quiet=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("API_KEY", key)  # the processes of the graph inherit it
        for name, value in new_stores(kept).items():
            patch.setenv(name, value)
        patch.setenv("UNMASK_JOB_LEASE_S", "4")  # a killed runner costs a test no half minute
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        with ray_running(console):
            deploy(profile, threading.Event(), console)
            yield Running(f"http://127.0.0.1:{port}", key)


def replicas(deployment: str) -> set[int]:
    """Process ids of a deployment's replicas, by the titles that Ray gives its processes."""
    title = f"ray::ServeReplica:unmask:{deployment}".encode()
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if (folder / "cmdline").read_bytes().startswith(title) and not _is_zombie(folder):
                    found.add(int(folder.name))
            except OSError:
                continue  # ended while we looked
    return found


def _is_zombie(process: Path) -> bool:
    return (process / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def graph_processes() -> dict[str, set[int]]:
    """Process ids of every replica of the graph."""
    detectors = (f"Detector-{row.id}" for row in read_catalogue().rows)
    names = ("Ingress", "EnsembleRouter", "FrameExtractor", "Visualizer", "JobRunner", *detectors)
    return {name: replicas(name) for name in names}
