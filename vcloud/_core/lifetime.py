"""The base class of the clients and the facade: they are opened, closed, and never copied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, NoReturn, Self

from vcloud._core.guided import Guided
from vcloud._core.redaction.secretive import Secretive
from vcloud.errors import ConfigurationError

if TYPE_CHECKING:
    from vcloud._core.transport import Transport


class Lifetime(Guided, Secretive):
    """An async context manager over connections that it opens and closes."""

    _absent: ClassVar[Mapping[str, str]] = {
        "close": "did you mean aclose?",
        "open": "did you mean aopen?",
    }

    _transport: Transport
    #: Made by ``with_options``: another object opens and closes what it uses.
    _is_view: bool = False

    async def aopen(self) -> Self:
        """Open without ``async with``. You must call :meth:`aclose` then.

        Raises:
            ConfigurationError: it is closed, or it was made by ``with_options``.
        """
        self._check_owner("opened")
        self._transport.open()
        return self

    async def aclose(self) -> None:
        """End what was opened through this client, and close the connections.

        It stops the desktops of open blocks, undoes connections that are being made, and ends
        tunnels and agents, each within ``cleanup_timeout``. The next call in such a block raises
        :class:`~vcloud.ConfigurationError`; no task of yours is cancelled. It may be called twice.
        The client of a facade is closed by the facade, and this does nothing. What ``with_options``
        made is closed by the original.

        Raises:
            CleanupError: something that was opened may have been left running.
            ConfigurationError: it was made by ``with_options``.
        """
        self._check_owner("closed")
        await self._close(None)

    def _check_owner(self, what: str) -> None:
        if self._is_view:
            raise ConfigurationError(
                f"this {type(self).__name__} was made by with_options and cannot be {what}: it "
                "shares everything with the one that it was made of, so open and close that one"
            )

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
