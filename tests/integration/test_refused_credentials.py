"""Refused credentials are remembered, so that not every call sends them again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.refused_calls import ONCE, WRONG, Later, client, refused
from tests.seeded import ADMIN_PASSWORD, KEY, SECRET, SEED
from vcloud import (
    APIKeyAuth,
    Attempt,
    AuthenticationError,
    BearerAuth,
    Endpoint,
    HMACAuth,
    NotFoundError,
    Observer,
    PermissionDeniedError,
    RequestTimeout,
    ServerError,
    VCloud,
    VCloudError,
)
from vcloud.emulator import Clock, Emulator, Fault
from vcloud.emulator.credentials import ADMIN


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(
        machines=3, clock=Clock.stopped(), rate_limits=False, seed=SEED
    ) as emulator:
        yield emulator


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Later:
    return Later(monkeypatch)


@pytest.mark.parametrize("kind", WRONG)
async def test_the_next_call_fails_at_once_and_after_30_seconds_one_tries(
    kind: str, emulator: Emulator, later: Later
) -> None:
    api, auth, call = WRONG[kind]
    async with client(emulator, auth(), api) as cloud:
        first = await refused(call(cloud))
        assert not first.remembered
        assert len(emulator.calls) == 1
        for later.ahead in (0.0, 10.0, 29.0):
            error = await refused(call(cloud))
            assert error.remembered
            assert "nothing was sent" in str(error)
            assert (error.status, error.code) == (first.status, first.code)
        assert len(emulator.calls) == 1

        later.ahead = 31.0
        errors = await asyncio.gather(*[refused(call(cloud)) for _ in range(50)])
        assert len(emulator.calls) == 2, "one tries, the others wait for it"
        assert [error.remembered for error in errors].count(False) == 1
        later.ahead = 60.0
        assert (await refused(call(cloud))).remembered
        later.ahead = 62.0
        assert not (await refused(call(cloud))).remembered
        assert len(emulator.calls) == 3


async def test_when_the_trial_succeeds_the_waiting_calls_are_sent(
    emulator: Emulator, later: Later
) -> None:
    secrets = emulator.computers.signatures.secrets
    async with client(emulator, HMACAuth(KEY, SECRET), "computers", concurrency=10) as cloud:
        machine = cloud.computers.machines.ref("100")
        emulator.run(lambda: secrets.update({KEY: "sk_other"}))
        await refused(machine.refresh())
        emulator.run(lambda: secrets.update({KEY: SECRET}))
        assert (await refused(machine.refresh())).remembered
        later.ahead = 31.0
        await asyncio.gather(*[machine.refresh() for _ in range(50)])
        await machine.refresh()
    assert [call.status for call in emulator.calls] == [401] + [200] * 51


async def test_a_403_shows_that_the_credentials_are_accepted(
    emulator: Emulator, later: Later
) -> None:
    async with client(emulator, APIKeyAuth("wrong"), "desktops") as cloud:
        await refused(cloud.desktops.launch())
        later.ahead = 31.0
        body = b'{"status":"error","error":"Desktop instance not found","docs":""}'
        emulator.faults.add("*", Fault.reply(404, body, content_type="application/json"))
        with pytest.raises(NotFoundError):
            await cloud.desktops.launch()
        assert not (await refused(cloud.desktops.launch())).remembered, "forgotten by the 404"


async def test_when_a_trial_is_inconclusive_the_next_call_tries(
    emulator: Emulator, later: Later
) -> None:
    auth = HMACAuth(KEY, "sk_wrong")
    async with client(emulator, auth, "computers", retry=ONCE) as cloud:
        await refused(cloud.computers.machines.get("100"))
        later.ahead = 31.0
        emulator.faults.add("*", Fault.html(502))
        ended = await asyncio.gather(
            *[cloud.computers.machines.get("100") for _ in range(5)], return_exceptions=True
        )
    assert [type(error) for error in ended] == [ServerError] + [AuthenticationError] * 4
    assert [call.status for call in emulator.calls] == [401, 502, 401]


class Begun(Observer):
    """Says when something is sent."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def started(self, attempt: Attempt) -> None:
        self.event.set()


