"""An observer that makes spans and metrics for OpenTelemetry. It needs ``vcloud-sdk[otel]``."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from vcloud import __version__
from vcloud._core.observe import Attempt, Observer, Queued
from vcloud.errors import ConfigurationError

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

__all__ = ["OpenTelemetry"]

#: Seconds, as the conventions advise for ``http.client.request.duration``.
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

Attributes = dict[str, str | int | float]


class OpenTelemetry(Observer):
    """Makes a client span for each attempt, and metrics, as OpenTelemetry's conventions for HTTP.

    ::

        async with VCloud.from_env(observers=[OpenTelemetry()]) as cloud: ...

    The name of a span is ``POST /machines/{id}/start``, with the base path before it. It is a child
    of the span that is current where the call is made. A retry is a separate span, with
    ``http.request.resend_count``. ``url.full`` is without the query, and has ids as they are sent,
    percent-encoded. Besides the conventions there are ``vcloud.provider`` and ``vcloud.waited``,
    the seconds that the attempt waited before it was sent.

    The metrics are ``http.client.request.duration``, ``http.client.active_requests``, and our own
    ``vcloud.client.waits``, which counts the calls that wait for more than a second by
    ``vcloud.wait.reason`` (a :class:`~vcloud.WaitReason`).

    No attribute contains a service's text: of an answer only the status and the error's class.
    Nothing is added to requests: services get no ``traceparent``.

    Args:
        tracer_provider: for the spans; None: the process's.
        meter_provider: for the metrics; None: the process's.

    Raises:
        ConfigurationError: OpenTelemetry's API is not installed.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        try:
            from opentelemetry import metrics, trace  # noqa: PLC0415 - an optional dependency
        except ImportError:
            raise ConfigurationError(
                "OpenTelemetry needs the extra: pip install 'vcloud-sdk[otel]'"
            ) from None
        self._tracer = trace.get_tracer("vcloud", __version__, tracer_provider)
        meter = metrics.get_meter("vcloud", __version__, meter_provider)
        self._durations = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self._active = meter.create_up_down_counter(
            "http.client.active_requests",
            unit="{request}",
            description="Number of active HTTP requests.",
        )
        self._waits = meter.create_counter(
            "vcloud.client.waits",
            unit="{call}",
            description="Number of calls that wait for more than a second before they are sent.",
        )
        self._kind = trace.SpanKind.CLIENT
        self._failed = trace.StatusCode.ERROR
        self._spans: dict[Attempt, Span] = {}

    def queued(self, event: Queued) -> None:
        """Count the call, by what it waits for."""
        self._waits.add(1, _target(event) | {"vcloud.wait.reason": event.reason.value})

    def started(self, attempt: Attempt) -> None:
        """Start a span."""
        target = _target(attempt)
        details: Attributes = {"url.full": attempt.url, "vcloud.waited": attempt.waited}
        if attempt.number > 1:
            details["http.request.resend_count"] = attempt.number - 1
        self._active.add(1, target)
        self._spans[attempt] = self._tracer.start_span(
            f"{attempt.method} {target['url.template']}",
            kind=self._kind,
            attributes=target | details,
        )

    def ended(self, attempt: Attempt) -> None:
        """End the span, and record the duration."""
        # First, so that the span is dropped also if a meter raises. There is no span if the tracer
        # raised.
        span = self._spans.pop(attempt, None)
        target = _target(attempt)
        self._active.add(-1, target)
        outcome = _outcome(attempt)
        self._durations.record(attempt.duration or 0.0, target | outcome)
        if span is None:
            return
        span.set_attributes(outcome)
        if attempt.error is not None:
            # Without a description, which would be a text of the service; error.type has the kind.
            span.set_status(self._failed)
        span.end()


def _target(attempt: Attempt | Queued) -> Attributes:
    """The attributes of the operation and the service."""
    scheme, host, port, base_path = _address(attempt.base_url)
    return {
        "http.request.method": attempt.method,
        "server.address": host,
        "server.port": port,
        "url.scheme": scheme,
        "url.template": base_path + attempt.operation.partition(" ")[2],
        "vcloud.provider": attempt.provider,
    }


@lru_cache
def _address(base_url: str) -> tuple[str, str, int, str]:
    parts = urlsplit(base_url)
    return (
        parts.scheme,
        parts.hostname or "",
        parts.port or (443 if parts.scheme == "https" else 80),
        parts.path,
    )


def _outcome(attempt: Attempt) -> Attributes:
    """The status, and the kind of a failure: its status from 400 on, else its error's class."""
    outcome: Attributes = {}
    if attempt.status is not None:
        outcome["http.response.status_code"] = attempt.status
    if attempt.error is not None:
        outcome["error.type"] = (
            str(attempt.status) if (attempt.status or 0) >= 400 else type(attempt.error).__name__
        )
    return outcome
