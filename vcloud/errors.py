"""Everything that vcloud raises.

::

    VCloudError
    ├── ConfigurationError        how a client was set up or used: nothing was sent
    ├── InvalidArgumentError      an argument that the service would refuse (also a ValueError): nothing was sent
    ├── TransportError            no complete answer came back; ``outcome_unknown`` says if the service may have acted
    │   ├── ConnectError          the request provably never reached the service
    │   └── RequestTimeout        an attempt or the whole call took too long
    ├── APIError                  the service answered, and refused
    │   ├── AuthenticationError   who are you?
    │   ├── PermissionDeniedError you may not
    │   ├── NotFoundError         no such thing
    │   ├── ConflictError         not in this state
    │   ├── InvalidRequestError   the request makes no sense to the service
    │   ├── RateLimitError        too many requests; ``retry_after``
    │   ├── InsufficientFundsError  the balance does not cover it
    │   ├── CapacityError         the provider has no room right now
    │   └── ServerError           the service broke
    ├── DecodeError               the service answered something that is not in its contract
    ├── LimitExceededError        a limit of this client was reached: ``max_pages``
    ├── WaitTimeout               ``wait_until`` ran out of time; ``last`` is the last state seen
    └── WaitFailed                ``wait_until`` can no longer succeed; ``last`` is the last state seen

A provider may add to it where it has more to say: ``vcloud.providers.streamspace.InvalidTransitionError`` (a
``ConflictError``), ``vcloud.providers.desktops.ActionsFailed`` and ``NoStreamError``.

All of them can be pickled, and none of them carries a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

__all__ = [
    "APIError",
    "AuthenticationError",
    "CapacityError",
    "ConfigurationError",
    "ConflictError",
    "ConnectError",
    "DecodeError",
    "InsufficientFundsError",
    "InvalidArgumentError",
    "InvalidRequestError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "RequestTimeout",
    "ServerError",
    "TransportError",
    "VCloudError",
    "WaitFailed",
    "WaitTimeout",
    "error_for_status",
]


def shortened(text: str, most: int = 1000) -> str:
    """A text from outside, of bounded length."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


def _rebuild(
    cls: type[VCloudError], args: tuple[object, ...], state: dict[str, Any]
) -> VCloudError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(state)
    return error


class VCloudError(Exception):
    """Root of everything that vcloud raises on purpose."""

    #: Raised by a login that had to come first: it says nothing about the request that waited for it.
    _unsent = False

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[object, ...]]:
        # The default would call __init__ with the text alone and lose the keyword-only facts.
        return _rebuild, (type(self), self.args, self.__dict__)  # type: ignore[return-value]


class ConfigurationError(VCloudError):
    """A client is missing something, or is used where it cannot work. Nothing was sent."""


class InvalidArgumentError(VCloudError, ValueError):
    """An argument that the service is documented to refuse. Nothing was sent."""


class TransportError(VCloudError):
    """No complete answer came back.

    Attributes:
        outcome_unknown: True when the service may have carried the request out: look before you repeat it.
    """

    def __init__(self, message: str, *, outcome_unknown: bool = False) -> None:
        super().__init__(message)
        self.outcome_unknown = outcome_unknown


class ConnectError(TransportError):
    """The request provably never reached the service: refused, not resolved, or TLS failed."""


class RequestTimeout(TransportError):
    """An attempt outlived its ``timeout``, or the call its ``deadline``."""


class APIError(VCloudError):
    """The service answered and refused.

    Attributes:
        status: the HTTP status.
        code: the provider's own code (a Vagon ``client_code``, a StreamSpace error code), else None.
        message: the service's words, the first 1000 characters at most; else ours.
        meaning: what the documents say of the code; empty when they say nothing.
        provider: ``"computers"``, ``"streams"``, ``"streamspace"`` or ``"desktops"``.
        method: the HTTP verb.
        url: where it was sent, without the query.
        request_id: the service's id for this request, if it gave one.
        details: what else the service said, as it said it.
        timestamp: when the service says it happened, if it does.
        retry_after: seconds after which the service asks to come back (with 429 and 503); None when it does not say.
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
    ) -> None:
        # It stands in logs and tracebacks, and whatever answered may have no end of words.
        message = shortened(message)
        super().__init__(message)
        self.status = status
        self.code = shortened(code) if type(code) is str else code
        self.message = message
        self.meaning = meaning
        self.provider = provider
        self.method = method
        self.url = url
        self.request_id = request_id if request_id is None else shortened(request_id)
        self.details = details
        self.timestamp = timestamp

    def __str__(self) -> str:
        """One line: where, what was asked, what came back and what that means."""
        code = (
            ""
            if self.code in (None, self.status)
            else f", code {self.code:d}"
            if isinstance(self.code, int)
            else f", {self.code}"
        )
        meaning = (
            f" ({self.meaning})"
            if self.meaning and self.meaning.lower() != self.message.lower()
            else ""
        )
        request_id = f" [request {self.request_id}]" if self.request_id else ""
        return f"{self.provider}: {self.method} {self.url} was refused: {self.status}{code}: {self.message}{meaning}{request_id}"


class AuthenticationError(APIError):
    """The service does not accept who we say we are."""


class PermissionDeniedError(APIError):
    """The service knows us, and we may not."""


class NotFoundError(APIError):
    """There is no such thing, or it is not ours to see."""


class ConflictError(APIError):
    """The thing is not in a state in which this can be done."""


class InvalidRequestError(APIError):
    """The service cannot make sense of the request."""


class RateLimitError(APIError):
    """Too many requests; ``retry_after`` says for how long, if the service does."""


class InsufficientFundsError(APIError):
    """The balance does not cover it."""


class CapacityError(APIError):
    """The provider has no room for this right now."""


class ServerError(APIError):
    """The service broke while it worked on the request."""


class DecodeError(VCloudError):
    """The service answered something that its contract does not allow.

    The text holds the first bytes of the answer, unless the answer carries a secret.

    Attributes:
        items: the items of a list that could be read beside those that could not; empty for any other answer.
    """

    items: tuple[Any, ...] = ()


class LimitExceededError(VCloudError):
    """A limit of this client was reached: ``max_response``, ``max_message`` or ``max_pages`` of the Endpoint."""


class WaitTimeout(VCloudError):
    """``wait_until`` ran out of time.

    Attributes:
        last: the last state seen; None when none was.
    """

    def __init__(self, message: str, *, last: str | None) -> None:
        super().__init__(message)
        self.last = last


class WaitFailed(VCloudError):
    """``wait_until`` met a state from which the awaited one is not reached.

    Attributes:
        last: the state that ended the wait.
    """

    def __init__(self, message: str, *, last: str) -> None:
        super().__init__(message)
        self.last = last


_BY_STATUS: dict[int, type[APIError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    429: RateLimitError,
}


def error_for_status(status: int) -> type[APIError]:
    """The class for a plain HTTP status that the provider's own table does not name."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 400 <= status < 500:
        return InvalidRequestError
    if 500 <= status < 600:
        return ServerError
    return APIError
