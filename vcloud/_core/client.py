"""The base class of the provider clients: how they are made, and used without a facade."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar, Unpack, overload

import attrs

from vcloud._core.arguments import identifier, positive_seconds
from vcloud._core.auth import Auth
from vcloud._core.closing import close
from vcloud._core.codec import Codec
from vcloud._core.endpoint import Endpoint, check_resolver
from vcloud._core.endpoint_options import (
    FIXED,
    FROM_ENV,
    EndpointOptions,
    check_options,
    credentials_elsewhere,
)
from vcloud._core.environment import Variables
from vcloud._core.instances import Instance, InstanceHandle
from vcloud._core.lifetime import Lifetime
from vcloud._core.paging.pager import Pager
from vcloud._core.redaction.secretive import concealing
from vcloud._core.resource import bind
from vcloud._core.retry import RetryPolicy
from vcloud._core.service import Service
from vcloud._core.session import Session
from vcloud._core.stats import Stats
from vcloud._core.transport import Transport
from vcloud._core.wrong_arguments import WrongArgumentsError, explained
from vcloud.errors import ConfigurationError

if TYPE_CHECKING:
    from vcloud._core.connections.aiohttp_compat import ClientSession

C = TypeVar("C", bound="Client")

_ONCE: Final = RetryPolicy(attempts=1)


class Client(Lifetime):
    """One provider's API.

    It works alone (``async with VagonComputers(auth=HMACAuth(key, secret)) as computers``) or as a
    part of :class:`~vcloud.VCloud`.

    Args:
        base_url: the address with its version, or an :class:`~vcloud.Endpoint`, which has all that
            follows but ``client_session``. None: the provider's own address.
        auth: the credentials, as for an Endpoint.
        client_session: an ``aiohttp.ClientSession`` of your own to send through; the client never
            closes it. It resolves names itself, so plain http to ``localhost`` then needs
            ``allow_http``.
        options: any other argument of an Endpoint, such as ``timeout`` and ``deadline``.

    Raises:
        ConfigurationError: an argument is unknown or of the wrong kind, an Endpoint was given
            together with what it has, or the provider needs a ``base_url``.
    """

    _service: ClassVar[Service]
    #: The class of the handles of what :meth:`instances` yields.
    _instance_handle: ClassVar[Callable[..., InstanceHandle[Any, Any]]]
    _variables: ClassVar[Variables]
    #: The arguments that only this provider's client takes.
    _own_arguments: ClassVar[tuple[str, ...]] = ()
    default_base_url: ClassVar[str | None] = None
    #: The strategy of a client that was given an address and no credentials; None: it needs them.
    _without_auth: ClassVar[Auth | None] = None

    @overload
    def __init__(
        self, endpoint: Endpoint, /, *, client_session: ClientSession | None = None
    ) -> None: ...
    @overload
    def __init__(
        self, *, endpoint: Endpoint, client_session: ClientSession | None = None
    ) -> None: ...
    @overload
    def __init__(
        self,
        base_url: str | None = None,
        *,
        auth: Auth,
        client_session: ClientSession | None = None,
        **options: Unpack[EndpointOptions],
    ) -> None: ...
    @concealing
    def __init__(
        self,
        base_url: Any = None,
        *others: Any,
        client_session: ClientSession | None = None,
        **options: Any,
    ) -> None:
        if others:
            name = type(self).__name__
            raise WrongArgumentsError(
                f"{name} takes the address or an Endpoint by position, and all others by name: "
                f"write {name}(base_url, auth=...)"
            )
        endpoint = self._endpoint(base_url, options)
        foreign = client_session is not None
        self._set_up(endpoint, Transport(client_session), shared=False, foreign_session=foreign)

    def _endpoint(self, given: Any, options: dict[str, Any]) -> Endpoint:
        """The endpoint of a client that was given one, or its arguments."""
        name = type(self).__name__
        endpoint = options.pop("endpoint", given)
        elsewhere = credentials_elsewhere(self._variables.strategy)
        own = ("base_url", "auth", "client_session", *self._own_arguments)
        check_options(name, options, *own, instead=elsewhere)
        if isinstance(endpoint, Endpoint):
            if options or endpoint is not given is not None:
                twice = ", ".join(options) or "base_url"
                raise ConfigurationError(
                    f"{name} got an Endpoint and {twice}, which belongs to it: give "
                    f"Endpoint(auth=..., {twice}=...) alone, or {name}(base_url, auth=..., ...) "
                    "without an Endpoint"
                )
            return endpoint
        if endpoint is not None and not isinstance(endpoint, str):
            raise ConfigurationError(
                f"{name} needs an Endpoint(auth=...), not {type(endpoint).__name__}; or give its "
                f"arguments: {name}(base_url, auth=...)"
            )
        if "auth" not in options and endpoint is not None and self._without_auth is not None:
            options["auth"] = self._without_auth
        if "auth" not in options:
            raise WrongArgumentsError(
                f"{name} needs auth: write {name}(auth={self._variables.strategy}), or set "
                f"{self._variables.wanted} and use {name}.from_env()"
            )
        return Endpoint(endpoint, **options)

    @classmethod
    @concealing
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        client_session: ClientSession | None = None,
        **options: Unpack[EndpointOptions],
    ) -> Self:
        """A client with the address and the credentials of the environment.

        :meth:`VCloud.from_env` lists the variables.

        Args:
            environ: the variables; those of the process when left out.
            client_session: as for the class.
            options: as for the class.

        Raises:
            ConfigurationError: a variable is missing, or a value is invalid.
        """
        callee = f"{cls.__name__}.from_env"
        own = ("environ", "client_session", *cls._own_arguments)
        check_options(callee, options, *own, instead=FROM_ENV)
        foreign = client_session is not None
        endpoint = cls._variables.required_endpoint(environ, options, foreign_session=foreign)
        return cls(endpoint, client_session=client_session)

    def _set_up(
        self,
        endpoint: Endpoint,
        transport: Transport,
        *,
        shared: bool,
        foreign_session: bool,
        codec: Codec | None = None,
    ) -> None:
        if not isinstance(endpoint, Endpoint):
            raise ConfigurationError(
                f"{type(self).__name__} needs an Endpoint(auth=...), not {type(endpoint).__name__}"
            )
        base_url = endpoint.base_url or self.default_base_url
        if base_url is None:
            raise ConfigurationError(
                f"{self._service.provider} has no default address: "
                "give one, as Endpoint(base_url, auth=...)"
            )
        check_resolver(endpoint, foreign_session=foreign_session)
        self._transport = transport
        self._shares_transport = shared
        self._attach(Session(self._service, endpoint, base_url, transport, codec=codec))

    def _attach(self, session: Session) -> None:
        """Make the collections; each provider adds its own."""
        self._session = session

    def _take(self, **own: Any) -> None:
        """Use the arguments that only this provider's client takes. They were checked."""
        assert not own

    def instances(self) -> Pager[Instance]:
        """Everything that runs or could run here, in the view that all providers share."""
        raise NotImplementedError

    def stats(self) -> Stats:
        """How busy this client is now; for health checks. It sends nothing.

        Returns:
            requests in flight and waiting, free slots, and until when a 429 pauses everything.
        """
        return self._session.stats()

    async def ping(self, *, timeout: timedelta | float = 10) -> None:
        """Ask the service whether it answers, and takes the credentials; once, without a repeat.

        It waits for no slot, so a busy client answers too; it waits for rate limits.

        Args:
            timeout: for all of it, with a login and a wait for a limit; seconds or timedelta.

        Raises:
            InvalidArgumentError: ``timeout`` is not above 0.
            ConfigurationError: the client is closed.
            VCloudError: why the answer is none, as for any other call.
        """
        deadline = positive_seconds(timeout, "timeout")
        await self._ping(self._session.with_options(deadline=deadline, retry=_ONCE))

    async def _ping(self, session: Session) -> None:
        """Send one request that costs the service little, and decode the answer."""
        raise NotImplementedError

    @explained("with_options", instead=FIXED)
    def with_options(
        self,
        *,
        timeout: timedelta | float | None = None,
        deadline: timedelta | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Self:
        """This client with other timeouts: same connections, limits and credentials.

        It cannot be closed, and is closed with the original.

        Args:
            timeout: for one attempt; seconds or timedelta.
            deadline: for one call with all its retries and waits; seconds or timedelta.
            retry: when to send again.

        Raises:
            InvalidArgumentError: a time is not above 0, or ``retry`` is not a policy.
        """
        session = self._session.with_options(timeout=timeout, deadline=deadline, retry=retry)
        other = type(self).__new__(type(self))
        # The state that a provider keeps outside of its collections is shared too.
        vars(other).update(vars(self), _is_view=True)
        other._attach(session)  # noqa: SLF001 - another object of this class
        return other

    async def _close(self, error: BaseException | None) -> None:
        if not self._shares_transport:
            await close(self._transport, [self._session], error)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self._session.base_url}>"


