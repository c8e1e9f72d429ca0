"""Where and how one provider is reached."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from ipaddress import ip_address
from ssl import SSLContext
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import field, frozen
from attrs.converters import optional

from vcloud._core.ratelimit import RateLimit
from vcloud._core.request import seconds
from vcloud._core.retry import RetryPolicy
from vcloud.errors import ConfigurationError, InvalidArgumentError

if TYPE_CHECKING:
    from vcloud._core.shared import SharedBudget
    from vcloud.auth import Auth


def _base_url(value: str | None) -> str | None:
    if value is not None and type(value) is not str:
        raise ConfigurationError(f"base_url must be a text such as https://host/path, not {type(value).__name__}")
    return value if value is None else value.strip().rstrip("/")


def _duration(value: timedelta | float) -> float:
    try:
        return seconds(value)
    except InvalidArgumentError as error:
        raise ConfigurationError(f"an Endpoint's durations are {error}") from None


def _rate_limits(value: Iterable[RateLimit]) -> tuple[RateLimit, ...]:
    try:
        given = tuple(value)
    except TypeError:
        raise ConfigurationError(f"rate_limits must be a list of RateLimit(...), not {value!r}") from None
    if {type(one) for one in given} - {RateLimit}:
        raise ConfigurationError(f"rate_limits must be RateLimit(...) objects, not {given!r}")
    if len({one.bucket for one in given}) != len(given):
        raise ConfigurationError("rate_limits may name each bucket once only")
    return given


@frozen
class Endpoint:
    """Where and how one provider is reached.

    Args:
        base_url: the address with its version, such as ``https://streamspace.example.com/api/v1``. Vagon and the
            desktop-action API have one of their own, which is the default.
        auth: an :class:`~vcloud.HMACAuth`, :class:`~vcloud.BearerAuth`, :class:`~vcloud.APIKeyAuth`, or your own
            :class:`~vcloud.Auth`.
        timeout: for one attempt, from the moment it is admitted until the answer is complete; seconds or timedelta.
        connect_timeout: for making one connection; seconds or timedelta. Running into it proves that nothing was sent.
        deadline: for one call with all its retries and waits; seconds or timedelta. None: as long as the retries last.
        retry: when to send again, and how patiently.
        concurrency: how many requests may be under way to this provider at once; the others wait in line.
        rate_limits: limits that you know of and the service does not announce, one for each bucket at most; see
            :class:`~vcloud.RateLimit`. Those that it announces, or that its documents promise, are obeyed without.
        shared_budget: counts ``rate_limits`` together with other processes, in a store; see :class:`~vcloud.SharedBudget`.
        ssl: a context with your own certificate authority or client certificate.
        verify: False accepts any certificate. For a test machine of your own only.
        proxy: the URL of an HTTP proxy, or ``"environment"`` to ask ``HTTPS_PROXY`` and its kin once, at the start.
        allow_http: permit plain ``http`` to a host that is not this machine; credentials then travel readable.
    """

    base_url: str | None = field(default=None, converter=_base_url)
    auth: Auth = field(kw_only=True)
    timeout: float = field(default=30.0, kw_only=True, converter=_duration)
    connect_timeout: float = field(default=10.0, kw_only=True, converter=_duration)
    deadline: float | None = field(default=None, kw_only=True, converter=optional(_duration))
    retry: RetryPolicy = field(factory=RetryPolicy, kw_only=True)
    concurrency: int = field(default=100, kw_only=True)
    rate_limits: tuple[RateLimit, ...] = field(default=(), kw_only=True, converter=_rate_limits)
    shared_budget: SharedBudget | None = field(default=None, kw_only=True)
    ssl: SSLContext | None = field(default=None, kw_only=True)
    verify: bool = field(default=True, kw_only=True)
    proxy: str | None = field(default=None, kw_only=True, repr=False)
    allow_http: bool = field(default=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not hasattr(self.auth, "headers") or isinstance(self.auth, type):
            raise ConfigurationError(f"auth must be an Auth such as HMACAuth(key, secret), not {type(self.auth).__name__}")
        if type(self.retry) is not RetryPolicy:
            raise ConfigurationError(f"retry must be a RetryPolicy(...), not {type(self.retry).__name__}")
        if type(self.concurrency) is not int:
            raise ConfigurationError(f"concurrency must be a whole number, not {self.concurrency!r}")
        if min(self.timeout, self.connect_timeout, self.concurrency, 1 if self.deadline is None else self.deadline) <= 0:
            raise ConfigurationError("timeout, connect_timeout, deadline and concurrency must be greater than 0")
        if self.shared_budget is not None and not self.rate_limits:
            raise ConfigurationError("a shared_budget counts rate_limits: give those too")
        if self.base_url is not None:
            _check(self.base_url, allow_http=self.allow_http)


def _check(base_url: str, *, allow_http: bool) -> None:
    try:
        parts = urlsplit(base_url)
        _ = parts.port
    except ValueError as error:
        raise ConfigurationError(f"base_url is no address: {error}") from None
    # First, because nothing that may hold a password is shown.
    if parts.query or parts.fragment or "@" in base_url:
        raise ConfigurationError("base_url must have no user, query or fragment: credentials belong in auth")
    if parts.scheme not in ("http", "https") or not parts.hostname or not base_url.isascii() or set(base_url) & set(" \t\r\n\\"):
        raise ConfigurationError(f"base_url must look like https://host/path, not {base_url!r}")
    if parts.scheme == "http" and not allow_http and not _is_loopback(parts.hostname):
        raise ConfigurationError(
            f"base_url {base_url!r} is plain http, which would send your credentials readable over the network: "
            "use https, or say allow_http=True if you mean it"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
