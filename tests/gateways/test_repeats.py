"""Gateways that retry requests without an answer, with the same signature.

The service accepts each nonce once, so it refuses the retry. The credentials are still good.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.gateways.clients import behind, creates, done, reads
from tests.gateways.programs import Gateway
from tests.gateways.setups import Setup
from vcloud import AuthenticationError, HMACAuth, NotFoundError, ServerError
from vcloud.emulator import Emulator, Fault

RETRYING = pytest.mark.parametrize("setup", [Setup.RETRIES_ALL, Setup.RETRIES_UNANSWERED])


@pytest.mark.parametrize(
    ("setup", "fault"),
    [
        (Setup.RETRIES_ALL, Fault.reset_after()),
        (Setup.RETRIES_UNANSWERED, Fault.reset_after()),
        (Setup.RETRIES_UNANSWERED, Fault.stall_headers()),
        # A 503 of the service's own, which Istio retries by default.
        (Setup.RETRIES_ALL, Fault.server_error(503, processed=True)),
    ],
    ids=["all, reset", "unanswered, reset", "unanswered, silent", "all, 503"],
)
async def test_a_create_that_the_gateway_retried_is_unknown_and_made_once(
    setup: Setup, fault: Fault, gateway: Gateway, emulator: Emulator
) -> None:
    before = len(emulator.computers.machines)
    emulator.faults.add("POST */machines", fault)
    async with behind(emulator, gateway.urls[setup], only=("computers",)) as cloud:
        with pytest.raises(ServerError, match="a proxy between repeated the request") as caught:
            await cloud.computers.machines.create(1, region="dublin")
        assert caught.value.outcome_unknown, "it was carried out, so this is no AuthenticationError"
        # The credentials are still used.
        assert await cloud.computers.machines.permission_fields()
    statuses = [call.status for call in creates(emulator)]
    assert len(statuses) > 1, "the gateway did not retry it"
    assert set(statuses[1:]) == {401}
    assert len(emulator.computers.machines) == before + 1


@RETRYING
async def test_a_create_that_the_gateway_retries_again_and_again_is_unknown_and_made_once(
    setup: Setup, gateway: Gateway, emulator: Emulator
) -> None:
    before = len(emulator.streams.machines)
    stream = emulator.run(
        lambda: emulator.streams.add_stream(
            next(iter(emulator.streams.applications)), capacities={"dublin": 9}
        )
    )
    emulator.faults.add("POST *", Fault.reset_after(), times=None)
    async with behind(emulator, gateway.urls[setup], only=("streams",)) as cloud:
        with pytest.raises(ServerError) as caught:
            await cloud.streams.streams.ref(str(stream.id)).start_machine("dublin")
    assert caught.value.outcome_unknown
    assert len(emulator.streams.machines) == before + 1


@RETRYING
async def test_a_read_that_the_gateway_retried_is_signed_anew(
    setup: Setup, gateway: Gateway, emulator: Emulator
) -> None:
    emulator.faults.add("GET *", Fault.reset_after())
    async with behind(emulator, gateway.urls[setup], only=("computers",)) as cloud:
        assert await cloud.computers.machines.permission_fields()
    assert [call.status for call in reads(emulator)] == [None, 401, 200]


#: What the service may answer to a copy, of which its documents say nothing.
UNAUTHORIZED = Fault.reply(
    401, b'{"client_code":401,"message":"Unauthorized"}', content_type="application/json"
)


async def test_a_create_that_haproxy_retried_late_is_not_taken_for_clock_skew(
    started: Callable[[str], Gateway], emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HAProxy times out, and the service refuses its retry with a later ``Date``."""
    # Below HAProxy's timeout of 2 s, so that the test need not wait for longer.
    monkeypatch.setattr(HMACAuth, "TOLERANCE", 0.9)
    before = len(emulator.computers.machines)
    emulator.faults.add("POST */machines", Fault.stall_headers())
    emulator.faults.add("POST */machines", UNAUTHORIZED, skip=1)
    url = started("haproxy").urls[Setup.RETRIES_UNANSWERED]
    async with behind(emulator, url, only=("computers",)) as cloud:
        with pytest.raises(AuthenticationError) as caught:
            await cloud.computers.machines.create(1, region="dublin")
        assert caught.value.outcome_unknown
        assert await cloud.computers.machines.permission_fields()
    assert [call.status for call in creates(emulator)] == [None, 401]
    assert len(emulator.computers.machines) == before + 1


