"""``localhost`` is this machine, also where the system's resolver says something else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.unit.streamspace_samples import ID
from vcloud import (
    APIKeyAuth,
    BearerAuth,
    ConfigurationError,
    ConnectError,
    Endpoint,
    StreamSpace,
    VCloud,
)
from vcloud.emulator import Emulator

#: An address that no machine has (RFC 5737).
ELSEWHERE = "192.0.2.1"
NAMES = ["localhost", "LOCALHOST", "localhost.", "desk.localhost", "a.b.LocalHost."]
DESKTOP = {"id": "d", "status": "running", "stream_url": None}


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    if request.headers.get("Upgrade"):
        opened = web.WebSocketResponse()
        await opened.prepare(request)
        await opened.send_str("a line")
        await opened.close()
        return opened
    return web.json_response(DESKTOP)


async def listening(runner: web.Server, addresses: tuple[str, ...]) -> list[asyncio.Server]:
    """Servers on one free port of all these addresses."""
    loop = asyncio.get_running_loop()
    while True:
        servers = [await loop.create_server(runner, addresses[0], 0)]
        port: int = servers[0].sockets[0].getsockname()[1]
        try:
            for address in addresses[1:]:
                servers.append(await loop.create_server(runner, address, port))
        except OSError:
            # Somebody has this port at another of these addresses.
            for server in servers:
                server.close()
        else:
            return servers


@asynccontextmanager
async def serving(*addresses: str) -> AsyncIterator[int]:
    """A server on one port of these addresses."""
    runner = web.Server(answer)
    servers = await listening(runner, addresses)
    try:
        yield servers[0].sockets[0].getsockname()[1]
    finally:
        for server in servers:
            server.close()
        await runner.shutdown()


class WrongResolver:
    """Replaces the system's resolver: each name is a machine elsewhere."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self._ask = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self.getaddrinfo)

    def getaddrinfo(self, host: Any, port: Any, *others: Any, **options: Any) -> Any:
        try:
            socket.inet_aton(host)
        except OSError:
            self.asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ELSEWHERE, port))]
        return self._ask(host, port, *others, **options)


