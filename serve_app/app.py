"""The graph, drawn in one function. `serve run configs/serve/local.yaml` calls it; so does `unmask up`."""

import logging
from typing import Any

import ray
from ray import serve
from ray.serve import Application

from deployments.detector import Detector
from deployments.ensemble_router import EnsembleRouter
from deployments.frame_extractor import FrameExtractor
from deployments.job_runner import JobRunner
from deployments.visualizer import Visualizer
from models.detectors.catalogue import Catalogue, ModelRow
from models.detectors.store import ROOT
from models.errors import NotInstalled
from models.faces.tools import FaceTools
from serve_app.artifacts import S3, prepare
from serve_app.auth import digest
from serve_app.database import migrate, parsed
from serve_app.ingress import Ingress
from serve_app.job_runner import begin
from serve_app.profile import BuildArgs, ProfileError, check_profile
from serve_app.service import detector_name
from serve_app.settings import Settings, SettingsError, read_settings

LOGGER = logging.getLogger("ray.serve")
# Waiting requests per caller before Serve answers 503. Its own default is without bound.
MAX_QUEUED = 64
GPU_SCALING = {
    "min_replicas": 1,
    "max_replicas": 8,
    "target_ongoing_requests": 16,  # requests share forward passes; fewer would leave the GPU idle
    "upscale_delay_s": 5,
    "downscale_delay_s": 300,  # starting costs seconds; quiet minutes between bursts are common
}
# Films a visualizer draws at once: one keeps two cores busy, the second fills its pauses.
VISUALIZER_AT_ONCE = 2
# Probes, facts and refusals that an ingress replica answers beside the analyses.
CHEAP_REQUESTS = 64


def build(args: BuildArgs) -> Application:
    """Draw the graph: ingress -> router -> extractor and one deployment per enabled row of the catalogue.

    Beside the router stands the visualizer: the ingress asks it once it has a verdict. The runner works on jobs, and is
    asked by nobody: it finds them in the database.

    Args:
        args: from the profile's `applications[].args`.

    Raises:
        SettingsError: no API key, or a wrong setting.
        DatabaseError, DatabaseUnavailable: the database cannot be used.
        ArtifactsError, StorageUnavailable, StorageFull: nor the artefact store.
        CatalogueError: configs/models.yaml is wrong.
        NotInstalled: none of the detectors to serve is here.
        ProfileError: the profile has keys that Ray does not know.
        WeightsError: a detector's weights were altered, or the files that faces are found with are missing or wrong.
            A detector whose weights are missing is left out: a request that names it is told how to install it.
    """
    profile = check_profile(ROOT / args.profile)
    settings, catalogue, installed, tools = checked_configuration()
    _check_patience(profile, settings)
    check_spread(settings, nodes())
    migrate(settings.database_url)
    prepare(settings.artifacts_url, settings.s3_options())
    extractor = serve.deployment(max_queued_requests=MAX_QUEUED)(FrameExtractor).bind(
        settings.limits(), tools, settings.trust_anchors()
    )
    detectors = {
        row.id: serve.deployment(**detector_options(row, args.device))(Detector).bind(
            row, catalogue.store, device_of(row, args.device), settings.precision, settings.detector_threads
        )
        for row in installed
    }
    router = serve.deployment(
        max_ongoing_requests=4 * settings.max_concurrent_requests,  # it only waits for others
        max_queued_requests=MAX_QUEUED,
        ray_actor_options={"num_cpus": 0.1},
    )(EnsembleRouter).bind(extractor, detectors, catalogue, settings.default_model, settings.detector_timeout_s)
    visualizer = serve.deployment(
        max_ongoing_requests=VISUALIZER_AT_ONCE,
        max_queued_requests=MAX_QUEUED,
        ray_actor_options={"num_cpus": 0.25},
    )(Visualizer).bind(settings.limits())
    ingress = serve.deployment(
        max_ongoing_requests=settings.max_concurrent_requests + settings.max_waiting_requests + CHEAP_REQUESTS,
        max_queued_requests=MAX_QUEUED,
        ray_actor_options={"num_cpus": 0.1},
    )(Ingress)
    # The replicas get the key's digest, never the key; and nothing that serves needs the hub.
    open_settings = settings.model_copy(update={"api_key": None, "hub_token": None})
    key_digest = digest(settings.required_key())
    runner = serve.deployment(ray_actor_options={"num_cpus": 0.1})(JobRunner).bind(
        begin, router, visualizer, open_settings, catalogue, key_digest
    )
    return ingress.bind(router, visualizer, open_settings, catalogue, key_digest, runner)


def checked_configuration() -> tuple[Settings, Catalogue, list[ModelRow], FaceTools]:
    """Settings, catalogue, the rows whose files are here, and the face tools: checked as far as can be."""
    settings = read_settings()
    settings.required_key()
    catalogue = settings.read_catalogue()
    catalogue.choose(settings.default_model)
    installed: list[ModelRow] = []
    first: NotInstalled | None = None
    for row in catalogue.rows:
        try:
            catalogue.store.files(row)
            installed.append(row)
        except NotInstalled as missing:
            LOGGER.warning("%s", missing)
            first = first or missing
    if not installed and first:
        raise first
    return settings, catalogue, installed, settings.face_tools(catalogue)


def nodes() -> int:
    """How many machines the cluster has now; 1 where there is none yet."""
    return sum(node["Alive"] for node in ray.nodes()) if ray.is_initialized() else 1  # type: ignore[no-untyped-call]


def check_spread(settings: Settings, nodes: int) -> None:
    """Raises `SettingsError` if several machines would each keep a database or files of their own."""
    if nodes > 1 and parsed(settings.database_url).get_backend_name() == "sqlite":
        raise SettingsError(
            f"The cluster has {nodes} nodes, and UNMASK_DATABASE_URL is a file of one.",
            "Set it to a PostgreSQL server that all reach: postgresql://user:password@host/name.",
        )
    if nodes > 1 and not settings.artifacts_url.startswith(S3):
        raise SettingsError(
            f"The cluster has {nodes} nodes, and UNMASK_ARTIFACTS_URL is a folder of one.",
            "Set it to a bucket that all reach: s3://bucket/prefix.",
        )


def _check_patience(profile: dict[str, Any], settings: Settings) -> None:
    """Serve's proxy must wait longer than the service itself does: it gives no reason when it gives up."""
    proxy_s = profile.get("http_options", {}).get("request_timeout_s")
    own_s = settings.upload_timeout_s + settings.request_timeout_s
    if proxy_s is not None and proxy_s <= own_s:
        raise ProfileError(
            f"http_options.request_timeout_s is {proxy_s} s.",
            f"It must be above {own_s:g} s: the service's own limits on upload and analysis together.",
        )


def device_of(row: ModelRow, device: str) -> str:
    """Where a detector computes in a profile of that device: Ray hides the GPUs from a row that takes none of one."""
    return device if row.share.num_gpus else "cpu"


def detector_options(row: ModelRow, device: str) -> dict[str, Any]:
    """Options of a detector's deployment from its catalogue row; a profile may override them."""
    share = {"num_cpus": row.share.num_cpus}
    if device == "cuda":
        share["num_gpus"] = row.share.num_gpus
    return {
        "name": detector_name(row.id),
        "ray_actor_options": share,
        # A clip is one request but many rows; waiting requests are what batches are made of.
        "max_ongoing_requests": 32,
        "max_queued_requests": MAX_QUEUED,
        **({"autoscaling_config": GPU_SCALING} if device == "cuda" else {}),
    }
