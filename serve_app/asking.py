"""Who asks what: the caller that the key check found, and what is asked of one file."""

from dataclasses import dataclass, field

from starlette.requests import Request

ANALYZE, READ, ADMIN = "analyze", "read", "admin"
SCOPES = (ANALYZE, READ, ADMIN)
OPERATOR = "operator"  # whose key is the setting API_KEY
OPERATOR_KEY = "key_settings"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose key a request carries.

    Attributes:
        owner: whose analyses and jobs are made and seen.
        key_id: of the key.
        scopes: what the key may do, of `SCOPES`.
        request_id: of this request; empty outside one.
        requests_per_minute: limit of this key; None without one.
        media_seconds_per_hour: limit of this key; None without one.
    """

    owner: str = OPERATOR
    key_id: str = OPERATOR_KEY
    scopes: frozenset[str] = frozenset(SCOPES)
    request_id: str = ""
    requests_per_minute: int | None = None
    media_seconds_per_hour: int | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of one file.

    Attributes:
        model: a model's id, several with commas between, `ensemble` or `cascade`.
        explain: whether saliency maps are made.
        heat: whether maps over time are made, to be drawn.
        fresh: whether an earlier analysis of the same file may not be answered instead.
    """

    model: str
    explain: bool = False
    heat: bool = False
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an analysis comes from: what its row says beside the verdict."""

    caller: Caller = field(default_factory=Caller)
    route: str = ""
    batch_id: str | None = None
    job_id: str | None = None


def caller_of(request: Request) -> Caller:
    """The caller that the key check put into the request."""
    caller = request.state.caller
    assert isinstance(caller, Caller)
    return caller


def origin_of(request: Request) -> Origin:
    """The origin of what this request asks."""
    return Origin(caller_of(request), request.scope["path"])


def wants_fresh(request: Request) -> bool:
    """Whether the client refuses an earlier answer: `Cache-Control: no-cache`, as for any cache (RFC 9111)."""
    return "no-cache" in request.headers.get("cache-control", "").lower()
