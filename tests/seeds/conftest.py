"""The running service as an operator of an older one sets it up, and the files that its clients send."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from rich.console import Console
from safetensors.torch import save_file

from models.detectors.catalogue import CATALOGUE_FILE
from models.detectors.color_cues_lstm import ColorCues
from models.detectors.store import ROOT
from models.detectors.weights import sha256_of
from serve_app.profile import check_profile
from serve_app.up import deploy
from tests.media import clip_from_frames, numbered_frames, sound_only, still
from tests.seeds.clients import node_modules
from tests.service import Running

SERVED = ("mobilenet-sbi-v1", "voice-v1", "siglip-lstm-v1", "siglip-lstm-v3", "color-cues-lstm-v1")
RATE = 48_000


def write_catalogue(folder: Path) -> Path:
    """The models that the READMEs name. No weights come for one of them, so it has random ones here."""
    torch.manual_seed(0)
    weights = folder / "color_cues.safetensors"
    save_file(ColorCues(32 * 32, 64, 32).state_dict(), weights)
    content = yaml.safe_load(CATALOGUE_FILE.read_text("utf-8"))
    rows = {row["id"]: row for row in content["models"]}
    rows["color-cues-lstm-v1"]["files"]["weights"] = {"path": str(weights), "sha256": sha256_of(weights)}
    content["models"] = [{**rows[name], "enabled": True} for name in SERVED]
    for row in content["models"]:
        row["share"]["num_cpus"] = 0.02
    path = folder / "models.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")
    return path


@pytest.fixture(scope="session")
def older(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A second application on the same Ray, at /older, that serves these models, and asks strangers for no key."""
    folder = tmp_path_factory.mktemp("older")
    variables = {"UNMASK_CATALOGUE": str(write_catalogue(folder)), "UNMASK_OPEN_SEED_ROUTES": "true"}
    profile = check_profile(ROOT / "configs/serve/local.yaml")
    profile["http_options"]["port"] = int(running.url.rpartition(":")[2])
    first = profile["applications"][0]
    second = {
        **first,
        "name": "older",
        "route_prefix": "/older",
        "runtime_env": {"env_vars": variables},
        "deployments": [{"name": "FrameExtractor", "ray_actor_options": {"num_cpus": 0.1}}],
    }
    console = Console(quiet=True)
    deploy({**profile, "applications": [first, second]}, threading.Event(), console)
    yield Running(running.url + "/older", running.key)
    deploy(profile, threading.Event(), console)


def humming() -> NDArray[np.float32]:
    """`(S,)` at 48 kHz: four seconds of a pitch with its harmonics that rise and fall, as no throat makes them."""
    t_s = np.arange(4 * RATE) / RATE
    phase = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 2 * t_s)) / RATE
    harmonics = sum(np.sin(n * phase) / n for n in range(1, 30))
    return (0.1 * harmonics * (0.5 + 0.5 * np.sin(2 * np.pi * 3 * t_s))).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, portrait: NDArray[np.uint8]) -> Path:
    """A folder with what the snippets send: a forged film, a real one that hums, a recording and a picture."""
    (tmp_path / "video.mp4").write_bytes((ROOT / "assets/sample_forged.mp4").read_bytes())
    film = clip_from_frames(numbered_frames(60, 480, 480, portrait), sound=humming()[: 2 * RATE])
    (tmp_path / "test_video.mp4").write_bytes(film)
    (tmp_path / "test_audio.wav").write_bytes(sound_only(humming(), "wav", "pcm_s16le"))
    (tmp_path / "image.jpg").write_bytes(still(portrait, "jpeg"))
    return tmp_path


@pytest.fixture(scope="session")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """axios and form-data."""
    return node_modules(tmp_path_factory.mktemp("node"))
