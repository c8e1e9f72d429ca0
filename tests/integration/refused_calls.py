"""Clients whose credentials are refused, and a clock that the test moves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.seeded import KEY
from vcloud import (
    APIKeyAuth,
    AuthenticationError,
    BearerAuth,
    Endpoint,
    HMACAuth,
    RetryPolicy,
    VCloud,
)
from vcloud._core.call.sources import Sources
from vcloud._core.timing.clock import monotonic
from vcloud.emulator import Emulator
from vcloud.emulator.credentials import ADMIN

ONCE = RetryPolicy(attempts=1)


class Later:
    """The passing of time, as the client sees it, moved by the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        monkeypatch.setattr("vcloud.auth.logins.monotonic", lambda: monotonic() + self.ahead)
        sources = Sources(clock=lambda: monotonic() + self.ahead)
        monkeypatch.setattr("vcloud._core.session.SYSTEM", sources)


def client(emulator: Emulator, auth: Any, api: str, **options: Any) -> VCloud:
    known: dict[str, Any] = dict(emulator.endpoints())
    ends: dict[str, Any] = {api: Endpoint(known[api].base_url, auth=auth, **options)}
    if api == "streamspace":
        ends["streamspace_dialect"] = "documented"
    return VCloud(**ends)


#: Each strategy with a credential that the service refuses, and a call of it.
WRONG: dict[str, tuple[str, Callable[[], Any], Callable[[VCloud], Awaitable[object]]]] = {
    "signature": (
        "computers",
        lambda: HMACAuth(KEY, "sk_wrong"),
        lambda cloud: cloud.computers.machines.get("100"),
    ),
    "key": ("desktops", lambda: APIKeyAuth("wrong"), lambda cloud: cloud.desktops.launch()),
    "token": (
        "streamspace",
        lambda: BearerAuth("no.such.token"),
        lambda cloud: cloud.streamspace.agents.stats(),
    ),
    "password": (
        "streamspace",
        lambda: BearerAuth.login(ADMIN, "wrong"),
        lambda cloud: cloud.streamspace.agents.stats(),
    ),
}


async def refused(call: Awaitable[object]) -> AuthenticationError:
    with pytest.raises(AuthenticationError) as caught:
        await call
    assert not caught.value.outcome_unknown
    return caught.value
