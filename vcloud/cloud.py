"""The facade: one aiohttp session, and a client for each provider that was configured."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, Unpack

from vcloud._core.arguments import positive_seconds
from vcloud._core.endpoint import Endpoint
from vcloud._core.endpoint_options import (
    FIXED,
    FROM_ENV,
    OF_ENDPOINT,
    EndpointOptions,
    check_options,
)
from vcloud._core.environment import merged_options, read_endpoints
from vcloud._core.keys import provider_and_id
from vcloud._core.lifetime import Lifetime
from vcloud._core.redaction.secretive import concealing
from vcloud._core.retry import RetryPolicy
from vcloud._core.wrong_arguments import explained
from vcloud.clients import make_clients
from vcloud.errors import ConfigurationError
from vcloud.providers.dialect import DialectName, dialect_of_environment
from vcloud.providers.entry import Provider
from vcloud.providers.variables import COMPUTERS, DESKTOPS, STREAMS, STREAMSPACE, VARIABLES

if TYPE_CHECKING:
    from vcloud._core.client import Client
    from vcloud._core.connections.aiohttp_compat import ClientSession
    from vcloud._core.instances import Controllable, InstanceRef
    from vcloud._core.observe import Observer
    from vcloud._core.stats import Stats
    from vcloud.bulk import Bulk, Journal, Outcome, Settled
    from vcloud.instances import Instances
    from vcloud.providers.computers import VagonComputers
    from vcloud.providers.desktops import Desktops
    from vcloud.providers.streams import VagonStreams
    from vcloud.providers.streamspace import StreamSpace

__all__ = ["Endpoint", "Provider", "VCloud"]

T = TypeVar("T")
R = TypeVar("R")


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
        streamspace_dialect: how the StreamSpace installation answers, ``"documented"`` or
            ``"published"``; None: it is recognised. See :attr:`StreamSpace.dialect`.
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
        "VagonStreams", STREAMS, doc="Vagon Streams: applications streamed to visitors."
    )
    computers: Provider[VagonComputers] = Provider(
        "VagonComputers", COMPUTERS, doc="Vagon Computers: machines of an organisation."
    )
    streamspace: Provider[StreamSpace] = Provider(
        "StreamSpace", STREAMSPACE, doc="StreamSpace: containers of your own installation."
    )
    desktops: Provider[Desktops] = Provider(
        "Desktops", DESKTOPS, doc="The desktop-action API: desktops that a program uses."
    )

    @concealing
    @explained("VCloud", instead=OF_ENDPOINT)
    def __init__(
        self,
        *,
        streams: Endpoint | None = None,
        computers: Endpoint | None = None,
        streamspace: Endpoint | None = None,
        desktops: Endpoint | None = None,
        streamspace_dialect: DialectName | None = None,
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
        from vcloud._core.transport import Transport  # noqa: PLC0415

        self._transport = Transport(client_session)
        self._clients: dict[str, Client] = make_clients(
            _PROVIDERS,
            given,
            self._transport,
            observers=observers,
            foreign_session=client_session is not None,
            streamspace_dialect=streamspace_dialect,
        )
        vars(self).update(self._clients)

    @classmethod
    @concealing
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        streams: EndpointOptions | None = None,
        computers: EndpointOptions | None = None,
        streamspace: EndpointOptions | None = None,
        desktops: EndpointOptions | None = None,
        streamspace_dialect: DialectName | None = None,
        client_session: ClientSession | None = None,
        **options: Unpack[EndpointOptions],
    ) -> Self:
        """A client for every provider whose credentials are in the environment.

        ``VCLOUD_STREAMS_KEY`` and ``_SECRET``; ``VCLOUD_COMPUTERS_KEY`` and ``_SECRET``;
        ``VCLOUD_STREAMSPACE_URL`` with ``_TOKEN`` or ``_USERNAME`` and ``_PASSWORD``;
        ``VCLOUD_DESKTOPS_API_KEY``. For the others, ``VCLOUD_<PROVIDER>_URL`` overrides the base
        URL. Behind a gateway that changes paths, ``VCLOUD_STREAMS_SIGNED_PATH`` and
        ``VCLOUD_COMPUTERS_SIGNED_PATH`` are the ``signed_path`` of :class:`~vcloud.HMACAuth`.
        ``VCLOUD_STREAMSPACE_TOKEN_STORE``, the path of a file or the address of a Redis, is where
        processes share the tokens of ``_USERNAME``. ``VCLOUD_STREAMSPACE_DIALECT`` is its
        ``streamspace_dialect``.

        ``VCLOUD_CA_FILE`` names the certificate of your own authority, in PEM. It is trusted in
        addition to the system's, at addresses that a ``VCLOUD_<PROVIDER>_URL`` gives.

        ``VCLOUD_ALLOW_HTTP=1`` permits plain ``http`` to another machine, for addresses that
        ``VCLOUD_<PROVIDER>_URL`` gives. Credentials are then sent in clear text, so the logger
        ``vcloud`` names the hosts in one WARNING. It is for an emulator in a container or on
        another machine. ``0`` and an empty value do not permit it. An :class:`~vcloud.Endpoint`
        that you make does not read it.

        Args:
            environ: the variables; those of the process when left out.
            streams: options of this provider's :class:`~vcloud.Endpoint`, such as
                ``{"rate_limits": [...]}``. They go before the options for all. If the environment
                does not configure the provider, they are not used.
            computers: the same for Vagon Computers.
            streamspace: the same for StreamSpace.
            desktops: the same for the desktop-action API.
            streamspace_dialect: as for the class; it goes before the variable.
            client_session: as for the class.
            options: options of the Endpoints of all providers: ``VCloud.from_env(deadline=10)``.
                ``observers`` of all are called after those of one.

        Raises:
            ConfigurationError: nothing is set, or only half of what a provider needs, or an invalid
                value: for example, ``VCLOUD_ALLOW_HTTP`` is another word, or the file of
                ``VCLOUD_CA_FILE`` cannot be read. Or there is no such option.
        """
        check_options(
            "VCloud.from_env",
            options,
            *("environ", *_PROVIDERS, "streamspace_dialect", "client_session"),
            instead=FROM_ENV,
        )
        # As the class takes them. An Endpoint would let those of one provider replace these.
        everywhere = options.pop("observers", ())
        given = {
            "streams": streams,
            "computers": computers,
            "streamspace": streamspace,
            "desktops": desktops,
        }
        chosen = {name: merged_options(name, options, own) for name, own in given.items()}
        found = read_endpoints(VARIABLES, environ, chosen, client_session is not None)
        if not found:
            wanted = "; ".join(f"for {one.name} {one.wanted}" for one in VARIABLES)
            raise ConfigurationError(f"the environment configures no provider. Set {wanted}")
        dialect = dialect_of_environment(environ, streamspace_dialect, "streamspace_dialect")
        clients: dict[str, Any] = {**found}
        if "streamspace" in found:
            clients["streamspace_dialect"] = dialect
        return cls(**clients, observers=everywhere, client_session=client_session)

    @explained("with_options", instead=FIXED)
    def with_options(
        self,
        *,
        timeout: timedelta | float | None = None,
        deadline: timedelta | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Self:
        """This facade with other timeouts: same connections, limits, credentials and desktops.

        ::

            quick = cloud.with_options(deadline=5)
            machine = await quick.computers.machines.get("100")

        It cannot be closed, and is closed with the original.

        Args:
            timeout: for one attempt; seconds or timedelta.
            deadline: for one call with all its retries and waits; seconds or timedelta.
            retry: when to send again.

        Raises:
            InvalidArgumentError: a time is not above 0, or ``retry`` is not a policy.
        """
        clients = {
            name: client.with_options(timeout=timeout, deadline=deadline, retry=retry)
            for name, client in self._clients.items()
        }
        other = type(self).__new__(type(self))
        vars(other).update(vars(self) | clients, _clients=clients, _is_view=True)
        return other

    @property
    def configured(self) -> tuple[str, ...]:
        """The names of the providers that were configured, such as ``("computers",)``."""
        return tuple(self._clients)

    @explained("ping")
    async def ping(self, *, timeout: timedelta | float = 10) -> dict[str, Outcome[str, None]]:
        """Ask each configured provider whether it answers; for health checks.

        One cheap GET for each, all at once and without a repeat. Where a login is needed first, it
        is done too. The desktop-action API is asked for a desktop that does not exist: its 404 is a
        yes. No ping waits for a slot, so a busy client answers too; it waits for rate limits.

        ::

            for name, outcome in (await cloud.ping()).items():
                print(name, outcome.status, outcome.error or outcome.duration)

        Args:
            timeout: seconds or timedelta for each, with a login and a wait for a rate limit.

        Returns:
            by the provider's name, an outcome: done; failed, with its error; or undone, when a rate
            limit lasts longer than ``timeout``.

        Raises:
            InvalidArgumentError: ``timeout`` is not above 0.
            ConfigurationError: the client is closed. No failure of a provider is raised.
        """
        from vcloud.pinging import ping_all  # noqa: PLC0415 - as for a bulk run

        return await ping_all(self._clients, positive_seconds(timeout, "timeout"))

    @explained("instances")
    def instances(self, *, timeout: timedelta | float | None = None) -> Instances:
        """Everything that runs or could run on all configured providers, requested concurrently.

        ::

            found = cloud.instances()
            async for instance in found:
                print(instance.provider, printable(instance.name), instance.state)
            for provider, error in found.errors.items():
                print(f"{provider} did not answer: {error}")

        The desktop-action API has no list of desktops: only those are shown that this client
        launched and did not stop.

        Args:
            timeout: how long an iteration waits for answers, in all; seconds or timedelta. What
                your code does with the instances does not count. A provider that has not answered
                in full by then is in ``errors`` with a :class:`~vcloud.RequestTimeout`. By default,
                the timeouts of the calls are the only ones.

        Raises:
            InvalidArgumentError: ``timeout`` is not above 0.
        """
        from vcloud.instances import Instances  # noqa: PLC0415 - as for the transport

        sources = {name: client.instances() for name, client in self._clients.items()}
        return Instances(sources, None if timeout is None else positive_seconds(timeout, "timeout"))

    @explained("instance")
    def instance(self, provider: str, id: Controllable | str | int | None = None) -> InstanceRef:
        """A machine, session or desktop by its key, ``"computers/100"``; nothing is sent.

        Args:
            provider: its name; without ``id`` the key, which journals of bulk runs have too.
            id: the provider's id for it, or a handle or a fetched resource of it.

        Raises:
            InvalidArgumentError: there is no such provider, or the id is not valid.
            ConfigurationError: the provider is not configured.
        """
        from vcloud._core.client import handle_of  # noqa: PLC0415 - as for the transport

        name, found = provider_and_id(provider, id, _PROVIDERS)
        return handle_of(getattr(self, name), found).as_instance()

    def stats(self) -> Mapping[str, Stats]:
        """How busy the client of each configured provider is now, by name; it sends nothing."""
        return {name: client.stats() for name, client in self._clients.items()}

    @explained("bulk")
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
        handle: Callable[[str], object] | None = None,
        include_done: bool = False,
        retry_failed: bool = True,
        progress: str | None = None,
    ) -> Bulk[T, R]:
        """Run an async function over many items, with an outcome for each.

        With a journal, a killed run can be continued. Batches are not used: :class:`Bulk` says why.

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
            handle=handle,
            include_done=include_done,
            retry_failed=retry_failed,
            progress=progress,
            counted=True,
            one_client=len(self._clients) == 1,
            clients=self._clients,
        )
        return Bulk.from_options(items, options)

    async def _close(self, error: BaseException | None) -> None:
        # Not at the top of the module: `import vcloud` must not load aiohttp.
        from vcloud._core.client import session_of  # noqa: PLC0415
        from vcloud._core.closing import close  # noqa: PLC0415

        await close(self._transport, map(session_of, self._clients.values()), error)

    def __repr__(self) -> str:
        return f"<VCloud with {', '.join(self._clients)}>"


#: The providers by their names, in the order of the class.
_PROVIDERS: Final[Mapping[str, Provider[Any]]] = {
    name: one for name, one in vars(VCloud).items() if isinstance(one, Provider)
}
