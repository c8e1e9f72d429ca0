"""Which dialect an installation speaks; shared by everything of one client."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from copy import copy
from itertools import count
from typing import Final, cast
from weakref import WeakKeyDictionary, WeakValueDictionary

from vcloud._core.auth import Auth
from vcloud._core.limits.admission import Admission
from vcloud._core.session import Session
from vcloud._core.timing.timeouts import timeout
from vcloud.auth import BearerAuth
from vcloud.errors import (
    AuthenticationError,
    ConfigurationError,
    DecodeError,
    RequestTimeout,
    VCloudError,
)
from vcloud.providers.streamspace.calls import Calls, DialectName
from vcloud.providers.streamspace.recognition import (
    REFRESH,
    of_login,
    recognised,
    spelling_of,
)

__all__ = ["Installation", "calls", "calls_or_none", "installation", "known_dialect"]

_FORMS: Final[dict[DialectName, str]] = {
    "documented": "the form of StreamSpace's API document",
    "published": "the form of StreamSpace's published server",
}


class Installation:
    """The installation that a client talks to.

    ::

        told ──────────────── an answer in the other form ──> contradicted: nothing more is sent
        unknown ── asked ──> recognised ── an answer in the other form ──> unknown

    Args:
        documented: the functions of the documented dialect.
        published: those of the published one.
        told: which one it is, as the user says; None: the installation is asked.
    """

    def __init__(
        self, documented: Calls, published: Calls, told: DialectName | None = None
    ) -> None:
        self._calls: dict[DialectName, Calls] = {"documented": documented, "published": published}
        #: What the user said; None: nothing.
        self.told: DialectName | None = told
        #: The functions of its dialect; None: it is not known now.
        self.calls: Calls | None = None if told is None else self._calls[told]
        #: Whether an answer came from a published server's cache.
        self.caches = False
        #: A number for each request that is to get around the cache.
        self.numbers: Iterator[int] = count()
        #: For each session's id, this client's last tunnel to it, while that opens or is open.
        self.viewers: WeakValueDictionary[str, object] = WeakValueDictionary()
        #: The error of all further calls, when the user was wrong.
        self._contradiction: ConfigurationError | None = None
        # What an answer contradicted, and the words for it, while it is not recognised anew.
        self._was: DialectName | None = None
        self._words: str = ""
        self._failure: VCloudError | None = None
        self._auth: Auth
        self._admission: Admission
        # A lock belongs to the loop that first waits for it.
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
            WeakKeyDictionary()
        )

    @property
    def dialect(self) -> DialectName | None:
        """Which one it is; None: it is not known now."""
        return None if self.calls is None else self.calls.name

    async def recognise(self, session: Session) -> Calls:
        """Ask the installation which dialect it speaks, once for all tasks that wait for it.

        If the task that asks is cancelled, or runs out of time, the next one asks.

        Raises:
            RequestTimeout: the deadline passed.
            UnrecognisedError: it could not be asked.
            ConfigurationError: the base URL is wrong, or it was told the wrong dialect.
            VCloudError: the login failed.
        """
        limit = timeout(session.deadline)
        try:
            async with limit:
                return await self._recognise(session)
        except TimeoutError:
            if not limit.expired():
                raise
        raise RequestTimeout(
            f"{session.dialect.provider}: the deadline of {session.deadline or 0:g} s passed "
            f"before it was known which StreamSpace {session.base_url} is; nothing was sent"
        )

    async def _recognise(self, session: Session) -> Calls:
        failure = self._failure
        async with self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            if self.calls is not None:
                return self.calls
            if self._contradiction is not None:
                raise copy(self._contradiction)
            latest, new = self._failure, self._failure is not failure
            # What the strategy remembers from now on is left to it: it has a bulk run wait.
            if latest is not None and new and not _is_passing_refusal(latest):
                raise copy(latest)
            try:
                found = await recognised(session)
            except VCloudError as error:
                # A copy, because what is raised keeps the frames that it passed.
                self._failure = copy(error)
                raise
            self._failure = None
            return self._use(found)

    def attach(self, session: Session) -> None:
        """Serve the session of a client."""
        session.installation = self
        session.codec.explain = self.contradiction
        self._auth, self._admission = session.auth, session.admission

    def tell(self, dialect: DialectName) -> None:
        """The user says which one it is."""
        self.told = dialect
        self._use(dialect)

    def _use(self, found: DialectName) -> Calls:
        """Use a dialect from now on."""
        self.calls, self._was = self._calls[found], None
        if found == "published":
            # It has no limits for users, and exchanges the tokens whose logins it has ended.
            self._admission.forget_documented()
            if isinstance(self._auth, BearerAuth):
                self._auth.allow_refresh(REFRESH)
        return self.calls

    def logged_in(self, auth: Auth) -> None:
        """Learn from the answer of a login.

        Raises:
            ConfigurationError: it has the other form than the user said.
        """
        was, found = self.dialect, of_login(auth)
        if found is None or found == was:
            return
        if was is None and self._contradiction is None:
            self._use(found)
            return
        failure = self._contradicted(found)
        if self.told is None:
            self._use(found)
        # The request that waited for the login has the other form.
        raise ConfigurationError(f"{failure}; nothing was sent")

    def contradiction(self, body: bytes) -> DecodeError | None:
        """The error for an answer in the other form; None: it does not have it for certain.

        It is called where an answer cannot be read.

        Args:
            body: the answer.
        """
        # An answer may be decoded more than once.
        was, found = self.dialect or self._was, spelling_of(body)
        if was is None or found is None or found == was:
            return None
        return DecodeError(self._words if self.calls is None else self._contradicted(found))

    def _contradicted(self, found: DialectName) -> str:
        """Stop to use a dialect that an answer contradicts; what happened."""
        self._was, self.calls = self.dialect, None
        answers = f"the service answers in {_FORMS[found]}"
        if self.told is None:
            self._words = (
                f"{answers}, and it was recognised as {self._was}: it has changed since. The next "
                f'call recognises it anew; dialect="{found}" tells it'
            )
        else:
            self._words = (
                f'{answers}, and this client was made with dialect="{self.told}": make it with '
                f'dialect="{found}", or without dialect, so that the installation is recognised'
            )
            self._contradiction = ConfigurationError(f"{self._words}; nothing was sent")
        return self._words


def _is_passing_refusal(failure: VCloudError) -> bool:
    """Whether the service itself refused a login, and perhaps for the moment only."""
    return (
        isinstance(failure, AuthenticationError)
        and failure.may_be_temporary
        and not failure.remembered
    )


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