async def test_when_a_trial_is_cancelled_the_next_call_tries(
    emulator: Emulator, later: Later
) -> None:
    begun = Begun()
    auth = HMACAuth(KEY, "sk_wrong")
    async with client(emulator, auth, "computers", observers=[begun]) as cloud:
        await refused(cloud.computers.machines.get("100"))
        later.ahead = 31.0
        emulator.faults.add("*", Fault.stall_headers(None))
        begun.event.clear()
        tries = asyncio.create_task(cloud.computers.machines.get("100"))
        await begun.event.wait()
        waits = asyncio.create_task(cloud.computers.machines.get("100"))
        with pytest.raises(RequestTimeout, match="nothing was sent"):
            await cloud.computers.with_options(deadline=0.05).machines.get("100")
        tries.cancel()
        assert not (await refused(waits)).remembered


async def test_queued_calls_are_not_sent_after_a_refusal(emulator: Emulator) -> None:
    auth = HMACAuth(KEY, "sk_wrong")
    async with client(emulator, auth, "computers", concurrency=2) as cloud:
        errors = await asyncio.gather(
            *[refused(cloud.computers.machines.get("100")) for _ in range(100)]
        )
    assert len(emulator.calls) == 2
    assert [error.remembered for error in errors].count(True) == 98


# -- what is no refusal of credentials -------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault.html(401),
        Fault.reply(401, b'{"error":"who?"}', content_type="application/json"),
        Fault.html(403),
        Fault.server_error(500),
        Fault.reply(200, b'{"client_code":4710,"message":"Permission required"}'),
    ],
    ids=["page_401", "json_401", "page_403", "500", "code_4710"],
)
async def test_only_the_services_own_refusal_of_credentials_is_remembered(
    fault: Fault, emulator: Emulator
) -> None:
    known = emulator.endpoints()["computers"]
    async with client(emulator, known.auth, "computers", retry=ONCE) as cloud:
        emulator.faults.add("*", fault, times=1)
        with pytest.raises((AuthenticationError, PermissionDeniedError, ServerError)):
            await cloud.computers.machines.get("100")
        await cloud.computers.machines.get("100")


@pytest.mark.parametrize(
    "fault", [Fault.html(401), Fault.html(502), Fault.reset_before()], ids=["401", "502", "reset"]
)
async def test_a_login_that_a_gateway_refuses_or_that_is_lost_is_not_remembered(
    fault: Fault, emulator: Emulator
) -> None:
    auth = BearerAuth.login(ADMIN, ADMIN_PASSWORD)
    async with client(emulator, auth, "streamspace", retry=ONCE) as cloud:
        emulator.faults.add("POST */auth/login", fault)
        with pytest.raises(VCloudError):
            await cloud.streamspace.agents.stats()
        await cloud.streamspace.agents.stats()


async def test_an_expired_token_does_not_count_as_a_refused_password(emulator: Emulator) -> None:
    auth = BearerAuth.login(ADMIN, ADMIN_PASSWORD)
    async with client(emulator, auth, "streamspace") as cloud:
        await cloud.streamspace.agents.stats()
        for _ in range(3):
            emulator.streamspace.tokens.revoke_all()
            await cloud.streamspace.agents.stats()
        emulator.streamspace.tokens.life = -1.0
        emulator.streamspace.tokens.revoke_all()
        for _ in range(2):
            await refused(cloud.streamspace.agents.stats())
        emulator.streamspace.tokens.life = 86400.0
        await cloud.streamspace.agents.stats()


async def test_a_refused_websocket_leaves_other_calls_alone(emulator: Emulator) -> None:
    async with VCloud(streamspace=emulator.endpoints()["streamspace"]) as cloud:
        token = (await cloud.streamspace.login()).token
    session = emulator.streamspace.add_session()
    async with client(emulator, BearerAuth(token), "streamspace") as cloud:
        body = b'{"error":"UNAUTHORIZED","message":"no"}'
        emulator.faults.add(
            "GET *vnc*", Fault.reply(401, body, content_type="application/json"), times=None
        )
        with pytest.raises(VCloudError):
            async with cloud.streamspace.sessions.ref(session.id).open_vnc():
                pass
        await cloud.streamspace.agents.stats()


