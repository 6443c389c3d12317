"""`unmask up` and `unmask down`: the service on this machine, from a profile, in one process group."""

import fcntl
import io
import json
import logging
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from models.detectors.catalogue import ModelRow
from models.detectors.store import ROOT
from models.errors import UnmaskError
from serve_app import analysis
from serve_app.auth import new_key
from serve_app.client import Client, ServiceError
from serve_app.profile import check_profile
from serve_app.settings import ENV_FILE, choose_gpus, read_settings

STATE_FILE = ROOT / ".unmask" / "up.json"
START_TIMEOUT_S = 300.0  # a slow disk needs a minute to import torch; beyond this something is wrong
STOP_TIMEOUT_S = 60.0
LOGICAL_CPUS = 4  # at least, however few cores there are: what a profile's replicas may add up to
OTHER_CPUS = 5.5  # for what is no detector: as many as gpu.yaml gives it


class UpError(UnmaskError):
    """The service could not be started or stopped."""

    code = "up_error"


def up(profile: Path, port: int | None, sample: Path | None, out: Console) -> None:
    """Start the service, show its address and key, analyse a sample, and wait for Ctrl-C or `down`."""
    profile = profile if profile.exists() else ROOT / profile
    content = check_profile(profile)
    for application in content["applications"]:
        application["args"]["profile"] = str(profile.resolve())  # a copied file may still name its original
    http = content.setdefault("http_options", {})
    http["port"] = port or http.get("port", 8000)
    url = f"http://localhost:{http['port']}"
    key = ensure_key(out)
    if running := running_pid():
        out.print(f"Already running (process {running}), with the settings, profile and port it was started with.")
        out.print("[bold]unmask down[/] ends it; `up` then starts anew.", highlight=False)
        wait_until_ready(url_of_running(), key, out)
        greet(url_of_running(), key, sample, out)
        return
    from serve_app.app import checked_configuration  # imports Ray: takes a second, and `down` needs none of it

    settings, _, detectors, _ = checked_configuration()
    choose_gpus(settings)
    refuse_taken_port(http.get("host", "127.0.0.1"), http["port"])
    started = time.monotonic()
    with state_file(url), ray_running(out, logical_cpus(detectors)):
        stop = stop_signal()
        deploy(content, stop, out)
        if not stop.is_set():
            out.print(f"Ready after {time.monotonic() - started:.0f} s.", highlight=False)
            greet(url, key, sample, out)
            out.print("Stays up until Ctrl-C or [bold]unmask down[/].")
        stop.wait()
        out.print("Stopping ...")


def down(out: Console) -> None:
    """Stop the service that `up` started, and wait until it is gone."""
    pid = running_pid()
    if pid is None:
        out.print("Nothing is running.")
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    with out.status(f"Stopping process {pid} ..."):
        while running_pid() == pid:
            if time.monotonic() > deadline:
                raise UpError(f"process {pid} did not stop within {STOP_TIMEOUT_S:g} s.")
            time.sleep(0.2)
    out.print("Stopped.")


