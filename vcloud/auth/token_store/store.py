"""The interface of a store that several processes share tokens in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple

from vcloud.auth.token_store.records import Record

__all__ = ["LOCK_LASTS", "LOCK_SIGN", "Found", "StoreAccess", "StoreAwayError", "TokenStore"]

#: Seconds after which a lock is taken over if its owner shows no life.
LOCK_LASTS: Final = 10.0
#: Seconds between two signs of life.
LOCK_SIGN: Final = 2.0


class Found(NamedTuple):
    """What is stored of a token."""

    record: Record
    #: Seconds since it was written.
    age: float


class StoreAwayError(Exception):
    """The store cannot be used now. The text is our own, and says why."""


class TokenStore(ABC):
    """Where several processes share the tokens of their logins.

    ``BearerAuth.login(username, password, store=...)`` takes a :class:`~vcloud.FileTokenStore` for
    the processes of one machine, or a :class:`~vcloud.RedisTokenStore` for several machines. One
    object may serve any number of strategies, event loops and threads, and a forked process too.
    """

    def __init__(self) -> None:
        #: Whether the log has a warning that this process continues without the store.
        self.warned: bool = False

    @property
    @abstractmethod
    def place(self) -> str:
        """What messages call it. It shows no secret."""

    @abstractmethod
    def opened(self, key: str) -> AbstractAsyncContextManager[StoreAccess]:
        """Access to one token. Leaving the block gives up its lock.

        Args:
            key: the name of the token, of the characters ``0-9a-f``.

        Raises:
            ConfigurationError: other users could read or replace the tokens.
            StoreAwayError: the store cannot be used.
        """


class StoreAccess(ABC):
    """Access to one token of a store, and to the lock of its login.

    Each method may raise :class:`StoreAwayError`, one of :attr:`failures`, which means the same, or
    ConfigurationError.
    """

    #: The errors of the store's client.
    failures: tuple[type[Exception], ...] = (OSError,)

    @abstractmethod
    async def read(self) -> Found | None:
        """What is stored of the token; None: there is none."""

    @abstractmethod
    async def write(self, record: Record) -> None:
        """Replace the token."""

    @abstractmethod
    async def drop(self, token: str) -> None:
        """Remove the token if it is this one."""

    @abstractmethod
    async def try_lock(self) -> bool:
        """Take the lock of the login, unless another one has it. Does not wait.

        A lock whose owner did not call :meth:`keep_lock` for :data:`LOCK_LASTS` seconds is taken
        over: the process was stopped, or its machine is gone.
        """

    @abstractmethod
    async def keep_lock(self) -> None:
        """Show that the owner of the lock is alive."""