def desktops(host: str, port: int, **options: Any) -> Endpoint:
    return Endpoint(f"http://{host}:{port}", auth=APIKeyAuth("key"), connect_timeout=5, **options)


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("::1",), ("::1", "127.0.0.1")])
@pytest.mark.parametrize("name", NAMES)
async def test_localhost_is_loopback_without_asking_the_resolver(
    name: str, addresses: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(*addresses) as port:
        resolver = WrongResolver(monkeypatch)
        async with VCloud(desktops=desktops(name, port)) as cloud:
            assert (await cloud.desktops.get("d")).id == "d"
        assert resolver.asked == []


@pytest.mark.parametrize("name", NAMES)
async def test_websockets_to_localhost_go_to_loopback(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving("127.0.0.1") as port:
        resolver = WrongResolver(monkeypatch)
        endpoint = Endpoint(f"http://{name}:{port}/api/v1", auth=BearerAuth("token"))
        async with StreamSpace(endpoint, dialect="documented") as streamspace:
            async with streamspace.sessions.ref(ID).logs(follow=True) as lines:
                assert await anext(aiter(lines)) == "a line"
        assert resolver.asked == []


async def test_other_names_are_resolved_by_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = WrongResolver(monkeypatch)
    monkeypatch.setattr("tests.integration.test_localhost.ELSEWHERE", "127.0.0.1")
    async with serving("127.0.0.1") as port:
        for name in ("localhost.example", "notlocalhost", "streamspace.test"):
            async with VCloud(desktops=desktops(name, port, allow_http=True)) as cloud:
                assert (await cloud.desktops.get("d")).id == "d"
            assert resolver.asked.pop() == name


async def test_without_a_listener_on_loopback_nothing_is_sent() -> None:
    async with serving("127.0.0.1") as port:
        pass
    async with VCloud(desktops=desktops("localhost", port)) as cloud:
        with pytest.raises(ConnectError):
            await cloud.desktops.ref("d").stop()


async def test_an_emulator_at_localhost_listens_on_loopback_without_asking_the_resolver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver = WrongResolver(monkeypatch)
    async with Emulator(host="localhost") as emulator:
        assert emulator.url.startswith("http://localhost:")
        async with VCloud(**emulator.endpoints()) as cloud:
            assert await cloud.streamspace.templates.list().all()
    assert resolver.asked == []


# With an aiohttp session of the user's.


@pytest.mark.parametrize("name", NAMES)
async def test_with_a_session_of_the_users_localhost_may_be_another_machine(name: str) -> None:
    async with serving("127.0.0.1") as port, aiohttp.ClientSession() as session:
        with pytest.raises(ConfigurationError, match="resolved by the client_session"):
            VCloud(desktops=desktops(name, port), client_session=session)
        endpoint = Endpoint(f"http://{name}:{port}/api/v1", auth=BearerAuth("token"))
        with pytest.raises(ConfigurationError, match="resolved by the client_session"):
            StreamSpace(endpoint, client_session=session)
        # An address, TLS, and an explicit permission are accepted.
        VCloud(desktops=desktops("127.0.0.1", port), client_session=session)
        VCloud(desktops=Endpoint(f"https://{name}", auth=APIKeyAuth("key")), client_session=session)
        VCloud(desktops=desktops(name, port, allow_http=True), client_session=session)


async def test_with_a_session_of_the_users_a_proxy_at_localhost_may_be_another_machine() -> None:
    endpoint = desktops("127.0.0.1", 1, proxy="http://user:s3cret@localhost:3128")
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ConfigurationError, match="the name in proxy") as caught:
            VCloud(desktops=endpoint, client_session=session)
    assert "s3cret" not in str(caught.value)
    VCloud(desktops=endpoint)


@pytest.mark.parametrize("name", NAMES)
async def test_through_a_proxy_localhost_may_be_another_machine(name: str) -> None:
    near = "http://user:s3cret@127.0.0.1:3128"
    with pytest.raises(ConfigurationError, match="resolved by the proxy") as caught:
        VCloud(desktops=desktops(name, 1, proxy=near))
    assert "s3cret" not in str(caught.value)
    VCloud(desktops=desktops(name, 1, proxy=near, allow_http=True))
    VCloud(desktops=desktops("127.0.0.1", 1, proxy=near))
    VCloud(desktops=Endpoint(f"https://{name}", auth=APIKeyAuth("key"), proxy=near))


async def test_the_proxy_of_the_environment_is_not_used_for_localhost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(variable, f"http://{ELSEWHERE}:3128")
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    async with serving("127.0.0.1") as port:
        resolver = WrongResolver(monkeypatch)
        async with VCloud(desktops=desktops("localhost.", port, proxy="environment")) as cloud:
            assert (await cloud.desktops.get("d")).id == "d"
        assert resolver.asked == []


async def test_the_environment_permits_http_with_a_warning_that_names_the_host(
    caplog: pytest.LogCaptureFixture,
) -> None:
    variables = {"VCLOUD_DESKTOPS_URL": "http://localhost:1", "VCLOUD_DESKTOPS_API_KEY": "key"}
    VCloud.from_env(variables)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(ConfigurationError, match="VCLOUD_ALLOW_HTTP=1 permits plain http"):
            VCloud.from_env(variables, client_session=session)
        assert not caplog.records
        VCloud.from_env({**variables, "VCLOUD_ALLOW_HTTP": "1"}, client_session=session)
    assert "localhost (desktops)" in caplog.text
    caplog.clear()
    # Where this SDK resolves the name, credentials do not leave this machine.
    VCloud.from_env({**variables, "VCLOUD_ALLOW_HTTP": "1"})
    assert not caplog.records
