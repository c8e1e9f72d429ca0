"""The credentials of one client: the strategy, its time, and what the service says of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import ReferenceType

from vcloud._core.outcome import Form, Proof, proof_of_answer
from vcloud._core.redaction.secretive import Credentials
from vcloud._core.refused_credentials import (
    RefusedCredentials,
    accepts_credentials,
    refuses_credentials,
)
from vcloud._core.request import Request, Response, path_before_api
from vcloud._core.timing.clock import TimeOfDay, boottime, system_wall, wall
from vcloud.errors import APIError, AuthenticationError, VCloudError

if TYPE_CHECKING:
    from vcloud._core.auth import Auth


class Signer:
    """Signs the requests of one client. All its sessions share it, with other options too.

    Args:
        auth: the strategy, for this base URL.
        base_url: the address of the API.
        nonce: makes a fresh text for each signature.
        clock: monotonic seconds.
        day: the machine's time of day, in Unix seconds.
        elapsed: monotonic seconds that go on while the machine sleeps; None: the system's, or
            ``clock`` if another ``day`` is given.
    """

    __slots__ = (
        "_base_path",
        "_clock",
        "_clock_difference",
        "_may_be_a_copy",
        "_may_have_ended",
        "_nonce",
        "_refused_after_jump",
        "_root_path",
        "_unproven",
        "auth",
        "elapsed",
        "now",
        "refused",
        "root_url",
        "works_once",
    )

    def __init__(
        self,
        auth: Auth,
        base_url: str,
        *,
        nonce: Callable[[], str],
        clock: Callable[[], float],
        day: Callable[[], float],
        elapsed: Callable[[], float] | None,
    ) -> None:
        self.auth: Auth = auth
        self._clock = clock
        #: The service's last refusal of the credentials, if any.
        self.refused: RefusedCredentials = RefusedCredentials(clock)
        if elapsed is None:
            elapsed = boottime if day is wall else clock
        #: Monotonic seconds of a clock that also runs while the machine sleeps.
        self.elapsed: Callable[[], float] = elapsed
        #: The time that requests are signed with, in Unix seconds. No jump of the machine's clock
        #: changes it.
        self.now: TimeOfDay = _time_of_day(auth, day, elapsed)
        self._nonce = nonce
        address = urlsplit(base_url)
        self._base_path = address.path
        self._root_path = path_before_api(address.path)
        #: Where the installation begins, without the API's own path: the host, or a path on it.
        self.root_url: str = f"{address.scheme}://{address.netloc}{self._root_path}"
        # For strategies whose credentials work once.
        self._may_be_a_copy: Callable[..., bool] | None = getattr(auth, "may_be_a_copy", None)
        #: Whether credentials work once: then :meth:`judge_copy` needs the time of sending.
        self.works_once: bool = self._may_be_a_copy is not None
        # For strategies whose credentials depend on the time.
        self._clock_difference: Callable[..., timedelta | None] | None = getattr(
            auth, "clock_difference", None
        )
        # For strategies that obtain tokens, which a service may end early.
        self._may_have_ended: Callable[[], bool] | None = getattr(auth, "may_have_ended", None)
        # For strategies that take credentials over from other processes.
        self._unproven: Callable[..., bool] | None = getattr(auth, "unproven", None)
        # The same, after this machine's clock was put back or forward.
        self._refused_after_jump: Callable[..., bool] | None = getattr(
            auth, "refused_after_jump", None
        )

    def with_auth(self, auth: Auth) -> Signer:
        """The same address and time with other credentials, which do not depend on the time."""
        other = copy.copy(self)
        other.auth = auth
        other.refused = RefusedCredentials(self._clock)
        other._may_be_a_copy = other._clock_difference = None  # noqa: SLF001 - of this class
        other._unproven = other._refused_after_jump = None  # noqa: SLF001
        other.works_once = False
        return other

    def sign(self, request: Request, now: float, root: bool = False) -> Mapping[str, str]:  # noqa: FBT001, FBT002 - a keyword costs on every call
        """The headers of one attempt. The strategy must be ready.

        Args:
            request: what is sent.
            now: the time of day, in Unix seconds.
            root: its path is below :attr:`root_url`, not below the API's.
        """
        headers: Mapping[str, str] = {}
        if request.authenticated:
            path = (self._root_path if root else self._base_path) + request.path
            headers = self.auth.headers(request, path, now=now, nonce=self._nonce())
        if request.body is not None:
            return Credentials({"Content-Type": "application/json", **headers})
        # A user's own strategy may return any mapping, whose repr would show the credentials.
        return headers if type(headers) is Credentials else Credentials(headers)

    def judge_copy(
        self,
        began: float,
        response: Response,
        sent: Mapping[str, str],
        error: AuthenticationError,
        proof: Proof,
    ) -> Proof:
        """What a refusal of credentials that work once proves.

        The time in which this machine slept counts: a proxy did not sleep.
        """
        took = self.elapsed() - began
        if self._may_be_a_copy is None or not self._may_be_a_copy(response, sent, seconds=took):
            return proof
        error.add_note(
            f"the refusal came {took:.0f} s after the request was sent, and may be that of a "
            "second copy: a proxy between may have repeated the request after the first one was "
            "carried out"
        )
        return proof_of_answer(error.status, Form.COPY)

    def difference_of_clocks(self, response: Response) -> timedelta | None:
        """By how much a ``Date`` contradicts all that is known of the time; None: not by much."""
        if self._clock_difference is None:
            return None
        found = [self._clock_difference(response, now=now) for now in self.now.estimates()]
        # The last opinion is the machine's clock itself, which the user has to set.
        return None if None in found else found[-1]

    def may_sign_again(
        self,
        request: Request,
        response: Response,
        sent: Mapping[str, str],
        error: VCloudError,
        proof: Proof,
    ) -> bool:
        """Whether the service may accept a refused request when it is signed once more."""
        return request.authenticated and (
            self.auth.refused(response, sent, now=self.now())
            or self._is_after_jump(response, sent)
            or self.note(request, sent, error, proof)
        )

    def _is_after_jump(self, response: Response, sent: Mapping[str, str]) -> bool:
        """Whether this machine's clock was put forward or back, and the strategy learnt of it."""
        return self._refused_after_jump is not None and self._refused_after_jump(
            response, sent, now=self.now(), clocks=self.now.estimates()
        )

    def note(
        self,
        request: Request,
        sent: Mapping[str, str],
        error: VCloudError,
        proof: Proof,
    ) -> bool:
        """Remember what a final answer says of the credentials; whether the strategy doubts it."""
        if not isinstance(error, APIError):
            return False
        if refuses_credentials(error, request, proof):
            rejected = getattr(self.auth, "rejected", None)  # which no subclass of Auth may lack
            if rejected is not None and not rejected(sent, now=self.now()):
                return True
            self.refused.note(error)
        elif accepts_credentials(error, request, proof):
            self.refused.forget()
        return False

    def is_unproven(self, sent: Mapping[str, str]) -> bool:
        """Whether these credentials are of another process, so that renewed ones may help."""
        return self._unproven is not None and self._unproven(sent)

    def has_ended(self, error: VCloudError) -> bool:
        """Whether renewed credentials were refused because their login has ended meanwhile."""
        ended = isinstance(error, AuthenticationError) and error.login_ended
        return ended and self._may_have_ended is not None and self._may_have_ended()

    def end_trial(self, tries: bool) -> None:  # noqa: FBT001 - what the wait for it gave
        """Release the calls that wait for one that tried refused credentials.

        Args:
            tries: whether this call was the one.
        """
        if tries:
            self.refused.tried()

    def accepted(
        self, request: Request, response: Response, sent: Mapping[str, str], *, renewed: bool
    ) -> None:
        """The service accepted the credentials of this request.

        Args:
            request: what was sent.
            response: a success.
            sent: the headers of the request.
            renewed: they were made after a refusal.
        """
        if not request.authenticated:
            return
        self.refused.forget()
        self.refused.untried = False
        if (note_success := getattr(self.auth, "note_success", None)) is not None:
            note_success(response, sent)
        if renewed and (accepted := getattr(self.auth, "accepted", None)) is not None:
            accepted(sent, now=self.now())


def _time_of_day(auth: Any, read: Callable[[], float], elapsed: Callable[[], float]) -> TimeOfDay:
    """The time that a strategy's requests are signed with, for all that share what it learns."""
    held: ReferenceType[TimeOfDay] | None = getattr(auth, "_time_of_day", None)
    shared = None if held is None else held()
    if shared is not None and shared.read is read:
        return shared
    made = TimeOfDay(read, elapsed, system_wall if read is wall else None)
    if hasattr(auth, "_time_of_day"):
        auth._time_of_day = ReferenceType(made)  # noqa: SLF001 - users have no need of it
    return made
