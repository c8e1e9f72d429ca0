"""The protocol of an authentication strategy, and the base class of strategies with state."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, Self
from weakref import ReferenceType

from vcloud._core.redaction.secretive import Secretive
from vcloud._core.request import Request, Response
from vcloud._core.timing.clock import TimeOfDay
from vcloud.errors import ConfigurationError

__all__ = ["Auth", "Send", "StatePerAddress", "bound_auth", "credential"]

#: Sends one request as it is, for a strategy that obtains a credential.
Send = Callable[[Request], Awaitable[Response]]


class Auth(Protocol):
    """An authentication strategy. Subclass it and implement :meth:`headers`.

    The other methods are for credentials that expire or have to be fetched. Each attempt, also a
    retry, asks for headers again, so a nonce is never used twice. One object may be given to
    several endpoints: see :meth:`for_base_url`.
    """

    @abstractmethod
    def headers(self, request: Request, path: str, *, now: float, nonce: str) -> Mapping[str, str]:
        """The headers that authenticate one attempt.

        Args:
            request: what is about to be sent; ``request.body`` is the exact bytes.
            path: the full path on the host as it is sent, with the base path and without the query.
            now: Unix seconds: the time of day when the client was made, plus the seconds since
                then. Setting the machine's clock does not change it.
            nonce: a new random text.
        """
        ...

    def ready(self, now: float) -> bool:  # noqa: ARG002 - part of the protocol
        """Whether :meth:`headers` can be called now; if not, :meth:`acquire` is awaited first."""
        return True

    async def acquire(self, send: Send, *, now: float) -> None:  # noqa: ARG002 - as above
        """Obtain a credential, through ``send``, which neither signs nor queues."""
        return

    def refused(self, response: Response, sent: Mapping[str, str], *, now: float) -> bool:  # noqa: ARG002
        """Learn from an answer that rejects ``sent``; True when new headers can help."""
        return False

    def accepted(self, sent: Mapping[str, str], *, now: float) -> None:  # noqa: ARG002 - as above
        """Note that the service accepted ``sent``, made after :meth:`refused` returned True."""
        return

    def rejected(self, sent: Mapping[str, str], *, now: float) -> bool:  # noqa: ARG002 - as above
        """Note that the service rejected ``sent``, where :meth:`refused` did not help.

        True when the service rejects the credentials themselves: then further calls fail at once,
        for 30 seconds. False when it may have rejected something else.
        """
        return True

    def for_base_url(self, base_url: str) -> Auth:
        """The strategy for the service at this address. A client asks for it when it is made.

        A token or a clock offset belongs to the service that it came from, and must never be sent
        to another one. A strategy without state serves every address. A strategy that overrides
        :meth:`acquire` or :meth:`refused` has state, and serves only the first address that it is
        used for. Override this method to return a separate object for each address.

        Args:
            base_url: the address of the API, such as ``https://streamspace.example.com/api/v1``.

        Raises:
            ConfigurationError: this strategy has state, and another address uses it already.
        """
        kind = type(self)
        if kind.acquire is Auth.acquire and kind.refused is Auth.refused:
            return self
        if vars(self).setdefault("_bound_base_url", base_url) != base_url:
            raise ConfigurationError(
                f"one {kind.__name__} cannot serve two base URLs, because what it obtains from "
                "one service would be sent to the other: make one for each Endpoint, or override "
                "its for_base_url"
            )
        return self


def bound_auth(auth: Auth, base_url: str) -> Auth:
    """The strategy for one base URL. The user's class may lack the method."""
    bind: Callable[[str], Auth] | None = getattr(auth, "for_base_url", None)
    return auth if bind is None else bind(base_url)


def credential(value: object, name: str) -> str:
    """A key, a secret or a token that a header can carry.

    Raises:
        ConfigurationError: it is not a string, it is empty, or it has characters that no header can
            carry. The message does not repeat it.
    """
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{name} must be a non-empty string")
    if not value.isascii() or not value.isprintable() or value != value.strip():
        raise ConfigurationError(
            f"{name} holds a character that cannot be part of it (a line break or a space at its "
            "end?)"
        )
    return value


class StatePerAddress(Secretive, Auth):
    """A strategy with separate state for each base URL."""

    _base_url: str | None = None
    _for_others: dict[str, Self]
    #: The clock of all clients that share the state, as long as there are any. The first of them
    #: sets it.
    _time_of_day: ReferenceType[TimeOfDay] | None = None

    def _reset(self) -> None:
        """Return to what the constructor was given."""
        raise NotImplementedError

    def for_base_url(self, base_url: str) -> Self:
        """The strategy for the service at this address.

        The first address gets this object. Each other address gets an object with its own state.
        """
        if self._base_url is None:
            self._base_url, self._for_others = base_url, {}
        if base_url == self._base_url:
            return self
        other = self._for_others.get(base_url)
        if other is None:
            other = type(self).__new__(type(self))
            # A subclass may have attributes of its own.
            own: dict[str, object] = {
                "_base_url": base_url,
                "_for_others": {},
                "_time_of_day": None,
            }
            vars(other).update(vars(self) | own)
            type(self)._reset(other)  # noqa: SLF001 - another object of this class
            self._for_others[base_url] = other
        return other
