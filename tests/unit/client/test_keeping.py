"""What `unmask analyze --out` writes when a server did the work, which is played."""

from dataclasses import asdict
from pathlib import Path

import httpx
import pytest

from models.types import Kind, MediaFacts
from serve_app.client import Client
from serve_app.keeping import analyst
from tests.unit.client.service import JOB_ID, job
from tests.unit.client.test_commands import FILE
from tests.unit.client.test_history_calls import RECORD
from tests.verdicts import a_verdict, verdict_body


@pytest.mark.parametrize(
    ("kind", "container", "sent", "written"),
    [
        ("video", "matroska", "clip.mkv", ".mp4"),
        ("image", "webp", "face.webp", ".jpg"),
        ("image", "gif", "face.gif", ".png"),
        ("audio", "mp3", "voice.mp3", ".png"),
    ],
)
def test_the_drawn_file_is_named_by_what_it_is(
    tmp_path: Path, kind: Kind, container: str, sent: str, written: str
) -> None:
    media = MediaFacts(**{**asdict(a_verdict().media), "kind": kind, "container": container})
    body = {**verdict_body(media=media).model_dump(mode="json"), **RECORD}
    ended = job("done", 1.0, files=[FILE])

    def service(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/analyses/ana_1":
            return httpx.Response(200, json=body)
        if request.url.path == f"/v1/jobs/{JOB_ID}/events":
            return httpx.Response(204)
        if request.url.path.startswith("/v1/jobs"):
            return httpx.Response(200, json=ended)
        return httpx.Response(200, content=b"a file")

    (tmp_path / sent).write_bytes(b"media")
    folder = tmp_path / "kept"
    folder.mkdir()
    with Client("http://service", "key", transport=httpx.MockTransport(service)) as client:
        analyst(folder, client, explain=False)(tmp_path / sent, "ensemble")
    assert {file.name for file in folder.iterdir()} == {
        f"{Path(sent).stem}-abababab.unmask{written}",
        f"{Path(sent).stem}-abababab.html",
    }
