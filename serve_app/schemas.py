"""The wire: what the routes answer. Pydantic here, dataclasses inside."""

import base64
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

Label = Literal["FAKE", "REAL", "UNDETERMINED"]
Region = Literal["frame", "face", "audio"]
ReasonCode = Literal[
    "",
    "no_face",
    "face_too_small",
    "too_few_frames",
    "too_short",
    "silent",
    "nothing_applicable",
    "detectors_disagree",
    "spans_threshold",
    "no_answer",
    "only_reported",
]


def data_uri(value: Any) -> Any:
    """Encoded pictures (JPEG or PNG) as `data:` URIs, which a browser shows as they are; anything else as it is."""
    if not isinstance(value, bytes):
        return value
    kind = "png" if value.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(value).decode()}" if value else ""


Picture = Annotated[str, BeforeValidator(data_uri)]


class Body(BaseModel):
    """Base of the bodies: built from the dataclasses of `models.types` by attribute."""

    model_config = ConfigDict(from_attributes=True)


class MediaBody(Body):
    """What was learnt about the media. Pixels are of the upright picture.

    A still picture has no duration, no codec and no fps; `frames_total` counts the frames of an animation or the pages,
    of which only the first is analysed. A recording has no frames, and `codec` is that of its sound. Width and height
    are 0 where no detector looked at the pictures.
    """

    kind: Literal["video", "image", "audio"]
    sha256: str
    size_bytes: int
    container: str
    codec: str
    duration_s: float
    width: int
    height: int
    fps: float
    frames_total: int
    frames_analysed: int
    audio_s: float


class DetectorBody(Body):
    """What became of one detector.

    `region` is what it looks at, or `audio`. Where it is not `calibrated`, its `p_fake` puts clips in order and is no
    probability. `seconds` passed from asking it to its answer, waiting included.
    """

    id: str
    revision: str
    status: Literal["ok", "not_applicable", "not_needed", "failed", "late", "not_installed"]
    why: str
    p_fake: float | None
    weight: float
    device: str
    region: Region
    calibrated: bool
    seconds: float
    gpu_memory_bytes: int


class BoxBody(Body):
    """Where a face was at one moment: left, top, right, bottom in pixels of the upright picture."""

    t_s: float
    xyxy: tuple[float, float, float, float]


class FaceBody(Body):
    """One face track. `decided` marks the face that decided the verdict.

    `thumbnail` is a `data:` URI of a small JPEG; empty where there are more faces than thumbnails.
    """

    track: int
    start_s: float
    end_s: float
    p_fake: float | None
    decided: bool
    lost_frames: int
    boxes: list[BoxBody]
    thumbnail: Picture = ""


class TimelineBody(Body):
    """A calibrated score at one moment; `face` is null where `region` is the whole frame or the sound."""

    t_s: float
    face: int | None
    p_fake: float
    region: Region


class SegmentBody(Body):
    """Consecutive analysed frames above the threshold."""

    start_s: float
    end_s: float
    mean: float
    peak: float
    source: str


class TimingsBody(Body):
    """Seconds per stage. Decoding and face finding overlap."""

    receive_s: float
    probe_s: float
    decode_s: float
    faces_s: float
    detectors_s: float
    total_s: float


class DeclaredActionBody(Body):
    """What a manifest says was done; `earlier` marks what was declared for an earlier version of the file."""

    action: str
    digital_source_type: str
    software: str
    when: str
    earlier: bool


class CredentialsBody(Body):
    """Content credentials (C2PA). Nothing here enters the verdict; the absence of a manifest is evidence of nothing."""

    status: Literal["not_read", "none", "invalid", "valid"]
    why: str
    integrity: Literal["not_checked", "intact", "broken"]
    signer_trusted: Literal["not_checked", "trusted", "untrusted"]
    signer: str
    organisation: str
    signed_at: str
    generator: str
    actions: list[DeclaredActionBody]
    source_types: list[str]
    ingredients: int
    problems: list[str]
    sentence: str


class FindingBody(Body):
    """What is said of one modality: of all faces, of whole frames, or of the sound.

    Where `decides` is false, it is made of detectors that are not fused, and has no part in the verdict. `face` is the
    track that decided it.
    """

    region: Region
    verdict: Label
    p_fake: float | None
    reason_code: ReasonCode
    reason: str
    detectors: list[str]
    decides: bool
    face: int | None


