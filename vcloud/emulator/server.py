"""The emulator itself: one loopback socket, the services behind it, the faults on order, the calls seen."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
from collections.abc import Callable, Iterable
from decimal import Decimal
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

from aiohttp import web

from vcloud.emulator.admin.routes import Admin, is_administrative
from vcloud.emulator.backends import is_real, real, require_real
from vcloud.emulator.calls import Call, Ledger
from vcloud.emulator.clock import Clock, monotonic
from vcloud.emulator.computers.service import Computers
from vcloud.emulator.credentials import Credentials, Seed
from vcloud.emulator.desktops import Desktops
from vcloud.emulator.endpoints import Endpoints, Handout
from vcloud.emulator.faults.exchange import Stage
from vcloud.emulator.faults.fault import Fault
from vcloud.emulator.faults.named import HEADER, from_header
from vcloud.emulator.faults.play import play
from vcloud.emulator.faults.redirect_host import Elsewhere
from vcloud.emulator.faults.rules import Faults
from vcloud.emulator.net.connection import plain
from vcloud.emulator.net.hosts import Hosts, host_of, named
from vcloud.emulator.net.listener import Listener, Refusing, running_loop
from vcloud.emulator.net.screening import refusal
from vcloud.emulator.net.tls import Authority, certificate_names, require
from vcloud.emulator.streams.service import Streams
from vcloud.emulator.streamspace.service import StreamSpace
from vcloud.emulator.tasks import cancel_and_wait
from vcloud.emulator.thread import EmulatorThread
from vcloud.emulator.vagon.account import Account
from vcloud.emulator.vagon.service import Organization, amount, envelope, region
from vcloud.emulator.vagon.signature import Signatures

T = TypeVar("T")

BALANCE = Decimal("1000000.00")
_log = logging.getLogger(__name__)


class Service(Protocol):
    """One emulated API."""

    prefix: str

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Answer a request below `prefix`."""
        ...


