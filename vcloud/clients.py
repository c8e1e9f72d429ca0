"""The clients of a facade."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve

from vcloud._core.endpoint import Endpoint, check_resolver, checked_observers
from vcloud.errors import ConfigurationError
from vcloud.providers.dialect import checked_dialect
from vcloud.providers.entry import Provider

if TYPE_CHECKING:
    from vcloud._core.client import Client
    from vcloud._core.observe import Observer
    from vcloud._core.transport import Transport

__all__ = ["make_clients"]


def make_clients(
    providers: Mapping[str, Provider[Any]],
    given: Mapping[str, Endpoint | None],
    transport: Transport,
    *,
    observers: Iterable[Observer],
    foreign_session: bool,
    streamspace_dialect: object,
) -> dict[str, Client]:
    """The clients of the providers that are configured, by their names.

    Args:
        providers: all that there are.
        given: their endpoints; None: the provider is not configured.
        transport: the connections, which they share.
        observers: of the attempts to send requests to any of them.
        foreign_session: the user's own ``client_session`` resolves names.
        streamspace_dialect: how the StreamSpace installation answers, as the user gave it.

    Raises:
        ConfigurationError: no provider was given, or an argument is of the wrong kind.
    """
    # Not at the top of the module: `import vcloud` must not load aiohttp.
    from vcloud._core.client import client_with  # noqa: PLC0415

    everywhere = checked_observers(observers)
    dialect = checked_dialect(streamspace_dialect, "streamspace_dialect")
    if dialect is not None and given["streamspace"] is None:
        raise ConfigurationError(
            "streamspace_dialect was given without streamspace=Endpoint(auth=...)"
        )
    clients: dict[str, Client] = {}
    for name, endpoint in given.items():
        if endpoint is None:
            continue
        if not isinstance(endpoint, Endpoint):
            raise ConfigurationError(
                f"{name} must be an Endpoint(auth=...), not {type(endpoint).__name__}"
            )
        check_resolver(endpoint, foreign_session=foreign_session)
        observed = evolve(endpoint, observers=(*endpoint.observers, *everywhere))
        kind = providers[name].client_class()
        own = {"dialect": dialect} if name == "streamspace" else None
        clients[name] = client_with(kind, observed, transport=transport, own=own)
    if not clients:
        raise ConfigurationError(
            f"no provider is configured: give at least one of {', '.join(given)}, "
            f"for example VCloud(computers=Endpoint(auth=HMACAuth(key, secret)))"
        )
    return clients
