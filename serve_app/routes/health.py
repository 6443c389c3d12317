"""`GET /` and `GET /health`: what the service is, and whether it is ready. Both are open, for probes."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version

from fastapi import APIRouter, Request, Response

from models.detectors.catalogue import Catalogue, ModelRow
from serve_app.errors import RETRY_AFTER_S
from serve_app.schemas import DeploymentBody, HealthBody, ModelBody, RootBody, VerdictBounds
from serve_app.service import DeploymentHealth, detector_name
from serve_app.settings import Settings

router = APIRouter(tags=["service"])


@router.get("/")
async def root(request: Request) -> RootBody:
    """Service facts: models, limits, where the documentation is."""
    catalogue: Catalogue = request.app.state.catalogue
    settings: Settings = request.app.state.settings
    deployments = await request.app.state.service.health()
    ready = _ready(deployments)
    return RootBody(
        service="unmask",
        version=version("unmask"),
        status="ok" if ready else "starting",
        available_models=installed(catalogue, deployments),
        default_model=settings.default_model,
        models=[model_body(row) for row in catalogue.rows],
        verdict=VerdictBounds(**catalogue.verdict.model_dump()),
        limits=limits(settings),
        documentation="/docs",
    )


@router.get("/health", responses={503: {"model": HealthBody, "description": "not every deployment is ready"}})
async def health(request: Request, response: Response) -> HealthBody:
    """Readiness: 200 once every deployment of the graph is ready, else 503 with those that are not.

    It stays 200 while the database or the artefact store is away: the service answers requests that need them itself,
    with 503 and when to come again, and starting it anew would help nobody.
    """
    deployments = await request.app.state.service.health()
    ready = _ready(deployments)
    database, artifacts = await request.app.state.stores.states()
    whole = database == artifacts == "ok"
    if not ready:
        response.status_code = 503
        response.headers["Retry-After"] = RETRY_AFTER_S
    return HealthBody(
        status="starting" if not ready else "ok" if whole else "degraded",
        database=database,
        artifacts=artifacts,
        model_loaded=ready,
        default_model=request.app.state.settings.default_model,
        available_models=installed(request.app.state.catalogue, deployments),
        deployments={
            name: DeploymentBody(status=found.status, replicas=found.replicas) for name, found in deployments.items()
        },
    )


def installed(catalogue: Catalogue, deployments: Mapping[str, DeploymentHealth]) -> list[str]:
    """The models that are served and were installed when the graph was drawn: the others have no deployment."""
    return [model for model in catalogue.ids if detector_name(model) in deployments]


def limits(settings: Settings) -> dict[str, float]:
    """The limits a client can run into: on requests, and on media."""
    return {**request_limits(settings), **asdict(settings.limits())}


def request_limits(settings: Settings) -> dict[str, float]:
    """The limits on requests."""
    names = (
        "max_upload_bytes",
        "max_batch_files",
        "max_batch_bytes",
        "upload_timeout_s",
        "request_timeout_s",
        "detector_timeout_s",
        "max_concurrent_requests",
        "max_waiting_requests",
    )
    return {name: getattr(settings, name) for name in names}


def model_body(row: ModelRow) -> ModelBody:
    """A row of the catalogue, as `GET /` tells it."""
    return ModelBody.model_validate({**row.model_dump(mode="json"), "sha256": row.files["weights"].sha256 or ""})


def _ready(deployments: dict[str, DeploymentHealth]) -> bool:
    return bool(deployments) and all(found.ready for found in deployments.values())
