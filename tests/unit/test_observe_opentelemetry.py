"""Spans and metrics, as OpenTelemetry's own SDK receives them, in memory."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import define
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import url_attributes
from opentelemetry.semconv._incubating.metrics import http_metrics as active_metrics
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes
from opentelemetry.semconv.metrics import http_metrics
from opentelemetry.trace import SpanKind, StatusCode

from vcloud import (
    Attempt,
    ConfigurationError,
    ConflictError,
    ConnectError,
    Queued,
    ServerError,
    VCloudError,
    WaitReason,
)
from vcloud.opentelemetry import BUCKETS, OpenTelemetry

#: Our own attributes, besides the conventions.
OURS = {"vcloud.provider", "vcloud.waited", "vcloud.wait.reason"}


@define
class Seen:
    """What the SDK received."""

    observer: OpenTelemetry
    tracer_provider: TracerProvider
    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    @property
    def metrics(self) -> dict[str, Any]:
        data = self.reader.get_metrics_data()
        assert data is not None
        return {
            found.name: found
            for scopes in data.resource_metrics
            for scope in scopes.scope_metrics
            for found in scope.metrics
        }


@pytest.fixture
def seen() -> Iterator[Seen]:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = (
        TracerProvider(shutdown_on_exit=False),
        MeterProvider([reader], shutdown_on_exit=False),
    )
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    yield Seen(OpenTelemetry(tracers, meters), tracers, exporter, reader)
    tracers.shutdown()
    meters.shutdown()


def attempt(number: int = 1, base_url: str = "https://api.test/v1") -> Attempt:
    return Attempt(
        "computers",
        "POST /machines/{id}/start",
        "POST",
        base_url,
        "/machines/100/start",
        number,
        0.5,
    )


def end(
    observer: OpenTelemetry,
    one: Attempt,
    status: int | None = 200,
    error: BaseException | None = None,
) -> None:
    one.status, one.error, one.duration = status, error, 0.03
    observer.ended(one)


def test_calls_that_wait_are_counted_by_their_reason(seen: Seen) -> None:
    about = (
        "computers",
        "POST /machines/{id}/start",
        "POST",
        "https://api.test/v1",
        "/machines/100",
    )
    for reason in (WaitReason.SLOT, WaitReason.PAUSE, WaitReason.SLOT):
        seen.observer.queued(Queued(*about, reason, 1.0, None, 3))
    points = seen.metrics["vcloud.client.waits"].data.data_points
    assert {point.attributes["vcloud.wait.reason"]: point.value for point in points} == {
        "slot": 2,
        "pause": 1,
    }
    assert points[0].attributes["url.template"] == "/v1/machines/{id}/start"
    assert set(points[0].attributes) - set(OURS) == {
        http_attributes.HTTP_REQUEST_METHOD,
        server_attributes.SERVER_ADDRESS,
        server_attributes.SERVER_PORT,
        "url.scheme",
        "url.template",
    }


def test_an_attempt_is_a_client_span_with_the_conventions_names(seen: Seen) -> None:
    one = attempt()
    seen.observer.started(one)
    end(seen.observer, one)
    (span,) = seen.spans
    assert (span.name, span.kind) == ("POST /v1/machines/{id}/start", SpanKind.CLIENT)
    assert dict(span.attributes or {}) == {
        http_attributes.HTTP_REQUEST_METHOD: "POST",
        http_attributes.HTTP_RESPONSE_STATUS_CODE: 200,
        server_attributes.SERVER_ADDRESS: "api.test",
        server_attributes.SERVER_PORT: 443,
        url_attributes.URL_FULL: "https://api.test/v1/machines/100/start",
        url_attributes.URL_SCHEME: "https",
        url_attributes.URL_TEMPLATE: "/v1/machines/{id}/start",
        "vcloud.provider": "computers",
        "vcloud.waited": 0.5,
    }
    assert span.status.status_code is StatusCode.UNSET


def test_a_repeat_says_which_it_is_and_another_port_is_named(seen: Seen) -> None:
    one = attempt(3, "http://[::1]:8080")
    seen.observer.started(one)
    end(seen.observer, one)
    (span,) = seen.spans
    assert span.attributes is not None
    assert span.attributes[http_attributes.HTTP_REQUEST_RESEND_COUNT] == 2
    assert (span.attributes["server.address"], span.attributes["server.port"]) == ("::1", 8080)
    assert span.attributes["url.template"] == "/machines/{id}/start"


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (
            503,
            ServerError("canary", status=503, provider="computers", method="POST", url="u"),
            "503",
        ),
        (
            200,
            ConflictError("canary", status=200, provider="computers", method="POST", url="u"),
            "ConflictError",
        ),
        (None, ConnectError("canary"), "ConnectError"),
        (None, asyncio.CancelledError(), "CancelledError"),
    ],
)
def test_a_failure_is_marked_with_its_kind_and_without_anybodys_words(
    seen: Seen, status: int | None, error: VCloudError | asyncio.CancelledError, kind: str
) -> None:
    one = attempt()
    seen.observer.started(one)
    end(seen.observer, one, status, error)
    (span,) = seen.spans
    assert span.attributes is not None
    assert span.attributes[error_attributes.ERROR_TYPE] == kind
    assert span.attributes.get("http.response.status_code") == status
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert "canary" not in span.to_json() + str(seen.metrics)


def test_durations_and_requests_under_way_are_measured(seen: Seen) -> None:
    first, second, third = attempt(), attempt(), attempt()
    for one in first, second, third:
        seen.observer.started(one)
    end(seen.observer, first)
    end(seen.observer, second, None, ConnectError("no"))
    durations = seen.metrics[http_metrics.HTTP_CLIENT_REQUEST_DURATION]
    assert durations.unit == "s"
    good, bad = sorted(
        durations.data.data_points, key=lambda point: "error.type" in point.attributes
    )
    assert (good.count, good.sum, good.explicit_bounds) == (1, 0.03, BUCKETS)
    assert good.attributes["http.response.status_code"] == 200
    assert bad.attributes["error.type"] == "ConnectError"
    (active,) = seen.metrics[active_metrics.HTTP_CLIENT_ACTIVE_REQUESTS].data.data_points
    assert active.value == 1
    end(seen.observer, third)


def test_metrics_have_one_series_for_all_ids(seen: Seen) -> None:
    for number in range(5):
        one = attempt(number + 1)
        one.path, one.waited = f"/machines/{number}/start", float(number)
        seen.observer.started(one)
        end(seen.observer, one)
    assert [len(metric.data.data_points) for metric in seen.metrics.values()] == [1, 1]


def test_a_span_is_a_child_of_what_is_current_where_it_starts(seen: Seen) -> None:
    tracer = seen.tracer_provider.get_tracer("test")
    one = attempt()
    with tracer.start_as_current_span("mine") as mine:
        seen.observer.started(one)
    end(seen.observer, one)
    (span,) = (found for found in seen.spans if found.name != "mine")
    assert span.parent is not None
    assert span.parent.span_id == mine.get_span_context().span_id


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigurationError, match=r"vcloud-sdk\[otel\]"):
        OpenTelemetry()


def test_without_an_opentelemetry_sdk_it_keeps_nothing() -> None:
    observer, one = OpenTelemetry(), attempt()
    gone = weakref.ref(one)
    observer.started(one)
    end(observer, one)
    del one
    gc.collect()
    assert gone() is None


def test_a_tracer_or_a_meter_that_raises_leaves_nothing_behind(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("the exporter")

    def failing(kind: type, method: str) -> None:
        one, raised = attempt(), 0
        gone = weakref.ref(one)
        with monkeypatch.context() as patch:
            patch.setattr(kind, method, fail)
            for step in (seen.observer.started, lambda attempt: end(seen.observer, attempt)):
                try:
                    step(one)
                except ValueError:
                    raised += 1
        assert raised == 1, method
        del one
        gc.collect()
        assert gone() is None, method

    failing(Histogram, "record")
    failing(Tracer, "start_span")
    assert seen.metrics["http.client.active_requests"].data.data_points[0].value == 0
