"""Remembers credentials that the service refused, so that not every call tries them again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from copy import copy
from typing import Final, TypeGuard

from vcloud._core.cleanup import CLEANUP
from vcloud._core.outcome import Proof
from vcloud._core.request import Request
from vcloud.errors import (
    APIError,
    AuthenticationError,
    RateLimitError,
    ServerError,
    VCloudError,
)

#: Seconds for which every further call fails with the refusal.
HOLD: Final = 30.0
#: The same, where the service answers so too while it cannot look credentials up.
TEMPORARY_HOLD: Final = 5.0


class RefusedCredentials:
    """The service's last refusal of the credentials of one client.

    ::

        refused ── 30 s: every call fails at once ── then one tries, and the others wait for it
           ^                                              │
           └───────────────────── refused ────────────────┴── accepted: forgotten

    If the one that tries learns nothing (no answer, a 5xx), the next one tries.

    Args:
        clock: monotonic seconds.
    """

    __slots__ = ("_clock", "_ends", "_trial", "error", "untried")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ends = 0.0
        self._trial: asyncio.Future[None] | None = None
        #: The refusal; None: the credentials are not known to be refused.
        self.error: AuthenticationError | None = None
        #: Whether no call has succeeded yet, or none since a login has ended.
        self.untried: bool = True

    def note(self, error: AuthenticationError) -> None:
        """Note that the service refused the credentials."""
        # A copy, because an error that is raised keeps the frames that it passed.
        self.error, self._ends = copy(error), self._clock() + hold_of(error)

    def forget(self) -> None:
        """Forget the refusal: the service accepted the credentials, or they were replaced."""
        self.error = None

    def check(self) -> None:
        """Do nothing, unless it is too early to try again.

        Raises:
            AuthenticationError: the refusal that is remembered; nothing was sent.
        """
        if self.error is not None and self._trial is None and self._clock() < self._ends:
            raise recalled(self.error)

    async def turn(self) -> bool:
        """Wait for the call that tries, if there is one.

        Returns:
            whether the caller is the one that tries. If so, it must call :meth:`tried` afterwards.

        Raises:
            AuthenticationError: as for :meth:`check`.
        """
        while self.error is not None:
            self.check()
            if self._trial is None:
                self._trial = asyncio.get_running_loop().create_future()
                return True
            # Unlike awaiting the future, this leaves it alone when the caller is cancelled.
            await asyncio.wait({self._trial})
        return False

    def tried(self) -> None:
        """Wake the calls that wait: they use the result, or the next one tries."""
        trial, self._trial = self._trial, None
        # Not if the loop was closed meanwhile: then nothing waits.
        if trial is not None and not trial.get_loop().is_closed():
            trial.set_result(None)


def hold_of(error: VCloudError) -> float:
    """Seconds for which further calls fail with a refusal of credentials."""
    temporary = isinstance(error, AuthenticationError) and error.may_be_temporary
    return TEMPORARY_HOLD if temporary else HOLD


def recalled(error: AuthenticationError) -> AuthenticationError:
    """The error of a call that was not sent, made from the remembered refusal."""
    made = copy(error)
    if not made.remembered:
        made.remembered = True
        made.message += f"; this is remembered for {hold_of(made):g} s, so nothing was sent"
        made.args = (made.message,)
    return made


def is_held_back(request: Request) -> bool:
    """Whether refused credentials keep this request from being sent.

    They do not hold back a login: the strategy that sends it remembers refusals itself. Nor the
    upgrade to a WebSocket, which may be refused or accepted for other reasons. Nor the stop of a
    machine that would be left running: a single mistaken refusal must not cost a day of its rent.
    """
    return request.authenticated and not request.upgrades and CLEANUP.get() is None


def refuses_credentials(
    error: APIError, request: Request, proof: Proof
) -> TypeGuard[AuthenticationError]:
    """Whether the service itself says in an answer that it does not accept the credentials.

    A gateway's page is not. Nor is a 403, because its sender has accepted the credentials. Nor is
    an answer that proves nothing about the request, for example because a proxy used the nonce.
    """
    return (
        isinstance(error, AuthenticationError)
        and 401 in {error.status, error.code}
        and proof is Proof.NOT_DONE
        and is_held_back(request)
    )


def accepts_credentials(error: APIError, request: Request, proof: Proof) -> bool:
    """Whether a refusal is about something else, and shows that the credentials are accepted."""
    return (
        request.authenticated
        and proof is not Proof.NONE
        and not isinstance(error, AuthenticationError | RateLimitError | ServerError)
    )
