"""The options of an Endpoint, as the clients and ``from_env`` take them; and their mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import wraps
from inspect import iscoroutinefunction
from ssl import SSLContext
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypedDict, TypeVar

from vcloud._core.limits.windows import RateLimit
from vcloud._core.redaction.secretive import concealing
from vcloud._core.retry import RetryPolicy
from vcloud._core.suggestions import WrongArgumentsError, explaining, unknown_keyword

if TYPE_CHECKING:
    from vcloud._core.limits.shared_budget.budget import SharedBudget
    from vcloud._core.observe import Observer

P = ParamSpec("P")
R = TypeVar("R")

#: What people call credentials where a client takes ``auth``.
_CREDENTIALS: Final = (
    "api_key",
    "key",
    "secret",
    "token",
    "username",
    "user",
    "password",
    "credentials",
)


class EndpointOptions(TypedDict, total=False):
    """The options of an :class:`~vcloud.Endpoint`, which describes them.

    They are its arguments other than ``base_url`` and ``auth``. ``VCloud.from_env()`` takes them by
    name, and for one provider as such a dict; the client of a provider takes them by name.
    """

    timeout: timedelta | float
    connect_timeout: timedelta | float
    deadline: timedelta | float | None
    cleanup_timeout: timedelta | float
    retry: RetryPolicy
    concurrency: int
    rate_limits: Iterable[RateLimit]
    shared_budget: SharedBudget | None
    observers: Iterable[Observer]
    ssl: SSLContext | None
    verify: bool
    proxy: str | None
    allow_http: bool
    max_response: int
    max_message: int
    max_pages: int
    heartbeat: timedelta | float


#: The names of all of them.
OPTIONS: Final = tuple(EndpointOptions.__annotations__)


#: What to do instead of giving these to ``from_env``.
FROM_ENV: Final = {
    "base_url": "the environment has the address; to give it here, make an Endpoint(base_url, ...)",
    "auth": "the environment has the credentials; to give them here, make an Endpoint(auth=...)",
}

#: Of an option that ``with_options`` does not change.
FIXED: Final = (
    "with_options takes timeout, deadline and retry; give the others when the client is made, as "
    "in Endpoint(auth=..., {}=...)"
)
#: Of an option that belongs to the Endpoint of a provider.
OF_ENDPOINT: Final = (
    "give it to the Endpoint of a provider, as in VCloud(computers=Endpoint(auth=..., {0}=...)), "
    "or to all with VCloud.from_env({0}=...)"
)


def check_options(
    callee: str, given: Iterable[str], *others: str, instead: Mapping[str, str] | None = None
) -> None:
    """Refuse keywords that are not options of an Endpoint.

    Args:
        callee: what takes them, as the error names it.
        given: the keywords.
        others: the other arguments that it takes.
        instead: by a keyword, what to do instead of giving it.

    Raises:
        WrongArgumentsError: one of them is no option. The text has the nearest, and all.
    """
    for name in given:
        if instead is not None and name in instead:
            raise WrongArgumentsError(f"{callee} has no argument {name!r}: {instead[name]}")
        if name not in OPTIONS and name not in others:
            raise WrongArgumentsError(unknown_keyword(callee, name, (*others, *OPTIONS)))


def credentials_elsewhere(strategy: str) -> Mapping[str, str]:
    """What to do instead of giving credentials without a strategy, by the keyword.

    Args:
        strategy: how the strategy is written.
    """
    return dict.fromkeys(_CREDENTIALS, f"credentials are one argument: auth={strategy}")


def guided(
    callee: str, *, options: str = "", others: Mapping[str, str] | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Answer arguments that do not fit with what to write; for methods that no request passes.

    No frame of such an error holds the arguments, among which a password may be.

    Args:
        callee: what is called, as the error names it.
        options: what to do with an option of an Endpoint that it does not take; ``{}`` is its name.
        others: by other wrong keywords, what to do instead.
    """
    special = {**{name: options.format(name) for name in OPTIONS if options}, **(others or {})}

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        explained = explaining(function, callee, error=WrongArgumentsError)
        if iscoroutinefunction(function):
            return concealing(explained)
        code: Any = getattr(function, "__code__")  # noqa: B009 - ParamSpec's callables have none
        taken = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]

        @wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs:
                if name in special and name not in taken:
                    raise WrongArgumentsError(f"{callee} has no argument {name!r}: {special[name]}")
            return explained(*args, **kwargs)

        return concealing(checked)

    return decorate
