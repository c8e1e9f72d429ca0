"""Credentials in the request loop: clock skew, logins, strategies of users."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from tests.unit.scripted import (
    GET,
    OK,
    POST,
    Script,
    Time,
    refused,
    session,
)
from vcloud import (
    AuthenticationError,
    BearerAuth,
    RequestTimeout,
    Response,
    TransportError,
)
from vcloud._core.connections.options import TransportOptions


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


async def test_a_wrong_clock_is_corrected_once_and_a_second_refusal_is_final(time: Time) -> None:
    date = {"Date": "Thu, 01 Jan 1970 02:00:00 GMT"}
    script = Script(refused(401, 401, date), OK)
    await session(script, time).send(POST)
    assert script.asked[1][2]["Authorization"].rsplit(":", 1)[1].startswith("7200")

    script = Script(refused(401, 401, date))
    with pytest.raises(AuthenticationError):
        await session(script, time).send(POST)
    assert len(script.asked) == 2


async def test_a_login_that_is_lost_says_nothing_about_the_request_that_wanted_it(
    time: Time,
) -> None:
    script = Script(TransportError("reset"))
    shared = session(script, time, auth=BearerAuth.login("admin", "hunter2"))
    with pytest.raises(TransportError, match="/auth/login") as caught:
        await shared.send(GET)
    assert [(method, url.rpartition("/v1")[2]) for method, url, _, _ in script.asked] == [
        ("POST", "/auth/login")
    ]
    assert "/machines" not in str(caught.value)


async def test_the_deadline_covers_waiting_for_a_login(time: Time) -> None:
    class Stuck(Script):
        async def exchange(
            self,
            method: str,
            url: str,
            headers: Mapping[str, str],
            body: bytes | None,
            wire: TransportOptions,
        ) -> Response:
            await asyncio.Event().wait()
            raise AssertionError

    auth = BearerAuth.login("admin", "hunter2")
    shared = session(Stuck(OK), time, auth=auth, deadline=0.02)
    with pytest.raises(RequestTimeout, match="nothing was sent") as caught:
        await shared.send(POST)
    assert not caught.value.outcome_unknown


@pytest.mark.parametrize("deadline", [None, 60])
async def test_a_strategys_own_timeout_is_not_mistaken_for_the_deadline(
    time: Time, deadline: float | None
) -> None:
    class Slow(BearerAuth):
        def ready(self, now: float) -> bool:
            return False

        async def acquire(self, send: object, *, now: float) -> None:
            raise TimeoutError("the vault did not answer")

    script = Script(OK)
    shared = session(script, time, auth=Slow("token"), deadline=deadline)
    with pytest.raises(TimeoutError, match="the vault did not answer"):
        await shared.send(GET)
    assert script.asked == []
