"""`/v1/keys`: keys made, listed, revoked and rotated, by a key with the scope `admin`."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from serve_app.asking import ADMIN
from serve_app.auth import requires
from serve_app.errors import timestamp
from serve_app.keys import KeyOptions, Keys, NewKey, state_of
from serve_app.routes.problems import problems
from serve_app.routes.small import SmallBody
from serve_app.schemas import KeyBody, KeyPage, KeyRequest, NewKeyBody, RotateRequest
from serve_app.tables import Key

router = APIRouter(prefix="/v1/keys", tags=["keys"], dependencies=[requires(ADMIN)], route_class=SmallBody)

KEY_ID = r"^key_[0-9a-z]{26}$"
KeyId = Annotated[str, Path(pattern=KEY_ID)]
Owner = Annotated[str, Query(max_length=255, pattern=r"^[^\x00]*$", description="only keys of this owner")]
Cursor = Annotated[str, Query(pattern=rf"^$|{KEY_ID}", description="`next_cursor` of the page before")]
Limit = Annotated[int, Query(ge=1, le=200, description="keys in a page")]
COMMON = (
    (401, "the key is missing or wrong"),
    (403, "the key lacks the scope admin"),
    (422, "a parameter or the body is malformed"),
    (429, "the key's requests are used up"),
    (503, "the database does not answer"),
)
PROBLEMS, PROBLEMS_OF_ONE = problems(*COMMON), problems(*COMMON, (404, "no such key"))
PROBLEMS_OF_BODY = problems(*COMMON, (400, "the body is no JSON"), (413, "the body is over the limit"))


@router.post("", status_code=201, responses=PROBLEMS_OF_BODY)
async def create(request: Request, response: Response, asked: KeyRequest) -> NewKeyBody:
    """A new key. `key` is shown in this answer and never again."""
    return _shown(response, await keys(request).create(KeyOptions(**asked.model_dump())))


@router.get("", responses=PROBLEMS)
async def listed(
    request: Request, response: Response, owner: Owner = "", cursor: Cursor = "", limit: Limit = 50
) -> KeyPage:
    """Keys, newest first, with those that were revoked or have expired."""
    rows = await keys(request).list(owner, cursor, limit + 1)
    following = rows[limit - 1].id if len(rows) > limit else None
    if following:
        response.headers["Link"] = f'<{request.url.include_query_params(cursor=following)}>; rel="next"'
    return KeyPage(items=[body(row) for row in rows[:limit]], next_cursor=following)


@router.get("/{key_id}", responses=PROBLEMS_OF_ONE)
async def one(request: Request, key_id: KeyId) -> KeyBody:
    """One key."""
    return body(await keys(request).get(key_id))


@router.delete("/{key_id}", responses=PROBLEMS_OF_ONE)
async def revoke(request: Request, key_id: KeyId) -> KeyBody:
    """End a key: the next request that carries it is refused. It stays listed."""
    return body(await keys(request).revoke(key_id))


@router.post("/{key_id}/rotate", status_code=201, responses=PROBLEMS_OF_ONE | PROBLEMS_OF_BODY)
async def rotate(request: Request, response: Response, key_id: KeyId, asked: RotateRequest | None = None) -> NewKeyBody:
    """A new key with the powers of another, which ends when the overlap is over."""
    overlap_s = asked.overlap_s if asked else 0.0
    return _shown(response, await keys(request).rotate(key_id, overlap_s))


def keys(request: Request) -> Keys:
    """The keys of this application."""
    found = request.app.state.keys
    assert isinstance(found, Keys)
    return found


def body(row: Key) -> KeyBody:
    """What is shown of a key."""
    same = ("id", "owner", "name", "scopes", "requests_per_minute", "media_seconds_per_hour")
    moments = {name: getattr(row, name) for name in ("created_at", "expires_at", "revoked_at", "last_used_at")}
    return KeyBody.model_validate(
        {
            **{name: getattr(row, name) for name in same},
            **{name: timestamp(moment) if moment else None for name, moment in moments.items()},
            "state": state_of(row, datetime.now(UTC)),
        }
    )


def _shown(response: Response, made: NewKey) -> NewKeyBody:
    response.headers["Location"] = f"/v1/keys/{made.row.id}"
    response.headers["Cache-Control"] = "no-store"
    return NewKeyBody(**body(made.row).model_dump(), key=made.secret)
