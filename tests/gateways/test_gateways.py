"""Clients behind nginx, HAProxy and Envoy: what the gateways pass on, and what they answer."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from tests.gateways.clients import behind, creates, done, reads
from tests.gateways.programs import Gateway, configured
from tests.gateways.setups import IDLE, PREFIX, RATE, Setup
from vcloud import (
    APIError,
    DecodeError,
    NotFoundError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    TransportError,
    VCloud,
    VCloudError,
)
from vcloud.emulator import Emulator, Fault

#: The texts of each gateway's own answers: nginx and HAProxy have HTML, Envoy plain text.
WORDS: Final = {
    "nginx": {
        502: "<title>502 Bad Gateway</title>",
        503: "<title>503 Service Temporarily Unavailable</title>",
        504: "<title>504 Gateway Time-out</title>",
        429: "<title>429 Too Many Requests</title>",
    },
    "haproxy": {
        502: "<h1>502 Bad Gateway</h1>",
        503: "<h1>503 Service Unavailable</h1>",
        504: "<h1>504 Gateway Time-out</h1>",
        429: "<h1>429 Too Many Requests</h1>",
    },
    "envoy": {
        503: "upstream connect error or disconnect/reset before headers",
        504: "upstream request timeout",
        429: "local_rate_limited",
    },
}
#: Their statuses when the connection to the service ends before an answer, and when it cannot be
#: made.
BROKEN: Final = {"nginx": 502, "haproxy": 502, "envoy": 503}
AWAY: Final = {"nginx": 502, "haproxy": 503, "envoy": 503}


def said_by(error: VCloudError, gateway: Gateway, status: int) -> bool:
    """Whether the error is about the gateway's own answer."""
    return isinstance(error, ServerError | RateLimitError) and (
        error.status == status and WORDS[gateway.name][status] in " ".join(str(error).split())
    )


async def create(cloud: VCloud) -> object:
    return await cloud.computers.machines.create(1, region="dublin")


@pytest.mark.parametrize("setup", [setup for setup in Setup if setup is not Setup.LIMITED])
async def test_all_four_providers_work_behind_each_gateway(
    setup: Setup, gateway: Gateway, emulator: Emulator
) -> None:
    id = emulator.run(lambda: emulator.streamspace.add_session().id)
    async with behind(emulator, gateway.urls[setup]) as cloud:
        (machine,) = await cloud.computers.machines.create(1, region="dublin")
        assert (await machine.refresh()).id == machine.id
        assert [one.id async for one in cloud.streams.applications.list()]
        desktop = await cloud.desktops.launch(timedelta(hours=1))
        await desktop.stop()
        async with cloud.streamspace.sessions.ref(id).open_vnc() as tunnel:
            assert (await tunnel.read()).startswith(b"RFB")
    assert done(creates(emulator)) == 2


async def test_a_prefix_that_the_gateway_strips_is_part_of_the_base_url(
    gateway: Gateway, emulator: Emulator
) -> None:
    await works_below(gateway.urls[Setup.PLAIN] + PREFIX, emulator)
    assert all(not call.path.startswith(PREFIX) for call in emulator.calls)


async def works_below(url: str, emulator: Emulator) -> None:
    """Use all providers, and a WebSocket, behind a gateway that strips the path of this address."""
    id = emulator.run(lambda: emulator.streamspace.add_session().id)
    async with behind(emulator, url) as cloud:
        (machine,) = await cloud.computers.machines.create(1, region="dublin")
        assert (await machine.refresh()).id == machine.id
        assert await cloud.streams.applications.list().all()
        desktop = await cloud.desktops.launch(timedelta(hours=1))
        assert (await cloud.desktops.get(desktop.id)).id == desktop.id
        # Its URL has the token, which must not go to other paths of the host.
        async with cloud.streamspace.sessions.ref(id).open_vnc() as tunnel:
            assert (await tunnel.read()).startswith(b"RFB")


