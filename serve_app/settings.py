"""Every setting and limit in one table: name, default, unit, help. Nothing else reads the environment.

Each is set by the environment variable `UNMASK_<NAME>`, or in the file `.env` beside the project; a few also by the
name that clients of an older service used. `unmask settings` prints the table.
"""

import os
import ssl
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.detectors.catalogue import CATALOGUE_FILE, ENSEMBLE, Catalogue, describe, read_catalogue
from models.detectors.store import DEFAULT_FOLDER, ROOT, Store
from models.errors import UnmaskError
from models.faces.tools import FaceTools
from models.media.limits import Limits
from models.types import Precision
from serve_app.addresses import parsed
from serve_app.artifacts import S3Options

ENV_FILE = ROOT / ".env"
DATA_FOLDER = ROOT / ".unmask"  # ignored by git
HOG, YUNET = "hog", "yunet"
MIN_KEY_CHARACTERS = 32  # 192 bits in base64: nobody guesses it; shorter keys tend to be words
_MEDIA = Limits()


class SettingsError(UnmaskError):
    """A setting is missing or wrong; it is named."""

    code = "settings_error"


def _names(name: str, *older: str) -> AliasChoices:
    return AliasChoices(f"UNMASK_{name}".upper(), *older)


class Settings(BaseSettings):
    """The table. Frozen: a service is reconfigured by starting it anew or by Serve's rolling update."""

    model_config = SettingsConfigDict(env_file=ENV_FILE, extra="ignore", frozen=True)

    api_key: Annotated[
        SecretStr | None,
        Field(
            validation_alias=_names("api_key", "API_KEY"),
            description="the key that clients send as X-API-Key; at least 32 characters",
        ),
    ] = None
    open_seed_routes: Annotated[
        bool,
        Field(
            validation_alias=_names("open_seed_routes"),
            description="whether the routes of the older services that asked for no key need none here either",
        ),
    ] = False
    requests_per_minute: Annotated[
        int,
        Field(
            ge=0,
            validation_alias=_names("requests_per_minute"),
            description="requests of a key that has no limit of its own; 0 for none. The operator's key has none",
        ),
    ] = 600
    media_seconds_per_hour: Annotated[
        int,
        Field(
            ge=0,
            validation_alias=_names("media_seconds_per_hour"),
            description="seconds of media that such a key may have analysed; 0 for no limit",
        ),
    ] = 36_000
    cors_origins: Annotated[
        str,
        Field(
            validation_alias=_names("cors_origins"),
            description="origins whose pages may call the service, separated by commas, or *; empty for none",
        ),
    ] = ""
    idempotency_hours: Annotated[
        float,
        Field(
            gt=0,
            validation_alias=_names("idempotency_hours"),
            description="hours that the answer to an Idempotency-Key is kept",
        ),
    ] = 24.0
    default_model: Annotated[
        str,
        Field(
            validation_alias=_names("default_model", "DEFAULT_MODEL_NAME"),
            description="the model that answers when a request names none",
        ),
    ] = ENSEMBLE
    catalogue: Annotated[
        Path,
        Field(validation_alias=_names("catalogue"), description="the catalogue of detectors, a YAML file"),
    ] = CATALOGUE_FILE
    models: Annotated[
        str,
        Field(
            validation_alias=_names("models"),
            description="ids of the detectors to serve, separated by commas; empty for those the catalogue enables",
        ),
    ] = ""
    models_dir: Annotated[
        Path,
        Field(validation_alias=_names("models_dir"), description="the folder that `unmask models pull` fills"),
    ] = DEFAULT_FOLDER
    database_url: Annotated[
        str,
        Field(
            validation_alias=_names("database_url"),
            description="where keys, jobs and history are kept: sqlite:///path, or postgresql://user:password@host/name",
        ),
    ] = f"sqlite:///{DATA_FOLDER / 'unmask.db'}"
    artifacts_url: Annotated[
        str,
        Field(
            validation_alias=_names("artifacts_url"),
            description="where annotated media, reports and jobs' media are kept: a folder, or s3://bucket/prefix",
        ),
    ] = str(DATA_FOLDER / "artifacts")
    reuse_results: Annotated[
        bool,
        Field(
            validation_alias=_names("reuse_results"),
            description="whether a file that was analysed before with the same models gets the same answer again",
        ),
    ] = True
    history_days: Annotated[
        float,
        Field(
            ge=0,
            validation_alias=_names("history_days"),
            description="days that analyses are kept; 0 keeps them until they are deleted",
        ),
    ] = 365.0
    artifacts_days: Annotated[
        float,
        Field(
            ge=0,
            validation_alias=_names("artifacts_days"),
            description="days that pictures and annotated media of analyses are kept; 0 keeps them as long as the rest",
        ),
    ] = 90.0
    s3_endpoint: Annotated[
        str,
        Field(
            pattern=r"^(https?://[^/]+)?$",
            validation_alias=_names("s3_endpoint"),
            description="address of an S3 other than Amazon's, such as http://minio:9000",
        ),
    ] = ""
    s3_public_endpoint: Annotated[
        str,
        Field(
            pattern=r"^(https?://[^/]+)?$",
            validation_alias=_names("s3_public_endpoint"),
            description="the same S3 as clients reach it, for links to files; empty where that is the same",
        ),
    ] = ""
    s3_region: Annotated[str, Field(validation_alias=_names("s3_region"), description="region of the bucket")] = (
        "us-east-1"
    )
    s3_access_key_id: Annotated[
        str,
        Field(
            validation_alias=_names("s3_access_key_id"),
            description="account of the S3; empty for the machine's own role, as AWS's tools find it",
        ),
    ] = ""
    s3_secret_access_key: Annotated[
        SecretStr | None,
        Field(validation_alias=_names("s3_secret_access_key"), description="secret of that account"),
    ] = None
    s3_virtual_hosted: Annotated[
        bool,
        Field(
            validation_alias=_names("s3_virtual_hosted"),
            description="whether the bucket's name is part of the S3's host name, and not of the path",
        ),
    ] = False
    url_allow: Annotated[
        str,
        Field(
            validation_alias=_names("url_allow"),
            description="hosts, networks and s3://bucket/prefix, by commas, that media is fetched from; empty: none",
        ),
    ] = ""
    upload_lifetime_s: Annotated[
        int,
        Field(
            ge=60,
            le=7 * 24 * 3600,  # S3 signs for no longer
            validation_alias=_names("upload_lifetime_s"),
            description="seconds that a place of POST /v1/uploads is kept",
        ),
    ] = 3600
    hub_url: Annotated[
        str,
        Field(
            pattern=r"^https?://[^/]+",
            validation_alias=_names("hub_url", "HF_ENDPOINT"),
            description="the Hugging Face hub, or a mirror of it, that `unmask models pull` asks",
        ),
    ] = "https://huggingface.co"
    hub_token: Annotated[
        SecretStr | None,
        Field(
            validation_alias=_names("hub_token", "HF_TOKEN"),
            description="a token of the hub, for models whose terms must be accepted; sent to that host only",
        ),
    ] = None
    precision: Annotated[
        Precision,
        Field(
            validation_alias=_names("precision"),
            description="of the detectors' forward passes: fp32, or bf16 or fp16 for speed on a GPU",
        ),
    ] = "fp32"
    cuda_visible_devices: Annotated[
        str | None,
        Field(
            validation_alias=_names("cuda_visible_devices", "CUDA_VISIBLE_DEVICES"),
            description="the GPUs that `unmask up` gives to the service, such as 0,1; empty for none of them",
        ),
    ] = None
    face_finder: Annotated[
        str,
        Field(
            validation_alias=_names("face_finder"),
            description="what finds faces: hog, or the id of a pulled one such as yunet",
        ),
    ] = HOG
    landmarks: Annotated[
        str,
        Field(
            validation_alias=_names("landmarks"),
            description="path of dlib's shape_predictor_68_face_landmarks.dat; empty: the face box instead",
        ),
    ] = ""
    c2pa_trust_anchors: Annotated[
        str,
        Field(
            validation_alias=_names("c2pa_trust_anchors"),
            description="path of a PEM file: whose signatures on content credentials are trusted; empty: not checked",
        ),
    ] = ""
    max_concurrent_requests: Annotated[
        int,
        Field(
            ge=1,
            validation_alias=_names("max_concurrent_requests", "MAX_CONCURRENT_REQUESTS"),
            description="analyses an ingress replica works on at once",
        ),
    ] = 16
    max_waiting_requests: Annotated[
        int,
        Field(
            ge=0,
            validation_alias=_names("max_waiting_requests"),
            description="analyses that wait at an ingress replica; the next gets 503",
        ),
    ] = 64
    request_timeout_s: Annotated[
        float,
        Field(
            gt=0,
            validation_alias=_names("request_timeout_s", "REQUEST_TIMEOUT"),
            description="seconds from the last byte received until the answer, then 504",
        ),
    ] = 300.0
    jobs_at_once: Annotated[
        int,
        Field(ge=1, validation_alias=_names("jobs_at_once"), description="jobs that a runner works on at once"),
    ] = 2
    job_timeout_s: Annotated[
        float,
        Field(
            gt=0,
            validation_alias=_names("job_timeout_s"),
            description="seconds that analysing and drawing one file of a job may take; then it fails",
        ),
    ] = 3600.0
    job_lease_s: Annotated[
        float,
        Field(
            ge=2,
            validation_alias=_names("job_lease_s"),
            description="seconds after which the jobs of a runner that went silent are taken up by another",
        ),
    ] = 30.0
    webhook_allow: Annotated[
        str,
        Field(
            validation_alias=_names("webhook_allow"),
            description="hosts and networks, by commas, that webhooks may be sent to although they are not public",
        ),
    ] = ""
    webhook_pauses_s: Annotated[
        str,
        Field(
            pattern=r"^\d+(,\d+)*$",
            validation_alias=_names("webhook_pauses_s"),
            description="seconds between the tries of a webhook, by commas; after the last it is given up",
        ),
    ] = "5,300,1800,7200,18000,36000,50400,72000,86400"
    detector_timeout_s: Annotated[
        float,
        Field(
            gt=0,
            validation_alias=_names("detector_timeout_s"),
            description="seconds a detector may take for one clip, then it is left out and named late",
        ),
    ] = 120.0
    detector_threads: Annotated[
        int,
        Field(
            ge=0,
            validation_alias=_names("detector_threads"),
            description="CPU threads of a detector replica; 0 takes the node's cores, four at most",
        ),
    ] = 0
    upload_timeout_s: Annotated[
        float,
        Field(
            gt=0,
            validation_alias=_names("upload_timeout_s"),
            description="seconds a body may take to arrive, then 408",
        ),
    ] = 120.0
    max_upload_bytes: Annotated[
        int,
        Field(
            ge=1,
            validation_alias=_names("max_upload_bytes"),
            description="bytes of a request's body, then 413",
        ),
    ] = 200 * 2**20
    max_batch_files: Annotated[
        int,
        Field(
            ge=1,
            le=1000,  # each is an open file while it is analysed
            validation_alias=_names("max_batch_files"),
            description="files of one batch, then 400",
        ),
    ] = 50
    max_batch_bytes: Annotated[
        int,
        Field(
            ge=1,
            validation_alias=_names("max_batch_bytes"),
            description="bytes of all files of one batch, then 413; at least those that one file may have",
        ),
    ] = 2**30
    max_pixels: Annotated[int, Field(ge=1, validation_alias=_names("max_pixels"), description="pixels of a frame")] = (
        _MEDIA.max_pixels
    )
    max_still_pixels: Annotated[
        int, Field(ge=1, validation_alias=_names("max_still_pixels"), description="pixels of a still picture")
    ] = _MEDIA.max_still_pixels
    max_duration_s: Annotated[
        float, Field(gt=0, validation_alias=_names("max_duration_s"), description="seconds of media")
    ] = _MEDIA.max_duration_s
    decode_timeout_s: Annotated[
        float,
        Field(gt=0, validation_alias=_names("decode_timeout_s"), description="seconds that decoding may take"),
    ] = _MEDIA.wall_s
    decode_memory_bytes: Annotated[
        int,
        Field(
            ge=256 * 2**20,
            validation_alias=_names("decode_memory_bytes"),
            description="bytes of address space of the process that decodes",
        ),
    ] = _MEDIA.memory_bytes

    @field_validator("url_allow", "webhook_allow")
    @classmethod
    def _known_kinds(cls, allow: str) -> str:
        parsed(allow)
        return allow

    @field_validator("api_key")
    @classmethod
    def _long_enough(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < MIN_KEY_CHARACTERS:
            raise ValueError(
                f"it has {len(key.get_secret_value())} characters; at least {MIN_KEY_CHARACTERS} are needed. "
                "`unmask key` prints a good one"
            )
        return key

    def required_key(self) -> str:
        """The API key; raises `SettingsError` if none is set, so that no service starts open by accident."""
        if self.api_key is None:
            raise SettingsError(
                "API_KEY is not set.",
                f"Set it in the environment or in {ENV_FILE}; `unmask key` prints a good one.",
            )
        return self.api_key.get_secret_value()

    def cors(self) -> list[str]:
        """The origins whose pages may call the service."""
        return [origin.strip().rstrip("/") for origin in self.cors_origins.split(",") if origin.strip()]

    def read_catalogue(self) -> Catalogue:
        """The catalogue with what is to be served and where files are; raises `CatalogueError`."""
        served = tuple(name.strip() for name in self.models.split(",") if name.strip())
        return read_catalogue(self.catalogue, served, Store(self.models_dir.expanduser()))

    def face_tools(self, catalogue: Catalogue) -> FaceTools:
        """What finds faces and their landmarks, checked against what is served.

        Raises:
            SettingsError: the setting names no face finder.
            NotInstalled: the face finder is not on this machine; the command that brings it is named.
            WeightsError: a file was altered, or is none of its kind.
            CatalogueError: a view that is served needs what the face finder does not give.
        """
        landmarks = Path(self.landmarks).expanduser() if self.landmarks else None
        tools = FaceTools(self._yunet(catalogue), landmarks)
        for row in catalogue.rows:
            if catalogue.store.is_installed(row):
                tools.check(row.view.view(), row.id)
        tools.finder()
        tools.predictor()
        return tools

    def _yunet(self, catalogue: Catalogue) -> Path | None:
        if self.face_finder == HOG:
            return None
        known = {tool.id: tool for tool in catalogue.tools if tool.architecture == YUNET}
        if self.face_finder not in known:
            raise SettingsError(
                f"UNMASK_FACE_FINDER is {self.face_finder!r}.", f"There are: {', '.join((HOG, *known))}."
            )
        return catalogue.store.files(known[self.face_finder])["weights"]

    def trust_anchors(self) -> str:
        """The certificates of `UNMASK_C2PA_TRUST_ANCHORS`, as PEM; empty without that setting.

        Raises:
            SettingsError: there is no such file, or it holds something else. The library that checks signatures
                passes over such a file without a word, and would then call every signer unknown.
        """
        if not self.c2pa_trust_anchors:
            return ""
        path = Path(self.c2pa_trust_anchors).expanduser()
        try:
            anchors = path.read_text("ascii")
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=anchors)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise SettingsError(
                f"UNMASK_C2PA_TRUST_ANCHORS: {path} cannot be read as certificates ({error}).",
                "It must be a PEM file of one or more certificates.",
            ) from error
        return anchors

    def webhook_pauses(self) -> tuple[float, ...]:
        """Seconds between the tries of a webhook."""
        return tuple(float(pause) for pause in self.webhook_pauses_s.split(","))

    def s3_options(self) -> S3Options:
        """How the bucket of `artifacts_url` is reached."""
        secret = self.s3_secret_access_key
        return S3Options(
            self.s3_endpoint,
            self.s3_public_endpoint,
            self.s3_region,
            self.s3_access_key_id,
            secret.get_secret_value() if secret else "",
            self.s3_virtual_hosted,
        )

    def limits(self) -> Limits:
        """The limits that the decoder holds media to."""
        return Limits(
            max_pixels=self.max_pixels,
            max_still_pixels=self.max_still_pixels,
            max_duration_s=self.max_duration_s,
            wall_s=self.decode_timeout_s,
            memory_bytes=self.decode_memory_bytes,
        )


def choose_gpus(settings: Settings) -> None:
    """Let Ray and CUDA, which read it from the environment, see the GPUs that the settings name, also those of `.env`.

    To be called before Ray starts.
    """
    if settings.cuda_visible_devices is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = settings.cuda_visible_devices


def read_settings() -> Settings:
    """The settings in force; raises `SettingsError` naming every wrong one."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(f"settings: {describe(error)}") from None
