"""Making what all calls of a session share, from an endpoint."""

from __future__ import annotations

import functools
from collections.abc import Callable

from vcloud._core.auth import bound_auth
from vcloud._core.call.context import CallContext
from vcloud._core.call.signing import Signer
from vcloud._core.call.sources import Sources
from vcloud._core.codec import Codec
from vcloud._core.connections.options import TransportOptions
from vcloud._core.endpoint import TIMEOUT, Endpoint
from vcloud._core.limits.admission import Admission
from vcloud._core.observed_call import Observers
from vcloud._core.service import Service
from vcloud._core.transport import Transport
from vcloud._core.waiting import Waits
from vcloud.errors import ConfigurationError


def build_context(
    service: Service,
    endpoint: Endpoint,
    base_url: str,
    transport: Transport,
    *,
    codec: Codec,
    sources: Sources,
) -> CallContext:
    """What the calls of one provider share. The arguments are those of a :class:`Session`.

    Raises:
        ConfigurationError: a configured limit is for a bucket that the provider does not have; or
            the strategy serves another base URL already.
    """
    signer = Signer(
        bound_auth(endpoint.auth, base_url),
        base_url,
        nonce=sources.nonce,
        clock=sources.clock,
        day=sources.wall,
        elapsed=sources.boottime,
    )
    observers = Observers(service.provider, endpoint.observers, service.fixed_paths)
    return CallContext(
        service=service,
        codec=codec,
        transport=transport,
        signer=signer,
        admission=_admission(service, endpoint, sources.clock),
        observers=observers,
        waits=Waits(service.provider, observers.log, sources.clock, sources.wall),
        clock=sources.clock,
        entropy=sources.entropy,
        base_url=base_url,
        root_url=signer.root_url,
        retry=endpoint.retry,
        timeout=endpoint.timeout,
        timeout_chosen=endpoint.timeout is not TIMEOUT,
        deadline=endpoint.deadline,
        cleanup_timeout=endpoint.cleanup_timeout,
        options=_transport_options(endpoint, base_url),
    )


def _transport_options(endpoint: Endpoint, base_url: str) -> TransportOptions:
    return TransportOptions.of(
        base_url=base_url,
        timeout=endpoint.timeout,
        connect_timeout=endpoint.connect_timeout,
        ssl=endpoint.ssl or endpoint.verify,
        proxy=endpoint.proxy,
        max_response=endpoint.max_response,
        max_message=endpoint.max_message,
        heartbeat=endpoint.heartbeat,
    )


def _admission(service: Service, endpoint: Endpoint, clock: Callable[[], float]) -> Admission:
    """The slots and rate limits of one provider.

    Raises:
        ConfigurationError: a configured limit is for a bucket that the provider does not have.
    """
    provider, budget = service.provider, endpoint.shared_budget
    buckets = {"", "login", *[limit.bucket for limit in service.rate_limits]}
    if unknown := {limit.bucket for limit in endpoint.rate_limits} - buckets:
        known = ", ".join(map(repr, sorted(buckets)))
        raise ConfigurationError(
            f"{provider} has no bucket {', '.join(map(repr, unknown))}, but {known}"
        )
    return Admission(
        endpoint.concurrency,
        clock,
        rules=endpoint.rate_limits,
        expected=service.rate_limits,
        acquire=None if budget is None else functools.partial(budget.acquire, provider),
    )