class AnalysedBody(Body):
    """How much was analysed: share of the frames, seconds from first to last of these, share of the sound."""

    frames: float
    span_s: float
    sound: float


class TransitionBody(Body):
    """From `t_s` on the timeline is past the other bound of the verdict."""

    t_s: float
    to: Label


class TemporalBody(Body):
    """How the timeline of a subject that decided a finding runs; docs/api.md defines each figure."""

    source: str
    consistency: float
    trend: Literal["rising", "falling", "stable"]
    slope_per_s: float
    pattern: Literal["sustained_fake", "sustained_real", "alternating", "uncertain"]
    transitions: list[TransitionBody]
    anomalies_s: list[float]


class MapBody(Body):
    """Where a detector looked in one frame; `heatmap` and `crop` are `data:` URIs of PNGs of one size.

    `grad_cam` and `occlusion` show what raised the score of "fake", `attention_rollout` what was looked at.
    """

    track: int | None
    t_s: float
    detector: str
    method: Literal["grad_cam", "attention_rollout", "occlusion"]
    heatmap: Picture
    crop: Picture


class UnexplainedBody(Body):
    """A detector of which no map could be made, and why."""

    detector: str
    why: str


class EvidenceBody(Body):
    """What the verdict rests on, for people. `maps` only with `explain`."""

    sentence: str = ""
    frames: list[TimelineBody] = []
    maps: list[MapBody] = []
    unexplained: list[UnexplainedBody] = []


class VerdictBody(Body):
    """The answer, the same from the library, the command, the deployment handle and the routes."""

    verdict: Label
    p_fake: float | None
    confidence: float
    reason: str
    degraded: bool
    mode: str
    model: str
    media: MediaBody
    detectors: list[DetectorBody]
    faces: list[FaceBody]
    timeline: list[TimelineBody]
    segments: list[SegmentBody]
    timings: TimingsBody
    credentials: CredentialsBody
    reason_code: ReasonCode
    findings: list[FindingBody]
    analysed: AnalysedBody
    temporal: list[TemporalBody]
    disagreement: str
    evidence: EvidenceBody = EvidenceBody()


class AnalyzeBody(VerdictBody):
    """`POST /analyze`: the verdict, and the flat fields that clients of the Drishtiksha service read.

    `id` is the analysis's, for `/v1/analyses/{id}`; `reused_from` the earlier one of the same file that was repeated.
    If it could not be `recorded`, because the database went away meanwhile, `id` is empty.
    """

    id: str
    recorded: bool
    reused_from: str | None
    prediction: Label
    processing_time: float
    timestamp: str
    request_id: str


class AnalysisLinks(Body):
    """Where an analysis is read, its report, and the media with the verdict drawn into it if that was made."""

    self: str
    report: str
    visual: str | None


class RecordBody(Body):
    """One analysis, as lists have it. `number` counts through all analyses of the service, as older clients expect.

    `total_s` are the seconds of the work; `reused_from` is the earlier analysis whose verdict this one repeats.
    """

    id: str
    number: int
    created_at: str
    expires_at: str | None
    route: str
    filename: str
    kind: Literal["video", "image", "audio"]
    sha256: str
    size_bytes: int
    duration_s: float
    model: str
    verdict: Label
    p_fake: float | None
    confidence: float
    reason_code: ReasonCode
    degraded: bool
    total_s: float
    reused_from: str | None
    batch_id: str | None
    job_id: str | None
    links: AnalysisLinks


class AnalysisBody(VerdictBody):
    """`GET /v1/analyses/{id}`: the whole verdict, and where it comes from. Pictures that were erased are empty."""

    id: str
    number: int
    created_at: str
    expires_at: str | None
    route: str
    filename: str
    reused_from: str | None
    batch_id: str | None
    job_id: str | None
    links: AnalysisLinks


class AnalysisPage(Body):
    """`GET /v1/analyses`: newest first. `next_cursor` asks for the ones before; null at the end."""

    items: list[RecordBody]
    next_cursor: str | None


class CountsBody(Body):
    """Counts by verdict; `name` is the model asked, the kind of media, or the day (UTC)."""

    name: str
    total: int
    fake: int
    real: int
    undetermined: int


class StatisticsBody(Body):
    """`GET /v1/statistics`. Percentages are of all analyses; `average_confidence` is of those that are FAKE or REAL."""

    total: int
    reused: int
    fake: int
    real: int
    undetermined: int
    fake_percentage: float
    real_percentage: float
    average_confidence: float | None
    last_analysis_at: str | None
    models: list[CountsBody]
    kinds: list[CountsBody]
    days: list[CountsBody]