async def test_a_create_of_a_wrong_clock_is_signed_again_behind_haproxy(
    started: Callable[[str], Gateway], emulator: Emulator
) -> None:
    emulator.clock.offset = 3600.0
    try:
        url = started("haproxy").urls[Setup.RETRIES_UNANSWERED]
        async with behind(emulator, url, only=("computers",)) as cloud:
            assert len(await cloud.computers.machines.create(1, region="dublin")) == 1
    finally:
        emulator.clock.offset = 0.0
    assert [call.status for call in creates(emulator)] == [401, 200]


async def test_a_delete_that_the_gateway_retried_is_signed_anew_and_finds_nothing(
    gateway: Gateway, emulator: Emulator
) -> None:
    url = gateway.urls[Setup.RETRIES_UNANSWERED]
    async with behind(emulator, url, only=("streams",)) as cloud:
        user = await cloud.streams.users.create(f"{gateway.name}@example.com")
        emulator.faults.add("DELETE *", Fault.reset_after())
        with pytest.raises(NotFoundError) as caught:
            await user.delete()
    assert caught.value.outcome_unknown
    assert "may be what removed it" in "".join(caught.value.__notes__)
    assert [call.status for call in emulator.calls if call.method == "DELETE"] == [None, 401, 404]


async def test_nginx_retries_reads_by_default_and_no_creates(
    started: Callable[[str], Gateway], emulator: Emulator
) -> None:
    url = started("nginx").urls[Setup.PLAIN]
    emulator.faults.add("GET *", Fault.reset_after())
    emulator.faults.add("POST *", Fault.reset_after())
    async with behind(emulator, url, only=("computers",)) as cloud:
        assert await cloud.computers.machines.permission_fields()
        assert [call.status for call in reads(emulator)] == [None, 401, 200]
        with pytest.raises(ServerError) as caught:
            await cloud.computers.machines.create(1, region="dublin")
    assert (caught.value.status, caught.value.outcome_unknown) == (502, True)
    assert done(creates(emulator)) == len(creates(emulator)) == 1


async def test_a_gateway_that_is_set_up_as_the_readme_advises_retries_no_create(
    gateway: Gateway, emulator: Emulator
) -> None:
    emulator.faults.add("POST */desktop", Fault.reset_after())
    emulator.faults.add("GET *", Fault.reset_after())
    url = gateway.urls[Setup.ADVISED]
    async with behind(emulator, url, only=("desktops", "computers")) as cloud:
        with pytest.raises(ServerError) as caught:
            await cloud.desktops.launch(timedelta(hours=1))
        assert await cloud.computers.machines.permission_fields()
    assert caught.value.outcome_unknown
    assert done(creates(emulator)) == len(creates(emulator)) == 1
    # Envoy retries neither reads nor creates.
    copies = [None, 200] if gateway.name == "envoy" else [None, 401, 200]
    assert [call.status for call in reads(emulator)] == copies


async def test_without_signatures_a_retry_of_the_gateway_creates_twice_and_that_cannot_be_known(
    gateway: Gateway, emulator: Emulator
) -> None:
    """The reason why the README says that a gateway must not retry a POST."""
    emulator.faults.add("POST */desktop", Fault.reset_after())
    url = gateway.urls[Setup.RETRIES_UNANSWERED]
    async with behind(emulator, url, only=("desktops",)) as cloud:
        await cloud.desktops.launch(timedelta(hours=1))
    assert done(creates(emulator)) == 2
