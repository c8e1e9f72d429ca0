"""The facade: one aiohttp session, and a client for each provider that was configured."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar
from urllib.parse import urlsplit

import msgspec
from attrs import evolve

from vcloud._core.endpoint import (
    Endpoint,
    check_resolver,
    checked_observers,
    is_localhost,
    is_loopback,
)
from vcloud._core.instances import Instances
from vcloud._core.redaction.secretive import Secretive, concealing
from vcloud.auth import APIKeyAuth, Auth, BearerAuth, HMACAuth
from vcloud.errors import ConfigurationError

if TYPE_CHECKING:
    import aiohttp

    from vcloud._core.client import Client
    from vcloud._core.observe import Observer
    from vcloud.bulk import Bulk, Journal, Settled
    from vcloud.providers.computers import VagonComputers
    from vcloud.providers.desktops import Desktops
    from vcloud.providers.streams import VagonStreams
    from vcloud.providers.streamspace import StreamSpace

__all__ = ["VCloud"]

T = TypeVar("T")
R = TypeVar("R")

#: Read by `from_env` alone.
_ALLOW_HTTP: Final = "VCLOUD_ALLOW_HTTP"


#: Read by `from_env` alone.
_CA_FILE: Final = "VCLOUD_CA_FILE"


class _Provider(msgspec.Struct, frozen=True):
    """Where a provider's client is, and which variables make its credentials: the first way that is set counts."""

    client: str
    ways: tuple[tuple[Callable[..., Auth], tuple[str, ...]], ...]
    #: It has no address of its own.
    needs_url: bool = False


#: A new provider is a folder, a line here, and an argument and a property below.
_PROVIDERS: Final = {
    "streams": _Provider("VagonStreams", ((HMACAuth, ("KEY", "SECRET")),)),
    "computers": _Provider("VagonComputers", ((HMACAuth, ("KEY", "SECRET")),)),
    "streamspace": _Provider(
        "StreamSpace",
        ((BearerAuth, ("TOKEN",)), (BearerAuth.login, ("USERNAME", "PASSWORD"))),
        True,
    ),
    "desktops": _Provider("Desktops", ((APIKeyAuth, ("API_KEY",)),)),
}


def _variables(name: str, parts: Iterable[str]) -> list[str]:
    return [f"VCLOUD_{name.upper()}_{part}" for part in parts]


def _wanted(name: str) -> str:
    """What to set for a provider, in words."""
    provider = _PROVIDERS[name]
    ways = " or ".join(" and ".join(_variables(name, parts)) for _, parts in provider.ways)
    return f"{_variables(name, ['URL'])[0]} and {ways}" if provider.needs_url else ways


def _signed_path(name: str) -> str:
    return _variables(name, ["SIGNED_PATH"])[0]


def _signing(name: str, make: Callable[..., Auth], environ: Mapping[str, str]) -> dict[str, str]:
    """What else the environment says of how a provider's requests are signed."""
    path = environ.get(_signed_path(name))
    return {"signed_path": path} if path and make is HMACAuth else {}


def _allows_http(environ: Mapping[str, str]) -> bool:
    """Whether the environment permits plain http to other machines.

    Raises:
        ConfigurationError: the variable is neither 1 nor 0. Whoever wrote another word meant
            something, and a guess at it would send credentials readable, or fail without a hint.
    """
    written = environ.get(_ALLOW_HTTP) or "0"
    if written not in ("0", "1"):
        raise ConfigurationError(
            f"{_ALLOW_HTTP} must be 1, which permits plain http, or 0, not {written[:20]!r}"
        )
    return written == "1"


def _exposed_host(url: str | None, *, foreign_session: bool) -> str:
    """The host that credentials would travel to in the clear; "" for https and for this machine.

    Args:
        url: of the environment.
        foreign_session: names are resolved by a session of the user's own, so that ``localhost`` may
            be another machine's.
    """
    try:
        parts = urlsplit((url or "").strip())
        host = parts.hostname or ""
    except ValueError:
        # Endpoint says what is wrong with it.
        return ""
    near = is_loopback(host) and not (foreign_session and is_localhost(host))
    return "" if near or parts.scheme != "http" else host


