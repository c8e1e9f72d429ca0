"""The facade: one aiohttp session, and a client for each provider that was configured."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

import msgspec
from attrs import evolve

from vcloud._core.endpoint import Endpoint, checked_observers
from vcloud._core.instance import Instances
from vcloud._core.secret import Secretive, concealing
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


def _endpoint_from(name: str, environ: Mapping[str, str]) -> Endpoint | None:
    """One provider's endpoint from its variables; None when none of its credentials is set."""
    provider = _PROVIDERS[name]
    url = _variables(name, ["URL"])[0]
    half: list[str] = []
    for make, parts in provider.ways:
        needed = _variables(name, parts)
        missing = [variable for variable in needed if not environ.get(variable)]
        if not missing:
            if provider.needs_url and not environ.get(url):
                raise ConfigurationError(f"{url} must be set too, to use {name}")
            try:
                return Endpoint(
                    environ.get(url) or None, auth=make(*(environ[variable] for variable in needed))
                )
            except ConfigurationError as error:
                raise ConfigurationError(f"{error} (from {', '.join([*needed, url])})") from None
        if len(missing) < len(needed):
            half = missing
    if half:
        raise ConfigurationError(f"{' and '.join(half)} must be set too, to use {name}")
    return None


class VCloud(Secretive):
    """Cloud desktops of any subset of the providers, over one aiohttp session.

    ::

        async with VCloud(computers=Endpoint(auth=HMACAuth(key, secret))) as cloud:
            async for machine in cloud.computers.machines.list(status="off"):
                await machine.start()

    One client serves a whole process: make it once, in the event loop that uses it, and close it at the end.

    Args:
        streams: where and how to reach Vagon Streams, with :class:`~vcloud.HMACAuth`.
        computers: where and how to reach Vagon Computers, with :class:`~vcloud.HMACAuth`.
        streamspace: where and how to reach StreamSpace, with :class:`~vcloud.BearerAuth`.
        desktops: where and how to reach the desktop-action API, with :class:`~vcloud.APIKeyAuth`.
        observers: hear of each attempt to send something, whichever the provider; see :class:`~vcloud.Observer`.
        client_session: an aiohttp session of your own to send through; it is never closed here. Its connector's
            limit then counts too, and waiting for it counts as part of an attempt's timeout.

    Raises:
        ConfigurationError: no provider was given.
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
        others elsewhere too.

        Args:
            environ: the variables; those of the process when left out.
            observers: as for the class.
            client_session: as for the class.

        Raises:
            ConfigurationError: nothing is set, or only half of what a provider needs.
        """
        variables = os.environ if environ is None else environ
        found = {
            name: endpoint
            for name in _PROVIDERS
            if (endpoint := _endpoint_from(name, variables)) is not None
        }
        if not found:
            wanted = "; ".join(f"for {name} {_wanted(name)}" for name in _PROVIDERS)
            raise ConfigurationError(f"the environment configures no provider. Set {wanted}")
        return cls(**found, observers=observers, client_session=client_session)

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
                print(instance.provider, instance.name, instance.state)
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
        """Run an async function over many items, with an outcome for each; with a journal, also after it was killed.

        ::

            async with cloud.bulk(machines, lambda machine: machine.start(), journal="start.journal") as run:
                async for outcome in run:
                    print(outcome.key, outcome.status, outcome.error or "")
            print(run.totals)

        The arguments are those of :class:`~vcloud.Bulk`, with ``counted=True``: the action must do nothing to the world but
        by way of this SDK, and in its own task or in those that it starts. For one that does more, or has its requests sent by
        others, use :class:`~vcloud.Bulk` itself: what was interrupted is unknown then, whatever was seen of it.

        Raises:
            InvalidArgumentError: an argument that makes no sense.
        """
        # Here and not above: those who run nothing in bulk need no SQLite.
        from vcloud.bulk import Bulk  # noqa: PLC0415

        run = Bulk(
            items,
            action,
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
        )
        run._of_one_client = len(self._clients) == 1
        return run

    async def aopen(self) -> Self:
        """Open without ``async with``; then :meth:`aclose` is yours to call."""
        self._transport.open()
        return self

    async def aclose(self) -> None:
        """Close the connections. May be called twice."""
        async with AsyncExitStack() as stack:  # each of these, whatever becomes of the others
            for client in self._clients.values():
                stack.push_async_callback(client._session.aclose)
            await self._transport.aclose()

    async def __aenter__(self) -> Self:
        """Open."""
        return await self.aopen()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        await self.aclose()

    def __repr__(self) -> str:
        return f"<VCloud with {', '.join(self._clients)}>"
