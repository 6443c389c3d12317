"""From the detectors' scores to one verdict: calibrate, fuse, decide or abstain.

Each detector's logit is calibrated on its own (Platt scaling), then the calibrated logits of one subject (a face, the
whole frame, the sound) are averaged with the catalogue's weights. Each modality is a finding of its own, as fake as its
most fake subject; the media is as fake as its most fake finding. A detector whose row says `fused: false` is reported
in the ensemble, in a finding that decides nothing; where nobody else has a score the answer stays UNDETERMINED, with
its `p_fake`.
"""

from collections.abc import Sequence

from models.detectors.catalogue import VerdictRow, decides, mode_of
from models.extraction import Extraction
from models.findings import Modality, disagreement, modalities, why_nothing
from models.judgement import Judged, foremost
from models.outcomes import Outcome, Subject, calibrated, judgeable, sigmoid
from models.timeline import segments, temporal, timeline
from models.types import Analysed, DetectorReport, FaceBox, FaceReport, Mode, Temporal, TimelinePoint, Track, Verdict

__all__ = ["Outcome", "calibrated", "fuse", "sigmoid"]

ABSENT = frozenset({"failed", "late", "not_installed"})  # should have answered


def fuse(extraction: Extraction, outcomes: Sequence[Outcome], bounds: VerdictRow, model: str) -> Verdict:
    """One verdict from everything that was found out. Pure: the same input gives the same verdict."""
    mode = mode_of(model)
    outcomes = [judgeable(outcome, extraction, bounds) for outcome in outcomes]
    having_part = [outcome for outcome in outcomes if decides(outcome.row, mode)]
    found = tuple(modalities(outcomes, mode, bounds, extraction.media.kind))
    deciding = [modality for modality in found if modality.finding.decides]
    subjects = [subject for modality in deciding for subject in modality.subjects]
    decider = foremost(subjects)
    code, reason = (decider.code, decider.reason) if decider else why_nothing(outcomes, extraction.media.kind)
    p_fake = max((s.p_fake for s in subjects or _reported(found)), default=None)
    points = timeline(having_part, extraction.media.audio_s)
    return Verdict(
        verdict=decider.verdict if decider else "UNDETERMINED",
        p_fake=p_fake,
        confidence=0.0 if p_fake is None else max(p_fake, 1 - p_fake),
        reason=reason,
        degraded=any(outcome.status in ABSENT for outcome in having_part),
        mode=mode,
        model=model,
        media=extraction.media,
        detectors=tuple(_report(outcome, mode) for outcome in outcomes),
        faces=tuple(_face(track, subjects, decider) for track in extraction.tracks),
        timeline=points,
        segments=tuple(segments(points, bounds.fake_above)),
        timings=extraction.timings,
        credentials=extraction.credentials,
        reason_code=code,
        findings=tuple(modality.finding for modality in found),
        analysed=analysed(extraction),
        temporal=_temporal(points, deciding, bounds),
        disagreement=disagreement([modality.finding for modality in found]),
    )


def _reported(found: Sequence[Modality]) -> list[Judged]:
    """The subjects of what is reported only: where nothing decides, they are all there is to put media in order by."""
    return [subject for modality in found if not modality.finding.decides for subject in modality.subjects]


def analysed(extraction: Extraction) -> Analysed:
    """How much of the media was looked at and listened to."""
    media = extraction.media
    return Analysed(
        frames=min(media.frames_analysed / media.frames_total, 1.0) if media.frames_total else 0.0,
        span_s=extraction.span_s,
        sound=min(extraction.listened_s / media.audio_s, 1.0) if media.audio_s else 0.0,
    )


def _temporal(
    points: Sequence[TimelinePoint], deciding: Sequence[Modality], bounds: VerdictRow
) -> tuple[Temporal, ...]:
    deciders = [modality.decider for modality in deciding]
    runs = [temporal(points, decider.subject, bounds) for decider in deciders if decider]
    return tuple(run for run in runs if run)


def _report(outcome: Outcome, mode: Mode) -> DetectorReport:
    logits = [calibrated(outcome.row, score.logit) for score in outcome.scores]
    return DetectorReport(
        id=outcome.row.id,
        revision=outcome.row.revision,
        status=outcome.status,
        why=outcome.why,
        p_fake=sigmoid(max(logits)) if logits else None,
        weight=outcome.row.weight if decides(outcome.row, mode) else 0.0,
        device=outcome.device,
        gpu_memory_bytes=outcome.gpu_memory_bytes,
        region=outcome.row.view.region,
        calibrated=outcome.row.is_calibrated,
        seconds=outcome.seconds,
    )


def _face(track: Track, subjects: Sequence[Judged], decider: Judged | None) -> FaceReport:
    own: Subject = ("face", track.number)
    found = next((subject for subject in subjects if subject.subject == own), None)
    return FaceReport(
        track=track.number,
        start_s=float(track.times_s[0]),
        end_s=float(track.times_s[-1]),
        p_fake=found.p_fake if found else None,
        decided=decider is not None and decider.subject == own,
        lost_frames=len(track.lost_s),
        boxes=tuple(
            FaceBox(float(t), (float(b[0]), float(b[1]), float(b[2]), float(b[3])))
            for t, b in zip(track.times_s, track.boxes_xyxy, strict=True)
        ),
        thumbnail=track.thumbnail,
    )
