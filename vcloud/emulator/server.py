"""The emulator itself: its options, its start and stop, and how clients reach it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar, Unpack

from attrs import frozen

from vcloud.emulator.address import Address
from vcloud.emulator.admin.routes import Admin
from vcloud.emulator.backends import is_real, require_real
from vcloud.emulator.calls import CallLog
from vcloud.emulator.clock import Clock
from vcloud.emulator.credentials import Credentials, Seed
from vcloud.emulator.dispatch import Dispatcher
from vcloud.emulator.endpoints import AccessDetails, Endpoints
from vcloud.emulator.faults.exchange import FaultContext
from vcloud.emulator.faults.redirect_host import RedirectHost
from vcloud.emulator.faults.rules import Faults
from vcloud.emulator.net.listener import Listener, Refusing
from vcloud.emulator.net.tls import Authority
from vcloud.emulator.seeds import Seeds
from vcloud.emulator.services import BALANCE, DIALECTS, ServiceOptions, Services
from vcloud.emulator.settable import naming_nearest
from vcloud.emulator.streamspace.published.service import PublishedStreamSpace
from vcloud.emulator.thread import EmulatorThread

if TYPE_CHECKING:
    from vcloud import EndpointOptions

T = TypeVar("T")


@frozen(kw_only=True)
class EmulatorStats:
    """What an emulator is doing at one moment."""

    addresses: tuple[str, ...]
    """The addresses on which it accepts connections; none while it refuses them, or is closed."""
    connections: int
    """Open connections."""
    websockets: int
    """Open WebSockets of StreamSpace."""
    unsent: int
    """Bytes of answers that its clients have not taken yet."""
    faults: int
    """Requests whose fault still lasts."""


class Emulator(Services):
    """All emulated APIs on one socket.

    `async with` starts it in the running event loop, and stops it. `with` does so in a thread of
    its own, for tests of any style. What is documented here can be used from any thread, and so can
    the attributes of what the services have, and their `add_...` and `set_...` methods. Change
    anything else with `run()` while requests come in.

    The services have their things by id, and a client sees what is set::

        emulator.computers.machines["100"].status = "ready"     # idle, user, region, ...
        emulator.streams.machines["94683"].status = "connected"  # see add_machine
        emulator.streamspace.sessions[id].state = "hibernated"   # agents, templates, users
        emulator.desktops.desktops[id].status = "error"

    Attributes:
        faults: the rules that make requests fail.
        clock: the services' time.
        calls: every request, and how it was answered.
        elsewhere: the other host that `Fault.redirect` points to.
        credentials: the keys, passwords and tokens that clients need.
        organization: the Vagon account of both Vagon APIs.
        computers: Vagon Computers.
        streams: Vagon Streams.
        desktops: the desktop-action API.
        streamspace: StreamSpace, its control plane and its viewers.
        published_streamspace: with `streamspace="published"`, this instead of it.
    """

    @naming_nearest
    def __init__(
        self,
        *,
        machines: int = 0,
        status: str | None = None,
        idle: timedelta | float | None = None,
        sessions: int = 0,
        desktops: int = 0,
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
        streamspace: str = DIALECTS[0],
    ) -> None:
        """Prepare an emulator with this many computers.

        They are off, or in this `status`, and were last used `idle` ago (seconds or timedelta): a
        machine that is `ready` has been ready and not used for that long. `sessions` and `desktops`
        are how many sessions of StreamSpace and desktops run. What there is can be read and set by
        `computers.machines["100"].status` and so on, from any thread.

        Port 0 picks a free one. `speed` is for the emulator's own clock: simulated seconds in a
        real one.

        `backend="x11"` gives each desktop of the desktop-action API a real X display. Its shell
        then runs commands on this machine, so `allow_exec=True` must confirm that, and the
        emulator is never served beyond loopback. Every user of the machine can connect to
        loopback, so agents then need a token, and administration needs `admin_token`. See
        `vcloud.emulator.x11`.

        `rate_limits=False` lifts the limits that StreamSpace documents. Equal values of
        `fault_seed` make faults with a probability apply to the same requests. `calls` holds the
        last `keep_calls` calls; None keeps all.

        `balance` is what the Vagon organisation has to spend, in its currency. `default_region`
        is where machines are bought when a request names no region. `visitors` are the email
        addresses of the registered visitors of Streams ("" for one without).

        `tls=True` serves https and wss, with a certificate that is made for the run. `endpoints()`
        trust it, `VCloud.from_env()` trusts it by `env()`, and any other client verifies with
        `ca_file` or `ssl_context()`. The certificate is for loopback, for `host`, and for the
        `tls_names` (names or addresses). It needs the extra `vcloud-sdk[tls]`; without it,
        ModuleNotFoundError is raised.

        Keys, tokens, passwords and UUIDs are drawn anew by `secrets`; `endpoints()` and `env()`
        give them to clients. With `seed` they are the same each time, for tests that write them
        down. That is unsafe if other people can reach the emulator: anyone who knows the seed has
        every key. It is refused for real desktops. `credentials` are used as they are.

        `streamspace="published"` serves StreamSpace as its published server answers, which differs
        from its document in nearly every answer; its state is in `published_streamspace` then.

        To listen on another host than loopback, set `allow_remote`. The emulator answers requests
        that are addressed to loopback (an address, `localhost`, or a name below it), to `host`, to
        `tls_names` or to `allow_hosts`; with `allow_remote` to any address. It refuses others with
        421, and those of foreign web pages with 403 (`vcloud.emulator.net.hosts`). So a page in a
        browser on this machine can do nothing here, not even under its own name.
        """
        self._address = Address.checked(
            host, port, allow_hosts, tls_names, tls=tls, allow_remote=allow_remote
        )
        self._real = is_real(
            backend, allow_exec=allow_exec, loopback=not allow_remote, seeded=seed is not None
        )
        seeds = Seeds(machines, status, idle, sessions, desktops, real=self._real)
        options = ServiceOptions(
            seeds, balance, default_region, tuple(visitors), rate_limits, seed, streamspace
        )
        super().__init__(clock or Clock(speed), credentials or Credentials.drawn(seed), options)
        self._prepare(fault_seed, keep_calls)

    def _prepare(self, fault_seed: int, keep_calls: int | None) -> None:
        self.faults: Faults = Faults(fault_seed)
        self.calls: CallLog = CallLog(keep_calls)
        self.elsewhere: RedirectHost = RedirectHost()
        admin = Admin(self, self.admin_token)
        self._dispatcher = Dispatcher(self, admin, self._address.hosts, self.faults, self.calls)
        self._authority: Authority | None = None
        self._thread: EmulatorThread | None = None

    async def __aenter__(self) -> Self:
        """Start serving."""
        await self.start()
        return self

    async def __aexit__(self, *details: object) -> None:
        """Stop serving."""
        await self.aclose()

    def __enter__(self) -> Self:
        """Start serving in a separate thread."""
        if self._thread is not None:
            msg = "the emulator is already running"
            raise RuntimeError(msg)
        thread = EmulatorThread(self)
        thread.start()
        self._thread = thread
        return self

    def __exit__(self, *details: object) -> None:
        """Stop serving, and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    async def start(self) -> None:
        """Open the socket and serve in the background.

        Raises:
            X11UnavailableError: real desktops cannot start on this machine (`vcloud.emulator.x11`).
            OSError: the port is taken, or the host is not an address of this machine.
        """
        if self._dispatcher.context is not None:
            msg = "the emulator is already running"
            raise RuntimeError(msg)
        if self._real:
            require_real()
        if self._address.certified:
            self._authority = Authority(self._address.certified)
        tls = self._authority.server_context if self._authority else None
        listener = Listener(self._dispatcher.serve, tls=tls)
        context = self._dispatcher.context = FaultContext(
            clock=self.clock,
            calls=self.calls,
            listener=listener,
            elsewhere=self.elsewhere,
            streamspace=self._streamspace,
        )
        try:
            port = await listener.listen(self._address.socket_host, self._address.port)
        except BaseException:
            await self.aclose()
            raise
        scheme = "https" if self._authority else "http"
        self._home.loop = listener.loop
        context.url = f"{scheme}://{self._address.url_host}:{port}"

    async def aclose(self) -> None:
        """Close the socket and every connection, end every real desktop; may be called again."""
        try:
            await self._close()
        finally:
            # Their processes run on this machine, and must end even if closing is cancelled.
            await self.desktops.aclose()
            if self._authority is not None:
                self._authority.remove()
                self._authority = None

    async def _close(self) -> None:
        context = self._dispatcher.context
        # WebSockets and stalled answers do not end by themselves.
        try:
            await self._streamspace.aclose()
            await self._dispatcher.aclose()
            await self.elsewhere.aclose()
        finally:
            if context is not None:
                await context.listener.aclose()
                self._dispatcher.context = None
                self._home.loop = None
                # Once more, for those that began before the socket was closed.
                await self._streamspace.aclose()
                await self._dispatcher.aclose()

    def run(self, function: Callable[[], T]) -> T:
        """Call `function` in the emulator's event loop, where changing state is safe.

        Returns:
            what the function returns. May be called from any thread.
        """
        return self._home.run(function)

    def advance(self, seconds: float | timedelta) -> None:
        """Let simulated time pass: seconds or a timedelta; see `Clock.advance`. From any thread."""
        self.clock.advance(seconds)

    def stats(self) -> EmulatorStats:
        """What the emulator is doing now."""
        listener = None if self._dispatcher.context is None else self._dispatcher.context.listener
        return EmulatorStats(
            addresses=() if listener is None else listener.addresses,
            connections=0 if listener is None else len(listener.connections),
            websockets=self._streamspace.live.count,
            unsent=0 if listener is None else listener.unsent,
            faults=self._dispatcher.faults_in_progress,
        )

    def refusing(self) -> Refusing:
        """Reset every connection, and refuse new ones while inside (ECONNREFUSED).

        `async with emulator.refusing():` in any event loop; `with emulator.refusing():` in any
        thread but the emulator's own. The emulator keeps its port meanwhile.
        """
        return Refusing(self._running.listener)

    async def refuse_for(
        self, seconds: float, *, spare: asyncio.BaseTransport | None = None
    ) -> None:
        """Reset every connection but `spare`, and refuse new ones for so many real seconds.

        Returns at once. Call it in the emulator's own event loop.
        """
        await self._running.listener.refuse_for(seconds, spare=spare)

    async def accept(self) -> None:
        """End what `refuse_for`, or `Fault.refuse`, began, before its time.

        Call it in the emulator's own event loop.
        """
        await self._running.listener.accept()

    @property
    def url(self) -> str:
        """Where the emulator listens, without any API's path."""
        return self._running.url

    @property
    def ca_file(self) -> Path:
        """The certificate authority of the emulator, in PEM. It exists while the emulator runs."""
        return self._trusted.ca_file

    def ssl_context(self) -> ssl.SSLContext:
        """A context that trusts only the emulator, for `Endpoint(ssl=...)` or any other client."""
        return self._trusted.client_context()

    @property
    def _trusted(self) -> Authority:
        if self._authority is None:
            msg = "the emulator does not serve TLS, or is not running: use Emulator(tls=True)"
            raise RuntimeError(msg)
        return self._authority

    @property
    def _running(self) -> FaultContext:
        if self._dispatcher.context is None:
            msg = "the emulator is not running: use `async with`, `with` or start()"
            raise RuntimeError(msg)
        return self._dispatcher.context

    def endpoints(self, **options: Unpack[EndpointOptions]) -> Endpoints:
        """The arguments for `VCloud(**emulator.endpoints())`.

        Options of an `Endpoint`, such as `retry=RetryPolicy(attempts=1)`, are for all four.

        Raises:
            ConfigurationError: an option is unknown, or cannot be used.
        """
        trust = self.ssl_context() if self._authority else None
        return self._access_details.endpoints(trust, options)

    def env(self) -> dict[str, str]:
        """The environment variables that point `VCloud.from_env()`, or any other client, here.

        For a host other than loopback, `VCLOUD_ALLOW_HTTP` is among them: credentials are then sent
        unencrypted. `VCLOUD_EMULATOR_TOKEN` is among them while real desktops are served.
        """
        return self._access_details.env()

    @property
    def admin_token(self) -> str | None:
        """The token that the routes below `/_emulator` need in `X-VCloud-Token`; None if none.

        They need it while real desktops are served, and so does a fault that a header orders.
        """
        return self.credentials.emulator_token if self._real else None

    @property
    def _access_details(self) -> AccessDetails:
        url = self.url
        return AccessDetails(
            credentials=self.credentials,
            computers_url=f"{url}{self.computers.prefix}",
            desktops_url=f"{url}{self.desktops.prefix}",
            streams_url=f"{url}{self.streams.prefix}",
            streamspace_url=f"{url}{self._streamspace.prefix}",
            exposed=url.startswith("http:") and not self._address.loopback,
            ca_file=str(self.ca_file) if self._authority else None,
            administered=self._real,
            published=isinstance(self._streamspace, PublishedStreamSpace),
        )
