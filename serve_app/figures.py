"""Figures over the frames of a verdict, and facts about who made it: what the older service's clients read."""

import statistics
from collections.abc import Sequence

from models.detectors.catalogue import Catalogue
from models.judgement import label
from serve_app.schemas import (
    AnalysisDetails,
    FramePrediction,
    FramesSummary,
    ModelInfo,
    SystemInfo,
    TemporalAnalysis,
    TemporalBody,
    TimelineBody,
    VerdictBody,
)

ROLLING_FRAMES = 10  # the older service's rolling window
HIGH, MEDIUM = 0.8, 0.6  # mean confidence from which a trend is called high or medium
OPPOSITE = {"rising": "falling", "falling": "rising", "stable": "stable"}


def analysis_details(verdict: VerdictBody) -> AnalysisDetails:
    """See `AnalysisDetails`."""
    scores = [point.p_fake for point in deciding_points(verdict)]
    confidences = _confidences(scores, verdict)
    return AnalysisDetails(
        frame_count=verdict.media.frames_analysed,
        avg_confidence=statistics.fmean(confidences) if scores else None,
        confidence_std=statistics.pstdev(confidences) if scores else None,
        temporal_consistency=_consistency(scores),
        rolling_average=statistics.fmean(confidences[-ROLLING_FRAMES:]) if scores else None,
    )


def frame_predictions(verdict: VerdictBody, catalogue: Catalogue) -> list[FramePrediction]:
    """See `FramePrediction`."""
    return [
        FramePrediction(
            frame=number,
            t_s=point.t_s,
            region=point.region,
            face=point.face,
            p_fake=point.p_fake,
            confidence=max(point.p_fake, 1 - point.p_fake),
            prediction=label(point.p_fake, catalogue.verdict),
        )
        for number, point in enumerate(deciding_points(verdict), 1)
    ]


def temporal_analysis(verdict: VerdictBody, frames: Sequence[FramePrediction]) -> TemporalAnalysis:
    """See `TemporalAnalysis`."""
    scores = [frame.p_fake for frame in frames]
    course = _course(verdict, frames)
    anomalies = set(course.anomalies_s) if course else set()
    return TemporalAnalysis(
        consistency_score=_consistency(scores),
        pattern_detection=f"{course.pattern}_pattern" if course else None,
        anomaly_frames=[frame.frame for frame in frames if frame.t_s in anomalies],
        confidence_trend=_trend(course, _confidences(scores, verdict), verdict) if course else None,
    )


def frames_summary(verdict: VerdictBody, frames: Sequence[FramePrediction]) -> FramesSummary:
    """See `FramesSummary`."""
    labels = [frame.prediction for frame in frames]
    confidences = _confidences([frame.p_fake for frame in frames], verdict)
    return FramesSummary(
        total_frames=len(frames),
        fake_frames=labels.count("FAKE"),
        real_frames=labels.count("REAL"),
        undetermined_frames=labels.count("UNDETERMINED"),
        avg_confidence=statistics.fmean(confidences) if frames else None,
    )


def deciding_points(verdict: VerdictBody) -> list[TimelineBody]:
    """The timeline of the face that decided; if none did, of the frames or the sound that are as fake as all."""
    return [point for point in verdict.timeline if _has_decided(point, verdict)]


def model_info(verdict: VerdictBody, catalogue: Catalogue) -> ModelInfo:
    """See `ModelInfo`."""
    rows = {row.id: row for row in catalogue.rows}
    used = [report for report in verdict.detectors if report.status == "ok"] or list(verdict.detectors)
    return ModelInfo(
        version=", ".join(report.revision for report in used),
        architecture=", ".join(rows[report.id].architecture for report in used if report.id in rows),
        device=", ".join(sorted({report.device for report in used if report.device})),
    )


def system_info(verdict: VerdictBody) -> SystemInfo:
    """See `SystemInfo`."""
    used = {report.device: report.gpu_memory_bytes for report in verdict.detectors if report.device}
    return SystemInfo(
        gpu_memory_used=f"{sum(used.values()) / 1e9:.1f}GB",
        processing_device=", ".join(sorted(used)) or "none",
    )


def _has_decided(point: TimelineBody, verdict: VerdictBody) -> bool:
    if decided := [face.track for face in verdict.faces if face.decided]:
        return point.face in decided
    regions = [finding.region for finding in verdict.findings if finding.decides and finding.p_fake == verdict.p_fake]
    return point.region in regions


def _confidences(scores: Sequence[float], verdict: VerdictBody) -> list[float]:
    """Of each frame, the confidence in what the whole was found to be."""
    return list(scores) if verdict.verdict == "FAKE" else [1 - score for score in scores]


def _consistency(scores: Sequence[float]) -> float | None:
    return 1 - min(2 * statistics.pvariance(scores), 1.0) if scores else None


def _course(verdict: VerdictBody, frames: Sequence[FramePrediction]) -> TemporalBody | None:
    """How the scores of these frames run; None where there are fewer than two, or of several faces."""
    sources = {frame.region if frame.face is None else f"face {frame.face}" for frame in frames}
    return next((found for found in verdict.temporal if {found.source} == sources), None)


def _trend(course: TemporalBody, confidences: Sequence[float], verdict: VerdictBody) -> str:
    direction = course.trend if verdict.verdict == "FAKE" else OPPOSITE[course.trend]
    mean = statistics.fmean(confidences)
    return f"{direction}_{'high' if mean >= HIGH else 'medium' if mean >= MEDIUM else 'low'}"