class AnalysisDetails(Body):
    """Figures over the analysed frames of the face that decided.

    `c_i` is frame i's confidence in the prediction: `p_fake` if it is FAKE, else `1 - p_fake`.
    `avg_confidence` is the mean of c, `confidence_std` its population standard deviation, `rolling_average` the mean
    of its last ten, `temporal_consistency` is `1 - min(2 * variance, 1)`. Null where no detector scores frames.
    """

    frame_count: int
    avg_confidence: float | None
    confidence_std: float | None
    temporal_consistency: float | None
    rolling_average: float | None


class ModelInfo(Body):
    """The detectors that answered: revisions, architectures and devices, joined by a comma."""

    version: str
    architecture: str
    device: str


class SystemInfo(Body):
    """Where the detectors ran; memory is the sum over their devices."""

    gpu_memory_used: str
    processing_device: str


class DetailedBody(AnalyzeBody):
    """`POST /analyze/detailed`."""

    analysis_details: AnalysisDetails
    model_info: ModelInfo
    system_info: SystemInfo


class FramePrediction(Body):
    """One point of the timeline of the subject that decided: an analysed frame, or a window of frames or of sound.

    `frame` counts them from 1. `prediction` is by the bounds of the verdict, `confidence` is `max(p_fake, 1 - p_fake)`.
    `region` and `face` are as in the timeline.
    """

    frame: int
    t_s: float
    region: Region
    face: int | None
    p_fake: float
    confidence: float
    prediction: Label


class TemporalAnalysis(Body):
    """How the frames' scores run. Null where no detector that decided scores frames, or there is only one.

    `consistency_score` is `1 - min(2 * variance, 1)` of p_fake; `pattern_detection` and `anomaly_frames` are those of
    `temporal`, with the numbers of the frames; `confidence_trend` is how the confidence in the prediction runs, then
    whether its mean is `high` (from 0.8), `medium` (from 0.6) or `low`.
    """

    consistency_score: float | None
    pattern_detection: str | None
    anomaly_frames: list[int]
    confidence_trend: str | None


class FramesSummary(Body):
    """How many frames were found to be what; `avg_confidence` as in `AnalysisDetails`."""

    total_frames: int
    fake_frames: int
    real_frames: int
    undetermined_frames: int
    avg_confidence: float | None


class FramesBody(AnalyzeBody):
    """`POST /analyze/frames`."""

    frame_predictions: list[FramePrediction]
    temporal_analysis: TemporalAnalysis
    summary: FramesSummary


class BatchResult(Body):
    """One file of a batch. `status` is what the file alone would have been answered with; 200 has an `analysis`."""

    index: int
    filename: str
    status: int
    id: str | None
    analysis: AnalyzeBody | None
    problem: "ProblemBody | None"


class BatchBody(Body):
    """`POST /analyze/batch`: what came of each file, in the order sent."""

    id: str
    total: int
    successful: int
    failed: int
    results: list[BatchResult]


class ModelBody(Body):
    """One detector of the catalogue."""

    id: str
    revision: str
    architecture: str
    summary: str
    licence: str
    sha256: str
    view: dict[str, int | float | str]
    calibration: dict[str, float]
    weight: float
    measured: list[str]


class ModelDetail(ModelBody):
    """`GET /v1/models/{id}`: one detector, what it is worth, and whether it answers here.

    `takes` is what of the media it looks at. What is not `fused` is reported without deciding, unless it is asked for
    by name; what is `by_name_only` has no part in `ensemble`. `reported` is what its authors measured, `measured` what
    this project did. `cost_s` is what one clip takes, in seconds of one CPU core. Where `installed` is false, `why`
    has the command that installs it.
    """

    takes: Region
    fused: bool
    by_name_only: bool
    calibrated: bool
    usage: str
    reported: list[str]
    cost_s: float
    installed: bool
    ready: bool
    replicas: int
    why: str


class ModelsBody(Body):
    """`GET /v1/models`: every detector that is served, and the ways to ask for several."""

    default_model: str
    selections: list[str]
    verdict: "VerdictBounds"
    models: list[ModelDetail]


class CallerLimits(Body):
    """What the key that asked may do; null is without limit."""

    scopes: list[str]
    requests_per_minute: int | None
    media_seconds_per_hour: int | None


