"""The base class of the clients and the facade: they are opened, closed, and never copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Self

from vcloud._core.guided import Guided
from vcloud._core.redaction.secretive import Secretive

if TYPE_CHECKING:
    from vcloud._core.transport import Transport


class Lifetime(Guided, Secretive):
    """An async context manager over connections that it opens and closes."""

    _transport: Transport

    async def aopen(self) -> Self:
        """Open without ``async with``. You must call :meth:`aclose` then."""
        self._transport.open()
        return self

    async def aclose(self) -> None:
        """End what was opened through this client, and close the connections.

        It stops the desktops of open blocks, undoes connections that are being made, and ends
        tunnels and agents, each within ``cleanup_timeout``. The next call in such a block raises
        :class:`~vcloud.ConfigurationError`; no task of yours is cancelled. It may be called twice.
        The client of a facade, or of ``with_options``, is closed by the object that made it.

        Raises:
            CleanupError: something that was opened may have been left running.
        """
        await self._close(None)

    async def _close(self, error: BaseException | None) -> None:
        """Close. ``error`` is what the caller's block ends with."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        """Open."""
        return await self.aopen()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Close, as :meth:`aclose` does."""
        await self._close(error)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be pickled or copied, because it holds connections and "
            "credentials: make a new one where it is needed"
        )