class Emulator:
    """All emulated APIs on one socket.

    `async with` starts it in the event loop that runs, and stops it; `with` does so in a thread of its own, for tests of
    any style. Then `faults`, `clock`, `calls`, `endpoints()`, `env()` and `refusing()` are used as ever, and whatever else
    is to be changed while requests come in is changed with `run()`.

    Attributes:
        faults: what is to go wrong.
        clock: the services' time.
        calls: all that was asked, and what became of it.
        elsewhere: the other host that `Fault.redirect` leads to.
        credentials: what clients show to it.
    """

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
        fault_seed: int = 0,
        keep_calls: int | None = None,
        balance: Decimal | int | str = BALANCE,
        default_region: str | None = None,
        visitors: Iterable[str] = (),
        tls: bool = False,
        tls_names: Iterable[str] = (),
        allow_hosts: Iterable[str] = (),
        seed: Seed | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        """Prepare an emulator with so many computers; port 0 picks a free one, `speed` is for its own clock.

        `backend="x11"` puts a real X display behind each desktop of the desktop-action API. Its shell then runs commands on
        this machine, so `allow_exec=True` must say that this is meant, and it is never served beyond loopback. Loopback is
        open to every user of the machine, so agents need a token then, and administration needs `admin_token`. See
        `vcloud.emulator.x11`.

        `rate_limits=False` lifts the limits that StreamSpace documents. Equal values of `fault_seed` make faults that have
        a probability happen to the same requests. `calls` holds the last `keep_calls` calls; None keeps all.

        `balance` is what the Vagon organisation has to spend, in its currency, `default_region` where machines are
        bought when nothing else is said, and `visitors` are the email addresses of the Streams visitors on record from
        the start ("" for one without).

        `tls=True` serves https and wss, with a certificate that is made for the run: `endpoints()` trust it, `env()` tells
        `VCloud.from_env()` about it, and anybody else verifies with `ca_file` or `ssl_context()`. It is for loopback, for
        `host`, and for the `tls_names` (names or addresses) that clients use besides. Needs the extra `vcloud-sdk[tls]`;
        raises ModuleNotFoundError without.

        Keys, tokens, passwords and UUIDs are drawn anew by `secrets`; `endpoints()` and `env()` hand them out. With `seed`
        they are the same each time, for tests that write them down. That is unsafe where anybody else can reach the
        emulator: who knows the seed has every key. It is refused for real desktops. `credentials` are used as they are.

        To listen on another host than loopback, set `allow_remote`. Requests are answered that are addressed to loopback
        (an address, `localhost`, or a name below it), to `host`, to `tls_names` or to `allow_hosts`; with `allow_remote`
        to any address. Others are refused with 421, and those of foreign web pages with 403 (`vcloud.emulator.net.hosts`).
        So a page in a browser on this machine can do nothing here, by its own name neither.
        """
        if machines < 0:
            msg = f"machines must not be below 0, not {machines}"
            raise ValueError(msg)
        if not allow_remote and not _is_loopback(host):
            msg = f"{host!r} is not a loopback address; pass allow_remote=True (--allow-remote) to serve it all the same"
            raise ValueError(msg)
        self._real = is_real(
            backend,
            allow_exec=allow_exec,
            loopback=not allow_remote and _is_loopback(host),
            seeded=seed is not None,
        )
        tls_names = tuple(tls_names)
        if tls:
            require()
        elif tls_names:
            msg = "tls_names are for tls=True (--tls)"
            raise ValueError(msg)
        allow_hosts = (allow_hosts,) if isinstance(allow_hosts, str) else tuple(allow_hosts)
        listens = (host, *tls_names) if allow_remote else tls_names
        self._hosts = Hosts(
            # What is no host, as a wildcard of a certificate, is never in a request either.
            (*map(named, allow_hosts), *(found for one in listens if (found := host_of(one)))),
            any_address=allow_remote,
        )
        self.credentials = Credentials.drawn(seed) if credentials is None else credentials
        self._certified = certificate_names(host, tls_names) if tls else ()
        self._authority: Authority | None = None
        self.clock = clock if clock is not None else Clock(speed)
        self.faults = Faults(fault_seed)
        self.calls = Ledger(keep_calls)
        self.elsewhere = Elsewhere()
        self.organization = Organization(
            key=self.credentials.computers_key,
            secret=self.credentials.computers_secret,
            name="Emulated",
            account=Account(amount(balance), self.clock),
            default_region=None if default_region is None else region(default_region),
        )
        keys = {
            self.credentials.computers_key: self.credentials.computers_secret,
            self.credentials.streams_key: self.credentials.streams_secret,
        }
        signatures = Signatures(keys, self.clock)
        self.computers = Computers(
            self.organization, signatures, self.clock, machines=machines, seed=seed
        )
        self.streams = Streams(self.organization, signatures, self.clock, seed=seed)
        for email in visitors:
            self.streams.add_user(email or None)
        self.desktops = Desktops(
            self.clock,
            backend=(lambda _: real()) if self._real else None,
            seed=seed,
            key=self.credentials.desktops_api_key,
        )
        self.streamspace = StreamSpace(
            self.clock, self.credentials, rate_limits=rate_limits, seed=seed
        )
        self.streamspace.control.token_required = self._real
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
        self._admin = Admin(self, self.admin_token)
        self._stage: Stage | None = None
        self._playing: set[asyncio.Task[web.StreamResponse]] = set()
        self._thread: EmulatorThread | None = None

    async def __aenter__(self) -> Self:
        """Start serving."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop serving."""
        await self.aclose()

    def __enter__(self) -> Self:
        """Start serving in a thread of its own."""
        if self._thread is not None:
            msg = "the emulator is already running"
            raise RuntimeError(msg)
        thread = EmulatorThread(self)
        thread.start()
        self._thread = thread
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop serving, and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    async def start(self) -> None:
        """Open the socket and serve in the background. Raises `x11.X11UnavailableError` if real desktops cannot start."""
        if self._stage is not None:
            msg = "the emulator is already running"
            raise RuntimeError(msg)
        if self._real:
            require_real()
        if self._certified:
            self._authority = Authority(self._certified)
        listener = Listener(
            self._serve, tls=self._authority.server_context if self._authority else None
        )
        stage = self._stage = Stage(
            clock=self.clock, ledger=self.calls, listener=listener, elsewhere=self.elsewhere
        )
        try:
            # DNS and files have no say in what is loopback (RFC 6761, 6.3).
            listens = "127.0.0.1" if self._host == "localhost" else self._host
            port = await listener.listen(listens, self._port)
        except BaseException:
            await self.aclose()
            raise
        host = f"[{self._host}]" if ":" in self._host else self._host
        stage.url = f"{'https' if self._authority else 'http'}://{host}:{port}"

    async def aclose(self) -> None:
        """Close the socket and every connection, end every real desktop; may be called again."""
        try:
            await self._close()
        finally:
            # Their processes are on this machine, and must not outlive a close that was interrupted.
            await self.desktops.aclose()
            if self._authority is not None:
                self._authority.remove()
                self._authority = None

    async def _close(self) -> None:
        stage = self._stage
        # WebSockets and silences have no end of their own, and would be waited for in vain.
        try:
            await self.streamspace.aclose()
            await cancel_and_wait(*self._playing)
            await self.elsewhere.aclose()
        finally:
            if stage is not None:
                await stage.listener.aclose()
                self._stage = None
                # What was opened before the socket was shut.
                await self.streamspace.aclose()
                await cancel_and_wait(*self._playing)

    def run(self, function: Callable[[], T]) -> T:
        """Call this where the emulator runs, and return what it returns: state is safe to change there from any thread."""
        loop = None if self._stage is None else self._stage.listener.loop
        if loop is None or running_loop() is loop:
            return function()

        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), loop).result()

    def refusing(self) -> Refusing:
        """Be down while inside: every connection is reset, and connecting is refused (ECONNREFUSED).

        `async with emulator.refusing():` in any event loop; `with emulator.refusing():` in any thread but the emulator's
        own. The port stays taken, so nobody else is found there meanwhile.
        """
        return Refusing(self._running.listener)

    async def refuse_for(
        self, seconds: float, *, spare: asyncio.BaseTransport | None = None
    ) -> None:
        """Be down for so many real seconds, but for the connection `spare`; returns at once. For the emulator's own loop."""
        await self._running.listener.refuse_for(seconds, spare=spare)

    @property
    def url(self) -> str:
        """Return where the emulator listens, without any API's path."""
        return self._running.url

    @property
    def ca_file(self) -> Path:
        """Return the file, in PEM, of the authority that vouches for the emulator. It is there while the emulator runs."""
        return self._trusted.ca_file

    def ssl_context(self) -> ssl.SSLContext:
        """Return a context that trusts the emulator and nothing else, for an `Endpoint(ssl=...)` or any other client."""
        return self._trusted.client_context()

    @property
    def _trusted(self) -> Authority:
        if self._authority is None:
            msg = "the emulator does not serve TLS, or is not running: use Emulator(tls=True)"
            raise RuntimeError(msg)
        return self._authority

    @property
    def _running(self) -> Stage:
        if self._stage is None:
            msg = "the emulator is not running: use `async with`, `with` or start()"
            raise RuntimeError(msg)
        return self._stage

    def endpoints(self) -> Endpoints:
        """Return the arguments for `VCloud(**emulator.endpoints())`."""
        return self._handout.endpoints(self.ssl_context() if self._authority else None)

    def env(self) -> dict[str, str]:
        """Return the environment variables that lead `VCloud.from_env()`, or any other client, here.

        For a host other than loopback, `VCLOUD_ALLOW_HTTP` is among them: credentials travel
        readable then. `VCLOUD_EMULATOR_TOKEN` is among them while real desktops are served.
        """
        return self._handout.env()

    @property
    def admin_token(self) -> str | None:
        """Return what the routes below `/_emulator` take in `X-VCloud-Token`; None if nothing.

        They take it while real desktops are served, and so does a fault that a header orders.
        """
        return self.credentials.emulator_token if self._real else None

    @property
    def _handout(self) -> Handout:
        url = self.url
        return Handout(
            credentials=self.credentials,
            computers_url=f"{url}{self.computers.prefix}",
            desktops_url=f"{url}{self.desktops.prefix}",
            streams_url=f"{url}{self.streams.prefix}",
            streamspace_url=f"{url}{self.streamspace.prefix}",
            exposed=url.startswith("http:") and not _is_loopback(self._host),
            ca_file=str(self.ca_file) if self._authority else None,
            administered=self._real,
        )

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        at = monotonic()
        path = request.raw_path.partition("?")[0]
        if (refused := self._refused(request, path, at)) is not None:
            return refused
        try:
            if is_administrative(path):
                return await self._admin.answer(request, path)
            return await self._exchange(request, path, at)
        except (ConnectionError, web.RequestPayloadError) as error:
            # Mostly the client went away while sending, and nobody is left to be answered.
            _log.debug("%s %s: the body did not arrive", request.method, path)
            return plain(400, str(error) or "the body is incomplete")

    def _refused(self, request: web.BaseRequest, path: str, at: float) -> web.StreamResponse | None:
        """Return how a request is refused before any service or administration sees it."""
        # Not written down: a page could push all that is the user's out of the ledger.
        if (foreign := self._hosts.refusal(request)) is not None:
            return self._dated(foreign)
        administers = is_administrative(path)
        if (refused := refusal(request)) is not None:
            self._dated(refused)
            return refused if administers else self._answer(request, at, refused, processed=False)
        if (administers or HEADER in request.headers) and not self._admin.allows(request):
            return self._dated(self._admin.needs_token())
        return None

    async def _exchange(self, request: web.BaseRequest, path: str, at: float) -> web.StreamResponse:
        ordered = request.headers.get(HEADER)
        try:
            fault = (
                from_header(ordered)
                if ordered is not None
                else self.faults.take(request.method, path)
            )
        except ValueError as error:
            return self._answer(request, at, _malformed(error), processed=False)
        if fault is not None and self._stage is not None:
            return await self._play(fault, request, self._stage)
        return self._answer(request, at, await self._handle(request), processed=True)

    def _answer(
        self, request: web.BaseRequest, at: float, response: web.StreamResponse, *, processed: bool
    ) -> web.StreamResponse:
        self.calls.note(Call.of(request, at, response.status, processed=processed))
        return response

    async def _play(
        self, fault: Fault, request: web.BaseRequest, stage: Stage
    ) -> web.StreamResponse:
        # A task of its own, so that closing the emulator can end it at once.
        task = asyncio.create_task(play(fault, request, self._handle, stage))
        self._playing.add(task)
        try:
            await asyncio.wait({task})
        finally:
            await cancel_and_wait(task)
            self._playing.discard(task)
        return web.Response() if task.cancelled() else task.result()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.raw_path.partition("?")[0]
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

    def _dated(self, response: web.Response) -> web.Response:
        response.headers["Date"] = self._date()
        return response

    def _date(self) -> str:
        return formatdate(self.clock.wall(), usegmt=True)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _malformed(error: ValueError) -> web.Response:
    return web.json_response({"error": f"{HEADER}: {error}"}, status=400)
