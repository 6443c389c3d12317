import json
import os
import socket
import stat
from pathlib import Path

import pytest
from rich.console import Console

from models.detectors.catalogue import read_catalogue
from serve_app import settings as settings_module
from serve_app import up
from serve_app.settings import Settings, choose_gpus, read_settings


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / ".env"
    monkeypatch.setattr(up, "ENV_FILE", path)
    monkeypatch.setattr(settings_module, "ENV_FILE", path)
    monkeypatch.setitem(Settings.model_config, "env_file", path)
    monkeypatch.delenv("API_KEY", raising=False)
    return path


def quiet() -> Console:
    return Console(quiet=True)


def test_a_missing_key_is_written_for_its_owner_only(env_file: Path) -> None:
    key = up.ensure_key(quiet())
    assert env_file.read_text() == f"API_KEY={key}\n"
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    assert len(key) == 43


def test_a_second_start_changes_nothing(env_file: Path) -> None:
    first = up.ensure_key(quiet())
    before = env_file.read_bytes(), env_file.stat().st_mtime_ns
    assert up.ensure_key(quiet()) == first
    assert (env_file.read_bytes(), env_file.stat().st_mtime_ns) == before


@pytest.mark.parametrize("end", ["\n", ""])
def test_other_lines_of_the_file_stay_and_it_becomes_private(env_file: Path, end: str) -> None:
    env_file.write_text(f"DEFAULT_MODEL_NAME=mobilenet-sbi-v1{end}")
    env_file.chmod(0o644)
    key = up.ensure_key(quiet())
    assert env_file.read_text() == f"DEFAULT_MODEL_NAME=mobilenet-sbi-v1\nAPI_KEY={key}\n"
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600


def test_a_key_in_the_environment_is_used_and_nothing_written(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "k" * 40)
    assert up.ensure_key(quiet()) == "k" * 40
    assert not env_file.exists()


@pytest.fixture
def older_env_file(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As the README of the Drishtiksha service writes it."""
    for name in ("DEFAULT_MODEL_NAME", "CUDA_VISIBLE_DEVICES", "MAX_CONCURRENT_REQUESTS", "REQUEST_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    env_file.write_text(
        f'# API Security\nAPI_KEY="{"k" * 40}"\n\nDEFAULT_MODEL_NAME="siglip-lstm-v3"\nCUDA_VISIBLE_DEVICES="0"\n'
        'MAX_CONCURRENT_REQUESTS="4"\nREQUEST_TIMEOUT="300"\n'
    )
    return env_file


@pytest.mark.usefixtures("older_env_file")
def test_the_older_services_file_of_settings_keeps_working() -> None:
    found = read_settings()
    assert found.required_key() == "k" * 40
    assert (found.default_model, found.cuda_visible_devices) == ("siglip-lstm-v3", "0")
    assert (found.max_concurrent_requests, found.request_timeout_s) == (4, 300.0)


@pytest.mark.usefixtures("older_env_file")
@pytest.mark.parametrize(("exported", "seen"), [(None, "0"), ("", ""), ("1,2", "1,2")])
def test_gpus_of_the_file_are_shown_to_the_service_unless_the_environment_names_others(
    monkeypatch: pytest.MonkeyPatch, exported: str | None, seen: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that what is set below is undone
    if exported is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", exported)
    choose_gpus(read_settings())
    assert os.environ["CUDA_VISIBLE_DEVICES"] == seen


@pytest.mark.parametrize("option", [socket.SO_REUSEADDR, socket.SO_REUSEPORT])
def test_a_taken_port_is_refused(option: int) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, option, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(up.UpError, match=f"port {port} cannot be used.*--port"):
            up.refuse_taken_port("127.0.0.1", port)


def test_up_checks_the_configuration_before_it_takes_the_port(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(*_: object) -> None:
        raise up.UpError("the port comes next")

    env_file.write_text("API_KEY=" + "k" * 40)
    monkeypatch.setattr(up, "STATE_FILE", env_file.with_name("up.json"))
    monkeypatch.setattr(up, "refuse_taken_port", taken)
    with pytest.raises(up.UpError, match="the port comes next"):
        up.up(Path("configs/serve/local.yaml"), None, None, quiet())


@pytest.mark.parametrize("content", ["", "{", json.dumps({"pid": 2**22 + 1}), json.dumps({})])
def test_a_stale_state_file_means_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    file = tmp_path / "up.json"
    file.write_text(content)
    monkeypatch.setattr(up, "STATE_FILE", file)
    assert up.running_pid() is None


def test_a_running_service_is_known_by_its_state_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "STATE_FILE", tmp_path / "up.json")
    with up.state_file("http://localhost:1"):
        assert up.running_pid() == os.getpid()
        assert up.url_of_running() == "http://localhost:1"
    assert up.running_pid() is None


@pytest.mark.parametrize(("detectors", "at_least"), [(0, 4), (1, 4), (29, 10)])
def test_ray_is_told_of_enough_cpus_for_every_detector(detectors: int, at_least: int) -> None:
    rows = [read_catalogue().rows[0]] * detectors
    cpus = up.logical_cpus(rows)
    assert cpus >= at_least
    assert cpus - sum(row.share.num_cpus for row in rows) >= up.OTHER_CPUS


def test_a_machine_on_which_ray_does_not_start_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(**_: object) -> None:
        raise Exception("The current node timed out during startup.")  # noqa: TRY002 - as Ray does

    monkeypatch.setattr("ray.init", late)
    with pytest.raises(up.UpError, match=r"Ray did not start: .* less to do"), up.ray_running(Console(quiet=True)):
        pytest.fail("it did not start")
