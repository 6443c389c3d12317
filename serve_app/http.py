"""The HTTP application: routes, middleware and error handlers, put together around a `Service`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from models.detectors.catalogue import Catalogue
from models.errors import UnmaskError
from serve_app import errors
from serve_app.admission import Admission
from serve_app.analyst import Analyst
from serve_app.artifacts import Artifacts
from serve_app.auth import ApiKeyMiddleware
from serve_app.database import Database
from serve_app.documentation import complete
from serve_app.history import History
from serve_app.idempotency import Idempotency, IdempotencyMiddleware, Replayed, on_replayed
from serve_app.job_intake import JobIntake
from serve_app.jobs import Jobs
from serve_app.keys import Keys
from serve_app.quotas import QuotaMiddleware, Quotas
from serve_app.remote import Remote
from serve_app.request_id import RequestIdMiddleware
from serve_app.routes import analyze, batch, files, health, history, jobs, report, uploads, visualize
from serve_app.routes import catalogue as models
from serve_app.routes import keys as key_routes
from serve_app.routes.seeds import ROUTERS as SEED_ROUTERS
from serve_app.service import Service
from serve_app.settings import Settings
from serve_app.signing import secret_of
from serve_app.stores import Stores

ABOUT = """Tells whether a video was manipulated, which face, how sure, and when it cannot tell.

Send the key as `X-API-Key` or `Authorization: Bearer`. Errors are RFC 9457 problem+json.
"""
# For pages of other origins, where the operator allows them. The key is a header, so cookies need not be sent.
CORS: dict[str, Any] = {
    "allow_methods": ["GET", "POST", "PUT", "DELETE"],
    "allow_headers": [
        "Authorization",
        "Cache-Control",
        "Content-Type",
        "Idempotency-Key",
        "Last-Event-ID",
        "X-API-Key",
    ],
    "expose_headers": [
        "Content-Disposition",
        "Idempotency-Replayed",
        "Link",
        "Location",
        "RateLimit",
        "RateLimit-Policy",
        "Retry-After",
        "X-Request-ID",
        "X-Unmask-Analysis",
        "X-Unmask-Heatmap",
        "X-Unmask-P-Fake",
        "X-Unmask-Verdict",
    ],
    "max_age": 600,
}

ROUTERS = (
    health.router,
    models.router,
    analyze.router,
    batch.router,
    visualize.router,
    jobs.router,
    files.router,
    history.router,
    key_routes.router,
    uploads.router,
    uploads.signed,
    report.router,
)


def create_http(service: Service, settings: Settings, catalogue: Catalogue, key_digest: bytes) -> FastAPI:
    """The application.

    Args:
        service: answers the analyses.
        settings: limits and defaults.
        catalogue: the models that can be asked.
        key_digest: SHA-256 of the API key.
    """
    database = Database(settings.database_url)
    keys, quotas = Keys(database), Quotas(database, settings)

    @asynccontextmanager
    async def running(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await database.close()

    app = FastAPIOffline(title="Unmask", version=version("unmask"), description=ABOUT, lifespan=running)
    app.state.database, app.state.keys, app.state.quotas = database, keys, quotas
    app.state.artifacts = Artifacts(settings.artifacts_url, secret_of(key_digest), settings.s3_options())
    app.state.service, app.state.settings, app.state.catalogue = service, settings, catalogue
    app.state.history = History(database, app.state.artifacts, settings)
    app.state.stores = Stores(database, app.state.artifacts)
    app.state.jobs = Jobs(database)
    app.state.job_intake = JobIntake(
        app.state.jobs,
        app.state.artifacts,
        Remote(settings.url_allow, settings.s3_options(), settings.artifacts_url),
        settings,
        catalogue,
    )
    app.state.analyst = Analyst(service, app.state.history, catalogue, settings, quotas.charge)
    app.state.admission = Admission(settings.max_concurrent_requests, settings.max_waiting_requests)
    for router in (*ROUTERS, *SEED_ROUTERS):
        app.include_router(router)
    complete(app)
    app.add_exception_handler(errors.ApiError, errors.on_api_error)
    app.add_exception_handler(Replayed, on_replayed)
    app.add_exception_handler(UnmaskError, errors.on_cause)
    app.add_exception_handler(HTTPException, errors.on_http_exception)
    app.add_exception_handler(RequestValidationError, errors.on_invalid_request)
    app.add_exception_handler(Exception, errors.on_unexpected)
    # The last added is the outermost: the id first, so that a refused key has one too.
    app.add_middleware(IdempotencyMiddleware, rows=Idempotency(database, settings.idempotency_hours * 3600))
    app.add_middleware(QuotaMiddleware, quotas=quotas)
    app.add_middleware(
        ApiKeyMiddleware, key_digest=key_digest, find=keys.find, open_seed_routes=settings.open_seed_routes
    )
    if origins := settings.cors():
        app.add_middleware(CORSMiddleware, allow_origins=origins, **CORS)
    app.add_middleware(RequestIdMiddleware)
    return app
