"""All private details of clients and services that tests of faults need."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from tests.faults import worlds
from vcloud import Request
from vcloud.emulator import Emulator

_CONNECTOR = attrgetter("_session.transport.aiohttp_session.connector")
_IN_USE = attrgetter("_acquired")
_CONNECT = attrgetter("_session.connect")


def held_connections(client: Any) -> int:
    """How many connections requests hold. aiohttp's connector has no public number of them."""
    return len(_IN_USE(_CONNECTOR(client)))


def is_busy(emulator: Emulator) -> bool:
    """Whether a fault still lasts, or a WebSocket is open. The emulator has no event for that."""
    stats = emulator.stats()
    return bool(stats.faults or stats.websockets)


def live_tokens(emulator: Emulator) -> int:
    """How many tokens the emulated service has issued and not revoked."""
    return int(worlds.streamspace(emulator).tokens.count)


async def connect_agent(client: Any) -> object:
    """Open an agent's WebSocket once. An agent itself reconnects forever, whatever the fault."""
    request = Request("GET", "/agent/ws", "agent_id=a&platform=kubernetes")
    socket = await _CONNECT(client)(request, root=True)
    await socket.close()
    return socket


async def connect_published_agent(client: Any) -> object:
    """Open the WebSocket of a registered agent of the published server once."""
    request = Request("GET", "/agents/connect", f"agent_id={worlds.REMOTE_AGENT}")
    socket = await _CONNECT(client)(request)
    await socket.close()
    return socket
