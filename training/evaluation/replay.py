"""The same logits calibrated, fused and judged as a catalogue says now: what was analysed once is not analysed again.

Analysing takes hours, and a fit, a comparison or a card needs only what the detectors had said. A clip is taken whole,
as in `calibrate`: the weighted mean of each detector's most fake subject. With one face that is what the router does;
with several it fuses face by face.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from models.detectors.catalogue import ENSEMBLE, Catalogue, ModelRow, VerdictRow
from models.types import Label
from training.evaluation.errors import EvaluationError
from training.evaluation.fit import fused, sigmoid
from training.evaluation.records import DetectorScore, Record


def replayed(records: Sequence[Record], catalogue: Catalogue, bases: Mapping[str, str], model: str) -> list[Record]:
    """Records of the rows that the catalogue serves, out of records that may have been made with more of them.

    Scores of single frames stay where one detector alone made them: their order is that of the logits.

    Args:
        records: analysed before.
        catalogue: says which detectors, and their calibration and weight.
        bases: what each detector's logits must rest on.
        model: `ensemble`, in which a row that is not fused decides nothing, or a detector's id.

    Raises:
        EvaluationError: a detector did not take part in those records, or it has changed since.
    """
    analysed = [record for record in records if not record.error]
    for row in catalogue.rows:
        found = {score.basis for record in analysed for score in record.detectors if score.id == row.id}
        if found != {bases[row.id]}:
            why = "has changed since those results" if found else "has no results there"
            raise EvaluationError(f"{row.id} {why}.", "Evaluate it first.")
    return [record if record.error else _replayed(record, catalogue, model) for record in records]


def _replayed(record: Record, catalogue: Catalogue, model: str) -> Record:
    by_id = {score.id: score for score in record.detectors}
    rows = [row for row in catalogue.rows if row.id in by_id]
    weights = [row.weight if row.fused or model != ENSEMBLE else 0.0 for row in rows]
    scores = [_calibrated(by_id[row.id], row, weight) for row, weight in zip(rows, weights, strict=True)]
    p_fake = _fused(scores, rows)
    alone = len(record.detectors) == 1
    return replace(
        record,
        detectors=tuple(scores),
        p_fake=p_fake,
        verdict=verdict_of(p_fake, catalogue.verdict),
        reason=record.reason if alone or p_fake is not None else ", ".join(dict.fromkeys(s.status for s in scores)),
        frames=record.frames if alone else 0,
        frame_p_fake=record.frame_p_fake if alone else (),
    )


def verdict_of(p_fake: float | None, bounds: VerdictRow) -> Label:
    """What the service answers."""
    if p_fake is None or bounds.real_below <= p_fake <= bounds.fake_above:
        return "UNDETERMINED"
    return "FAKE" if p_fake > bounds.fake_above else "REAL"


def _calibrated(score: DetectorScore, row: ModelRow, weight: float) -> DetectorScore:
    if score.logit is None:
        return replace(score, weight=weight)
    logit = row.calibration.scale * score.logit + row.calibration.bias
    return replace(score, p_fake=float(sigmoid(np.array(logit))), weight=weight)


def _fused(scores: Sequence[DetectorScore], rows: Sequence[ModelRow]) -> float | None:
    """What looks and what listens are fused apart, and the more fake of the two counts."""
    sides = [
        [(score, row) for score, row in zip(scores, rows, strict=True) if score.weight and _listens(row) == side]
        for side in (False, True)
    ]
    each = [_weighted([(score.logit, row) for score, row in side if score.logit is not None]) for side in sides]
    known = [logit for logit in each if logit is not None]
    return float(sigmoid(np.array(max(known)))) if known else None


def _weighted(answers: Sequence[tuple[float, ModelRow]]) -> float | None:
    if not answers:
        return None
    logits = np.array([[row.calibration.scale * logit + row.calibration.bias for logit, row in answers]])
    return float(fused(logits, np.array([row.weight for _, row in answers]))[0])


def _listens(row: ModelRow) -> bool:
    return row.view.region == "audio"
