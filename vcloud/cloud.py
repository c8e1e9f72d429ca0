"""The facade: one aiohttp session, and a client for each provider that was configured."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from attrs import frozen

from vcloud._core.endpoint import Endpoint
from vcloud._core.secret import Secretive
from vcloud.auth import HMACAuth
from vcloud.errors import ConfigurationError

if TYPE_CHECKING:
    import aiohttp

    from vcloud._core.client import Client
    from vcloud.providers.computers import VagonComputers

__all__ = ["VCloud"]


@frozen
class _Provider:
    """Where a provider's client is, and which environment variables make its credentials."""

    module: str
    client: str
    needs: tuple[str, ...]
    auth: type[HMACAuth]


#: A new provider is a folder, a line here and a property below.
_PROVIDERS: Final = {
    "computers": _Provider("vcloud.providers.computers", "VagonComputers", ("KEY", "SECRET"), HMACAuth),
}


def _endpoint_from(name: str, environ: Mapping[str, str]) -> Endpoint | None:
    """One provider's endpoint from its variables; None when none of its credentials is set."""
    prefix = f"VCLOUD_{name.upper()}_"
    needs = [prefix + part for part in _PROVIDERS[name].needs]
    values = [environ.get(variable, "") for variable in needs]
    if not any(values):
        return None
    if missing := [variable for variable, given in zip(needs, values, strict=True) if not given]:
        raise ConfigurationError(f"{' and '.join(missing)} must be set too, to use {name}")
    return Endpoint(environ.get(prefix + "URL") or None, auth=_PROVIDERS[name].auth(*values))


class VCloud(Secretive):
    """Cloud desktops of any subset of the providers, over one aiohttp session.

    ::

        async with VCloud(computers=Endpoint(auth=HMACAuth(key, secret))) as cloud:
            async for machine in cloud.computers.machines.list(status="off"):
                await machine.start()

    One client serves a whole process: make it once, in the event loop that uses it, and close it at the end.

    Args:
        computers: where and how to reach Vagon Computers.
        client_session: an aiohttp session of your own to send through; it is never closed here. Its connector's
            limit then counts too, and waiting for it counts as part of an attempt's timeout.

    Raises:
        ConfigurationError: no provider was given.
    """

    def __init__(
        self,
        *,
        computers: Endpoint | None = None,
        client_session: aiohttp.ClientSession | None = None,
    ) -> None:
        given = {"computers": computers}
        # Here and not above: importing vcloud must not cost what making a client costs.
        from vcloud._core.transport import Transport  # noqa: PLC0415

        self._transport = Transport(client_session)
        self._clients: dict[str, Client] = {}
        for name, endpoint in given.items():
            if endpoint is None:
                continue
            if not isinstance(endpoint, Endpoint):
                raise ConfigurationError(f"{name} must be an Endpoint(auth=...), not {type(endpoint).__name__}")
            client = getattr(import_module(_PROVIDERS[name].module), _PROVIDERS[name].client)
            self._clients[name] = client(endpoint, transport=self._transport)
        if not self._clients:
            raise ConfigurationError(
                f"no provider is configured: give at least one of {', '.join(given)}, "
                f"for example VCloud(computers=Endpoint(auth=HMACAuth(key, secret)))"
            )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, *, client_session: aiohttp.ClientSession | None = None) -> Self:
        """A client for every provider whose credentials are in the environment.

        ``VCLOUD_COMPUTERS_KEY``, ``VCLOUD_COMPUTERS_SECRET`` and, for another address than Vagon's, ``VCLOUD_COMPUTERS_URL``.

        Args:
            environ: the variables; those of the process when left out.
            client_session: as for the class.

        Raises:
            ConfigurationError: nothing is set, or only half of what a provider needs.
        """
        variables = os.environ if environ is None else environ
        found = {name: endpoint for name in _PROVIDERS if (endpoint := _endpoint_from(name, variables)) is not None}
        if not found:
            wanted = "; ".join(
                f"for {name} " + " and ".join(f"VCLOUD_{name.upper()}_{part}" for part in provider.needs)
                for name, provider in _PROVIDERS.items()
            )
            raise ConfigurationError(f"the environment configures no provider. Set {wanted}")
        return cls(**found, client_session=client_session)

    @property
    def computers(self) -> VagonComputers:
        """Vagon Computers.

        Raises:
            ConfigurationError: it was not configured.
        """
        return self._client("computers")  # type: ignore[return-value]

    def _client(self, name: str) -> Client:
        try:
            return self._clients[name]
        except KeyError:
            variables = " and ".join(f"VCLOUD_{name.upper()}_{part}" for part in _PROVIDERS[name].needs)
            raise ConfigurationError(
                f"{name} is not configured: make VCloud({name}=Endpoint(auth=...)), or set {variables} and use VCloud.from_env()"
            ) from None

    async def aopen(self) -> Self:
        """Open without ``async with``; then :meth:`aclose` is yours to call."""
        self._transport.open()
        return self

    async def aclose(self) -> None:
        """Close the connections. May be called twice."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        """Open."""
        return await self.aopen()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        await self.aclose()

    def __repr__(self) -> str:
        return f"<VCloud with {', '.join(self._clients)}>"
