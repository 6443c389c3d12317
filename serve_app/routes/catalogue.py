"""`GET /v1/models`, `/v1/models/{id}` and `/v1/limits`: what can be asked, what it is worth, what is allowed."""

from dataclasses import asdict

from fastapi import APIRouter, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from models.detectors.catalogue import CASCADE, ENSEMBLE, Catalogue, ModelRow
from models.detectors.store import how_to_install
from models.errors import UnmaskError
from models.media.limits import ACCEPTED_MEDIA
from serve_app.asking import caller_of
from serve_app.errors import from_cause
from serve_app.routes.health import model_body, request_limits
from serve_app.routes.problems import problems
from serve_app.schemas import CallerLimits, LimitsBody, ModelDetail, ModelsBody, VerdictBounds
from serve_app.service import DeploymentHealth, detector_name
from serve_app.settings import Settings

# Any key may ask: these two only tell the documentation how it is sent.
KEYS = [Security(APIKeyHeader(name="X-API-Key", auto_error=False)), Security(HTTPBearer(auto_error=False))]
REFUSED = problems(
    (401, "the key is missing or wrong"),
    (429, "the key has asked as often as it may"),
    (503, "the database with the keys is away"),
)
router = APIRouter(prefix="/v1", tags=["service"], dependencies=KEYS)


@router.get("/models", responses=REFUSED)
async def models(request: Request) -> ModelsBody:
    """Every detector that is served: what it takes, what it is worth, its licence, and whether it answers."""
    catalogue: Catalogue = request.app.state.catalogue
    deployments = await request.app.state.service.health()
    return ModelsBody(
        default_model=request.app.state.settings.default_model,
        selections=[ENSEMBLE, CASCADE],
        verdict=VerdictBounds(**catalogue.verdict.model_dump()),
        models=[_detail(row, deployments.get(detector_name(row.id))) for row in catalogue.rows],
    )


@router.get("/models/{model}", responses=REFUSED | problems((404, "no such model")))
async def one_model(request: Request, model: str) -> ModelDetail:
    """One detector."""
    catalogue: Catalogue = request.app.state.catalogue
    try:
        row = catalogue.row(model)
    except UnmaskError as error:
        raise from_cause(error, catalogue.ids) from None
    deployments = await request.app.state.service.health()
    return _detail(row, deployments.get(detector_name(row.id)))


@router.get("/limits", responses=REFUSED)
async def limits(request: Request) -> LimitsBody:
    """What a client can run into: limits on requests, on media and of the key, and the formats that are accepted."""
    settings: Settings = request.app.state.settings
    caller = caller_of(request)
    requests, media_s = request.app.state.quotas.allowed(caller)
    return LimitsBody(
        requests=request_limits(settings),
        media=asdict(settings.limits()),
        key=CallerLimits(
            scopes=sorted(caller.scopes),
            requests_per_minute=requests or None,
            media_seconds_per_hour=media_s or None,
        ),
        accepted=ACCEPTED_MEDIA,
    )


def _detail(row: ModelRow, deployment: DeploymentHealth | None) -> ModelDetail:
    """A row of the catalogue, and what became of it here; without a deployment it was not installed."""
    return ModelDetail(
        **dict(model_body(row)),
        takes=row.view.region,
        fused=row.fused,
        by_name_only=row.by_name_only,
        calibrated=row.is_calibrated,
        usage=row.usage,
        reported=list(row.reported),
        cost_s=row.cost,
        installed=deployment is not None,
        ready=deployment is not None and deployment.ready,
        replicas=deployment.replicas if deployment else 0,
        why="" if deployment else f"It is not installed. {how_to_install(row)}",
    )
