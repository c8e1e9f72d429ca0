"""Cloud desktops for asyncio: one SDK for the APIs that rent, start and drive remote machines.

Everything public is here, and nothing is imported before it is used.
"""

from __future__ import annotations

from vcloud._core.version import __version__

# Not typing's own, whose import alone would take longer than everything else here; type checkers know the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from vcloud._core.decoding.codec import OpenEnum
    from vcloud._core.endpoint import Endpoint
    from vcloud._core.instances import Controllable, Instance, Instances, InstanceState
    from vcloud._core.limits.shared_budget.budget import SharedBudget
    from vcloud._core.limits.windows import RateLimit
    from vcloud._core.observe import Attempt, Observer, Queued, WaitReason
    from vcloud._core.paging.pager import Page, Pager
    from vcloud._core.request import Request, Response
    from vcloud._core.retry import RetryPolicy
    from vcloud._core.stats import Stats
    from vcloud._core.text import printable
    from vcloud.auth import APIKeyAuth, Auth, BearerAuth, HMACAuth
    from vcloud.bulk import Bulk, Journal, Outcome, OutcomeStatus, Settled, Totals
    from vcloud.cloud import VCloud
    from vcloud.errors import (
        APIError,
        AuthenticationError,
        CapacityError,
        CleanupError,
        ConfigurationError,
        ConflictError,
        ConnectError,
        ConnectTimeout,
        DecodeError,
        InsufficientFundsError,
        InvalidArgumentError,
        InvalidRequestError,
        LimitExceededError,
        NotFoundError,
        PermissionDeniedError,
        RateLimitError,
        RequestTimeout,
        ServerError,
        TransportError,
        VCloudError,
        WaitFailed,
        WaitTimeout,
    )
    from vcloud.providers.computers import VagonComputers
    from vcloud.providers.desktops import Desktops
    from vcloud.providers.streams import VagonStreams
    from vcloud.providers.streamspace import StreamSpace
    from vcloud.providers.vagon import VagonCode

_HOMES = {
    "vcloud._core.decoding.codec": ("OpenEnum",),
    "vcloud._core.endpoint": ("Endpoint",),
    "vcloud._core.instances": ("Controllable", "Instance", "InstanceState", "Instances"),
    "vcloud._core.observe": ("Attempt", "Observer", "Queued", "WaitReason"),
    "vcloud._core.paging.pager": ("Page", "Pager"),
    "vcloud._core.limits.windows": ("RateLimit",),
    "vcloud._core.request": ("Request", "Response"),
    "vcloud._core.retry": ("RetryPolicy",),
    "vcloud._core.stats": ("Stats",),
    "vcloud._core.limits.shared_budget.budget": ("SharedBudget",),
    "vcloud._core.text": ("printable",),
    "vcloud.auth": ("APIKeyAuth", "Auth", "BearerAuth", "HMACAuth"),
    "vcloud.bulk": ("Bulk", "Journal", "Outcome", "OutcomeStatus", "Settled", "Totals"),
    "vcloud.cloud": ("VCloud",),
    "vcloud.errors": (
        "APIError",
        "AuthenticationError",
        "CapacityError",
        "ConfigurationError",
        "CleanupError",
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
        "VCloudError",
        "WaitFailed",
        "WaitTimeout",
    ),
    "vcloud.providers.computers": ("VagonComputers",),
    "vcloud.providers.desktops": ("Desktops",),
    "vcloud.providers.streams": ("VagonStreams",),
    "vcloud.providers.streamspace": ("StreamSpace",),
    "vcloud.providers.vagon": ("VagonCode",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "APIError",
    "APIKeyAuth",
    "Attempt",
    "Auth",
    "AuthenticationError",
    "BearerAuth",
    "Bulk",
    "CapacityError",
    "CleanupError",
    "ConfigurationError",
    "ConflictError",
    "ConnectError",
    "ConnectTimeout",
    "Controllable",
    "DecodeError",
    "Desktops",
    "Endpoint",
    "HMACAuth",
    "Instance",
    "InstanceState",
    "Instances",
    "InsufficientFundsError",
    "InvalidArgumentError",
    "InvalidRequestError",
    "Journal",
    "LimitExceededError",
    "NotFoundError",
    "Observer",
    "OpenEnum",
    "Outcome",
    "OutcomeStatus",
    "Page",
    "Pager",
    "PermissionDeniedError",
    "Queued",
    "RateLimit",
    "RateLimitError",
    "Request",
    "RequestTimeout",
    "Response",
    "RetryPolicy",
    "ServerError",
    "Settled",
    "SharedBudget",
    "Stats",
    "StreamSpace",
    "Totals",
    "TransportError",
    "VCloud",
    "VCloudError",
    "VagonCode",
    "VagonComputers",
    "VagonStreams",
    "WaitFailed",
    "WaitReason",
    "WaitTimeout",
    "__version__",
    "printable",
]


#: Modules that type checkers know as attributes of ``vcloud``: they must be there at run time too.
_MODULES = {"auth", "bulk", "cloud", "emulator", "errors", "providers"}


def __getattr__(name: str) -> object:
    from importlib import import_module  # noqa: PLC0415 - as above

    if name in _MODULES:
        return import_module(f"vcloud.{name}")
    try:
        module = _HOME_OF[name]
    except KeyError:
        raise AttributeError(f"module 'vcloud' has no attribute {name!r}") from None
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
