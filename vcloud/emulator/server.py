"""The emulator itself: one loopback socket, the services behind it, the faults on order, the calls seen."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import secrets
from decimal import Decimal
from email.utils import formatdate
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypedDict

from aiohttp import web
from attrs import frozen

from vcloud.emulator.clock import Clock
from vcloud.emulator.computers import Computers
from vcloud.emulator.desktops import API_KEY, Desktops
from vcloud.emulator.desktops_backend import Backend
from vcloud.emulator.faults import Faults, play
from vcloud.emulator.streams import Streams
from vcloud.emulator.streamspace import StreamSpace
from vcloud.emulator.streamspace_catalog import ADMIN, ADMIN_PASSWORD
from vcloud.emulator.vagon import Organization, envelope
from vcloud.emulator.vagon_signature import Signatures

if TYPE_CHECKING:
    from vcloud import Endpoint

KEY = "ak_emulator"
SECRET = "sk_emulator"  # noqa: S105 - opens nothing but this emulator
BALANCE = Decimal("1000000.00")
MAX_BODY = 256 * 1024**2
SHUTDOWN = 0.1
"""Seconds that requests under way get to finish when the emulator closes."""

_log = logging.getLogger(__name__)
_TOKEN = re.compile(r"(?<![^&])token=[^&]*")
"""What opens a viewer's connection; the ledger is printed."""


class Service(Protocol):
    """One emulated API."""

    prefix: str

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Answer a request below `prefix`."""
        ...


@frozen
class Call:
    """One request as the emulator saw it."""

    method: str
    path: str
    query: str
    """As it was sent, but for the value of `token`: it opens a session's picture."""
    status: int | None
    """The status sent; 101 stands here once the WebSocket is over; None when the connection was aborted instead."""
    processed: bool
    """Whether the service ran; false when a fault kept it from that."""


class Endpoints(TypedDict):
    """The arguments that lead a `VCloud` to an emulator: one endpoint for each provider."""

    computers: Endpoint
    desktops: Endpoint
    streams: Endpoint
    streamspace: Endpoint


