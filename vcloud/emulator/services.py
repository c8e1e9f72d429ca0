"""The emulated APIs, what they share, and which of them answers a request."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Protocol

from aiohttp import web
from attrs import frozen

from vcloud.emulator.backends import real
from vcloud.emulator.calls import BODY
from vcloud.emulator.clock import Clock
from vcloud.emulator.computers.service import Computers
from vcloud.emulator.credentials import Credentials, Seed
from vcloud.emulator.desktops import Desktops
from vcloud.emulator.seeds import Seeds, add_machines
from vcloud.emulator.settable import known_word
from vcloud.emulator.state_loop import StateLoop
from vcloud.emulator.streams.service import Streams
from vcloud.emulator.streamspace.published.service import PublishedStreamSpace
from vcloud.emulator.streamspace.service import StreamSpace
from vcloud.emulator.vagon.account import Account
from vcloud.emulator.vagon.service import Organization, amount, envelope, region
from vcloud.emulator.vagon.signature import Signatures

BALANCE: Final = Decimal("1000000.00")
"""What the Vagon organisation has to spend, unless something else is said."""


DIALECTS: Final = ("documented", "published")
"""The API of StreamSpace's document, and what its published server answers."""


class Service(Protocol):
    """One emulated API."""

    prefix: str

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Answer a request below `prefix`."""
        ...


@frozen
class ServiceOptions:
    """The initial state of the services; see `Emulator`."""

    seeds: Seeds
    balance: Decimal | int | str
    default_region: str | None
    visitors: tuple[str, ...]
    rate_limits: bool
    seed: Seed | None
    streamspace: str
    """Which StreamSpace is served: one of `DIALECTS`."""

    def __attrs_post_init__(self) -> None:
        """Refuse another StreamSpace."""
        known_word(self.streamspace, DIALECTS, "streamspace")


class Services:
    """The four APIs and their state, which tests may read and change.

    Attributes:
        clock: the services' time.
        credentials: the keys, passwords and tokens that clients need.
        organization: the Vagon account of both Vagon APIs.
        computers: Vagon Computers.
        streams: Vagon Streams.
        desktops: the desktop-action API.
    """

    def __init__(self, clock: Clock, credentials: Credentials, options: ServiceOptions) -> None:
        """Begin with the state that `options` describe."""
        seed = options.seed
        #: Where state is changed, also from other threads.
        self._home = StateLoop()
        self.clock: Clock = clock
        self.credentials: Credentials = credentials
        self.organization: Organization = _organization(clock, credentials, options)
        signatures = _signatures(clock, credentials)
        self.computers: Computers = Computers(
            self.organization, signatures, clock, home=self._home, seed=seed
        )
        add_machines(self.computers, options.seeds)
        self.streams: Streams = Streams(
            self.organization, signatures, clock, home=self._home, seed=seed
        )
        for email in options.visitors:
            self.streams.add_user(email or None)
        self.desktops: Desktops = Desktops(
            clock,
            home=self._home,
            backend=(lambda _: real()) if options.seeds.real else None,
            seed=seed,
            key=credentials.desktops_api_key,
        )
        kind = PublishedStreamSpace if options.streamspace == "published" else StreamSpace
        self._streamspace: StreamSpace | PublishedStreamSpace = kind(
            clock, credentials, rate_limits=options.rate_limits, seed=seed, home=self._home
        )
        for _ in range(options.seeds.sessions):
            self._streamspace.add_session()
        for _ in range(options.seeds.desktops):
            self.desktops.add_desktop()
        if isinstance(self._streamspace, StreamSpace):
            # Every user of the machine can connect to loopback.
            self._streamspace.control.token_required = options.seeds.real

    @property
    def streamspace(self) -> StreamSpace:
        """StreamSpace as its document says, its control plane and its viewers.

        Raises:
            RuntimeError: the emulator serves the published one.
        """
        if isinstance(self._streamspace, StreamSpace):
            return self._streamspace
        msg = "this emulator serves the published StreamSpace: use emulator.published_streamspace"
        raise RuntimeError(msg)

    @property
    def published_streamspace(self) -> PublishedStreamSpace:
        """StreamSpace as its published server answers.

        Raises:
            RuntimeError: the emulator serves the documented one.
        """
        if isinstance(self._streamspace, PublishedStreamSpace):
            return self._streamspace
        msg = (
            "this emulator serves StreamSpace as its document says: use emulator.streamspace, or "
            'Emulator(streamspace="published")'
        )
        raise RuntimeError(msg)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request with the service at its path, or with 404 if there is none."""
        path = request.raw_path.partition("?")[0]
        body = request[BODY] = await request.read()
        for service in self._services():
            if path == service.prefix or path.startswith(f"{service.prefix}/"):
                return await service.answer(request, body)
        if isinstance(self._streamspace, PublishedStreamSpace):
            # What is at the root of its host, such as /health, and what is nowhere.
            return await self._streamspace.answer(request, body)
        return self._no_service(path)

    def _services(self) -> tuple[Service, ...]:
        served = (self.computers, self.streams, self.desktops, self._streamspace)
        if isinstance(self._streamspace, StreamSpace):
            # It has its WebSockets at the host's root.
            return (*served, self._streamspace.control, self._streamspace.viewers)
        return served

    def _no_service(self, path: str) -> web.Response:
        timestamp = self.clock.iso(self.clock.now(), timespec="seconds")
        prefixes = ", ".join(service.prefix for service in self._services())
        body = envelope(404, f"no API at {path}; served are {prefixes}", timestamp)
        return web.Response(status=404, body=body, content_type="application/json")


def _organization(clock: Clock, credentials: Credentials, options: ServiceOptions) -> Organization:
    default = options.default_region
    return Organization(
        key=credentials.computers_key,
        secret=credentials.computers_secret,
        name="Emulated",
        account=Account(amount(options.balance), clock),
        default_region=None if default is None else region(default),
    )


def _signatures(clock: Clock, credentials: Credentials) -> Signatures:
    secrets = {
        credentials.computers_key: credentials.computers_secret,
        credentials.streams_key: credentials.streams_secret,
    }
    return Signatures(secrets, clock)
