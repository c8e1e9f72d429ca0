"""Where and how one provider is reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import iscoroutinefunction
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Final, Self, Unpack
from urllib.parse import urlsplit

from attrs import Attribute, field, frozen, validators
from attrs.converters import optional

from vcloud._core.addresses import check_proxy, check_url, is_localhost, is_near, tidy_url
from vcloud._core.arguments import configured, flag, in_seconds, positive_integer, positive_seconds
from vcloud._core.auth import Auth
from vcloud._core.endpoint_options import (
    FROM_ENV,
    EndpointOptions,
    check_options,
    credentials_elsewhere,
)
from vcloud._core.guided import Guided
from vcloud._core.limits.windows import RateLimit
from vcloud._core.redaction.secretive import concealing, concealing_constructor
from vcloud._core.retry import RetryPolicy
from vcloud._core.suggestions import did_you_mean
from vcloud._core.wrong_arguments import explained_constructor
from vcloud.errors import ConfigurationError

if TYPE_CHECKING:
    from vcloud._core.limits.shared_budget.budget import SharedBudget
    from vcloud._core.observe import Observer


#: Seconds for one attempt. If a timeout is this very object, the user chose none, and a provider
#: may use its own default.
TIMEOUT: Final = 30.0
#: Bytes: twice a screenshot of two 4K screens as PNG in base64, and hundreds of times a page of a
#: list.
MAX_RESPONSE: Final = 64 * 1024**2
#: Bytes. A message with a picture is far smaller. A larger message is refused before it is stored.
MAX_MESSAGE: Final = 4 * 1024**2
#: Seconds: below the 50 of HAProxy (what its documentation and Debian show) and the 60 of nginx.
HEARTBEAT: Final = 20.0
#: A million items, if a page has a hundred.
MAX_PAGES: Final = 10_000


def _rate_limits(value: Iterable[RateLimit]) -> tuple[RateLimit, ...]:
    try:
        given = tuple(value)
    except TypeError:
        raise ConfigurationError(
            f"rate_limits must be a list of RateLimit(...), not {value!r}"
        ) from None
    if {type(one) for one in given} - {RateLimit}:
        raise ConfigurationError(f"rate_limits must be RateLimit(...) objects, not {given!r}")
    if len({one.bucket for one in given}) != len(given):
        raise ConfigurationError("rate_limits may name each bucket once only")
    return given


def checked_observers(value: Iterable[Observer]) -> tuple[Observer, ...]:
    """The observers, checked.

    Raises:
        ConfigurationError: it is not a list of observers.
    """
    try:
        given = tuple(value)
    except TypeError:
        raise ConfigurationError(
            f"observers must be a list of Observer objects, not {value!r}"
        ) from None
    if given:
        # Here and not above: without observers, logging is not imported before the first request.
        from vcloud._core.observe import check_observer  # noqa: PLC0415

        for observer in given:
            check_observer(observer)
    return given


def _check_auth(_: object, __: object, value: Auth) -> None:
    name = type(value).__name__
    if not hasattr(value, "headers") or isinstance(value, type):
        raise ConfigurationError(f"auth must be an Auth such as HMACAuth(key, secret), not {name}")
    if iscoroutinefunction(value.headers):
        raise ConfigurationError(
            f"{name}.headers must be a plain function: await in acquire what has to be awaited"
        )


def _check_budget(_: object, __: object, value: SharedBudget | None) -> None:
    if value is not None and not hasattr(value, "acquire"):
        raise ConfigurationError(
            f"shared_budget must be a SharedBudget(...), not {type(value).__name__}"
        )


def _check_proxy(_: object, __: object, value: str | None) -> None:
    if value is not None and value != "environment":
        check_proxy(value)


def _check_verify(endpoint: Endpoint, _: object, value: bool) -> None:  # noqa: FBT001 - a validator
    if endpoint.ssl is not None and not value:
        raise ConfigurationError(
            "ssl= and verify=False contradict each other: the context decides what is verified "
            "(verify_mode, check_hostname), so leave verify out"
        )


def _must_be(kind: Any, words: str) -> Any:
    def check(_: object, attribute: Attribute[object], value: object) -> None:
        if not isinstance(value, kind):
            # Only its class: the address of a proxy may hold a password.
            raise ConfigurationError(
                f"{attribute.name} must be {words}, not a {type(value).__name__}"
            )

    return check


_positive_seconds = configured(positive_seconds)
_positive_integer = configured(positive_integer)
_flag = configured(flag)


_STRATEGIES: Final = "HMACAuth(key, secret), BearerAuth(token) or APIKeyAuth(key)"


@concealing_constructor
@explained_constructor("Endpoint", instead=credentials_elsewhere(_STRATEGIES))
@frozen
class Endpoint(Guided):
    """Where and how one provider is reached.

    Args:
        base_url: the address with its version, such as ``https://streamspace.example.com/api/v1``.
            None: the provider's own; StreamSpace has none.
        auth: an :class:`~vcloud.HMACAuth`, :class:`~vcloud.BearerAuth`,
            :class:`~vcloud.APIKeyAuth`, or your own :class:`~vcloud.Auth`.
        timeout: for one attempt, from the moment it is admitted until the answer is complete;
            seconds or timedelta. By default 30 seconds, and 45 for actions and commands on a
            desktop, because the service itself ends those after 30.
        connect_timeout: for everything before a request can be written: the lookup of the name, the
            connection, TLS, and a proxy; seconds or timedelta. It is never longer than the rest of
            ``timeout`` and ``deadline``. When it expires, a :class:`~vcloud.ConnectTimeout` is
            raised, and nothing was sent.
        deadline: for one call with all its retries and waits; seconds or timedelta. None: only the
            retries limit it.
        cleanup_timeout: for everything that a launch, a connection or an agent still has to finish
            when its caller is cancelled, or the client closes: the answer that has the id, and the
            stop; seconds or timedelta. Only seconds in which the event loop runs are counted. A
            cleanup that fails or takes longer is a :class:`~vcloud.CleanupError`. A pause that the
            service asks for is obeyed; if it is longer than the rest of this time, the error is
            raised at once. The default is below the 30 seconds that Kubernetes gives a container to
            end: that grace period must be longer than this.
        retry: when to send again, and after which pauses.
        concurrency: how many requests may be in flight to this provider at once. The others wait in
            a queue, first come, first served. Only cleanup (stops for a cancelled caller, or for a
            client that closes) goes ahead.
        rate_limits: limits that you know and the service does not announce, at most one for each
            bucket; see :class:`~vcloud.RateLimit`. Announced limits, and those of the documents,
            are obeyed without being configured.
        shared_budget: counts ``rate_limits`` together with other processes, in a store; see
            :class:`~vcloud.SharedBudget`.
        observers: are called for each attempt, in this order; see :class:`~vcloud.Observer`.
        ssl: a context with your own certificate authority or client certificate. It decides what is
            verified.
        verify: False accepts any certificate. Only for a test machine of your own.
        proxy: the URL of a proxy (``http://`` or ``https://``), or ``"environment"`` to read
            ``HTTPS_PROXY`` and the like once, when the client is made.
        allow_http: allow plain ``http`` to other machines; credentials are then sent unencrypted.
            This machine is the loopback addresses, ``localhost`` and all names below it. These
            names are resolved to 127.0.0.1 and ::1 without DNS or ``/etc/hosts`` (RFC 6761). Your
            own ``client_session``, or a ``proxy``, resolves names itself: then a client refuses
            plain ``http`` to those names. Links from the service may be plain ``http`` to this
            machine, too.
        max_response: how large an answer may be, in bytes after decompression. A larger one is a
            :class:`~vcloud.LimitExceededError`, and the rest of it is not read. An answer without a
            status of success is read to 64 KiB at most, whatever this says.
        max_message: how large a message of a WebSocket may be, in bytes. A larger one is a
            :class:`~vcloud.LimitExceededError`. As many bytes, in 65 536 messages at most, may wait
            to be read; until then, pings are answered and a close is noticed even while your code
            does not read. After that, reading pauses, which slows the sender.
        heartbeat: for WebSockets; seconds or timedelta. When either direction has been silent for
            so long, the service is pinged. When it does not answer for as long again, the
            connection is closed. Proxies end silent connections: nginx after 60 seconds
            (``proxy_read_timeout``), HAProxy after 50 as Debian configures it. Keep it below that.
        max_pages: how many pages one iteration of a list may read. A longer list is a
            :class:`~vcloud.LimitExceededError`.

    Raises:
        ConfigurationError: an argument is invalid, contradicts another one, or would send
            credentials unencrypted.
    """

    base_url: str | None = field(default=None, converter=tidy_url)
    auth: Auth = field(kw_only=True, validator=_check_auth)
    timeout: float = field(
        default=TIMEOUT, kw_only=True, converter=in_seconds, validator=_positive_seconds
    )
    connect_timeout: float = field(
        default=10.0, kw_only=True, converter=in_seconds, validator=_positive_seconds
    )
    deadline: float | None = field(
        default=None,
        kw_only=True,
        converter=optional(in_seconds),
        validator=validators.optional(_positive_seconds),
    )
    cleanup_timeout: float = field(
        default=25.0, kw_only=True, converter=in_seconds, validator=_positive_seconds
    )
    retry: RetryPolicy = field(
        factory=RetryPolicy, kw_only=True, validator=_must_be(RetryPolicy, "a RetryPolicy(...)")
    )
    concurrency: int = field(default=100, kw_only=True, validator=_positive_integer)
    rate_limits: tuple[RateLimit, ...] = field(default=(), kw_only=True, converter=_rate_limits)
    shared_budget: SharedBudget | None = field(default=None, kw_only=True, validator=_check_budget)
    observers: tuple[Observer, ...] = field(default=(), kw_only=True, converter=checked_observers)
    ssl: SSLContext | None = field(
        default=None, kw_only=True, validator=_must_be(SSLContext | None, "an ssl.SSLContext")
    )
    verify: bool = field(default=True, kw_only=True, validator=[_flag, _check_verify])
    proxy: str | None = field(
        default=None,
        kw_only=True,
        repr=False,
        validator=[_must_be(str | None, "a URL"), _check_proxy],
    )
    allow_http: bool = field(default=False, kw_only=True, validator=_flag)
    max_response: int = field(default=MAX_RESPONSE, kw_only=True, validator=_positive_integer)
    max_message: int = field(default=MAX_MESSAGE, kw_only=True, validator=_positive_integer)
    max_pages: int = field(default=MAX_PAGES, kw_only=True, validator=_positive_integer)
    heartbeat: float = field(
        default=HEARTBEAT, kw_only=True, converter=in_seconds, validator=_positive_seconds
    )

    def __attrs_post_init__(self) -> None:
        if self.shared_budget is not None and not self.rate_limits:
            raise ConfigurationError("a shared_budget counts rate_limits, so give those too")
        if self.base_url is None:
            return
        check_url(self.base_url, allow_http=self.allow_http)
        if self.base_url.startswith("http:") and not self.allow_http and not is_near(self.proxy):
            raise ConfigurationError(
                "plain http through a proxy on another machine would send your credentials "
                "unencrypted over the network: leave proxy out, or give allow_http=True if you "
                "mean it"
            )

    @classmethod
    @concealing
    def from_env(
        cls,
        provider: str,
        environ: Mapping[str, str] | None = None,
        **options: Unpack[EndpointOptions],
    ) -> Endpoint:
        """The endpoint of one provider, with the address and credentials of the environment.

        :meth:`VCloud.from_env` lists the variables.

        Args:
            provider: ``"streams"``, ``"computers"``, ``"streamspace"`` or ``"desktops"``.
            environ: the variables; those of the process when left out.
            options: any other argument of the class.

        Raises:
            ConfigurationError: there is no such provider, a variable is missing, or a value is
                invalid.
        """
        check_options("Endpoint.from_env", options, "provider", "environ", instead=FROM_ENV)
        if provider not in tuple(READERS):  # what is not a string may have no hash
            question = did_you_mean(f"{provider}", READERS)
            raise ConfigurationError(
                f"provider must be one of {', '.join(READERS)}, not {provider!r:.40}"
                + (f": {question}" if question else "")
            )
        return READERS[provider](environ, options)

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        # Immutable, and its strategy must keep its tokens and clock offset.
        return self


#: Reads the endpoint of a provider from the environment, by the provider's name. The module with
#: the providers' variables fills it.
READERS: Final[dict[str, Callable[[Mapping[str, str] | None, EndpointOptions], Endpoint]]] = {}


def check_resolver(endpoint: Endpoint, *, foreign_session: bool) -> None:
    """Refuse plain http to ``localhost`` if something other than this SDK resolves that name.

    The user's own session, or a proxy, may ask DNS, and so send the credentials to another machine.

    Args:
        endpoint: the endpoint of a client.
        foreign_session: whether the client has a ``client_session`` of the user's own.

    Raises:
        ConfigurationError: the host of ``base_url`` or of the proxy is such a name, and
            ``allow_http`` is False.
    """
    found = _resolved_by_others(endpoint, foreign_session=foreign_session)
    if found is not None:
        what, who = found
        raise ConfigurationError(
            f"the name in {what} is resolved by {who}, and may lead to another machine, which "
            "would receive your credentials unencrypted: give an address such as 127.0.0.1, "
            "use https, or give allow_http=True"
        )


# A separate function, so that no frame that raises holds the proxy's password.
def _resolved_by_others(endpoint: Endpoint, *, foreign_session: bool) -> tuple[str, str] | None:
    url = endpoint.base_url
    # The environment's proxy is not used for this machine.
    proxy = None if endpoint.proxy == "environment" else endpoint.proxy
    if endpoint.allow_http or url is None or not url.startswith("http:"):
        return None
    if is_localhost(urlsplit(url).hostname or ""):
        if proxy is not None:
            return "base_url", "the proxy"
        return ("base_url", "the client_session") if foreign_session else None
    if foreign_session and proxy is not None and is_localhost(urlsplit(proxy).hostname or ""):
        return "proxy", "the client_session"
    return None
