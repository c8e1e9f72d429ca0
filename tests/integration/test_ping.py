"""Whether each provider answers: one cheap request for each, and an outcome for each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from vcloud import (
    Auth,
    AuthenticationError,
    BearerAuth,
    ConfigurationError,
    ConnectError,
    DecodeError,
    Endpoint,
    InvalidArgumentError,
    NotFoundError,
    Observer,
    RateLimit,
    RateLimitError,
    Request,
    RequestTimeout,
    RetryPolicy,
    ServerError,
    TransportError,
    VCloud,
    VCloudError,
)
from vcloud.emulator import Emulator, Fault

EVERY = ("streams", "computers", "streamspace", "desktops")


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(speed=300) as emulator:
        yield emulator


async def test_each_provider_is_asked_once_for_little(emulator: Emulator) -> None:
    async with VCloud(**emulator.endpoints()) as cloud:
        outcomes = await cloud.ping()
        assert tuple(outcomes) == cloud.configured == EVERY
        for name, outcome in outcomes.items():
            assert (outcome.item, str(outcome.status), outcome.error) == (name, "done", None)
            assert timedelta() < outcome.duration < timedelta(seconds=10)
        asked = [call for call in emulator.calls if "/auth/login" not in call.path]
        assert {call.method for call in asked} == {"GET"}
        assert {call.path.rsplit("/", 1)[1] for call in asked} == {
            "applications",
            "machines",
            "templates",
            "00000000-0000-4000-8000-000000000000",
        }
        assert len(asked) == len(EVERY)
        for name in EVERY:
            assert await getattr(cloud, name).ping() is None


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.reset_before(), TransportError),
        (Fault.html(503), ServerError),
        (Fault.html(404), NotFoundError),
        (Fault.reply(404, b'{"message": "no Route matched"}'), NotFoundError),
        (Fault.html(200), DecodeError),
        (Fault.too_many(30), RateLimitError),
        (Fault.reply(401, b'{"status": "error", "error": "Invalid API key"}'), AuthenticationError),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_a_provider_that_fails_hides_no_other(
    emulator: Emulator, fault: Fault, kind: type[Exception]
) -> None:
    emulator.faults.add("GET /v1/desktop/*", fault, times=None)
    async with VCloud(**emulator.endpoints()) as cloud:
        outcomes = await cloud.ping(timeout=5)
        failed = outcomes.pop("desktops")
        assert type(failed.error) is kind
        assert str(failed.status) == ("undone" if kind is RateLimitError else "failed")
        assert failed.attempts == 1
        assert {str(outcome.status) for outcome in outcomes.values()} == {"done"}
        with pytest.raises(VCloudError):
            await cloud.desktops.ping(timeout=1)


async def test_a_service_that_cannot_be_reached_has_failed(emulator: Emulator) -> None:
    environ = emulator.env() | {"VCLOUD_STREAMS_URL": "http://127.0.0.1:9/v2"}
    async with VCloud.from_env(environ) as cloud:
        outcomes = await cloud.ping()
        assert isinstance(outcomes.pop("streams").error, ConnectError)
        assert [outcome.error for outcome in outcomes.values()] == [None, None, None]


async def test_a_ping_is_not_repeated(emulator: Emulator) -> None:
    emulator.faults.add("GET */machines*", Fault.html(503), times=1)
    async with VCloud.from_env(emulator.env(), retry=RetryPolicy(attempts=5)) as cloud:
        assert isinstance((await cloud.ping())["computers"].error, ServerError)
        assert sum(call.path.endswith("/machines") for call in emulator.calls) == 1


async def test_a_provider_that_does_not_answer_in_time_has_failed(emulator: Emulator) -> None:
    emulator.faults.add("GET */templates*", Fault.stall_headers(None), times=None)
    async with VCloud(**emulator.endpoints()) as cloud:
        outcomes = await cloud.ping(timeout=timedelta(seconds=0.3))
        assert isinstance(outcomes.pop("streamspace").error, RequestTimeout)
        assert [outcome.error for outcome in outcomes.values()] == [None, None, None]


async def test_a_busy_client_answers_too(emulator: Emulator) -> None:
    emulator.faults.add("GET */machines/100*", Fault.stall_headers(None), times=None)
    async with VCloud.from_env(emulator.env(), concurrency=1) as cloud:
        stuck = asyncio.create_task(cloud.computers.machines.get("100"))
        await asyncio.sleep(0.1)
        assert cloud.computers.stats().free == 0
        outcomes = await cloud.ping(timeout=5)
        assert [outcome.error for outcome in outcomes.values()] == [None] * 4
        assert [outcome.attempts for outcome in outcomes.values()] == [1] * 4
        stuck.cancel()


async def test_a_rate_limit_does_not_make_a_provider_seem_away(emulator: Emulator) -> None:
    limits = [RateLimit(1, per=60)]
    async with VCloud.from_env(emulator.env(), computers={"rate_limits": limits}) as cloud:
        await cloud.computers.machines.list().first()
        outcome = (await cloud.ping(timeout=0.3))["computers"]
        assert (str(outcome.status), outcome.attempts) == ("undone", 0)
        assert isinstance(outcome.error, RequestTimeout)
        assert "nothing was sent" in str(outcome.error)


async def test_credentials_that_are_refused_are_an_outcome(emulator: Emulator) -> None:
    url = emulator.endpoints()["streamspace"].base_url
    wrong = Endpoint(url, auth=BearerAuth.login("admin", "wrong"))
    async with VCloud(streamspace=wrong) as cloud:
        assert isinstance((await cloud.ping())["streamspace"].error, AuthenticationError)
        again = (await cloud.ping())["streamspace"].error
        assert isinstance(again, AuthenticationError)
        assert again.remembered


async def test_what_a_strategy_of_the_users_raises_is_an_outcome(emulator: Emulator) -> None:
    class Broken(Auth):
        def headers(
            self, request: Request, path: str, *, now: float, nonce: str
        ) -> Mapping[str, str]:
            raise KeyError("no key")

    known: dict[str, Any] = dict(emulator.endpoints())
    url = known["desktops"].base_url
    async with VCloud(computers=known["computers"], desktops=Endpoint(url, auth=Broken())) as cloud:
        outcomes = await cloud.ping()
        assert isinstance(outcomes["desktops"].error, KeyError)
        assert outcomes["computers"].error is None


async def test_a_client_that_is_closed_is_no_failure_of_a_provider(emulator: Emulator) -> None:
    cloud = VCloud(**emulator.endpoints())
    with pytest.raises(ConfigurationError, match="not open"):
        await cloud.ping()
    with pytest.raises(InvalidArgumentError, match="timeout must be greater than 0"):
        await cloud.ping(timeout=0)
    async with cloud:
        pass
    with pytest.raises(ConfigurationError, match="closed"):
        await cloud.ping()


async def test_a_cancelled_ping_leaves_nothing_behind(emulator: Emulator) -> None:
    emulator.faults.add("GET *", Fault.stall_headers(None), times=None)
    async with VCloud(**emulator.endpoints()) as cloud:
        asked = asyncio.create_task(cloud.ping())
        await asyncio.sleep(0.1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert {stats.in_flight + stats.waiting for stats in cloud.stats().values()} == {0}


# -- the facade with other options, and observers --------------------------------------------------


async def test_a_facade_with_other_options_sends_through_the_same_connections(
    emulator: Emulator,
) -> None:
    async with VCloud(**emulator.endpoints()) as cloud:
        quick = cloud.with_options(timeout=5)
        desktop = await quick.desktops.launch()
        await desktop.wait_until("running", poll=0.005)
        assert [one.id for one in await cloud.instances().all() if one.provider == "desktops"] == [
            desktop.id
        ]
        assert all(outcome.error is None for outcome in (await quick.ping()).values())
        assert quick.stats() == cloud.stats()
    with pytest.raises(ConfigurationError, match="closed"):
        await quick.computers.machines.get("100")


async def test_observers_of_one_provider_are_called_before_those_of_all(
    emulator: Emulator,
) -> None:
    heard: list[str] = []

    class Noting(Observer):
        def __init__(self, name: str) -> None:
            self._name = name

        def started(self, attempt: object) -> None:
            heard.append(self._name)

    own, every = Noting("own"), Noting("every")
    environ = emulator.env()
    async with VCloud.from_env(environ, observers=[every], computers={"observers": [own]}) as cloud:
        await cloud.computers.ping()
        assert heard == ["own", "every"]
        await cloud.desktops.ping()
        assert heard == ["own", "every", "every"]
