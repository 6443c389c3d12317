"""A client of the service, over HTTP."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from serve_app.schemas import AnalyzeBody, HealthBody

TIMEOUT_S = 330.0  # above the service's own limit, which answers with a reason


class ServiceError(Exception):
    """The service refused or failed, or could not be reached.

    Attributes:
        status: HTTP status; 0 if there was no answer.
        code: the error's short name.
        detail: one sentence.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(status, code, detail)
        self.status, self.code, self.detail = status, code, detail

    def __str__(self) -> str:
        return self.detail


class Client:
    """Calls one service with one key. Use it as a context manager, or close it."""

    def __init__(self, url: str, key: str, timeout_s: float = TIMEOUT_S) -> None:
        self._http = httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=timeout_s)

    def analyze(self, path: Path, model: str = "", *, explain: bool = False) -> AnalyzeBody:
        """The verdict of one file, sent as a stream; `explain` asks for saliency maps.

        Raises:
            ServiceError: the service refused or failed.
            OSError: the file cannot be read.
        """
        with path.open("rb") as file:
            answer = self._call(
                "POST",
                "/analyze",
                params=({"model": model} if model else {}) | ({"explain": "true"} if explain else {}),
                files={"video": (path.name, file)},
            )
        return AnalyzeBody.model_validate(answer)

    def health(self) -> HealthBody:
        """State of the service; raises `ServiceError` while it is not ready."""
        return HealthBody.model_validate(self._call("GET", "/health"))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _call(self, method: str, path: str, **request: Any) -> Any:
        try:
            response = self._http.request(method, path, **request)
        except httpx.HTTPError as error:
            raise ServiceError(0, "unreachable", f"{self._http.base_url} did not answer: {error}") from error
        if response.is_success:
            return response.json()
        raise _refused(response)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _refused(response: httpx.Response) -> ServiceError:
    try:
        problem = response.json()
        return ServiceError(response.status_code, str(problem["code"]), str(problem["detail"]))
    except (ValueError, KeyError, TypeError):
        # Serve's proxy answers some errors itself, in plain text.
        return ServiceError(response.status_code, "http_error", f"HTTP {response.status_code}: {response.text[:200]}")
