"""Rows that need the running service."""

import threading
from collections.abc import Iterator

import httpx
from rich.console import Console

from benchmarks.rows import Row, in_turns
from models.detectors.store import ROOT
from models.pipeline import Pipeline
from serve_app.profile import check_profile
from serve_app.up import deploy, ensure_key, ray_running

SERVICE_BOUND = 1.15


def service_rows(clip: bytes, port: int, console: Console) -> Iterator[Row]:
    """`POST /analyze` over HTTP against the same pipeline in this process."""
    key = ensure_key(console)
    profile = check_profile(ROOT / "configs" / "serve" / "local.yaml")
    profile["http_options"]["port"] = port
    headers = {"X-API-Key": key, "Cache-Control": "no-cache"}  # an answer that was given before would measure nothing
    pipeline = Pipeline()
    with ray_running(console):
        deploy(profile, threading.Event(), console)
        with (
            console.status("Service against the pipeline in one process ..."),
            httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as http,
        ):

            def call() -> None:
                http.post("/analyze", files={"video": ("clip.mp4", clip)}).raise_for_status()

            yield in_turns(
                "POST /analyze / pipeline in one process", call, lambda: pipeline.analyze(clip), SERVICE_BOUND
            )
