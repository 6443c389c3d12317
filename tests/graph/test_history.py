"""What the running graph answers is recorded, and answered again."""

import httpx
import pytest

from models.detectors.store import ROOT
from tests.service import Running


@pytest.fixture(scope="module")
def forged_clip() -> bytes:
    return (ROOT / "assets/sample_forged.mp4").read_bytes()


def test_the_same_clip_is_answered_again_with_the_same_verdict_and_pictures(
    running: Running, forged_clip: bytes
) -> None:
    first = running.post("/analyze", forged_clip, explain="true").json()
    again = running.post("/analyze", forged_clip, reuse=True, explain="true").json()
    assert again["reused_from"] == first["id"]
    own = {"id", "reused_from", "processing_time", "timestamp", "request_id", "timings"}
    assert {k: v for k, v in again.items() if k not in own} == {k: v for k, v in first.items() if k not in own}
    assert again["evidence"]["maps"][0]["heatmap"].startswith("data:image/png")


def test_an_analysis_is_read_whole_and_then_erased(running: Running, forged_clip: bytes) -> None:
    made = running.post("/analyze", forged_clip).json()
    with httpx.Client(base_url=running.url, headers={"X-API-Key": running.key}) as http:
        body = http.get(f"/v1/analyses/{made['id']}").json()
        assert {name: body[name] for name in ("verdict", "p_fake", "faces", "timeline", "evidence")} == {
            name: made[name] for name in ("verdict", "p_fake", "faces", "timeline", "evidence")
        }
        assert body["faces"][0]["thumbnail"].startswith("data:image/jpeg")
        assert http.get("/v1/statistics").json()["total"] >= 1
        assert http.delete(f"/v1/analyses/{made['id']}").status_code == 204
        assert http.get(f"/v1/analyses/{made['id']}").status_code == 404
