"""Forwarded ports over real sockets, against a server that the test scripts."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.integration.realtime_server import (
    TOKEN,
    client,
    echo,
    greet_and_leave,
    others,
    refusal,
    serving,
    settled,
)
from vcloud import (
    BearerAuth,
    ConflictError,
    Endpoint,
    InvalidArgumentError,
)
from vcloud.providers.streamspace import StreamSpace

ID = "770e8400-e29b-41d4-a716-446655440002"


async def test_many_viewers_share_a_port_and_each_has_a_tunnel_of_its_own() -> None:
    async with serving(echo) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).forward_vnc() as forward:
            assert forward.host == "127.0.0.1"
            viewers = [await asyncio.open_connection(forward.host, forward.port) for _ in range(5)]
            for number, (_, writer) in enumerate(viewers):
                writer.write(b"viewer %d" % number)
            for number, (reader, _) in enumerate(viewers):
                assert await reader.readexactly(8) == b"viewer %d" % number
            assert forward.connections == 5
            viewers[0][1].close()
            await settled(lambda: forward.connections == 4)
            viewers[1][1].write(b"go on")
            assert await viewers[1][0].readexactly(5) == b"go on"
        for reader, writer in viewers[1:]:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
        assert forward.errors == ()
        assert len(server.requests) == 5


async def test_a_refused_tunnel_ends_its_viewer_alone_and_is_remembered() -> None:
    async with (
        serving(echo, lambda request: refusal(409, "SESSION_NOT_RUNNING")) as server,
        client(server) as streamspace,
    ):
        async with streamspace.sessions.ref(ID).forward_vnc() as forward:
            for _ in range(2):
                reader, writer = await asyncio.open_connection(forward.host, forward.port)
                # The forward sends its version, and then the reason.
                assert await reader.readexactly(12) == b"RFB 003.008\n"
                writer.close()
            await settled(lambda: len(forward.errors) == 2)
            assert all(isinstance(error, ConflictError) for error in forward.errors)


async def test_the_last_bytes_of_the_service_reach_the_viewer() -> None:
    async with serving(greet_and_leave) as server, client(server) as streamspace:
        async with streamspace.sessions.ref(ID).forward_vnc() as forward:
            reader, writer = await asyncio.open_connection(forward.host, forward.port)
            assert await reader.read() == b"RFB 003.008\n"
            writer.close()


async def test_a_forward_cancelled_at_any_step_leaves_no_task_and_no_port() -> None:
    async with serving(echo) as server, client(server) as streamspace:
        for steps in range(0, 40, 2):
            ports: list[int] = []

            async def use(ports: list[int] = ports) -> None:
                async with streamspace.sessions.ref(ID).forward_vnc() as forward:
                    ports.append(forward.port)
                    reader, writer = await asyncio.open_connection(forward.host, forward.port)
                    try:
                        while True:
                            writer.write(b"x")
                            await reader.readexactly(1)
                    finally:
                        writer.close()

            using = asyncio.create_task(use())
            for _ in range(steps):
                await asyncio.sleep(0)
            using.cancel()
            with pytest.raises(asyncio.CancelledError):
                await using
            for port in ports:
                with pytest.raises(OSError):
                    await asyncio.open_connection("127.0.0.1", port)
    await settled(lambda: not others())


@pytest.mark.parametrize(
    "arguments",
    [{"host": "0.0.0.0"}, {"host": "example.com"}, {"port": 70000}, {"port": -1}, {"on_error": 5}],
)
def test_a_forward_only_listens_on_this_machine_and_checks_its_arguments(
    arguments: dict[str, object],
) -> None:
    streamspace = StreamSpace(Endpoint("https://streamspace.test/api/v1", auth=BearerAuth(TOKEN)))
    with pytest.raises(InvalidArgumentError):
        streamspace.sessions.ref(ID).forward_vnc(**arguments)  # type: ignore[arg-type]