class Emulator:
    """All emulated APIs on one socket; `async with` starts and stops it."""

    def __init__(
        self,
        *,
        machines: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
        speed: float = 1.0,
        allow_remote: bool = False,
        rate_limits: bool = True,
        backend: str = "simulated",
        allow_exec: bool = False,
    ) -> None:
        """Prepare an emulator with so many computers; port 0 picks a free one, `speed` is for its own clock.

        `backend="x11"` puts a real X display behind each desktop of the desktop-action API. Its shell then runs commands on
        this machine, so `allow_exec=True` must say that this is meant, it is never served beyond loopback, and its API key
        is a random one, handed out by `endpoints()` and `env()` alone: loopback is open to every user of the machine and,
        by way of a browser, to any web page. See `vcloud.emulator.x11`.

        `rate_limits=False` lifts the limits that StreamSpace documents.

        The keys are public, so hosts other than loopback are refused unless `allow_remote` is set.
        """
        if not allow_remote and not _is_loopback(host):
            msg = f"{host!r} is not a loopback address; pass allow_remote=True to serve it all the same"
            raise ValueError(msg)
        self._real = _is_real(backend, allow_exec=allow_exec, loopback=not allow_remote and _is_loopback(host))
        self.clock = clock if clock is not None else Clock(speed)
        self.faults = Faults()
        self.calls: list[Call] = []
        self.organization = Organization(key=KEY, secret=SECRET, name="Emulated", balance=BALANCE)
        signatures = Signatures({KEY: SECRET}, self.clock)
        self.computers = Computers(self.organization, signatures, self.clock, machines=machines)
        self.streams = Streams(self.organization, signatures, self.clock)
        self._desktops_key = secrets.token_urlsafe(24) if self._real else API_KEY
        self.desktops = Desktops(self.clock, backend=(lambda _: _real()) if self._real else None, key=self._desktops_key)
        self.streamspace = StreamSpace(self.clock, rate_limits=rate_limits)
        self._services: tuple[Service, ...] = (
            self.computers,
            self.streams,
            self.desktops,
            self.streamspace,
            # StreamSpace has its WebSockets at the host's root.
            self.streamspace.control,
            self.streamspace.viewers,
        )
        self._host = host
        self._port = port
        self._runner: web.ServerRunner | None = None
        self._url: str | None = None

    async def __aenter__(self) -> Self:
        """Start serving."""
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stop serving."""
        await self.aclose()

    async def start(self) -> None:
        """Open the socket and serve in the background. Raises `x11.X11UnavailableError` if real desktops cannot start."""
        if self._runner is not None:
            msg = "the emulator is already running"
            raise RuntimeError(msg)
        if self._real:
            from vcloud.emulator.x11 import require  # noqa: PLC0415 - see _real

            require()
        server = web.Server(self._serve, request_factory=_request, access_log=None, auto_decompress=False)
        self._runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN)
        try:
            await self._runner.setup()
            site = web.TCPSite(self._runner, self._host, self._port)
            await site.start()
        except BaseException:
            await self.aclose()
            raise
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._url = f"http://{host}:{self._runner.addresses[0][1]}"

    async def aclose(self) -> None:
        """Close the socket and every connection, end every real desktop; may be called again."""
        try:
            await self._close()
        finally:
            # Their processes are on this machine, and must not outlive a close that was interrupted.
            await self.desktops.aclose()

    async def _close(self) -> None:
        runner, self._runner, self._url = self._runner, None, None
        # WebSockets have no end of their own, and would be waited for in vain.
        try:
            await self.streamspace.aclose()
        finally:
            if runner is not None:
                await runner.cleanup()
                # What was opened before the socket was shut.
                await self.streamspace.aclose()

    @property
    def url(self) -> str:
        """Return where the emulator listens, without any API's path."""
        if self._url is None:
            msg = "the emulator is not running: use `async with` or start()"
            raise RuntimeError(msg)
        return self._url

    def endpoints(self) -> Endpoints:
        """Return the arguments for `VCloud(**emulator.endpoints())`."""
        # Imported here because the emulator must serve, and be tested, without the SDK.
        from vcloud import APIKeyAuth, BearerAuth, Endpoint, HMACAuth  # noqa: PLC0415 - see above

        return {
            "computers": Endpoint(self._computers_url, auth=HMACAuth(KEY, SECRET)),
            "desktops": Endpoint(self._desktops_url, auth=APIKeyAuth(self._desktops_key)),
            "streams": Endpoint(self._streams_url, auth=HMACAuth(KEY, SECRET)),
            "streamspace": Endpoint(self._streamspace_url, auth=BearerAuth.login(ADMIN, ADMIN_PASSWORD)),
        }

    def env(self) -> dict[str, str]:
        """Return the environment variables that lead `VCloud.from_env()`, or any other client, here."""
        return {
            "VCLOUD_COMPUTERS_KEY": KEY,
            "VCLOUD_COMPUTERS_SECRET": SECRET,
            "VCLOUD_COMPUTERS_URL": self._computers_url,
            "VCLOUD_DESKTOPS_API_KEY": self._desktops_key,
            "VCLOUD_DESKTOPS_URL": self._desktops_url,
            "VCLOUD_STREAMS_KEY": KEY,
            "VCLOUD_STREAMS_SECRET": SECRET,
            "VCLOUD_STREAMS_URL": self._streams_url,
            "VCLOUD_STREAMSPACE_USERNAME": ADMIN,
            "VCLOUD_STREAMSPACE_PASSWORD": ADMIN_PASSWORD,
            "VCLOUD_STREAMSPACE_URL": self._streamspace_url,
        }

    @property
    def _computers_url(self) -> str:
        return f"{self.url}{self.computers.prefix}"

    @property
    def _desktops_url(self) -> str:
        return f"{self.url}{self.desktops.prefix}"

    @property
    def _streams_url(self) -> str:
        return f"{self.url}{self.streams.prefix}"

    @property
    def _streamspace_url(self) -> str:
        return f"{self.url}{self.streamspace.prefix}"

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        fault = self.faults.take(request.method, path)
        try:
            played = await play(fault, request, lambda: self._handle(request, path))
        except (ConnectionError, web.RequestPayloadError):
            # The client went away while sending; there is nobody left to answer.
            _log.debug("%s %s: the client went away", request.method, path)
            return web.Response(status=400)
        self.calls.append(Call(request.method, path, _TOKEN.sub("token=***", query), played.status, played.processed))
        played.response.headers.setdefault("Date", self._date())
        return played.response

    async def _handle(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        body = await request.read()
        for service in self._services:
            if path == service.prefix or path.startswith(f"{service.prefix}/"):
                response = await service.answer(request, body)
                break
        else:
            response = self._nowhere(path)
        # Set before a fault may start to send it; a WebSocket has long been answered by now.
        if not response.prepared:
            response.headers["Date"] = self._date()
        return response

    def _nowhere(self, path: str) -> web.Response:
        timestamp = self.clock.iso(self.clock.now(), timespec="seconds")
        prefixes = ", ".join(service.prefix for service in self._services)
        body = envelope(404, f"no API at {path}; served are {prefixes}", timestamp)
        return web.Response(status=404, body=body, content_type="application/json")

    def _date(self) -> str:
        return formatdate(self.clock.wall(), usegmt=True)


def _is_real(backend: str, *, allow_exec: bool, loopback: bool) -> bool:
    """Whether desktops are to be real; refuses what is unsafe or unknown."""
    if backend == "simulated":
        return False
    if backend != "x11":
        msg = f"the backend must be 'simulated' or 'x11', not {backend!r}"
        raise ValueError(msg)
    if not allow_exec:
        msg = "the x11 backend runs commands on this machine: pass allow_exec=True (--allow-exec) if that is what you want"
        raise ValueError(msg)
    if not loopback:
        msg = "the x11 backend runs commands on this machine, so it is served on loopback only, without allow_remote"
        raise ValueError(msg)
    return True


def _real() -> Backend:
    # Not before it is asked for: most emulators never need it.
    from vcloud.emulator.x11_backend import X11Backend  # noqa: PLC0415 - see above

    return X11Backend()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _request(*parts: Any) -> web.BaseRequest:
    message, payload, protocol, writer, task = parts
    return web.BaseRequest(message, payload, protocol, writer, task, asyncio.get_running_loop(), client_max_size=MAX_BODY)
