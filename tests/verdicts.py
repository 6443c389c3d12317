"""Verdicts for tests that need no media."""

from typing import Any

from models.types import DetectorReport, Evidence, FaceReport, MediaFacts, SaliencyMap, Verdict
from serve_app.schemas import VerdictBody

JPEG, PNG = b"\xff\xd8\xff picture", b"\x89PNG picture"


def a_verdict(**changes: Any) -> Verdict:
    """The verdict on a forged video; `kind` is of its media, all other `changes` are fields of the verdict."""
    media = MediaFacts(changes.pop("kind", "video"), "ab" * 32, 1000, duration_s=2.0, frames_total=50)
    face = FaceReport(0, 0.0, 2.0, 0.9, decided=True, boxes=(), thumbnail=JPEG)
    seen = SaliencyMap(0, 1.0, "mobilenet-sbi-v1", "grad_cam", heatmap=PNG + b"1", crop=PNG + b"2")
    fields: dict[str, Any] = {
        "verdict": "FAKE",
        "p_fake": 0.9,
        "confidence": 0.9,
        "reason": "",
        "degraded": False,
        "mode": "ensemble",
        "model": "ensemble",
        "media": media,
        "detectors": (DetectorReport("mobilenet-sbi-v1", "1", "ok", p_fake=0.9, weight=1.0, device="cpu"),),
        "faces": (face,),
        "timeline": (),
        "segments": (),
        "evidence": Evidence(maps=(seen,)),
    }
    return Verdict(**{**fields, **changes})


def verdict_body(**changes: Any) -> VerdictBody:
    """The same, as it is answered."""
    return VerdictBody.model_validate(a_verdict(**changes))