# These two belong to the class. As functions, they are not methods that users would find.


def client_with(
    kind: type[C],
    endpoint: Endpoint,
    *,
    transport: Transport | None = None,
    codec: Codec | None = None,
    own: Mapping[str, object] | None = None,
) -> C:
    """A client with parts that users do not choose.

    Args:
        kind: the provider's client.
        endpoint: where and how to reach it.
        transport: the transport of the facade, or a test double; the caller closes it. None: the
            client makes its own.
        codec: how answers are decoded; for tests. None: as for users.
        own: the arguments that only this provider's client takes, checked. None: there are none.

    Raises:
        ConfigurationError: as for the class.
    """
    client = kind.__new__(kind)
    client._set_up(  # noqa: SLF001 - see above
        endpoint,
        Transport() if transport is None else transport,
        shared=transport is not None,
        foreign_session=False,
        codec=codec,
    )
    client._take(**own or {})  # noqa: SLF001 - see above
    return client


def service_of(kind: type[Client]) -> Service:
    """What the core knows of the service of this client."""
    return kind._service  # noqa: SLF001 - see above


def handle_of(client: Client, id: object) -> InstanceHandle[Any, Any]:
    """A handle of the instance with this id: a machine, session or desktop. Nothing is sent.

    It is what the collection's ``ref(id)`` returns. That of a Streams machine has no uid.

    Args:
        client: the client of the provider.
        id: the id as a string or a number, or a handle or a fetched resource that has it.

    Raises:
        InvalidArgumentError: the id is not valid.
    """
    kind: Any = type(client)._instance_handle  # noqa: SLF001 - see above
    if isinstance(id, kind):
        # With its uid, if it has one.
        handle = kind(
            **{one.alias: getattr(id, one.name) for one in attrs.fields(kind) if one.init}
        )
    else:
        handle = kind(id=identifier(id, "id", kind))
    found: InstanceHandle[Any, Any] = bind(handle, client._session)  # noqa: SLF001 - see above
    return found


def session_of(client: Client) -> Session:
    """What a client sends its requests through."""
    return client._session  # noqa: SLF001 - see above