def ensure_key(out: Console) -> str:
    """The API key in force; writes a random one to `.env`, readable by its owner only, if there is none."""
    settings = read_settings()
    if settings.api_key is None:
        before = ENV_FILE.read_text("utf-8") if ENV_FILE.exists() else ""
        with os.fdopen(os.open(ENV_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            torn = bool(before) and not before.endswith("\n")
            file.write("\n" * torn + f"API_KEY={new_key()}\n")
        out.print(f"Wrote a new API key to {ENV_FILE}." if not before else f"Added an API key to {ENV_FILE}.")
        settings = read_settings()
    return settings.required_key()


def running_pid() -> int | None:
    """Process id of the `unmask up` that runs on this project, or None.

    The lock tells, not the number: a number may long belong to another program.
    """
    try:
        with STATE_FILE.open("r", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(json.loads(STATE_FILE.read_text("utf-8"))["pid"])
    except FileNotFoundError:
        pass
    return None


def url_of_running() -> str:
    """Address of the running service."""
    return str(json.loads(STATE_FILE.read_text("utf-8"))["url"])


def wait_until_ready(url: str, key: str, out: Console) -> None:
    """Wait for a service that another process is starting; raises `UpError` if it never gets ready."""
    deadline = time.monotonic() + START_TIMEOUT_S
    with out.status(f"Waiting for {url} ..."), Client(url, key) as client:
        while time.monotonic() < deadline:
            try:
                client.health()
            except ServiceError:
                time.sleep(0.5)
            else:
                return
    raise UpError(f"{url} did not get ready within {START_TIMEOUT_S:g} s.")


def refuse_taken_port(host: str, port: int) -> None:
    """Serve would share a taken port silently (SO_REUSEPORT): half of the requests would go to the other program."""
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # connections that linger from before are no hindrance
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UpError(f"port {port} cannot be used: {error.strerror}.", "Choose another with --port.") from error


def greet(url: str, key: str, sample: Path | None, out: Console) -> None:
    """Analyse the sample, then say where the service is and how to call it."""
    if sample:
        show_sample(url, key, sample, out)
    out.print(f"\nService  [bold]{url}[/]    documentation  [bold]{url}/docs[/]", highlight=False)
    out.print(f"Key      [bold]{key}[/]", highlight=False)
    clip = sample or "clip.mp4"
    out.print(f'\n  curl -F "video=@{clip}" -H "X-API-Key: {key}" {url}/analyze\n', highlight=False, soft_wrap=True)


def show_sample(url: str, key: str, sample: Path, out: Console) -> None:
    """The verdict on a clip, from the running service; its failure does not stop the service."""
    try:
        with out.status(f"Analysing {sample} ..."), Client(url, key) as client:
            analysis.in_words(sample, client.analyze(sample), out)
    except (ServiceError, OSError) as error:
        out.print(f"[bold red]The sample could not be analysed:[/] {error}", highlight=False)


def stop_signal() -> threading.Event:
    """An event that Ctrl-C and `down` set. To be called after `ray.init`, which puts its own crash handler there."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


@contextmanager
def state_file(url: str) -> Iterator[None]:
    """Note process and address for `down`, and hold the file's lock, as long as the service is up."""
    STATE_FILE.parent.mkdir(exist_ok=True)
    with STATE_FILE.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump({"pid": os.getpid(), "url": url}, file)
        file.flush()
        try:
            yield
        finally:
            STATE_FILE.unlink(missing_ok=True)


def logical_cpus(detectors: Iterable[ModelRow]) -> int:
    """How many CPUs our own Ray is told there are: enough for every replica, or it would wait for more for ever."""
    needed = OTHER_CPUS + sum(row.share.num_cpus for row in detectors)
    return max(LOGICAL_CPUS, os.cpu_count() or 1, math.ceil(needed))


@contextmanager
def ray_running(out: Console, cpus: int = LOGICAL_CPUS) -> Iterator[None]:
    """A Ray of our own on this machine, stopped at the end."""
    with out.status("Starting Ray ..."):
        import ray  # takes a second; `unmask --help` and `down` should not

        try:
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:  # Ray raises the bare class where its processes take too long
            raise UpError(f"Ray did not start: {error}", "Give this machine less to do, and try again.") from error
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
    try:
        yield
    finally:
        from ray import serve

        # Ray prints on standard output that the controller was killed, as a shutdown does; and a half-started
        # Serve must not keep Ray from stopping.
        with redirect_stdout(io.StringIO()):
            with suppress(Exception):
                serve.shutdown()  # type: ignore[no-untyped-call]
            ray.shutdown()


def deploy(content: dict[str, Any], stop: threading.Event, out: Console) -> None:
    """Deploy a profile and wait until every deployment is ready; raises `UpError` with Serve's reason if one fails."""
    from ray import serve
    from ray.serve._private import api  # as `serve run` does; there is no public way without dashboard
    from ray.serve.schema import ServeDeploySchema

    schema = ServeDeploySchema.model_validate(content)
    client = api.serve_start(http_options=schema.http_options.model_dump(), proxy_location=schema.proxy_location)
    client.deploy_apps(schema, _blocking=False)
    deadline = time.monotonic() + START_TIMEOUT_S
    with out.status("Starting the graph ...") as progress:
        while not stop.is_set():
            applications = serve.status().applications.values()
            if applications and all(app.status == "RUNNING" for app in applications):
                return
            for app in applications:
                if app.status == "DEPLOY_FAILED":
                    causes = [d.message for d in app.deployments.values() if d.message]
                    raise UpError("the graph did not start:", "\n".join([app.message, *causes]))
            if time.monotonic() > deadline:
                raise UpError(f"the graph did not start within {START_TIMEOUT_S:g} s.")
            waiting = [name for app in applications for name, d in app.deployments.items() if d.status != "HEALTHY"]
            progress.update(f"Starting the graph ... waiting for {', '.join(waiting) or 'the application'}")
            stop.wait(0.3)
