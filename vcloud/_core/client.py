"""What the four provider clients have in common: opening, closing, and standing alone."""

from __future__ import annotations

from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

from vcloud._core.closing import close
from vcloud._core.decoding.codec import Codec
from vcloud._core.dialect import Dialect
from vcloud._core.endpoint import Endpoint, check_resolver
from vcloud._core.instances import Instance
from vcloud._core.paging.pager import Pager
from vcloud._core.redaction.secretive import Secretive
from vcloud._core.retry import RetryPolicy
from vcloud._core.session import Session
from vcloud._core.stats import Stats
from vcloud._core.transport import Transport
from vcloud.errors import ConfigurationError

if TYPE_CHECKING:
    import aiohttp


class Client(Secretive):
    """One provider's API.

    Works alone (``async with VagonComputers(Endpoint(auth=...)) as computers``) or as a part of :class:`~vcloud.VCloud`.

    Args:
        endpoint: where and how to reach it.
        client_session: an aiohttp session of your own to send through; it is never closed here.
            It resolves names by itself: plain http to ``localhost`` then needs ``allow_http``.
        transport: the facade's, shared by all its clients.
        codec: how answers are decoded; for tests.
    """

    dialect: ClassVar[Dialect]
    default_base_url: ClassVar[str | None] = None

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        client_session: aiohttp.ClientSession | None = None,
        transport: Transport | None = None,
        codec: Codec | None = None,
    ) -> None:
        if not isinstance(endpoint, Endpoint):
            raise ConfigurationError(
                f"{type(self).__name__} needs an Endpoint(auth=...), not {type(endpoint).__name__}"
            )
        base_url = endpoint.base_url or self.default_base_url
        if base_url is None:
            raise ConfigurationError(
                f"{self.dialect.provider} has no address of its own: give Endpoint(base_url, auth=...)"
            )
        check_resolver(endpoint, foreign_session=client_session is not None)
        self._transport = transport or Transport(client_session)
        self._shares_transport = transport is not None
        self._attach(Session(self.dialect, endpoint, base_url, self._transport, codec=codec))

    def _attach(self, session: Session) -> None:
        """Make the collections; each provider adds its own."""
        self._session = session

    def instances(self) -> Pager[Instance]:
        """Everything that runs or could run here, in the view that all providers share."""
        raise TypeError(f"{type(self).__name__} does not say what its instances are")

    def stats(self) -> Stats:
        """How busy this client is now; for health checks. It sends nothing.

        Returns:
            requests in flight and waiting, free slots, and until when a 429 pauses everything.
        """
        return self._session.stats()

    def with_options(
        self,
        *,
        timeout: timedelta | float | None = None,
        deadline: timedelta | float | None = None,
        retry: RetryPolicy | None = None,
    ) -> Self:
        """This client with other patience: same connections, limits and credentials; durations in seconds or timedelta.

        Close the original, not this one.
        """
        other = type(self).__new__(type(self))
        # What a provider keeps beside its collections is shared too.
        other.__dict__.update(self.__dict__)
        other._shares_transport = True
        other._attach(self._session.with_options(timeout=timeout, deadline=deadline, retry=retry))
        return other

    async def aopen(self) -> Self:
        """Open without ``async with``; then :meth:`aclose` is yours to call."""
        self._transport.open()
        return self

    async def aclose(self) -> None:
        """End what this client opened, and close the connections.

        Desktops of open blocks are stopped, connections under way undone, tunnels and agents ended,
        each within ``cleanup_timeout``. The next call in such a block raises
        :class:`~vcloud.ConfigurationError`; no task of yours is cancelled. May be called twice. A
        client of a facade is closed by the facade.

        Raises:
            CleanupError: something that was opened may have been left.
        """
        await self._close(None)

    async def _close(self, error: BaseException | None) -> None:
        if not self._shares_transport:
            await close(self._transport, [self._session], error)

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
        return f"<{type(self).__name__} at {self._session.base_url}>"
