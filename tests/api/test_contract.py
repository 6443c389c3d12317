"""Requests made up from `/openapi.json`, right and wrong ones, at every route: no answer that it does not document."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from models.detectors.catalogue import read_catalogue
from serve_app.auth import digest
from serve_app.http import create_http
from serve_app.settings import Settings
from tests.api.conftest import KEY, FakeService

CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


EXAMPLES = 10  # of each operation, right ones and wrong ones each


@pytest.fixture(scope="module")
def documented(new_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    folder = tmp_path_factory.mktemp("contract")
    shutil.copy(new_database, folder / "unmask.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNMASK_DATABASE_URL", f"sqlite:///{folder}/unmask.db")
        patch.setenv("UNMASK_ARTIFACTS_URL", str(folder / "artifacts"))
        table = Settings(_env_file=None)  # type: ignore[call-arg]
    app = create_http(FakeService(), table, read_catalogue(), digest(KEY))
    yield schemathesis.openapi.from_asgi("/openapi.json", app)
    asgi.shutdown_lifespans()


@pytest.fixture
def existing(documented: schemathesis.BaseSchema) -> dict[str, str]:
    """Names of things that there are, by the parameter of a path. The job is cancelled: its events come to an end."""
    client = asgi.get_client(documented.app)
    client.headers["X-API-Key"] = KEY
    analysis = client.post("/analyze", files={"video": ("clip.mp4", b"one clip")}).json()
    job = client.post("/v1/jobs", files={"video": ("clip.mp4", b"one clip")}).json()
    client.delete(f"/v1/jobs/{job['id']}")
    return {
        "analysis_id": analysis["id"],
        "job_id": job["id"],
        "key_id": client.post("/v1/keys", json={"owner": "somebody", "scopes": ["read"]}).json()["id"],
        "upload_id": client.post("/v1/uploads", json={"filename": "clip.mp4"}).json()["id"],
        "model": "mobilenet-sbi-v1",
        "label": "FAKE",
    }


def test_every_answer_about_what_there_is_is_documented(
    documented: schemathesis.BaseSchema, existing: dict[str, str]
) -> None:
    found = [result.ok() for result in documented.get_all_operations() if isinstance(result, Ok)]
    for operation in sorted(found, key=lambda operation: operation.method == "delete"):
        named = {name: value for name, value in existing.items() if f"{{{name}}}" in operation.path}
        if not named:
            continue
        case = operation.Case(path_parameters=named)
        answer = case.call_and_validate(headers={"X-API-Key": KEY}, checks=CHECKS)
        assert answer.status_code < 300 or operation.path.endswith("/visual"), operation.label  # nothing was drawn


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_documented_and_none_is_a_failure(
    documented: schemathesis.BaseSchema, mode: GenerationMode
) -> None:
    found = [result.ok() for result in documented.get_all_operations() if isinstance(result, Ok)]
    wrong = {operation.label: failure_of(operation, mode) for operation in found}
    assert found
    assert not {label: failure for label, failure in wrong.items() if failure}


Case = schemathesis.Case[Any]


def failure_of(operation: Any, mode: GenerationMode) -> str:
    """What was wrong with an answer of one operation, or nothing."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    def answers(case: Case) -> None:
        case.call_and_validate(headers={"X-API-Key": KEY}, checks=CHECKS)

    try:
        answers()
    except Unsatisfiable:
        return ""  # nothing can be sent with it, so nothing wrong
    except FailureGroup as failures:
        return "\n".join(f"{type(failure).__name__}: {failure}" for failure in failures.exceptions)
    return ""
