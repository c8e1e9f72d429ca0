"""Over TLS: which servers the client trusts, what it sends, and where it refuses to connect."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.leaks.nothing_held import assert_nothing_held, wait_for_tasks
from tests.secrets.tls import authority, before, client_context, server_context, write_authority
from tests.seeded import ADMIN_PASSWORD, KEY, SECRET, SEED
from vcloud import (
    BearerAuth,
    ConfigurationError,
    ConnectError,
    Endpoint,
    HMACAuth,
    RetryPolicy,
    TransportError,
    VCloud,
)
from vcloud._core.connections.options import TransportOptions
from vcloud.emulator import Emulator, Fault
from vcloud.emulator.credentials import ADMIN
from vcloud.providers.streamspace import StreamSpace

ONCE = RetryPolicy(attempts=1)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(machines=1, rate_limits=False, seed=SEED) as emulator:
        emulator.streamspace.add_session()
        yield emulator


def client(emulator: Emulator, url: str, **options: Any) -> VCloud:
    return VCloud(
        computers=Endpoint(
            url + emulator.computers.prefix, auth=HMACAuth(KEY, SECRET), retry=ONCE, **options
        ),
        streamspace=Endpoint(
            url + emulator.streamspace.prefix,
            auth=BearerAuth.login(ADMIN, ADMIN_PASSWORD),
            retry=ONCE,
            **options,
        ),
    )


async def works(cloud: VCloud, emulator: Emulator) -> None:
    """Requests, a login and a WebSocket."""
    assert (await cloud.computers.machines.get("100")).id == "100"
    async with cloud.streamspace.sessions.ref(
        next(iter(emulator.streamspace.sessions))
    ).open_vnc() as tunnel:
        assert (await tunnel.read()).startswith(b"RFB")
    assert_nothing_held(cloud)


async def test_an_untrusted_server_is_refused_and_the_error_says_what_to_do(
    emulator: Emulator,
) -> None:
    async with (
        before(emulator.url, server_context("127.0.0.1")) as url,
        client(emulator, url) as cloud,
    ):
        with pytest.raises(
            ConnectError, match=r"certificate verify failed.*Endpoint\(ssl="
        ) as caught:
            await cloud.computers.machines.create(1, region="dublin")
        assert not caught.value.outcome_unknown
        with pytest.raises(ConnectError, match="certificate verify failed"):
            await cloud.streamspace.sessions.ref("1").open_vnc().aopen()
        assert_nothing_held(cloud)
    assert not emulator.calls


async def test_the_users_own_authority_is_accepted(emulator: Emulator, tmp_path: Path) -> None:
    async with before(emulator.url, server_context("127.0.0.1")) as url:
        async with client(emulator, url, ssl=client_context()) as cloud:
            await works(cloud, emulator)
        from_file = ssl.create_default_context(cafile=write_authority(tmp_path / "ca.pem"))
        async with client(emulator, url, ssl=from_file) as cloud:
            await works(cloud, emulator)


async def test_a_certificate_for_another_host_is_refused(emulator: Emulator) -> None:
    async with before(emulator.url, server_context("somebody-else.example")) as url:
        async with client(emulator, url, ssl=client_context()) as cloud:
            with pytest.raises(ConnectError, match="certificate verify failed|mismatch"):
                await cloud.computers.machines.get("100")
            with pytest.raises(ConnectError, match="certificate verify failed|mismatch"):
                await cloud.streamspace.agents.stats()
    assert not emulator.calls


async def test_a_client_certificate_is_shown_where_it_is_asked_for(emulator: Emulator) -> None:
    async with before(emulator.url, server_context("127.0.0.1", client_ca=authority())) as url:
        async with client(emulator, url, ssl=client_context(certificate="client.example")) as cloud:
            await works(cloud, emulator)
        for context in (client_context(), _with_certificate_of(trustme.CA())):
            async with client(emulator, url, ssl=context) as cloud:
                with pytest.raises(TransportError):
                    await cloud.computers.machines.get("100")
    assert {call.method for call in emulator.calls} == {"GET", "POST"}


def _with_certificate_of(stranger: trustme.CA) -> ssl.SSLContext:
    context = client_context()
    stranger.issue_cert("client.example").configure_cert(context)
    return context


async def test_verify_false_accepts_any_certificate_and_nothing_else_does(
    emulator: Emulator,
) -> None:
    async with before(emulator.url, server_context("somebody-else.example")) as url:
        async with client(emulator, url, verify=False) as cloud:
            await works(cloud, emulator)
        async with client(emulator, url) as cloud:
            with pytest.raises(ConnectError):
                await cloud.computers.machines.get("100")


async def test_a_tls_connection_that_stalls_in_its_handshake_ends_by_the_clock() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with VCloud(
            computers=Endpoint(url, auth=HMACAuth("ak", "sk"), retry=ONCE, timeout=0.1)
        ) as cloud:
            with pytest.raises(TransportError, match=r"0\.1 s"):
                await cloud.computers.machines.get("100")
            assert_nothing_held(cloud)
        current = asyncio.current_task()
        assert current is not None
        await wait_for_tasks({current})


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/v1",
        "http://192.168.0.1/v1",
        "http://0.0.0.0/v1",
        "http://127.0.0.1.example.com/v1",
        "http://localhost.example.com/v1",
        "HTTP://EXAMPLE.COM/v1",
        "http://[2001:db8::1]/v1",
    ],
)
def test_plain_http_to_another_machine_is_refused_unless_asked_for(url: str) -> None:
    with pytest.raises(ConfigurationError, match="allow_http|https"):
        Endpoint(url, auth=HMACAuth("ak", "sk"))
    if url.startswith("http:"):
        Endpoint(url, auth=HMACAuth("ak", "sk"), allow_http=True)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/v1", "http://127.8.9.1/v1", "http://[::1]:1/v1", "http://localhost/v1"],
)
def test_plain_http_to_this_machine_is_not_refused_but_by_way_of_another_it_is(url: str) -> None:
    auth = HMACAuth("ak", "sk")
    Endpoint(url, auth=auth)
    Endpoint(url, auth=auth, proxy="http://127.0.0.1:3128")
    with pytest.raises(ConfigurationError, match="proxy on another machine"):
        Endpoint(url, auth=auth, proxy="http://proxy.example.com:3128")
    Endpoint(url, auth=auth, proxy="http://proxy.example.com:3128", allow_http=True)
    for allowed in (False, True):
        with pytest.raises(ConfigurationError, match="proxy must be a URL"):
            Endpoint(url, auth=auth, proxy="http://[nonsense", allow_http=allowed)
    Endpoint("https://example.com/v1", auth=auth, proxy="http://proxy.example.com:3128")


@pytest.mark.parametrize(
    ("base_url", "used"),
    [
        ("http://127.0.0.1/v1", False),
        ("http://localhost/v1", False),
        ("https://example.com/v1", True),
    ],
)
def test_the_environments_proxy_is_not_used_for_this_machine(
    base_url: str, *, used: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://proxy.example.com:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    wire = TransportOptions.of(
        base_url=base_url,
        timeout=1.0,
        connect_timeout=1.0,
        ssl=True,
        proxy="environment",
        max_response=1,
        max_message=1,
    )
    assert ("proxy" in wire.extra) is used


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("elsewhere", [True, False])
async def test_no_redirect_is_followed_with_a_credential_or_without(
    status: int, *, elsewhere: bool, emulator: Emulator
) -> None:
    cloud = VCloud(**emulator.endpoints())
    async with cloud:
        await cloud.streamspace.agents.stats()
        emulator.faults.add(
            "*", Fault.redirect(None if elsewhere else "/somewhere", status), times=None
        )
        before_it = len(emulator.calls)
        calls = [
            cloud.computers.machines.get("100"),
            cloud.computers.machines.create(1, region="dublin"),
            cloud.streams.machines.list().first(),
            cloud.streamspace.agents.stats(),
            cloud.streamspace.login(),
            cloud.streamspace.sessions.ref("1").open_vnc().aopen(),
            cloud.desktops.ref("1").refresh(),
        ]
        for one in await asyncio.gather(*calls, return_exceptions=True):
            assert f"{status}" in str(one)
            assert "redirects are not followed" in str(one)
        assert len(emulator.calls) == before_it + len(calls)
        assert not [call for call in emulator.calls if call.path == "/somewhere"]
        assert not emulator.elsewhere.arrivals


async def test_the_picture_of_a_session_on_another_host_gets_no_token(emulator: Emulator) -> None:
    named = "wss://elsewhere.example.com/vnc-viewer/1"
    emulator.faults.add(
        "GET */sessions/*",
        Fault.edit(lambda answer: {**answer, "status": {**answer["status"], "vnc_url": named}}),
    )
    async with StreamSpace(emulator.endpoints()["streamspace"]) as streamspace:
        session = await streamspace.sessions.ref(
            next(iter(emulator.streamspace.sessions))
        ).refresh()
        assert session.vnc_url == named
        with pytest.raises(ConfigurationError, match="the token is only sent to"):
            await session.connect_url()
        with pytest.raises(ConfigurationError, match="the token is only sent to"):
            session.open_vnc()
