"""How to make the emulator answer with each of StreamSpace's codes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from vcloud import (
    BearerAuth,
    Endpoint,
    Request,
    RetryPolicy,
)
from vcloud.emulator import Emulator
from vcloud.emulator.streamspace.catalog import USER
from vcloud.providers.streamspace import (
    Resources,
    SessionState,
    StreamSpace,
    StreamSpaceCode,
)

KUBERNETES, DOCKER = "k8s-prod-us-east-1", "docker-host-01"
NO_RETRY = RetryPolicy(attempts=1)


Refusal = Callable[[Emulator, StreamSpace, StreamSpace], Awaitable[object]]


async def _no_agents(emulator: Emulator, john: StreamSpace, admin: StreamSpace) -> None:
    await admin.agents.ref(KUBERNETES).drain()
    await john.sessions.create(USER, "firefox-browser", platform="kubernetes")


async def _full(emulator: Emulator, john: StreamSpace, admin: StreamSpace) -> None:
    emulator.streamspace.agents[KUBERNETES].max_sessions = 13
    await john.sessions.create(USER, "firefox-browser", platform="kubernetes")
    await john.sessions.create(USER, "firefox-browser", platform="kubernetes")


async def _asleep_on(status: str, emulator: Emulator, john: StreamSpace) -> None:
    ref = john.sessions.ref(emulator.streamspace.add_session(state="hibernated").id)
    emulator.streamspace.agents[KUBERNETES].status = status
    await ref.wake()


async def _same_name(emulator: Emulator, john: StreamSpace, admin: StreamSpace) -> None:
    emulator.streamspace.suffixes.extend(["abc123", "abc123"])
    assert (
        await john.sessions.create(USER, "firefox-browser")
    ).name == "john-doe-firefox-browser-abc123"
    await john.sessions.create(USER, "firefox-browser")


async def _broken_template(what: str, emulator: Emulator, john: StreamSpace) -> None:
    setattr(emulator.streamspace.templates["firefox-browser"], what, False)
    await john.sessions.create(USER, "firefox-browser")


async def _token(change: Callable[[Emulator], None], emulator: Emulator, john: StreamSpace) -> None:
    token = (await john.login()).token
    change(emulator)
    base_url = emulator.endpoints()["streamspace"].base_url
    async with StreamSpace(Endpoint(base_url, auth=BearerAuth(token))) as static:
        await static.agents.stats()


async def _no_header(emulator: Emulator, john: StreamSpace, admin: StreamSpace) -> None:
    class Silent(BearerAuth):
        def headers(self, *args: object, **named: object) -> dict[str, str]:
            return {}

    async with StreamSpace(
        Endpoint(emulator.endpoints()["streamspace"].base_url, auth=Silent("x"))
    ) as client:
        await client.agents.stats()


async def _too_many(emulator: Emulator, john: StreamSpace, admin: StreamSpace) -> None:
    emulator.streamspace.limits.enabled = True
    for _ in range(5):
        async with StreamSpace(emulator.endpoints()["streamspace"]) as client:
            await client.login()
    async with StreamSpace(emulator.endpoints()["streamspace"]) as client:
        await client.with_options(retry=NO_RETRY).login()


async def _wrong_password(emulator: Emulator, john: StreamSpace, admin: StreamSpace) -> None:
    await john.login(USER, "wrong")


C = StreamSpaceCode
REFUSALS: dict[StreamSpaceCode, Refusal] = {
    C.AUTH_INVALID_CREDENTIALS: _wrong_password,
    C.AUTH_TOKEN_EXPIRED: lambda e, john, admin: _token(lambda e: e.clock.advance(86400), e, john),
    C.AUTH_TOKEN_INVALID: lambda e, john, admin: _token(
        lambda e: e.streamspace.tokens.revoke_all(), e, john
    ),
    C.AUTH_TOKEN_MISSING: _no_header,
    C.AUTH_INSUFFICIENT_PERMISSIONS: lambda e, john, admin: john.agents.ref(KUBERNETES).drain(),
    C.AGENT_NOT_FOUND: lambda e, john, admin: john.agents.get("invalid-agent-id"),
    C.AGENT_OFFLINE: lambda e, john, admin: _asleep_on("offline", e, john),
    C.AGENT_DRAINING: lambda e, john, admin: _asleep_on("draining", e, john),
    C.NO_AGENTS_AVAILABLE: _no_agents,
    C.AGENT_CAPACITY_EXCEEDED: _full,
    C.SESSION_NOT_FOUND: lambda e, john, admin: john.sessions.get(
        "770e8400-e29b-41d4-a716-446655440002"
    ),
    C.SESSION_ALREADY_EXISTS: _same_name,
    C.INVALID_STATE_TRANSITION: lambda e, john, admin: john.sessions.ref(
        e.streamspace.add_session(state="pending").id
    ).wake(),
    C.SESSION_PROVISIONING_FAILED: lambda e, john, admin: _broken_template("provisions", e, john),
    C.SESSION_TERMINATING: lambda e, john, admin: john.sessions.ref(
        e.streamspace.add_session(state="terminating").id
    ).wake(),
    C.TEMPLATE_NOT_FOUND: lambda e, john, admin: john.sessions.create(USER, "invalid-template"),
    C.TEMPLATE_INVALID: lambda e, john, admin: _broken_template("valid", e, john),
    C.VALIDATION_FAILED: lambda e, john, admin: admin.sessions.create("nobody", "firefox-browser"),
    C.INVALID_PARAMETER: lambda e, john, admin: john.sessions.list(
        state=SessionState("melting")
    ).all(),
    # No method sends an incomplete body.
    C.MISSING_REQUIRED_FIELD: lambda e, john, admin: admin._session.send(  # noqa: SLF001
        Request("PATCH", f"/agents/{KUBERNETES}", body=b"{}")
    ),
    C.RATE_LIMIT_EXCEEDED: _too_many,
    C.INSUFFICIENT_RESOURCES: lambda e, john, admin: john.sessions.create(
        USER, "firefox-browser", platform="kubernetes", resources=Resources(memory="300Gi")
    ),
}
