"""Where a tunnel connects: the address that the service names, and the client's own session."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web

from tests.integration.realtime_server import (
    TOKEN,
    client,
    echo,
    serving,
)
from vcloud import (
    BearerAuth,
    ConfigurationError,
    Endpoint,
)
from vcloud.providers.streamspace import StreamSpace

ID = "770e8400-e29b-41d4-a716-446655440002"


SESSION = {
    "id": ID,
    "name": "n",
    "user": "u",
    "template": "t",
    "platform": "docker",
    "agent_id": None,
    "state": "running",
    "resources": None,
    "created_at": "2025-11-22T10:45:00Z",
    "updated_at": None,
}


@pytest.mark.parametrize("named", ["/api/v1/vnc/x?quality=9", None, "wss://elsewhere.test/vnc"])
async def test_a_session_is_opened_at_the_address_that_the_service_names_but_on_no_other_host(
    named: str | None,
) -> None:
    def refuse(request: web.Request) -> web.Response | None:
        fetched = SESSION | {"status": {"phase": "Running", "message": "", "vnc_url": named}}
        return web.json_response(fetched) if request.path == f"/api/v1/sessions/{ID}" else None

    async with serving(echo, refuse) as server, client(server) as streamspace:
        session = await streamspace.sessions.get(ID)
        if named is not None and "elsewhere" in named:
            with pytest.raises(ConfigurationError, match="a VNC address on another host"):
                session.open_vnc()
            return
        async with session.open_vnc() as tunnel:
            await tunnel.write(b"x")
            assert await tunnel.read() == b"x"
        request = server.requests[-1]
        assert request.path == ("/api/v1/vnc/x" if named else f"/vnc-viewer/{ID}")
        assert dict(request.query) == ({"quality": "9"} if named else {}) | {"token": TOKEN}


async def test_a_websocket_of_a_session_that_was_handed_in_leaves_that_session_open() -> None:
    async with serving(echo) as server, aiohttp.ClientSession() as own:
        endpoint = Endpoint(f"{server.url}/api/v1", auth=BearerAuth(TOKEN))
        async with StreamSpace(endpoint, client_session=own) as streamspace:
            async with streamspace.sessions.ref(ID).open_vnc() as tunnel:
                await tunnel.write(b"x")
                assert await tunnel.read() == b"x"
        assert not own.closed
        assert own.connector is not None
        assert not own.connector.closed
