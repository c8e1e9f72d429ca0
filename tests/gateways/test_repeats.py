"""Behind gateways that repeat by themselves what had no answer, with the signature and all.

The service lets each nonce in once, so it refuses the copy. That is no matter of credentials.
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

REPEATING = pytest.mark.parametrize("setup", [Setup.EAGER, Setup.STUBBORN])


@pytest.mark.parametrize(
    ("setup", "fault"),
    [
        (Setup.EAGER, Fault.reset_after()),
        (Setup.STUBBORN, Fault.reset_after()),
        (Setup.STUBBORN, Fault.stall_headers()),
        # The service's own, which Istio repeats when nobody says otherwise.
        (Setup.EAGER, Fault.server_error(503, processed=True)),
    ],
    ids=["eager, reset", "stubborn, reset", "stubborn, silent", "eager, 503"],
)
async def test_a_create_that_it_repeated_is_unknown_and_made_once(
    setup: Setup, fault: Fault, gateway: Gateway, emulator: Emulator
) -> None:
    before = len(emulator.computers.machines)
    emulator.faults.add("POST */machines", fault)
    async with behind(emulator, gateway.urls[setup], only=("computers",)) as cloud:
        with pytest.raises(ServerError, match="a proxy between repeated the request") as caught:
            await cloud.computers.machines.create(1, region="dublin")
        assert caught.value.outcome_unknown, "it is no AuthenticationError, for it was done"
        # The credentials are as good as before.
        assert await cloud.computers.machines.permission_fields()
    statuses = [call.status for call in creates(emulator)]
    assert len(statuses) > 1, "the gateway did not repeat it"
    assert set(statuses[1:]) == {401}
    assert len(emulator.computers.machines) == before + 1


@REPEATING
async def test_a_create_that_it_goes_on_repeating_is_unknown_and_made_once(
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


@REPEATING
async def test_a_read_that_it_repeated_is_signed_anew(
    setup: Setup, gateway: Gateway, emulator: Emulator
) -> None:
    emulator.faults.add("GET *", Fault.reset_after())
    async with behind(emulator, gateway.urls[setup], only=("computers",)) as cloud:
        assert await cloud.computers.machines.permission_fields()
    assert [call.status for call in reads(emulator)] == [None, 401, 200]


#: What the service may say of a second copy: its documents do not tell.
UNAUTHORIZED = Fault.reply(
    401, b'{"client_code":401,"message":"Unauthorized"}', content_type="application/json"
)


async def test_a_create_that_haproxy_repeated_late_is_not_taken_for_a_wrong_clock(
    started: Callable[[str], Gateway], emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HAProxy loses patience, and the second copy is refused with a later ``Date``."""
    # Below its patience of 2 s, so that the test need not wait for longer.
    monkeypatch.setattr(HMACAuth, "TOLERANCE", 0.9)
    before = len(emulator.computers.machines)
    emulator.faults.add("POST */machines", Fault.stall_headers())
    emulator.faults.add("POST */machines", UNAUTHORIZED, skip=1)
    url = started("haproxy").urls[Setup.STUBBORN]
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
        url = started("haproxy").urls[Setup.STUBBORN]
        async with behind(emulator, url, only=("computers",)) as cloud:
            assert len(await cloud.computers.machines.create(1, region="dublin")) == 1
    finally:
        emulator.clock.offset = 0.0
    assert [call.status for call in creates(emulator)] == [401, 200]


async def test_a_delete_that_it_repeated_is_signed_anew_and_finds_it_done(
    gateway: Gateway, emulator: Emulator
) -> None:
    url = gateway.urls[Setup.STUBBORN]
    async with behind(emulator, url, only=("streams",)) as cloud:
        user = await cloud.streams.users.create(f"{gateway.name}@example.com")
        emulator.faults.add("DELETE *", Fault.reset_after())
        with pytest.raises(NotFoundError) as caught:
            await user.delete()
    assert caught.value.outcome_unknown
    assert "may be what removed it" in "".join(caught.value.__notes__)
    assert [call.status for call in emulator.calls if call.method == "DELETE"] == [None, 401, 404]


async def test_nginx_repeats_reads_when_nobody_says_so_and_no_creates(
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


async def test_as_the_readme_advises_it_repeats_no_create(
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
    # Envoy repeats reads no more than creates.
    copies = [None, 200] if gateway.name == "envoy" else [None, 401, 200]
    assert [call.status for call in reads(emulator)] == copies


async def test_where_nothing_is_signed_it_buys_twice_and_nobody_can_know(
    gateway: Gateway, emulator: Emulator
) -> None:
    """What the README tells whoever sets a gateway up: it must not repeat a POST."""
    emulator.faults.add("POST */desktop", Fault.reset_after())
    url = gateway.urls[Setup.STUBBORN]
    async with behind(emulator, url, only=("desktops",)) as cloud:
        await cloud.desktops.launch(timedelta(hours=1))
    assert done(creates(emulator)) == 2
