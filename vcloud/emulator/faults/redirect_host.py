"""Another host for redirects, so that tests see what arrives there, and with which credentials."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

from aiohttp import web
from attrs import field, frozen

from vcloud.emulator.net.hosts import Hosts
from vcloud.emulator.net.listener import Listener

# Another address where the system has one, else another port. Both are another origin.
_HOSTS: Final = ("127.0.0.2", "127.0.0.1")


@frozen
class Arrival:
    """A request to the other host."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str] = field(repr=False)
    """Names are found in any case. They are not printed, because they may contain credentials."""
    body: bytes = field(repr=False)


class RedirectHost:
    """A server on another loopback address. It answers with `{}` and keeps the requests."""

    def __init__(self) -> None:
        """Prepare; it listens from the first redirect on."""
        self.arrivals: list[Arrival] = []
        self._listener: Listener | None = None
        self._url = ""
        self._opening = asyncio.Lock()
        self._hosts = Hosts()

    async def open(self) -> str:
        """Listen, if it does not yet; the URL, without a path."""
        async with self._opening:
            if self._listener is None:
                listener = Listener(self._answer)
                host, port = await _listen(listener)
                self._listener = listener
                self._url = f"http://{host}:{port}"
            return self._url

    async def aclose(self) -> None:
        """Close the socket and every connection; may be called again."""
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.aclose()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        # Foreign web pages are refused here too.
        if (foreign := self._hosts.refusal(request)) is not None:
            return foreign
        body = await request.read()
        path, _, query = request.raw_path.partition("?")
        self.arrivals.append(Arrival(request.method, path, query, request.headers, body))
        return web.Response(body=b"{}", content_type="application/json")


async def _listen(listener: Listener) -> tuple[str, int]:
    for host in _HOSTS[:-1]:
        with contextlib.suppress(OSError):
            return host, await listener.listen(host, 0)
    return _HOSTS[-1], await listener.listen(_HOSTS[-1], 0)
