"""All errors of vcloud.

::

    VCloudError                     ``outcome_unknown``: the service may have carried it out
    ├── ConfigurationError          the client is set up or used in a way that cannot work
    ├── InvalidArgumentError        an argument that the service would refuse (also a ValueError)
    ├── TransportError              no complete answer came back
    │   ├── ConnectError            no connection: the request never reached the service
    │   ├── RequestTimeout          an attempt or the whole call took too long
    │   └── ConnectTimeout          no connection in time (a ConnectError and a RequestTimeout)
    ├── APIError                    an answer came back, and it is not a success
    │   ├── AuthenticationError     credentials missing or rejected
    │   ├── PermissionDeniedError   authenticated, but not allowed
    │   ├── NotFoundError           no such thing
    │   ├── ConflictError           not possible in the state that it is in
    │   ├── InvalidRequestError     the service does not accept the request
    │   ├── RateLimitError          too many requests; ``retry_after``
    │   ├── InsufficientFundsError  the balance does not cover it
    │   ├── CapacityError           the provider has no room right now
    │   └── ServerError             the service, or a gateway before it, failed
    ├── DecodeError                 an answer that the service's documents do not allow
    ├── UnsupportedError            the provider has nothing like it; nothing was sent
    ├── LimitExceededError          a limit of this client was reached (``max_response``, say)
    ├── CleanupError                a machine may have been left running; ``ids``
    ├── WaitTimeout                 ``wait_until`` ran out of time; ``last`` has the last state
    └── WaitFailed                  ``wait_until`` can no longer succeed; ``last`` likewise

Providers add to it: ``vcloud.providers.streamspace.InvalidTransitionError`` (a ``ConflictError``)
and ``UnrecognisedError`` (a ``ConnectError``),
``vcloud.providers.desktops.ActionsFailed`` and ``NoStreamError``.

All of them can be pickled and copied, and none of them carries a secret.

The attributes (``message``, ``code``, ``details``, ``last``) and ``args`` hold the words of a
service as they were sent. The text and the repr of an error are one line: a character that would
act on a terminal, begin a line or reverse the text is replaced by a visible escape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from vcloud.errors.copying import rebuilt
from vcloud.errors.details import MAX_DETAIL_TEXT, MAX_DETAILS, kept_details
from vcloud.errors.people import message_for_people
from vcloud.errors.plain import plain_error
from vcloud.errors.text import printable, shortened
from vcloud.errors.wording import MAX_TEXT, MAX_URL, UNKNOWN, adds, clock, escaping, short_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime, timedelta

__all__ = [
    "APIError",
    "AuthenticationError",
    "CapacityError",
    "CleanupError",
    "ConfigurationError",
    "ConflictError",
    "ConnectError",
    "ConnectTimeout",
    "DecodeError",
    "InsufficientFundsError",
    "InvalidArgumentError",
    "InvalidRequestError",
    "LimitExceededError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "RequestTimeout",
    "ServerError",
    "TransportError",
    "UnsupportedError",
    "VCloudError",
    "WaitFailed",
    "WaitTimeout",
]


class VCloudError(Exception):
    """Base class of all errors of vcloud.

    Attributes:
        outcome_unknown: True when the service may have carried out the request: look before you
            repeat it. The text says so, too. False when it provably did nothing, when it says how
            it failed, and for requests that change nothing.
        typed: characters of a text that were confirmed as typed on a desktop; else None.
        created: what the call created before this error; else None. It exists: keep it, or end it.
    """

    outcome_unknown: bool = False
    typed: int | None = None
    created: Any = None

    def __init__(self, *args: object, outcome_unknown: bool = False) -> None:
        super().__init__(*[shortened(a, MAX_TEXT) if type(a) is str else a for a in args])
        if outcome_unknown:
            self.outcome_unknown = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # A subclass may override them, or inherit those of another base.
        cls.__str__ = escaping(cls.__str__)  # type: ignore[method-assign]
        cls.__repr__ = escaping(cls.__repr__)  # type: ignore[method-assign]

    @property
    def user_message(self) -> str:
        """What happened, for a person who uses your program: one to three sentences in English.

        They are the service's own words where these are useful to a person, otherwise ours, and
        have no address, no argument of Python and no other internals.
        """
        return message_for_people(self)

    def to_dict(self) -> dict[str, Any]:
        """The error as plain JSON values: for an answer of your own, or a log.

        ``type``, ``text`` and ``user_message``, each attribute (durations in seconds, times in
        ISO 8601), and ``notes``. The ``items`` of a DecodeError are left out.
        """
        return plain_error(self)

    def __str__(self) -> str:
        return printable(self._with_outcome(super().__str__()))

    def __repr__(self) -> str:
        # Python escapes strings itself; other objects in args have their own reprs.
        return printable(super().__repr__())

    def add_note(self, note: str) -> None:
        """Add a line to the traceback, printable and of bounded length."""
        super().add_note(printable(shortened(note, MAX_TEXT)))

    def _with_outcome(self, text: str) -> str:
        """The text, with a warning if the outcome is unknown."""
        return f"{text}; {UNKNOWN}" if self.outcome_unknown and UNKNOWN not in text else text

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[object, ...]]:
        # The default would call __init__ with the text alone, without the keyword arguments.
        return rebuilt, (type(self), self.args, self.__dict__)


class ConfigurationError(VCloudError):
    """A client is configured, or used, in a way that cannot work."""


class InvalidArgumentError(VCloudError, ValueError):
    """An argument that the service would refuse, by its documents. Nothing was sent."""


class TransportError(VCloudError):
    """No complete answer came back."""


class ConnectError(TransportError):
    """No connection: refused, not resolved, or TLS failed. Nothing reached the service."""


class RequestTimeout(TransportError):
    """An attempt took longer than its ``timeout``, or the call longer than its ``deadline``."""


class ConnectTimeout(ConnectError, RequestTimeout):
    """No connection was made in time, so this attempt sent nothing.

    The name was not resolved, the connection was not accepted, or TLS or a proxy did not answer
    within ``connect_timeout``, or within the attempt's ``timeout`` where that is shorter.
    """


class APIError(VCloudError):
    """An answer that is not a success, from the service or from a gateway before it.

    Attributes:
        status: the HTTP status.
        code: the provider's own code (a Vagon ``client_code``, a StreamSpace error code), else
            None.
        message: the service's words, the first 1000 characters at most; else ours.
        meaning: what the documents say of the code; empty when they say nothing.
        provider: ``"computers"``, ``"streams"``, ``"streamspace"`` or ``"desktops"``.
        method: the HTTP verb.
        url: where it was sent, without the query; the first 2000 characters.
        request_id: the service's id for this request, if it gave one.
        details: the rest of the service's answer, unchanged: the first 500 values, and 16,384
            characters of text. A note says so when there was more.
        timestamp: when the service says it happened, if it does.
        retry_after: seconds after which the service asks to come back (with 429 and 503); None when
            it does not say.
    """

    retry_after: float | None = None

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: int | str | None = None,
        meaning: str = "",
        provider: str = "",
        method: str = "",
        url: str = "",
        request_id: str | None = None,
        details: object = None,
        timestamp: datetime | None = None,
        outcome_unknown: bool = False,
    ) -> None:
        # It enters logs and tracebacks, and its length is up to the sender.
        message = shortened(message)
        super().__init__(message, outcome_unknown=outcome_unknown)
        self.status: int = status
        self.code: int | str | None = shortened(code) if type(code) is str else short_number(code)
        self.message: str = message
        self.meaning: str = meaning
        self.provider: str = provider
        self.method: str = method
        self.url: str = shortened(url, MAX_URL)
        self.request_id: str | None = None if request_id is None else shortened(request_id)
        kept, cut = kept_details(details)
        self.details: Any = kept
        self.timestamp: datetime | None = timestamp
        if cut:
            self.add_note(
                f"details: the service said more than the {MAX_DETAILS} values and "
                f"{MAX_DETAIL_TEXT} characters that are kept"
            )

    def __str__(self) -> str:
        """One line: where, what was asked, what came back and what that means."""
        code = (
            ""
            if self.code in (None, self.status)
            else f", code {self.code:d}"
            if isinstance(self.code, int)
            else f", {self.code}"
        )
        meaning = f" ({self.meaning})" if adds(self.meaning, self.message) else ""
        request_id = f" [request {self.request_id}]" if self.request_id else ""
        # "Refused" would say that it was not carried out.
        what = "was answered with" if self.outcome_unknown else "was refused:"
        return self._with_outcome(
            f"{self.provider}: {self.method} {self.url} {what} {self.status}{code}: "
            f"{self.message}{meaning}{request_id}"
        )


class AuthenticationError(APIError):
    """Credentials are missing, or the service rejected them.

    With ``outcome_unknown``, the service may have rejected a second copy of a signed request, sent
    by a gateway that repeats requests automatically, after it carried out the first.

    Attributes:
        remembered: True when nothing was sent for this call, because the service rejected the
            credentials within the last 30 seconds.
        may_be_temporary: True where the service answers so too while it cannot look credentials up,
            as StreamSpace's published server does while its database is away. It is then remembered
            for 5 seconds, and a bulk run continues.
        login_ended: True where the service says that the login has ended which the token is of.
        clock_difference: by how much the answer's ``Date`` is ahead of this machine's clock
            (negative: behind it), if signatures depend on the time and the two differ by more than
            a day. That is not corrected; the text says what to do. None otherwise.
    """

    remembered: bool = False
    may_be_temporary: bool = False
    login_ended: bool = False
    clock_difference: timedelta | None = None

    def __str__(self) -> str:
        """As for any APIError, and what else may be the reason."""
        said = super().__str__()
        if self.may_be_temporary:
            said += "; the service answers so too while its database is away"
        return said if self.clock_difference is None else f"{said}; {clock(self.clock_difference)}"


class PermissionDeniedError(APIError):
    """Authenticated, but not allowed to do this."""


class NotFoundError(APIError):
    """The resource does not exist, or it belongs to another user."""


class ConflictError(APIError):
    """The resource is in a state that does not allow the request."""


class InvalidRequestError(APIError):
    """The service does not accept the request: a field is missing, unknown or wrong."""


class RateLimitError(APIError):
    """Too many requests. ``retry_after`` says how long to wait, if the service does."""


class InsufficientFundsError(APIError):
    """The balance does not cover the request."""


class CapacityError(APIError):
    """The provider has no capacity for this at the moment."""


class ServerError(APIError):
    """The service, or a gateway before it, failed.

    Also raised when a gateway automatically repeated a signed request, lost the answer to the first
    copy, and forwarded the rejection of the second copy, whose nonce was used. ``status`` is then
    that of the rejection, such as 401.
    """


class DecodeError(VCloudError):
    """An answer that the service's documents do not allow.

    The text holds the first bytes of the answer, unless the answer carries a secret.

    Attributes:
        items: of a list with undecodable items, the other items; empty for any other answer.
        status: of the answer to a request that changes something, the HTTP status, one of success:
            the service did something. None for any other answer.
        body: its first 2000 characters, without secrets; None when it may be a secret itself.
        ids: the ids in it, as far as they can be found: what was made may be running.
    """

    items: tuple[Any, ...] = ()
    status: int | None = None
    body: str | None = None
    ids: tuple[str, ...] = ()


class LimitExceededError(VCloudError):
    """A limit of this client was reached: ``max_response``, ``max_message`` or ``max_pages``.

    They are arguments of :class:`~vcloud.Endpoint`. The text names the limit and says what to do.
    """


class UnsupportedError(VCloudError):
    """The provider has nothing like it. Nothing was sent; the text says what to do instead."""


class CleanupError(VCloudError):
    """The cleanup of a desktop, a machine or an agent may have failed, so it may still cost money.

    A launch, a connection or a block raises it when it ends without another error. It also replaces
    a cancellation, because ``asyncio.timeout``, task groups and ``asyncio.wait_for`` pass it on.
    Any other error gets its text as a note. Closing a client raises it for what the client had
    opened. Its reason is the ``__cause__``. The log ``vcloud.<provider>`` has the same text at
    ERROR.

    Attributes:
        provider: ``"streams"``, ``"desktops"`` and so on; several are joined by commas.
        ids: the desktops or machines to stop by hand, or the agents that did not end, as far as
            they are known. Empty where the answer with the id never came.
        outcome_unknown: True when the service may have carried out the last request: the machine
            may exist, or may have stopped.
    """

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        ids: Iterable[str] = (),
        outcome_unknown: bool = False,
    ) -> None:
        super().__init__(message, outcome_unknown=outcome_unknown)
        self.provider: str = provider
        self.ids: tuple[str, ...] = tuple(ids)


class WaitTimeout(VCloudError):
    """``wait_until`` ran out of time.

    Attributes:
        last: the last state seen, the first 1000 characters; None when none was.
    """

    def __init__(self, message: str, *, last: str | None) -> None:
        super().__init__(message)
        self.last: str | None = None if last is None else shortened(last)


class WaitFailed(VCloudError):
    """``wait_until`` saw a terminal state other than the awaited one.

    Attributes:
        last: the state that ended the wait, the first 1000 characters.
    """

    def __init__(self, message: str, *, last: str) -> None:
        super().__init__(message)
        self.last: str = shortened(last)
