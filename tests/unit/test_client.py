from pathlib import Path

import httpx
import pytest

from serve_app.client import Client, ServiceError


@pytest.mark.parametrize(("explain", "sent"), [(True, {"model": "a", "explain": "true"}), (False, {"model": "a"})])
def test_maps_are_asked_for_in_the_query(tmp_path: Path, explain: bool, sent: dict[str, str]) -> None:
    asked: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(503, json={"code": "busy", "detail": "later"})

    path = tmp_path / "clip.mp4"
    path.write_bytes(b"clip")
    with Client("http://service", "key") as client:
        client._http = httpx.Client(base_url="http://service", transport=httpx.MockTransport(refuse))
        with pytest.raises(ServiceError, match="later"):
            client.analyze(path, "a", explain=explain)
    assert dict(asked[0].url.params) == sent