@pytest.mark.parametrize("setup", [Setup.PLAIN, Setup.UNBUFFERED])
async def test_large_and_slow_answers_pass(
    setup: Setup, gateway: Gateway, emulator: Emulator
) -> None:
    emulator.faults.add("GET */applications", Fault.huge_body(20_000_000))
    emulator.faults.add("GET */permission-fields", Fault.drip(0.001, 64))
    async with behind(emulator, gateway.urls[setup]) as cloud:
        assert [one.id async for one in cloud.streams.applications.list()]
        assert await cloud.computers.machines.permission_fields()


# -- lost answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("setup", [Setup.PLAIN, Setup.UNBUFFERED])
async def test_a_create_whose_answer_is_lost_is_unknown_and_made_once(
    setup: Setup, gateway: Gateway, emulator: Emulator
) -> None:
    emulator.faults.add("POST */machines", Fault.reset_after(), times=None)
    async with behind(emulator, gateway.urls[setup]) as cloud:
        with pytest.raises(ServerError) as caught:
            await create(cloud)
    assert said_by(caught.value, gateway, BROKEN[gateway.name])
    assert caught.value.outcome_unknown
    assert done(creates(emulator)) == len(creates(emulator)) == 1


@pytest.mark.parametrize("setup", [Setup.PLAIN, Setup.UNBUFFERED])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_create_whose_answer_is_cut_off_is_unknown_and_made_once(
    setup: Setup, chunked: bool, gateway: Gateway, emulator: Emulator
) -> None:
    emulator.faults.add("POST */machines", Fault.truncate(9, chunked=chunked), times=None)
    async with behind(emulator, gateway.urls[setup]) as cloud:
        with pytest.raises((TransportError, ServerError, DecodeError)) as caught:
            await create(cloud)
    assert caught.value.outcome_unknown
    assert done(creates(emulator)) == len(creates(emulator)) == 1


async def test_a_create_that_timed_out_at_the_gateway_is_unknown_and_made_once(
    gateway: Gateway, emulator: Emulator
) -> None:
    emulator.faults.add("POST */machines", Fault.stall_headers(), times=None)
    async with behind(emulator, gateway.urls[Setup.SHORT_TIMEOUTS]) as cloud:
        with pytest.raises(ServerError) as caught:
            await create(cloud)
    assert said_by(caught.value, gateway, 504)
    assert caught.value.outcome_unknown
    assert len(creates(emulator)) == 1


async def test_a_read_whose_answer_is_lost_is_retried(gateway: Gateway, emulator: Emulator) -> None:
    emulator.faults.add("GET */permission-fields", Fault.reset_after())
    emulator.faults.add("GET */permission-fields", Fault.truncate(9))
    async with behind(emulator, gateway.urls[Setup.UNBUFFERED]) as cloud:
        assert await cloud.computers.machines.permission_fields()
    assert len(reads(emulator)) >= 3


async def test_a_create_is_unknown_where_only_the_gateway_says_that_the_service_is_down(
    gateway: Gateway, emulator: Emulator
) -> None:
    async with (
        behind(emulator, gateway.urls[Setup.SHORT_TIMEOUTS]) as cloud,
        emulator.refusing(),
    ):
        with pytest.raises(ServerError) as caught:
            await create(cloud)
        assert said_by(caught.value, gateway, AWAY[gateway.name])
        assert caught.value.outcome_unknown
        with pytest.raises(ServerError) as read:
            await cloud.computers.machines.permission_fields()
        assert not read.value.outcome_unknown
    assert not creates(emulator)


# -- refusals of the gateway -----------------------------------------------------------------------


