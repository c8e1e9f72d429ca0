"""The options of an Endpoint, as the clients and ``from_env`` take them; and their mistakes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from ssl import SSLContext
from typing import TYPE_CHECKING, Final, TypedDict

from vcloud._core.limits.windows import RateLimit
from vcloud._core.retry import RetryPolicy
from vcloud._core.wrong_arguments import check_keywords

if TYPE_CHECKING:
    from vcloud._core.limits.shared_budget.budget import SharedBudget
    from vcloud._core.observe import Observer

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

# What to do instead of giving a keyword to something that does not take it.

#: Of ``from_env``.
FROM_ENV: Final = {
    "base_url": "the environment has the address; to give it here, make an Endpoint(base_url, ...)",
    "auth": "the environment has the credentials; to give them here, make an Endpoint(auth=...)",
}
#: Of ``with_options``, which does not change them.
FIXED: Final = {
    name: "with_options takes timeout, deadline and retry; give the others when the client is "
    f"made, as in Endpoint(auth=..., {name}=...)"
    for name in OPTIONS
}
#: Of the facade: they belong to the Endpoint of a provider.
OF_ENDPOINT: Final = {
    **dict.fromkeys(
        ("base_url", "auth"),
        "give it to the Endpoint of a provider, as in VCloud(computers=Endpoint(base_url, "
        "auth=...))",
    ),
    **{
        name: "give it to the Endpoint of a provider, as in VCloud(computers=Endpoint(auth=..., "
        f"{name}=...)), or to all with VCloud.from_env({name}=...)"
        for name in OPTIONS
    },
}


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
    check_keywords(callee, given, (*others, *OPTIONS), instead or {})


def credentials_elsewhere(strategy: str) -> Mapping[str, str]:
    """What to do instead of giving credentials without a strategy, by the keyword.

    Args:
        strategy: how the strategy is written.
    """
    return dict.fromkeys(_CREDENTIALS, f"credentials are one argument: auth={strategy}")
