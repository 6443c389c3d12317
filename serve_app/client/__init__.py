"""Clients of the service: over HTTP for every program, through deployment handles inside a Ray cluster.

All answer with the bodies of `serve_app.schemas`, which is all of ours that the clients over HTTP import.
"""

from serve_app.client import errors
from serve_app.client.asynchronous import AsyncClient, AsyncJob
from serve_app.client.calls import Drawn, ExportFormat, How, JobHow, Which
from serve_app.client.errors import ServiceError
from serve_app.client.following import JobProgress
from serve_app.client.handles import AsyncHandleClient, HandleClient, connect, connect_async
from serve_app.client.steps import Retries
from serve_app.client.sync import Client, Job

__all__ = [
    "AsyncClient",
    "AsyncHandleClient",
    "AsyncJob",
    "Client",
    "Drawn",
    "ExportFormat",
    "HandleClient",
    "How",
    "Job",
    "JobHow",
    "JobProgress",
    "Retries",
    "ServiceError",
    "Which",
    "connect",
    "connect_async",
    "errors",
]