async def test_a_429_of_the_gateway_is_waited_for_and_no_create_is_lost_or_doubled(
    gateway: Gateway, emulator: Emulator
) -> None:
    url = gateway.urls[Setup.LIMITED]
    # Enough concurrent calls that some are refused on a slow machine, too.
    at_once, calls = 8 * RATE, 2 * RATE
    async with behind(emulator, url, only=("computers",), retry=RetryPolicy(attempts=1)) as cloud:
        ends = await asyncio.gather(
            *(create(cloud) for _ in range(at_once)), return_exceptions=True
        )
    refused = [end for end in ends if isinstance(end, VCloudError)]
    assert refused
    assert all(said_by(error, gateway, 429) for error in refused)
    assert not any(error.outcome_unknown for error in refused)
    made = done(creates(emulator))
    assert made == at_once - len(refused)

    many = RetryPolicy(attempts=30, base=0.2, cap=0.5)
    async with behind(emulator, url, only=("computers",), retry=many) as cloud:
        await asyncio.gather(*(create(cloud) for _ in range(calls)))
    assert done(creates(emulator)) == made + calls


async def test_after_a_503_of_the_gateway_a_create_is_unknown_and_a_read_is_retried(
    gateway: Gateway, emulator: Emulator
) -> None:
    emulator.faults.add("GET */applications", Fault.stall_headers(IDLE))
    async with behind(emulator, gateway.urls[Setup.FULL]) as cloud:
        # This request takes the only connection to the service.
        taking = asyncio.ensure_future(cloud.streams.applications.list().all())
        while not emulator.calls:  # noqa: ASYNC110 - the emulator is in another thread
            await asyncio.sleep(0.01)
        with pytest.raises(ServerError) as caught:
            await create(cloud)
        retrying = cloud.computers.with_options(retry=RetryPolicy(attempts=100, base=0.1, cap=0.1))
        assert await retrying.machines.permission_fields()
        await taking
    assert said_by(caught.value, gateway, 503)
    assert caught.value.outcome_unknown, "only the service can say that nothing was done"
    assert not creates(emulator)


# -- closed connections ----------------------------------------------------------------------------


async def test_no_create_is_lost_in_a_connection_that_the_gateway_closed_while_idle(
    gateway: Gateway, emulator: Emulator
) -> None:
    async with behind(emulator, gateway.urls[Setup.SHORT_TIMEOUTS]) as cloud:
        await asyncio.gather(*(cloud.computers.machines.permission_fields() for _ in range(3)))
        await asyncio.sleep(IDLE + 0.5)
        await asyncio.gather(*(create(cloud) for _ in range(3)))
    assert done(creates(emulator)) == len(creates(emulator)) == 3


# -- the README's configurations -------------------------------------------------------------------

#: The rest of a configuration, around a block of the README.
AROUND: Final = {
    "nginx": """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{block}
}}
""",
    "haproxy": """
defaults
    mode http
    timeout connect 5000
    timeout client 50000
    timeout server 50000
{block}
""",
}


@pytest.mark.parametrize("name", AROUND)
async def test_the_readme_shows_how_a_prefix_is_stripped_and_a_path_kept(
    name: str, emulator: Emulator
) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^```{name}\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert found is not None
    block = found[1].replace(":8080", emulator.url.removeprefix("http://127.0.0.1"))

    def configuration(directory: Path, port: int) -> str:
        return AROUND[name].format(directory=directory, block=block.replace(":8000", f":{port}"))

    with configured(name, configuration) as port:
        url = f"http://127.0.0.1:{port}/desktops"
        await works_below(url, emulator)
        async with behind(emulator, url, only=("computers",)) as cloud:
            # A wrong signature would be refused with another error.
            with pytest.raises(NotFoundError):
                await cloud.computers.machines.get("a/b//c")
        with pytest.raises(APIError, match="404|not found"):
            async with behind(emulator, f"http://127.0.0.1:{port}", only=("desktops",)) as cloud:
                await cloud.desktops.launch()
    # The call of a tunnel is recorded when it ends, which may be later.
    asked = [call.path for call in emulator.calls if "/machines/" in call.path]
    assert asked[-1].endswith("/machines/a%2Fb%2F%2Fc")