def _warn_of_http(endpoints: Mapping[str, Endpoint], *, foreign_session: bool) -> None:
    """Say once where credentials are readable on their way."""
    hosts: dict[str, list[str]] = {}
    for name, endpoint in endpoints.items():
        if host := _exposed_host(endpoint.base_url, foreign_session=foreign_session):
            hosts.setdefault(host, []).append(name)
    if hosts:
        # Here and not above: importing vcloud must not cost what logging costs.
        from vcloud._core.log import printable_logger  # noqa: PLC0415

        printable_logger("vcloud").warning(
            "%s=1: credentials travel readable over plain http to %s",
            _ALLOW_HTTP,
            ", ".join(f"{host} ({', '.join(names)})" for host, names in hosts.items()),
        )


def _endpoint_from(
    name: str,
    environ: Mapping[str, str],
    *,
    allow_http: bool = False,
    foreign_session: bool = False,
) -> Endpoint | None:
    """One provider's endpoint from its variables; None when none of its credentials is set."""
    provider = _PROVIDERS[name]
    url = _variables(name, ["URL"])[0]
    host = _exposed_host(environ.get(url), foreign_session=foreign_session)
    half: list[str] = []
    for make, parts in provider.ways:
        needed = _variables(name, parts)
        missing = [variable for variable in needed if not environ.get(variable)]
        if not missing:
            if provider.needs_url and not environ.get(url):
                raise ConfigurationError(f"{url} must be set too, to use {name}")
            try:
                endpoint = Endpoint(
                    environ.get(url) or None,
                    auth=make(
                        *(environ[variable] for variable in needed),
                        **_signing(name, make, environ),
                    ),
                    allow_http=allow_http and bool(host),
                )
                check_resolver(endpoint, foreign_session=foreign_session)
            except ConfigurationError as error:
                hint = f"; {_ALLOW_HTTP}=1 permits plain http" if host and not allow_http else ""
                read = [*needed, url]
                if _signing(name, make, environ):
                    read.append(_signed_path(name))
                raise ConfigurationError(f"{error} (from {', '.join(read)}{hint})") from None
            return endpoint
        if len(missing) < len(needed):
            half = missing
    if half:
        raise ConfigurationError(f"{' and '.join(half)} must be set too, to use {name}")
    return None


def _trusting(endpoints: Mapping[str, Endpoint], environ: Mapping[str, str]) -> dict[str, Endpoint]:
    """The endpoints, where those with an address of the environment trust its authority, too.

    Raises:
        ConfigurationError: the file of the authority cannot be used.
    """
    path = environ.get(_CA_FILE)
    if not path:
        return dict(endpoints)
    try:
        context = ssl.create_default_context()
        context.load_verify_locations(path)
    except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
        raise ConfigurationError(
            f"{_CA_FILE} must name a file of certificates in PEM: {path!r:.200}: "
            f"{getattr(error, 'strerror', None) or error}"
        ) from None
    return {
        name: evolve(endpoint, ssl=context) if endpoint.base_url else endpoint
        for name, endpoint in endpoints.items()
    }