class LimitsBody(Body):
    """`GET /v1/limits`: of requests, of media, of the key that asked; and what is accepted."""

    requests: dict[str, int | float]
    media: dict[str, int | float]
    key: CallerLimits
    accepted: str


class VerdictBounds(Body):
    """REAL below the one, FAKE above the other, UNDETERMINED between; faces of fewer pixels are not judged."""

    real_below: float
    fake_above: float
    face_px: int


class RootBody(Body):
    """`GET /`: what this service is and allows."""

    service: str
    version: str
    status: Literal["ok", "starting"]
    available_models: list[str]
    default_model: str
    models: list[ModelBody]
    verdict: VerdictBounds
    limits: dict[str, int | float]
    documentation: str


class DeploymentBody(Body):
    """One deployment of the graph."""

    status: str
    replicas: int


class HealthBody(Body):
    """`GET /health`: 200 when every deployment is ready, else 503.

    It is `degraded` while the database or the artefact store does not answer; requests that need them get a 503.
    """

    status: Literal["ok", "starting", "degraded"]
    database: Literal["ok", "unavailable"]
    artifacts: Literal["ok", "unavailable"]
    model_loaded: bool
    default_model: str
    available_models: list[str]
    deployments: dict[str, DeploymentBody]


class PlaceRequest(BaseModel):
    """`POST /v1/uploads`: what is to be uploaded."""

    filename: Annotated[str, Field(max_length=1024, description="what the file is called")] = ""


class PlaceBody(Body):
    """A place for one file: send it to `url` by `method`, then name `id` in `POST /v1/jobs`.

    `url` is absolute, or a path of this service; it carries its own proof and needs no key.
    """

    id: str
    filename: str
    method: Literal["PUT"]
    url: str
    max_bytes: int
    expires_at: str


class ProblemBody(BaseModel):
    """Every error: RFC 9457, with the fields older clients read. Further members depend on the error."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    error: str
    message: str
    suggestions: list[str]
    timestamp: str


JobState = Literal["queued", "running", "done", "failed", "cancelled"]


class JobFileBody(Body):
    """One file of a job; `analysis_id` is for `/v1/analyses/{id}`, `error` says why there is none."""

    position: int
    filename: str
    state: JobState
    analysis_id: str | None
    verdict: Label | None
    p_fake: float | None
    error: ProblemBody | None


class JobLinks(Body):
    """Where a job is read and followed."""

    self: str
    events: str


class JobBody(Body):
    """`/v1/jobs/{id}`: how far it is, and what came of each file. `fraction` is of the whole job, 0 to 1."""

    id: str
    state: JobState
    stage: str
    fraction: float
    created_at: str
    started_at: str | None
    finished_at: str | None
    model: str
    files: list[JobFileBody]
    webhook: bool
    error: ProblemBody | None
    links: JobLinks


class JobPage(Body):
    """`GET /v1/jobs`: newest first. `next_cursor` asks for the ones before; null at the end."""

    items: list[JobBody]
    next_cursor: str | None


Scope = Literal["analyze", "read", "admin"]
KeyLimit = Annotated[int | None, Field(ge=0, lt=2**31, description="null: the service's default; 0: no limit")]


class KeyRequest(BaseModel):
    """`POST /v1/keys`. Several keys may have one owner: they see the same analyses and jobs."""

    model_config = ConfigDict(extra="forbid")

    owner: str
    scopes: list[Scope]
    name: str = ""
    expires_at: AwareDatetime | None = None
    requests_per_minute: KeyLimit = None
    media_seconds_per_hour: KeyLimit = None


class RotateRequest(BaseModel):
    """`POST /v1/keys/{id}/rotate`: seconds that the old key still works, 30 days at most."""

    model_config = ConfigDict(extra="forbid")

    overlap_s: Annotated[float, Field(ge=0, le=30 * 86_400)] = 0.0


class KeyBody(Body):
    """A key, without the key itself, which is not kept."""

    id: str
    owner: str
    name: str
    scopes: list[Scope]
    state: Literal["active", "expired", "revoked"]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    requests_per_minute: int | None
    media_seconds_per_hour: int | None


class NewKeyBody(KeyBody):
    """A key that was just made: `key` is what requests carry, shown now and never again."""

    key: str


class KeyPage(Body):
    """`GET /v1/keys`: newest first. `next_cursor` asks for the ones before; null at the end."""

    items: list[KeyBody]
    next_cursor: str | None
