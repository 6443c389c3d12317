"""What is said of each modality on its own: of all faces, of the whole frames, of the sound."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models.detectors.catalogue import VerdictRow, decides
from models.judgement import Judged, foremost, judged
from models.outcomes import Outcome, voices
from models.types import Finding, Kind, Mode, ReasonCode, Region

REGIONS: tuple[Region, ...] = ("face", "frame", "audio")


@dataclass(frozen=True, slots=True)
class Modality:
    """A finding, and the subjects that it rests on."""

    finding: Finding
    subjects: tuple[Judged, ...]

    @property
    def decider(self) -> Judged | None:
        """The subject that decided it."""
        return foremost(self.subjects)


def modalities(outcomes: Sequence[Outcome], mode: Mode, bounds: VerdictRow, kind: Kind) -> Iterator[Modality]:
    """A finding for every modality that a detector was asked about; what decides and what is only reported apart."""
    asked = [outcome for outcome in outcomes if outcome.status != "not_needed"]
    for has_part in (True, False):
        for region in REGIONS:
            own = [o for o in asked if o.row.view.region == region and decides(o.row, mode) == has_part]
            if own:
                yield _modality(region, own, bounds, kind, has_part=has_part)


def _modality(
    region: Region, outcomes: Sequence[Outcome], bounds: VerdictRow, kind: Kind, *, has_part: bool
) -> Modality:
    subjects = judged(voices(outcomes), bounds)
    decider = foremost(subjects)
    code, reason = why_nothing(outcomes, kind) if decider is None else (decider.code, decider.reason)
    finding = Finding(
        region=region,
        verdict="UNDETERMINED" if decider is None else decider.verdict,
        p_fake=max((subject.p_fake for subject in subjects), default=None),
        reason_code=code,
        reason=reason,
        detectors=tuple(outcome.row.id for outcome in outcomes if outcome.scores),
        decides=has_part,
        face=None if decider is None else decider.subject[1],
    )
    return Modality(finding, subjects)


def why_nothing(outcomes: Sequence[Outcome], kind: Kind) -> tuple[ReasonCode, str]:
    """Why nothing that decides has a score: from the fixed list, and in words."""
    asked = [outcome for outcome in outcomes if outcome.status != "not_needed"]
    if any(outcome.scores for outcome in asked):
        return "only_reported", _only_reported(asked)
    if all(outcome.status == "not_applicable" for outcome in asked):
        return _nothing_applies(asked, kind)
    missing = ", ".join(f"{o.row.id} {o.status} ({o.why})" for o in asked if o.status != "not_applicable")
    others = sorted({o.why for o in asked if o.status == "not_applicable"})
    return "no_answer", "; ".join([f"no detector answered: {missing}", *others])


def _only_reported(outcomes: Sequence[Outcome]) -> str:
    shy = ", ".join(o.row.id for o in outcomes if o.scores)
    left = [o for o in outcomes if not o.scores]
    whys = {o.why if o.status == "not_applicable" else f"{o.row.id} {o.status} ({o.why})" for o in left}
    return "; ".join([f"{shy} only reported: experimental, it decides when it is asked for by name", *sorted(whys)])


def _nothing_applies(outcomes: Sequence[Outcome], kind: Kind) -> tuple[ReasonCode, str]:
    """The most telling of the reasons: that of a detector which takes this kind of media, if one was asked."""
    fitting = [o for o in outcomes if (o.row.view.region == "audio") == (kind == "audio")]
    if fitting or (kind == "video" and outcomes):
        found = (fitting or outcomes)[0]
        return found.code or "nothing_applicable", found.why
    sense = "listens to sound" if kind == "audio" else "looks at pictures"
    return "nothing_applicable", f"no detector that was asked {sense}: `unmask models list` shows those that do"


def disagreement(found: Sequence[Finding]) -> str:
    """Where a face is found FAKE and the voice REAL, or the other way round: that, in words; else nothing."""
    faces = [finding for finding in found if finding.region == "face"]
    sounds = [finding for finding in found if finding.region == "audio"]
    for face in faces:
        for sound in sounds:
            if {face.verdict, sound.verdict} == {"FAKE", "REAL"}:
                return f"face and voice differ: face {face.face} is {_said(face)}, the voice is {_said(sound)}"
    return ""


def _said(finding: Finding) -> str:
    note = "" if finding.decides else ", only reported"
    return f"{finding.verdict} (p(fake) {finding.p_fake:.2f}{note})"
