"""What a type checker knows of observers and their events. mypy and pyright read this only."""

from __future__ import annotations

from datetime import datetime
from typing import assert_type

from vcloud import Attempt, Endpoint, HMACAuth, Observer, Queued, VCloud, WaitReason
from vcloud.opentelemetry import OpenTelemetry


class Printer(Observer):
    """An observer of one's own, with every method."""

    def queued(self, event: Queued) -> None:
        assert_type(event, Queued)

    def started(self, attempt: Attempt) -> None:
        assert_type(attempt, Attempt)

    def ended(self, attempt: Attempt) -> None:
        assert_type(attempt.status, int | None)

    def retried(self, attempt: Attempt) -> None:
        assert_type(attempt.retry_in, float | None)


def observed() -> None:
    assert_type(VCloud.from_env(observers=[Printer(), OpenTelemetry()]), VCloud)
    assert_type(Endpoint(auth=HMACAuth("key", "secret"), observers=[Printer()]), Endpoint)


def attempt_fields(value: Attempt) -> None:
    assert_type(value.provider, str)
    assert_type(value.operation, str)
    assert_type(value.method, str)
    assert_type(value.base_url, str)
    assert_type(value.path, str)
    assert_type(value.number, int)
    assert_type(value.waited, float)
    assert_type(value.status, int | None)
    assert_type(value.error, BaseException | None)
    assert_type(value.duration, float | None)
    assert_type(value.retry_in, float | None)
    assert_type(value.url, str)


def queued_fields(value: Queued) -> None:
    assert_type(value.provider, str)
    assert_type(value.operation, str)
    assert_type(value.method, str)
    assert_type(value.base_url, str)
    assert_type(value.path, str)
    assert_type(value.reason, WaitReason)
    assert_type(value.waited, float)
    assert_type(value.until, datetime | None)
    assert_type(value.waiting, int)
    assert_type(value.url, str)
