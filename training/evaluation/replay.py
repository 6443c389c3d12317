"""The same logits calibrated, fused and judged as a catalogue says now: what was analysed once is not analysed again.

Analysing takes hours, and a fit, a comparison or a card needs only what the detectors had said. A clip is taken whole,
as in `calibrate`: the weighted mean of each detector's most fake subject. With one face that is what the router does;
with several it fuses face by face.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from models.course import is_sure, lanes
from models.detectors.catalogue import CascadeRow, Catalogue, ModelRow, VerdictRow, decides, mode_of
from models.judgement import foremost, judged
from models.outcomes import Voice, calibrated, fused, sigmoid
from models.types import Label
from training.evaluation.errors import EvaluationError
from training.evaluation.records import DetectorScore, Record


def replayed(records: Sequence[Record], catalogue: Catalogue, bases: Mapping[str, str], model: str) -> list[Record]:
    """Records of the rows that the catalogue serves, out of records that may have been made with more of them.

    Scores of single frames stay where one detector alone made them: their order is that of the logits.

    Args:
        records: analysed before.
        catalogue: says which detectors, and their calibration and weight.
        bases: what each detector's logits must rest on.
        model: `ensemble` or `cascade`, in which a row that is not fused decides nothing, or ids of detectors.

    Raises:
        EvaluationError: a detector did not take part in those records, or it has changed since.
    """
    analysed = [record for record in records if not record.error]
    for row in catalogue.choose(model):
        found = {score.basis for record in analysed for score in record.detectors if score.id == row.id}
        if found != {bases[row.id]}:
            why = "has changed since those results" if found else "has no results there"
            raise EvaluationError(f"{row.id} {why}.", "Evaluate it first.")
    return [record if record.error else _replayed(record, catalogue, model) for record in records]


def _replayed(record: Record, catalogue: Catalogue, model: str) -> Record:
    mode = mode_of(model)
    by_id = {score.id: score for score in record.detectors}
    rows = [row for row in catalogue.choose(model) if row.id in by_id]
    scores = [_calibrated(by_id[row.id], row, row.weight if decides(row, mode) else 0.0) for row in rows]
    heard = [voice for voice in voices_of(record, rows) if decides(voice.row, mode)]
    if mode == "cascade":
        heard = asked(heard, catalogue.cascade)
    p_fake, verdict = judged_clip(heard, catalogue.verdict)
    alone = len(record.detectors) == 1
    return replace(
        record,
        detectors=tuple(scores),
        p_fake=p_fake,
        verdict=verdict,
        reason=record.reason if alone or p_fake is not None else ", ".join(dict.fromkeys(s.status for s in scores)),
        frames=record.frames if alone else 0,
        frame_p_fake=record.frame_p_fake if alone else (),
    )


def voices_of(record: Record, rows: Sequence[ModelRow]) -> list[Voice]:
    """What those of the rows that scored a clip say of it, calibrated."""
    logits = {score.id: score.logit for score in record.detectors}
    known = [(row, logits.get(row.id)) for row in rows]
    return [Voice(row, calibrated(row, logit)) for row, logit in known if logit is not None]


def asked(heard: Sequence[Voice], bounds: CascadeRow) -> list[Voice]:
    """Those of the voices of a clip that a cascade with these bounds would have asked."""
    by_id = {voice.row.id: voice for voice in heard}
    found: list[Voice] = []
    for lane in lanes([voice.row for voice in heard]):
        so_far: list[Voice] = []
        for row in lane:
            if so_far and is_sure(sigmoid(fused(so_far)), bounds):
                break
            so_far.append(by_id[row.id])
        found += so_far
    return found


def judged_clip(heard: Sequence[Voice], bounds: VerdictRow) -> tuple[float | None, Label]:
    """What the service makes of a clip with one face at most: faces, frames and sound are judged each."""
    regions = dict.fromkeys(voice.row.view.region for voice in heard)
    subjects = judged({(r, None): [v for v in heard if v.row.view.region == r] for r in regions}, bounds)
    decider = foremost(subjects)
    if decider is None:
        return None, "UNDETERMINED"
    return max(subject.p_fake for subject in subjects), decider.verdict


def _calibrated(score: DetectorScore, row: ModelRow, weight: float) -> DetectorScore:
    if score.logit is None:
        return replace(score, weight=weight)
    return replace(score, p_fake=sigmoid(calibrated(row, score.logit)), weight=weight)
