"""The work of the deployment `JobRunner`, put together in its replica: jobs, webhooks, and sweeping up."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from ray.serve.handle import DeploymentHandle

from models.detectors.catalogue import Catalogue
from models.errors import UnmaskError
from serve_app.addresses import parsed
from serve_app.analyst import Analyst
from serve_app.artifacts import Artifacts
from serve_app.database import Database
from serve_app.history import History
from serve_app.ingress import GraphService
from serve_app.job_file import Bench
from serve_app.job_queue import JobQueue
from serve_app.job_work import JobWork
from serve_app.quotas import Quotas
from serve_app.remote import Remote
from serve_app.retention import Retention
from serve_app.settings import Settings
from serve_app.signing import secret_of
from serve_app.webhooks import Webhooks

LOGGER = logging.getLogger("ray.serve")
LEFTOVERS_S, SWEEP_S = 60.0, 300.0


class Runner:
    """Works on jobs, sends webhooks and sweeps, side by side."""

    def __init__(self, work: JobWork, webhooks: Webhooks, retention: Retention) -> None:
        self._work, self._webhooks, self._retention = work, webhooks, retention

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work.run())
            group.create_task(self._webhooks.run())
            group.create_task(each(LEFTOVERS_S, self._work.erase_leftovers))
            group.create_task(each(SWEEP_S, self._retention.sweep))


async def each(pause_s: float, sweep: Callable[[], Awaitable[object]]) -> None:
    """Sweep again and again; what fails is tried again the next time."""
    while True:
        try:
            await sweep()
        except UnmaskError as error:
            LOGGER.warning("a sweep failed: %s", error)
        await asyncio.sleep(pause_s)


def begin(
    router: DeploymentHandle[Any],
    visualizer: DeploymentHandle[Any],
    settings: Settings,
    catalogue: Catalogue,
    key_digest: bytes,
) -> Runner:
    """A runner that asks the graph as the ingress does, and records where the ingress does."""
    database = Database(settings.database_url)
    service = GraphService(router, visualizer, catalogue.verdict)
    artifacts = Artifacts(settings.artifacts_url, secret_of(key_digest), settings.s3_options())
    history, quotas = History(database, artifacts, settings), Quotas(database, settings)
    bench = Bench(
        JobQueue(database, settings.job_lease_s),
        service,
        Analyst(service, history, catalogue, settings, quotas.charge),
        artifacts,
        Remote(settings.url_allow, settings.s3_options(), settings.artifacts_url),
        settings.max_upload_bytes,
        settings.job_timeout_s,
    )
    webhooks = Webhooks(database, parsed(settings.webhook_allow), settings.webhook_pauses())
    return Runner(JobWork(bench, settings.jobs_at_once), webhooks, Retention(database, artifacts, settings))
