"""The facade: one aiohttp session, and a client for each provider that was configured."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar, overload

from attrs import evolve

from vcloud._core.endpoint import Endpoint, check_resolver, checked_observers
from vcloud._core.environment import (
    Credentials,
    Variables,
    allows_http,
    trusting,
    warn_of_http,
)
from vcloud._core.keys import provider_named, split_key
from vcloud._core.lifetime import Lifetime
from vcloud._core.redaction.secretive import concealing
from vcloud.auth import APIKeyAuth, BearerAuth, HMACAuth
from vcloud.errors import ConfigurationError

if TYPE_CHECKING:
    from vcloud._core.client import Client
    from vcloud._core.connections.aiohttp_compat import ClientSession
    from vcloud._core.instances import InstanceRef
    from vcloud._core.observe import Observer
    from vcloud._core.stats import Stats
    from vcloud.bulk import Bulk, Journal, Settled
    from vcloud.instances import Instances
    from vcloud.providers.computers import VagonComputers
    from vcloud.providers.desktops import Desktops
    from vcloud.providers.streams import VagonStreams
    from vcloud.providers.streamspace import StreamSpace

__all__ = ["Provider", "VCloud"]

C = TypeVar("C", bound="Client")
T = TypeVar("T")
R = TypeVar("R")


class Provider(Generic[C]):
    """The entry of a provider: an attribute of the facade, with what the facade needs to know.

    The client that the facade makes replaces it as an attribute of the facade. If the provider is
    not configured, reading the attribute raises a ConfigurationError.

    Args:
        client: its class, in the package of :mod:`vcloud.providers` with the attribute's name.
        credentials: the kinds that ``from_env`` reads.
        needs_url: it has no default address.
        doc: the attribute's documentation.
    """

    def __init__(
        self, client: str, *credentials: Credentials, needs_url: bool = False, doc: str
    ) -> None:
        self.__doc__ = doc
        self._client = client
        self._credentials = credentials
        self._needs_url = needs_url

    def __set_name__(self, owner: type[VCloud], name: str) -> None:
        self.variables: Variables = Variables(name, self._credentials, self._needs_url)
        _PROVIDERS[name] = self

    @overload
    def __get__(self, facade: None, owner: object) -> Self: ...
    @overload
    def __get__(self, facade: VCloud, owner: object) -> C: ...
    def __get__(self, facade: VCloud | None, owner: object) -> C | Self:
        if facade is None:
            return self
        name = self.variables.name
        raise ConfigurationError(
            f"{name} is not configured: make VCloud({name}=Endpoint(auth=...)), "
            f"or set {self.variables.wanted} and use VCloud.from_env()"
        )

    def client_class(self) -> type[C]:
        """Import the class of its client."""
        package = import_module(f"vcloud.providers.{self.variables.name}")
        found: type[C] = getattr(package, self._client)
        return found


#: By their names, in the order of the class below.
_PROVIDERS: Final[dict[str, Provider[Any]]] = {}


class VCloud(Lifetime):
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
        observers: are called for each attempt to send a request, to any provider; see
            :class:`~vcloud.Observer`.
        client_session: an ``aiohttp.ClientSession`` of your own to send through; the facade never
            closes it. Its connector's limit then applies too, and waiting for it counts as part of
            an attempt's timeout. It resolves names itself, so plain http to ``localhost`` then
            needs ``allow_http``.

    Raises:
        ConfigurationError: no provider was given, or an argument is of the wrong kind.
    """

    # A provider is a folder of `vcloud.providers` and an entry here. The keyword of `__init__` with
    # its name is there for type checkers and readers.
    streams: Provider[VagonStreams] = Provider(
        "VagonStreams",
        Credentials(HMACAuth, ("KEY", "SECRET"), {"SIGNED_PATH": "signed_path"}),
        doc="Vagon Streams: applications streamed to visitors.",
    )
    computers: Provider[VagonComputers] = Provider(
        "VagonComputers",
        Credentials(HMACAuth, ("KEY", "SECRET"), {"SIGNED_PATH": "signed_path"}),
        doc="Vagon Computers: machines of an organisation.",
    )
    streamspace: Provider[StreamSpace] = Provider(
        "StreamSpace",
        Credentials(BearerAuth, ("TOKEN",)),
        Credentials(BearerAuth.login, ("USERNAME", "PASSWORD")),
        needs_url=True,
        doc="StreamSpace: containerized desktops of your own installation.",
    )
    desktops: Provider[Desktops] = Provider(
        "Desktops",
        Credentials(APIKeyAuth, ("API_KEY",)),
        doc="The desktop-action API: desktops that are launched, clicked and typed into.",
    )

    def __init__(
        self,
        *,
        streams: Endpoint | None = None,
        computers: Endpoint | None = None,
        streamspace: Endpoint | None = None,
        desktops: Endpoint | None = None,
        observers: Iterable[Observer] = (),
        client_session: ClientSession | None = None,
    ) -> None:
        given = {
            "streams": streams,
            "computers": computers,
            "streamspace": streamspace,
            "desktops": desktops,
        }
        # Not at the top of the module: `import vcloud` must not load aiohttp.
        from vcloud._core.client import client_with  # noqa: PLC0415
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
            observed = evolve(endpoint, observers=(*endpoint.observers, *everywhere))
            kind = _PROVIDERS[name].client_class()
            client = client_with(kind, observed, transport=self._transport)
            vars(self)[name] = self._clients[name] = client
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
        client_session: ClientSession | None = None,
    ) -> Self:
        """A client for every provider whose credentials are in the environment.

        ``VCLOUD_STREAMS_KEY`` and ``_SECRET``; ``VCLOUD_COMPUTERS_KEY`` and ``_SECRET``;
        ``VCLOUD_STREAMSPACE_URL`` with ``_TOKEN`` or ``_USERNAME`` and ``_PASSWORD``;
        ``VCLOUD_DESKTOPS_API_KEY``. For the others, ``VCLOUD_<PROVIDER>_URL`` overrides the base
        URL. Behind a gateway that changes paths, ``VCLOUD_STREAMS_SIGNED_PATH`` and
        ``VCLOUD_COMPUTERS_SIGNED_PATH`` are the ``signed_path`` of :class:`~vcloud.HMACAuth`.

        ``VCLOUD_CA_FILE`` names the certificate of your own authority, in PEM. It is trusted in
        addition to the system's, at addresses that a ``VCLOUD_<PROVIDER>_URL`` gives.

        ``VCLOUD_ALLOW_HTTP=1`` permits plain ``http`` to another machine, for addresses that
        ``VCLOUD_<PROVIDER>_URL`` gives. Credentials are then sent in clear text, so the logger
        ``vcloud`` names the hosts in one WARNING. It is for an emulator in a container or on
        another machine. ``0`` and an empty value do not permit it. An :class:`~vcloud.Endpoint`
        that you make does not read it.

        Args:
            environ: the variables; those of the process when left out.
            observers: as for the class.
            client_session: as for the class.

        Raises:
            ConfigurationError: nothing is set, or only half of what a provider needs, or an invalid
                value: for example, ``VCLOUD_ALLOW_HTTP`` is another word, or the file of
                ``VCLOUD_CA_FILE`` cannot be read.
        """
        variables = os.environ if environ is None else environ
        allow_http, foreign = allows_http(variables), client_session is not None
        found: dict[str, Endpoint] = {}
        for name, provider in _PROVIDERS.items():
            endpoint = provider.variables.endpoint(
                variables, allow_http=allow_http, foreign_session=foreign
            )
            if endpoint is not None:
                found[name] = endpoint
        if not found:
            wanted = "; ".join(
                f"for {name} {provider.variables.wanted}" for name, provider in _PROVIDERS.items()
            )
            raise ConfigurationError(f"the environment configures no provider. Set {wanted}")
        warn_of_http(found, foreign_session=foreign)
        given: dict[str, Any] = {**trusting(found, variables)}
        return cls(**given, observers=observers, client_session=client_session)

    def instances(self) -> Instances:
        """Everything that runs or could run on all configured providers, requested concurrently.

        ::

            found = cloud.instances()
            async for instance in found:
                print(instance.provider, printable(instance.name), instance.state)
            for provider, error in found.errors.items():
                print(f"{provider} did not answer: {error}")

        The desktop-action API has no list of desktops: only those are shown that this client
        launched and did not stop.
        """
        from vcloud.instances import Instances  # noqa: PLC0415 - as for the transport

        return Instances({name: client.instances() for name, client in self._clients.items()})

    def instance(self, provider: str, id: str | int | None = None) -> InstanceRef:
        """A machine, session or desktop by its key, or its provider and id; nothing is sent.

        ::

            instance = cloud.instance("computers/100")  # or ("computers", 100)
            await instance.start()
            instance = await instance.wait_until(InstanceState.RUNNING)
            print(await instance.connect_url())

        The key is what ``instance.key`` is, and what journals of bulk runs have for the items of
        :meth:`instances`. It holds no secret.

        A Streams machine is fetched by its uid, which a key does not have: the first ``refresh`` or
        poll reads ``GET /machines`` up to the machine. Where the uid is known, use
        ``cloud.streams.machines.ref(id, uid=uid).as_instance()``.

        Args:
            provider: ``"computers"``, ``"streams"``, ``"streamspace"`` or ``"desktops"``; without
                ``id``, the key ``"provider/id"``.
            id: the provider's id for it.

        Raises:
            InvalidArgumentError: there is no such provider, or the id is not valid.
            ConfigurationError: the provider is not configured.
        """
        # Not at the top of the module: `import vcloud` must not load aiohttp.
        from vcloud._core.client import handle_of  # noqa: PLC0415

        if id is None:
            name, id = split_key(provider, _PROVIDERS)
        else:
            name = provider_named(provider, _PROVIDERS)
        client: Client = getattr(self, name)
        return handle_of(client, id).as_instance()

    def stats(self) -> Mapping[str, Stats]:
        """How busy the client of each configured provider is now, by name; it sends nothing."""
        return {name: client.stats() for name, client in self._clients.items()}

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
            async with cloud.bulk(machines, lambda one: one.start(), journal="start.db") as run:
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

    async def _close(self, error: BaseException | None) -> None:
        # Not at the top of the module: `import vcloud` must not load aiohttp.
        from vcloud._core.client import session_of  # noqa: PLC0415
        from vcloud._core.closing import close  # noqa: PLC0415

        await close(self._transport, map(session_of, self._clients.values()), error)

    def __repr__(self) -> str:
        return f"<VCloud with {', '.join(self._clients)}>"
