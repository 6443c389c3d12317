"""A verdict in plain words: composed from its facts, never beyond them, at most three sentences.

What was found and how sure that is; what was not looked at; what it is no proof of.
"""

from collections.abc import Iterator, Sequence

from models.explain.subject import Subject, decider, p_fake_of
from models.types import DetectorReport, FaceReport, Verdict

# From which probability on a word is used: of a forgery, and of none.
FORGED = ((0.95, "very likely manipulated"), (0.8, "likely manipulated"), (0.0, "rather manipulated than not"))
GENUINE = ((0.95, "hardly any sign"), (0.8, "little sign"), (0.0, "no clear sign"))
NO_PROOF = {
    "FAKE": "That is what detectors measured, and no proof.",
    "REAL": "A low score is no proof that it is authentic.",
    "UNDETERMINED": "That speaks neither for it nor against it.",
}
CERTAIN = 0.995  # what would be rounded to 1.00 is not written so
ROUNDING = 1e-9  # 1 - 0.2 is a little less than 0.8
MISSING = frozenset({"failed", "late", "not_installed"})  # should have answered


def sentence(verdict: Verdict) -> str:
    """The whole text; ends with a full stop."""
    return " ".join([_finding(verdict), *_unseen(verdict), NO_PROOF[verdict.verdict]])


def _finding(verdict: Verdict) -> str:
    subject = decider(verdict)
    if subject is None or verdict.p_fake is None:
        what = {"video": "this video", "image": "this picture", "audio": "this recording"}[verdict.media.kind]
        return f"Nothing can be said about {what}: {_ended(verdict.reason)}"
    who, by = _named(verdict, subject), _listed([report.id for report in _judges(verdict, subject)])
    if verdict.verdict == "UNDETERMINED":
        return f"Whether {who} was manipulated cannot be told by {by}: {_ended(verdict.reason)}"
    who, score = who[0].upper() + who[1:], _score(verdict, subject)
    p_fake = p_fake_of(verdict, subject)
    if verdict.verdict == "REAL":
        return f"{who} shows {_word(GENUINE, 1 - p_fake)} of manipulation according to {by} ({score})."
    return f"{who} is {_word(FORGED, p_fake)}{_when(verdict, subject)} according to {by} ({score})."


def _named(verdict: Verdict, subject: Subject) -> str:
    region, track = subject
    kind = verdict.media.kind
    if region == "audio":
        return "the recording" if kind == "audio" else "the sound of the video"
    if region == "frame":
        return "the picture as a whole" if kind == "image" else "the video as a whole"
    (face,) = (face for face in verdict.faces if face.track == track)
    where = "in the picture" if kind == "image" else _seen(face)
    return f"the face {where}" if len(verdict.faces) == 1 else f"face {track}, one of {len(verdict.faces)} {where},"


def _seen(face: FaceReport) -> str:
    if face.end_s == face.start_s:
        return f"seen at {face.start_s:.1f} s"
    return f"seen from {face.start_s:.1f} to {face.end_s:.1f} s"


def _when(verdict: Verdict, subject: Subject) -> str:
    """When its score is highest; a picture and a single point have no time to speak of."""
    points = [point for point in verdict.timeline if (point.region, point.face) == subject]
    if verdict.media.kind == "image" or len(points) < 2:  # noqa: PLR2004
        return ""
    return f", most clearly around {max(points, key=lambda point: point.p_fake).t_s:.1f} s,"


def _score(verdict: Verdict, subject: Subject) -> str:
    p = p_fake_of(verdict, subject)
    number = "above 0.99" if p > CERTAIN else "below 0.01" if p < 1 - CERTAIN else f"{p:.2f}"
    rough = [report.id for report in _judges(verdict, subject) if not report.calibrated]
    return f"p_fake {number}" + (", which is not calibrated and so no probability" if rough else "")


def _unseen(verdict: Verdict) -> Iterator[str]:
    """What the finding does not cover, as one sentence, or none."""
    media, parts = verdict.media, []
    if media.kind == "image" and media.frames_total > 1:
        parts.append(f"only the first of {media.frames_total} pictures was looked at")
    elif media.kind == "video" and media.frames_analysed < media.frames_total:
        parts.append(f"{media.frames_analysed or 'none'} of {media.frames_total} frames were looked at")
    if media.kind == "video" and media.audio_s > 0 and not _heard(verdict):
        parts.append("the sound has no part in this")
    scored = sum(face.p_fake is not None for face in verdict.faces)
    if 0 < scored < len(verdict.faces):
        parts.append(f"of {len(verdict.faces)} faces {scored} {'was' if scored == 1 else 'were'} scored")
    if verdict.disagreement:
        parts.append(verdict.disagreement)
    if missing := [report.id for report in verdict.detectors if report.status in MISSING]:
        parts.append(f"{_listed(missing)} did not answer")
    if parts:
        text = "; ".join(parts)
        yield text[0].upper() + text[1:] + "."


def _heard(verdict: Verdict) -> bool:
    """Whether a detector of sound had a say."""
    return any(r.region == "audio" and r.weight > 0 and r.p_fake is not None for r in verdict.detectors)


def _judges(verdict: Verdict, subject: Subject) -> list[DetectorReport]:
    return [r for r in verdict.detectors if r.region == subject[0] and r.weight > 0 and r.p_fake is not None]


def _word(words: Sequence[tuple[float, str]], probability: float) -> str:
    return next(word for least, word in words if probability >= least - ROUNDING)


def _listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else "no detector"


def _ended(text: str) -> str:
    return text.rstrip(". ") + "."