async def test_new_credentials_are_not_affected(emulator: Emulator) -> None:
    for kind in ("password", "token"):
        api, auth, call = WRONG[kind]
        async with client(emulator, auth(), api) as cloud:
            await refused(call(cloud))
            await cloud.streamspace.login(ADMIN, ADMIN_PASSWORD)
            await call(cloud)
        async with client(emulator, BearerAuth.login(ADMIN, ADMIN_PASSWORD), api) as cloud:
            await call(cloud)
    async with client(emulator, HMACAuth(KEY, "sk_wrong"), "computers") as wrong:
        await refused(wrong.computers.machines.get("100"))
        async with client(emulator, HMACAuth(KEY, SECRET), "computers") as right:
            await right.computers.machines.get("100")


async def test_a_refusal_of_one_service_does_not_affect_another(emulator: Emulator) -> None:
    auth = HMACAuth(KEY, SECRET)
    known = emulator.endpoints()
    ends: dict[str, Any] = {
        api: Endpoint(known[api].base_url, auth=auth) for api in ("computers", "streams")
    }
    async with VCloud(**ends) as cloud:
        body = b'{"client_code":401,"message":"unknown key"}'
        emulator.faults.add(
            "* *organization*", Fault.reply(401, body, content_type="application/json")
        )
        await refused(cloud.computers.machines.get("100"))
        assert (await refused(cloud.computers.machines.get("100"))).remembered
        await cloud.streams.applications.list().all()


async def test_a_login_by_hand_with_the_same_password_is_not_sent_either(
    emulator: Emulator, later: Later
) -> None:
    async with client(emulator, BearerAuth.login(ADMIN, "wrong"), "streamspace") as cloud:
        assert not (await refused(cloud.streamspace.login())).remembered
        assert (await refused(cloud.streamspace.login())).remembered
        assert (await refused(cloud.streamspace.agents.stats())).remembered
        assert len(emulator.calls) == 1
        later.ahead = 31.0
        assert not (await refused(cloud.streamspace.login())).remembered
        await refused(cloud.streamspace.login(ADMIN, "other"))
        assert len(emulator.calls) == 3


async def test_a_machine_is_stopped_although_the_credentials_were_refused_just_now() -> None:
    async with Emulator(speed=200) as emulator, VCloud(**emulator.endpoints()) as cloud:
        async with cloud.desktops.launch() as desktop:
            body = b'{"status":"error","error":"Invalid API key","docs":""}'
            emulator.faults.add("*", Fault.reply(401, body, content_type="application/json"))
            await refused(desktop.click(1, 1))
            assert (await refused(desktop.click(1, 1))).remembered
        assert (await cloud.desktops.get(desktop.id)).status == "terminated"


# -- a clock and a secret that are wrong at once ---------------------------------------------------


async def test_a_wrong_secret_is_remembered_although_the_clock_is_wrong_too(
    emulator: Emulator,
) -> None:
    emulator.clock.offset = 3600.0
    async with client(emulator, HMACAuth(KEY, "sk_wrong"), "computers") as cloud:
        errors = [await refused(cloud.computers.machines.get("100")) for _ in range(6)]
    assert [error.remembered for error in errors] == [False, False] + [True] * 4
    assert len(emulator.calls) == 3, "with both clocks, and once more with ours"


async def test_clock_skew_is_corrected_again_after_a_refusal(
    emulator: Emulator, later: Later
) -> None:
    emulator.clock.offset = 3600.0
    secrets = emulator.computers.signatures.secrets
    async with client(emulator, HMACAuth(KEY, SECRET), "computers") as cloud:
        await cloud.computers.machines.get("100")
        emulator.run(lambda: secrets.update({KEY: "sk_other"}))
        await refused(cloud.computers.machines.get("100"))
        emulator.run(lambda: secrets.update({KEY: SECRET}))
        later.ahead = 31.0
        await cloud.computers.machines.get("100")


# -- many at once ----------------------------------------------------------------------------------