class VCloud(Secretive):
    """Cloud desktops of any subset of the providers, over one aiohttp session.

    ::

        async with VCloud(computers=Endpoint(auth=HMACAuth(key, secret))) as cloud:
            async for machine in cloud.computers.machines.list(status="off"):
                await machine.start()

    One client serves a whole process: make it once, in the event loop that uses it, and close it at
    the end. Closing, by ``async with`` or :meth:`aclose`, first ends what was opened through it,
    each within ``cleanup_timeout`` of its :class:`~vcloud.Endpoint`. It does so however the program
    ends, as long as Python runs. SIGTERM without a handler, ``kill -9``, ``os._exit`` and a crash
    end nothing; the SDK installs no handlers, and the README has one for SIGTERM.

    Args:
        streams: where and how to reach Vagon Streams, with :class:`~vcloud.HMACAuth`.
        computers: where and how to reach Vagon Computers, with :class:`~vcloud.HMACAuth`.
        streamspace: where and how to reach StreamSpace, with :class:`~vcloud.BearerAuth`.
        desktops: where and how to reach the desktop-action API, with :class:`~vcloud.APIKeyAuth`.
        observers: hear of each attempt to send something, whichever the provider; see :class:`~vcloud.Observer`.
        client_session: an aiohttp session of your own to send through; it is never closed here. Its connector's
            limit then counts too, and waiting for it counts as part of an attempt's timeout. It
            resolves names by itself: plain http to ``localhost`` then needs ``allow_http``.

    Raises:
        ConfigurationError: no provider was given, or an argument is of the wrong kind.
    """

    def __init__(
        self,
        *,
        streams: Endpoint | None = None,
        computers: Endpoint | None = None,
        streamspace: Endpoint | None = None,
        desktops: Endpoint | None = None,
        observers: Iterable[Observer] = (),
        client_session: aiohttp.ClientSession | None = None,
    ) -> None:
        given = {
            "streams": streams,
            "computers": computers,
            "streamspace": streamspace,
            "desktops": desktops,
        }
        # Here and not above: importing vcloud must not cost what making a client costs.
        from vcloud._core.transport import Transport  # noqa: PLC0415

        self._transport = Transport(client_session)
        everywhere = checked_observers(observers)
        self._clients: dict[str, Client] = {}
        for name, endpoint in given.items():
            if endpoint is None:
                continue
            if not isinstance(endpoint, Endpoint):
                raise ConfigurationError(
                    f"{name} must be an Endpoint(auth=...), not {type(endpoint).__name__}"
                )
            check_resolver(endpoint, foreign_session=client_session is not None)
            if everywhere:
                endpoint = evolve(endpoint, observers=(*endpoint.observers, *everywhere))  # noqa: PLW2901 - the same, watched
            client = getattr(import_module(f"vcloud.providers.{name}"), _PROVIDERS[name].client)
            self._clients[name] = client(endpoint, transport=self._transport)
        if not self._clients:
            raise ConfigurationError(
                f"no provider is configured: give at least one of {', '.join(given)}, "
                f"for example VCloud(computers=Endpoint(auth=HMACAuth(key, secret)))"
            )

    @classmethod
    @concealing
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        observers: Iterable[Observer] = (),
        client_session: aiohttp.ClientSession | None = None,
    ) -> Self:
        """A client for every provider whose credentials are in the environment.

        ``VCLOUD_STREAMS_KEY`` and ``_SECRET``; ``VCLOUD_COMPUTERS_KEY`` and ``_SECRET``; ``VCLOUD_STREAMSPACE_URL`` with
        ``_TOKEN`` or ``_USERNAME`` and ``_PASSWORD``; ``VCLOUD_DESKTOPS_API_KEY``. ``VCLOUD_<PROVIDER>_URL`` leads the
        others elsewhere too. Behind a gateway that changes paths, ``VCLOUD_STREAMS_SIGNED_PATH`` and
        ``VCLOUD_COMPUTERS_SIGNED_PATH`` are the ``signed_path`` of :class:`~vcloud.HMACAuth`.

        ``VCLOUD_CA_FILE`` names the certificate of an authority of your own, in PEM. It is trusted
        besides the system's, at addresses that a ``VCLOUD_<PROVIDER>_URL`` gives.

        ``VCLOUD_ALLOW_HTTP=1`` permits plain ``http`` to another machine, for addresses that
        ``VCLOUD_<PROVIDER>_URL`` gives. Credentials then travel readable, so one WARNING of the
        logger ``vcloud`` names the hosts. It is for an emulator in a container or on another
        machine. ``0`` and an empty value do not permit it. An :class:`~vcloud.Endpoint` of your own
        does not read it.

        Args:
            environ: the variables; those of the process when left out.
            observers: as for the class.
            client_session: as for the class.

        Raises:
            ConfigurationError: nothing is set, or only half of what a provider needs, or an invalid
                value: ``VCLOUD_ALLOW_HTTP`` is another word, or the file of ``VCLOUD_CA_FILE``
                cannot be read, say.
        """
        variables = os.environ if environ is None else environ
        allow_http, foreign_session = _allows_http(variables), client_session is not None
        found = {
            name: endpoint
            for name in _PROVIDERS
            if (
                endpoint := _endpoint_from(
                    name, variables, allow_http=allow_http, foreign_session=foreign_session
                )
            )
            is not None
        }
        if not found:
            wanted = "; ".join(f"for {name} {_wanted(name)}" for name in _PROVIDERS)
            raise ConfigurationError(f"the environment configures no provider. Set {wanted}")
        _warn_of_http(found, foreign_session=foreign_session)
        trusting = _trusting(found, variables)
        return cls(**trusting, observers=observers, client_session=client_session)

    @property
    def streams(self) -> VagonStreams:
        """Vagon Streams: applications streamed to visitors.

        Raises:
            ConfigurationError: it was not configured.
        """
        return self._client("streams")  # type: ignore[return-value]

    @property
    def computers(self) -> VagonComputers:
        """Vagon Computers: machines of an organisation.

        Raises:
            ConfigurationError: it was not configured.
        """
        return self._client("computers")  # type: ignore[return-value]

    @property
    def streamspace(self) -> StreamSpace:
        """StreamSpace: containerized desktops of your own installation.

        Raises:
            ConfigurationError: it was not configured.
        """
        return self._client("streamspace")  # type: ignore[return-value]

    @property
    def desktops(self) -> Desktops:
        """The desktop-action API: desktops that are launched, clicked and typed into.

        Raises:
            ConfigurationError: it was not configured.
        """
        return self._client("desktops")  # type: ignore[return-value]

    def _client(self, name: str) -> Client:
        try:
            return self._clients[name]
        except KeyError:
            raise ConfigurationError(
                f"{name} is not configured: make VCloud({name}=Endpoint(auth=...)), "
                f"or set {_wanted(name)} and use VCloud.from_env()"
            ) from None

    def instances(self) -> Instances:
        """Everything that runs or could run on all configured providers, asked for concurrently.

        ::

            found = cloud.instances()
            async for instance in found:
                print(instance.provider, printable(instance.name), instance.state)
            for provider, error in found.errors.items():
                print(f"{provider} did not answer: {error}")

        The desktop-action API has no list: of its desktops, those that this client launched and did not stop are shown.
        """
        return Instances({name: client.instances() for name, client in self._clients.items()})

    def bulk(
        self,
        items: Iterable[T] | AsyncIterable[T],
        action: Callable[[T], Awaitable[R]],
        *,
        concurrency: int = 50,
        max_failures: int | None = None,
        deadline: timedelta | float | None = None,
        journal: Journal | str | os.PathLike[str] | None = None,
        key: Callable[[T], str] | None = None,
        record: Callable[[R], object] | None = None,
        settle: Callable[[T], Awaitable[Settled[R]]] | None = None,
        retry_failed: bool = True,
        progress: str | None = None,
    ) -> Bulk[T, R]:
        """Run an async function over many items, with an outcome for each.

        With a journal, a run that was killed can be continued.

        ::

            machines = cloud.computers.machines.list(status="off")
            async with cloud.bulk(machines, lambda one: one.start(), journal="start.journal") as run:
                async for outcome in run:
                    print(repr(outcome.key), outcome.status, outcome.error or "")
            print(run.totals)

        The arguments are those of :class:`~vcloud.Bulk`, with ``counted=True``: the action must
        change things only through this SDK, and only in its own task or in tasks that it starts.
        For an action that does more, or that has its requests sent by other tasks, use
        :class:`~vcloud.Bulk` itself. There, an item that was interrupted is always unknown.

        Raises:
            InvalidArgumentError: a value is not allowed.
        """
        # Imported here, because a program without bulk runs needs no SQLite.
        from vcloud.bulk import Bulk  # noqa: PLC0415
        from vcloud.bulk.options import BulkOptions  # noqa: PLC0415

        options = BulkOptions(
            action=action,
            concurrency=concurrency,
            max_failures=max_failures,
            deadline=deadline,
            journal=journal,
            key=key,
            record=record,
            settle=settle,
            retry_failed=retry_failed,
            progress=progress,
            counted=True,
            one_client=len(self._clients) == 1,
        )
        return Bulk.from_options(items, options)

    async def aopen(self) -> Self:
        """Open without ``async with``; then :meth:`aclose` is yours to call."""
        self._transport.open()
        return self

    async def aclose(self) -> None:
        """End what was opened through this client, and close the connections.

        Desktops of open blocks are stopped, connections under way undone, tunnels and agents ended,
        each within ``cleanup_timeout``. The next call in such a block raises
        :class:`~vcloud.ConfigurationError`; no task of yours is cancelled. May be called twice.

        Raises:
            CleanupError: something that was opened may have been left.
        """
        await self._close(None)

    async def _close(self, error: BaseException | None) -> None:
        from vcloud._core.closing import close  # noqa: PLC0415 - as above

        await close(self._transport, [client._session for client in self._clients.values()], error)

    async def __aenter__(self) -> Self:
        """Open."""
        return await self.aopen()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close, as :meth:`aclose` does."""
        await self._close(error)

    def __repr__(self) -> str:
        return f"<VCloud with {', '.join(self._clients)}>"
