"""Tries, without a network: the steps of a request are played to it."""

import email.utils
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from serve_app.client.errors import (
    InvalidRequest,
    MediaError,
    RateLimited,
    ServiceError,
    StillRunning,
    Unavailable,
    Unreachable,
    kind_of,
    retry_after_s,
)
from serve_app.client.steps import Pause, Retries, Send, tried

REQUEST = httpx.Request("POST", "http://service/analyze")
SEND = Send(method="POST", path="/analyze")
LOST = httpx.RemoteProtocolError("Server disconnected", request=REQUEST)
UNREACHED = httpx.ConnectError("refused", request=REQUEST)
DEFAULT = Retries()
GOOD = httpx.Response(200, request=REQUEST)


def refusal(status: int, code: str, after: str = "") -> httpx.Response:
    body = {"code": code, "detail": "why", "status": status}
    return httpx.Response(status, json=body, headers={"Retry-After": after} if after else {}, request=REQUEST)


def proxys(status: int) -> httpx.Response:
    return httpx.Response(status, text="Internal Server Error", request=REQUEST)


def play(answers: Iterable[httpx.Response | Exception], retries: Retries = DEFAULT) -> tuple[int, list[float]]:
    """How often was sent until the good answer, and the pauses."""
    flow, left = tried(SEND, retries), iter(answers)
    sent, pauses = 0, []
    step = next(flow)
    try:
        while True:
            if isinstance(step, Pause):
                pauses.append(step.seconds)
                step = flow.send(None)
                continue
            sent += 1
            answer = next(left)
            step = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
    except StopIteration as end:
        result = end.value
    assert result is GOOD
    return sent, pauses


@pytest.mark.parametrize(
    "passing",
    [
        LOST,
        httpx.ReadTimeout("slow", request=REQUEST),
        UNREACHED,
        proxys(500),
        proxys(502),
        proxys(503),
        refusal(503, "busy", "1"),
        refusal(503, "database_unavailable", "1"),
        refusal(429, "rate_limited", "1"),
        refusal(409, "still_running", "1"),
    ],
    ids=str,
)
def test_what_passes_is_tried_again(passing: httpx.Response | Exception) -> None:
    assert play([passing, passing, GOOD])[0] == 3


@pytest.mark.parametrize(
    "lasting",
    [
        refusal(400, "empty_media"),
        refusal(409, "some_conflict"),
        refusal(422, "corrupt_media"),
        refusal(500, "internal_error"),
        refusal(503, "model_not_installed", "2"),
        refusal(503, "some_other"),
        refusal(504, "analysis_timeout", "10"),
        proxys(404),
        httpx.LocalProtocolError("too little data", request=REQUEST),
    ],
    ids=str,
)
def test_what_lasts_is_raised_at_once(lasting: httpx.Response | Exception) -> None:
    with pytest.raises(ServiceError) as caught:
        play([lasting])
    assert caught.value.tries == 1


def test_pauses_grow_and_are_bounded() -> None:
    _, pauses = play([LOST] * 7 + [GOOD], Retries(longest_pause_s=4))
    assert all(low <= pause <= 2 * low for low, pause in zip((0.25, 0.5, 1, 2, 2, 2, 2), pauses, strict=True))


def test_the_last_failure_is_raised() -> None:
    with pytest.raises(Unreachable, match=r"http://service did not answer: Server disconnected") as caught:
        play([proxys(502), LOST, LOST], Retries(attempts=3))
    assert caught.value.tries == 3


def test_where_nobody_listens_less_is_tried() -> None:
    with pytest.raises(Unreachable) as caught:
        play([UNREACHED] * 9)
    assert caught.value.tries == 4


def test_retry_after_is_honoured() -> None:
    _, (pause,) = play([refusal(503, "busy", "7"), GOOD])
    assert 7 <= pause <= 7.5


def test_a_wait_beyond_patience_is_raised_with_its_length() -> None:
    with pytest.raises(RateLimited) as caught:
        play([refusal(429, "rate_limited", "3600")])
    assert caught.value.retry_after_s == 3600


def test_waiting_for_the_same_request_elsewhere_uses_up_no_tries() -> None:
    running = refusal(409, "still_running", "1")
    assert play([LOST, *[running] * 30, GOOD], Retries(attempts=2))[0] == 32


def test_waiting_for_the_same_request_elsewhere_ends_with_patience() -> None:
    with pytest.raises(StillRunning):
        play([refusal(409, "still_running", "5")], Retries(patience_s=1))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", None),
        ("soon", None),
        ("nan", None),
        ("2", 2.0),
        ("0", 0.0),
        ("-1", 0.0),
        ("Sat, 21 Nov 2020 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str, expected: float | None) -> None:
    assert retry_after_s(value) == expected


def test_a_date_in_retry_after_is_seconds_from_now() -> None:
    date = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    seconds = retry_after_s(date)
    assert seconds is not None
    assert 80 < seconds <= 90


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("new_in_a_later_version", 503, Unavailable),
        ("new_in_a_later_version", 500, Unavailable),
        ("new_in_a_later_version", 418, InvalidRequest),
        ("new_in_a_later_version", 422, InvalidRequest),
        ("media_error", 422, MediaError),
        ("", 0, ServiceError),
    ],
)
def test_an_error_without_a_class_of_its_own_is_of_its_status(code: str, status: int, kind: type[ServiceError]) -> None:
    assert kind_of(code, status) is kind
