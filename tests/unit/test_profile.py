from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from ray import serve

from deployments.detector import Detector
from models.detectors.catalogue import ShareRow, read_catalogue
from models.detectors.store import ROOT
from serve_app.app import build, detector_options, device_of
from serve_app.profile import BuildArgs, ProfileError, check_profile
from serve_app.up import OTHER_CPUS

PROFILES = sorted((ROOT / "configs" / "serve").glob("*.yaml"))
GRAPH = {"Ingress", "EnsembleRouter", "FrameExtractor", "Visualizer"}


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_profile_in_the_repository_is_valid_and_names_itself(path: Path) -> None:
    content = check_profile(path)
    (application,) = content["applications"]
    assert ROOT / application["args"]["profile"] == path


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_deployment_of_a_profile_is_in_the_graph_whatever_is_served(path: Path) -> None:
    (application,) = check_profile(path)["applications"]
    assert {deployment["name"] for deployment in application["deployments"]} <= GRAPH


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_what_is_no_detector_fits_the_cpus_that_unmask_up_leaves_for_it(path: Path) -> None:
    (application,) = check_profile(path)["applications"]
    shares = {"Ingress": 0.1, "EnsembleRouter": 0.1, "Visualizer": 0.25}  # as build() sets them
    replicas = dict.fromkeys(shares, 1)
    for deployment in application["deployments"]:
        shares[deployment["name"]] = deployment["ray_actor_options"]["num_cpus"]
        replicas[deployment["name"]] = deployment.get("num_replicas", 1)
    assert sum(shares[name] * replicas[name] for name in shares) <= OTHER_CPUS


def test_a_device_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match="device"):
        BuildArgs(profile="x.yaml", device="gpu")  # type: ignore[arg-type]


def test_every_detector_of_a_gpu_profile_scales_on_its_own() -> None:
    row = read_catalogue().rows[0]
    deployment = serve.deployment(**detector_options(row, "cuda"))(Detector)
    scaling = deployment._deployment_config.autoscaling_config
    assert scaling is not None
    assert scaling.max_replicas > 1


@pytest.mark.parametrize(("num_gpus", "device"), [(0.0, "cpu"), (0.1, "cuda")])
def test_a_detector_computes_on_the_gpu_only_if_its_row_takes_a_share_of_one(num_gpus: float, device: str) -> None:
    row = read_catalogue().rows[0].model_copy(update={"share": ShareRow(num_gpus=num_gpus)})
    assert device_of(row, "cuda") == device


def test_a_proxy_less_patient_than_the_service_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content: Any = yaml.safe_load((ROOT / "configs/serve/local.yaml").read_text("utf-8"))
    content["http_options"]["request_timeout_s"] = 400
    file = tmp_path / "profile.yaml"
    file.write_text(yaml.safe_dump(content), "utf-8")
    monkeypatch.setenv("API_KEY", "k" * 40)
    with pytest.raises(ProfileError, match="above 420 s"):
        build(BuildArgs(profile=str(file)))


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ((), "aplications"),
        (("http_options",), "prt"),
        (("logging_config",), "levle"),
        (("applications", 0), "deploments"),
        (("applications", 0, "args"), "devce"),
        (("applications", 0, "deployments", 0), "num_replica"),
        (("applications", 0, "deployments", 0, "ray_actor_options"), "num_cpu"),
        (("applications", 0, "deployments", 2, "autoscaling_config"), "target_num_ongoing_requests"),
    ],
)
def test_a_key_that_ray_would_ignore_is_an_error_that_names_it(
    tmp_path: Path, path: tuple[str | int, ...], key: str
) -> None:
    content: Any = yaml.safe_load((ROOT / "configs/serve/gpu.yaml").read_text("utf-8"))
    part = content
    for step in path:
        part = part[step]
    part[key] = 1
    file = tmp_path / "profile.yaml"
    file.write_text(yaml.safe_dump(content), "utf-8")
    named = ".".join(str(step) for step in (*path, key))
    with pytest.raises(ProfileError, match=rf"unknown keys: {named}\."):
        check_profile(file)


@pytest.mark.parametrize(("text", "message"), [("", "no keys"), ("- 1", "no keys"), ("a: [", "not YAML")])
def test_a_file_that_is_no_profile_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "profile.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(ProfileError, match=message):
        check_profile(file)
