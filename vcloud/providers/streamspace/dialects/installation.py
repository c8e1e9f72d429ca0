"""Which dialect an installation speaks; shared by everything of one client."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, cast
from weakref import WeakValueDictionary

from vcloud._core.session import Session
from vcloud.errors import ConfigurationError
from vcloud.providers.streamspace.dialects.calls import Calls, DialectName

if TYPE_CHECKING:
    from vcloud.providers.streamspace.realtime.vnc_opening import Viewer

__all__ = ["Installation", "calls", "calls_or_none", "installation", "known_dialect"]


class Installation:
    """The installation that a client talks to.

    Args:
        documented: the functions of the documented dialect.
        published: those of the published one.
        dialect: which one it is; None: the installation is asked.
    """

    def __init__(
        self, documented: Calls, published: Calls, dialect: DialectName | None = None
    ) -> None:
        self._calls: dict[DialectName, Calls] = {"documented": documented, "published": published}
        #: The functions of its dialect; None before it was recognised.
        self.calls: Calls | None = None if dialect is None else self._calls[dialect]
        #: Whether an answer came from a published server's cache.
        self.caches = False
        #: A number for each request that is to get around the cache.
        self.numbers: Iterator[int] = count()

        #: For each session's id, this client's last tunnel to it, while that opens or is open.
        self.viewers: WeakValueDictionary[str, Viewer] = WeakValueDictionary()

    async def recognise(self, session: Session) -> Calls:  # noqa: ARG002 - asks the service
        """Ask the installation which dialect it speaks, once for all tasks that wait for it."""
        if self.calls is None:
            self.calls = self._calls["documented"]
        return self.calls


def installation(session: Session) -> Installation:
    """The installation of a session, a collection's or a handle's."""
    return cast("Installation", session.installation)


async def calls(session: Session) -> Calls:
    """The functions of the session's dialect. If it is not known yet, the service is asked."""
    found = installation(session)
    return found.calls or await found.recognise(session)


def calls_or_none(session: Session) -> Calls | None:
    """The functions of the session's dialect, for what cannot wait; None: it is not known yet."""
    return installation(session).calls


def known_dialect(session: Session, what: str) -> DialectName:
    """The dialect, for what cannot wait.

    Args:
        session: the session of a handle.
        what: what needs it, as the error names it.

    Raises:
        ConfigurationError: it is not known yet.
    """
    found = calls_or_none(session)
    if found is None:
        raise ConfigurationError(
            f"{what} depends on the installation, and nothing was asked of it yet: "
            'await streamspace.recognise() first, or give dialect="documented" or "published"'
        )
    return found.name
