"""A bulk run waits for a rate limit, or ends at it. The items that it refused are undone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from vcloud import (
    Endpoint,
    Observer,
    Outcome,
    OutcomeStatus,
    Queued,
    RateLimit,
    RateLimitError,
    RequestTimeout,
    RetryPolicy,
    Totals,
    VCloud,
    WaitReason,
)
from vcloud.bulk import Bulk
from vcloud.emulator import Emulator, Fault
from vcloud.providers.computers import Machine

DONE, UNDONE, FAILED = OutcomeStatus.DONE, OutcomeStatus.UNDONE, OutcomeStatus.FAILED
BUY = "POST */machines"


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(machines=5) as emulator:
        yield emulator


def endpoint(emulator: Emulator, **options: Any) -> Endpoint:
    return evolve(emulator.endpoints()["computers"], **options)


async def buy(cloud: VCloud, _: object = None) -> str:
    (machine,) = await cloud.computers.machines.create(1, region="dublin")
    return machine.id


def bought(emulator: Emulator) -> int:
    return len(emulator.computers.machines) - 5


def sent(emulator: Emulator) -> int:
    return sum(call.method == "POST" for call in emulator.calls)


async def outcomes(run: Bulk[Any, Any]) -> list[Outcome[Any, Any]]:
    async with run:
        return [outcome async for outcome in run]


def ends_in(totals: Totals, seconds: float, *, within: float = 30) -> bool:
    """Whether ``until`` of the totals is about this many seconds from now."""
    assert totals.until is not None
    left = totals.until - datetime.now(UTC)
    return abs(left.total_seconds() - seconds) < within


@pytest.mark.parametrize("deadline", [None, 600, timedelta(seconds=60)])
async def test_a_limit_that_lasts_longer_than_the_run_ends_it_and_unsent_items_are_undone(
    emulator: Emulator, tmp_path: Path, deadline: float | timedelta | None
) -> None:
    journal, names = tmp_path / "buy.journal", [f"machine {number}" for number in range(20)]
    limited = endpoint(emulator, rate_limits=[RateLimit(3, per=3600)])
    async with VCloud(computers=limited) as cloud:
        run = cloud.bulk(
            names, lambda _: buy(cloud), concurrency=5, journal=journal, deadline=deadline
        )
        found = await outcomes(run)
    assert {outcome.status for outcome in found} == {DONE, UNDONE}
    errors = [outcome.error for outcome in found if outcome.status is UNDONE]
    assert {type(error) for error in errors} == {RateLimitError}
    assert "nothing was sent" in str(errors[0])
    totals = run.totals
    assert (totals.done, totals.failed, totals.unknown, totals.undone) == (3, 0, 0, 17)
    assert totals.stopped == "rate_limit"
    assert ends_in(totals, 3600)
    assert f"stopped: rate_limit until {totals.until:%Y-%m-%d %H:%M:%S} UTC" in str(totals)
    assert totals.elapsed < timedelta(seconds=30)  # it did not wait for the end of the limit
    assert len(found) < 20, "what was not begun has no outcome"

    # Started again after the limit, it buys the rest, and nothing twice.
    async with VCloud(computers=endpoint(emulator)) as cloud:
        again = await cloud.bulk(names, lambda _: buy(cloud), journal=journal).run()
    assert (again.done, again.undone, again.stopped, again.until) == (20, 0, None, None)
    assert bought(emulator) == sent(emulator) == 20


@pytest.mark.parametrize("deadline", [None, 60])
async def test_a_429_that_asks_for_a_longer_wait_ends_the_run_and_its_item_is_undone(
    emulator: Emulator, tmp_path: Path, deadline: float | None
) -> None:
    journal = tmp_path / "buy.journal"
    emulator.faults.add(BUY, Fault.too_many(3600), skip=2)
    async with VCloud(computers=endpoint(emulator)) as cloud:
        run = cloud.bulk(
            range(10), lambda _: buy(cloud), concurrency=1, journal=journal, deadline=deadline
        )
        found = await outcomes(run)
        assert [outcome.status for outcome in found] == [DONE, DONE, UNDONE]
        assert (found[2].attempts, run.totals.stopped) == (1, "rate_limit")
        assert ends_in(run.totals, 3600)
        longest = "the deadline of the run" if deadline else "max_retry_after of the RetryPolicy"
        assert isinstance(found[2].error, RateLimitError)
        assert f"longer than {longest} allows" in found[2].error.__notes__[0]
    async with VCloud(computers=endpoint(emulator)) as cloud:
        again = await cloud.bulk(range(10), lambda _: buy(cloud), journal=journal).run()
    assert (again.done, again.resumed) == (10, 2)
    assert bought(emulator) == 10


@pytest.mark.parametrize(
    ("fault", "limits"),
    [(None, [RateLimit(5, per=0.3)]), (Fault.too_many(0.3, "milliseconds"), [])],
    ids=["configured", "refused"],
)
async def test_a_limit_is_waited_for_until_the_deadline_even_beyond_max_retry_after(
    emulator: Emulator, fault: Fault | None, limits: list[RateLimit]
) -> None:
    if fault is not None:
        emulator.faults.add(BUY, fault, skip=2)
    options = endpoint(emulator, rate_limits=limits, retry=RetryPolicy(max_retry_after=0.01))
    async with VCloud(computers=options) as cloud:
        totals = await cloud.bulk(range(12), lambda _: buy(cloud), deadline=600).run()
    assert (totals.done, totals.undone, totals.stopped) == (12, 0, None)
    assert bought(emulator) == 12


@pytest.mark.parametrize("deadline", [None, 600])
async def test_a_429_does_not_use_up_the_attempts_of_an_item(
    emulator: Emulator, deadline: float | None
) -> None:
    emulator.faults.add(BUY, Fault.too_many(0.001, "milliseconds"), times=9)
    async with VCloud(computers=endpoint(emulator, retry=RetryPolicy(base=0.001))) as cloud:
        run = cloud.bulk([1], lambda _: buy(cloud), deadline=deadline)
        (outcome,) = await outcomes(run)
    assert (outcome.status, outcome.attempts, run.totals.stopped) == (DONE, 10, None)


async def test_other_failures_use_up_the_attempts_of_an_item(
    emulator: Emulator,
) -> None:
    emulator.faults.add(BUY, Fault.too_many(0.001, "milliseconds"), times=3)
    emulator.faults.add(BUY, Fault.server_error(503), times=9, skip=3)
    async with VCloud(computers=endpoint(emulator, retry=RetryPolicy(base=0.001))) as cloud:
        (outcome,) = await outcomes(cloud.bulk([1], lambda _: buy(cloud)))
    assert (outcome.status, outcome.attempts) == (FAILED, 3 + 4)


async def test_without_a_deadline_a_service_that_refuses_everything_ends_the_run(
    emulator: Emulator,
) -> None:
    emulator.faults.add(BUY, Fault.too_many(0.02, "milliseconds"), times=None)
    retry = RetryPolicy(base=0.001, max_retry_after=0.2)
    async with VCloud(computers=endpoint(emulator, retry=retry)) as cloud:
        totals = await cloud.bulk(range(5), lambda _: buy(cloud)).run()
    assert (totals.done, totals.failed, totals.undone) == (0, 0, 5)
    assert totals.stopped == "rate_limit"
    assert totals.attempts > 4, "it was more patient than a single call"


async def test_a_service_that_refuses_everything_ends_all_items_in_progress_at_once(
    emulator: Emulator,
) -> None:
    emulator.faults.add(BUY, Fault.too_many(0.1, "milliseconds"), times=None)
    retry = RetryPolicy(base=0.001, max_retry_after=0.25)
    async with VCloud(computers=endpoint(emulator, retry=retry)) as cloud:
        found = await outcomes(run := cloud.bulk(range(40), lambda _: buy(cloud)))
    assert {outcome.status for outcome in found} == {UNDONE}
    assert run.totals.stopped == "rate_limit"
    # All are refused at once, and then one probe is sent after each pause. When the longest wait
    # has passed, no other call sends a request of its own.
    assert sent(emulator) < 40 + 20
    assert {"the service has refused everything" in _all_words(one.error) for one in found} == {
        True
    }


def _all_words(error: BaseException | None) -> str:
    return " ".join([str(error), *getattr(error, "__notes__", ())])


async def test_a_run_with_slow_progress_goes_on(emulator: Emulator) -> None:
    async def act(_: int) -> None:
        for _ in range(6):
            emulator.faults.add(BUY, Fault.too_many(0.1, "milliseconds"), times=1)
            await buy(cloud)

    # No item finishes for longer than a call waits, but requests are accepted one by one.
    retry = RetryPolicy(base=0.001, max_retry_after=0.3)
    async with VCloud(computers=endpoint(emulator, retry=retry)) as cloud:
        totals = await cloud.bulk(range(2), act, concurrency=1).run()
    assert (totals.done, totals.stopped) == (2, None)


async def test_a_429_before_the_run_does_not_count_for_it(emulator: Emulator) -> None:
    emulator.faults.add(BUY, Fault.too_many(0.01, "milliseconds"), times=3)
    retry = RetryPolicy(base=0.001, max_retry_after=0.3)
    async with VCloud(computers=endpoint(emulator, retry=retry)) as cloud:
        once = cloud.computers.with_options(retry=RetryPolicy(attempts=1))
        with pytest.raises(RateLimitError):
            await once.machines.create(1, region="dublin")
        # No request was sent since, for longer than a run waits.
        await asyncio.sleep(0.4)
        totals = await cloud.bulk(range(3), lambda _: buy(cloud)).run()
    assert (totals.done, totals.stopped) == (3, None)


async def test_a_policy_without_retries_ends_the_run_at_a_429(emulator: Emulator) -> None:
    emulator.faults.add(BUY, Fault.too_many(1))
    async with VCloud(computers=endpoint(emulator, retry=RetryPolicy(attempts=1))) as cloud:
        totals = await cloud.bulk(range(3), lambda _: buy(cloud), concurrency=1).run()
    assert (totals.failed, totals.undone, totals.stopped) == (0, 3, "rate_limit")
    assert sent(emulator) == 1


async def test_a_refused_item_that_waits_when_the_run_is_left_is_undone(
    emulator: Emulator,
) -> None:
    emulator.faults.add(BUY, Fault.too_many(60), times=None)
    waiting = asyncio.Semaphore(0)

    class Waiting(Observer):
        def queued(self, event: Queued) -> None:
            assert event.reason is WaitReason.PAUSE
            waiting.release()

    async with VCloud(computers=endpoint(emulator, observers=[Waiting()])) as cloud:
        run = cloud.bulk(range(3), lambda _: buy(cloud))

        async def consume() -> None:
            async with run:
                async for _ in run:
                    pass

        task = asyncio.create_task(consume())
        for _ in range(3):
            await waiting.acquire()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert (run.totals.unknown, run.totals.undone, run.totals.stopped) == (0, 3, "interrupted")
    assert bought(emulator) == 0


async def test_an_item_that_changed_something_before_the_limit_is_not_undone(
    emulator: Emulator,
) -> None:
    emulator.faults.add("POST */start", Fault.too_many(3600))

    async def act(_: int) -> None:
        await cloud.computers.machines.ref(await buy(cloud)).start()

    async with VCloud(computers=endpoint(emulator)) as cloud:
        run = cloud.bulk(range(3), act, concurrency=1)
        (outcome,) = await outcomes(run)
    assert (outcome.status, outcome.attempts) == (FAILED, 2)
    assert (run.totals.undone, run.totals.stopped) == (2, "rate_limit")


async def test_an_item_that_only_read_something_before_the_limit_is_undone(
    emulator: Emulator,
) -> None:
    emulator.faults.add("POST */start", Fault.too_many(3600))

    async def act(_: int) -> None:
        machine = await cloud.computers.machines.get("100")
        try:
            await machine.start()
        except RateLimitError as error:
            raise RuntimeError("an error of the user's own") from error

    async with VCloud(computers=endpoint(emulator)) as cloud:
        (outcome,) = await outcomes(cloud.bulk([1], act))
    assert (outcome.status, outcome.attempts) == (UNDONE, 2)


@pytest.mark.parametrize(
    ("second", "status"),
    [
        (Fault.too_many(3600), UNDONE),
        (Fault.reply(404, '{"client_code":404,"message":"no such machine"}'), FAILED),
    ],
    ids=["both", "one"],
)
async def test_all_errors_of_a_group_must_be_about_a_limit(
    emulator: Emulator, second: Fault, status: OutcomeStatus
) -> None:
    emulator.faults.add("POST */100/start", Fault.too_many(3600))
    emulator.faults.add("POST */101/start", second)

    async def act(_: int) -> None:
        machines = cloud.computers.machines
        starts = [machines.ref(name).start() for name in ("100", "101")]
        errors = await asyncio.gather(*starts, return_exceptions=True)
        raise ExceptionGroup("both", [one for one in errors if isinstance(one, Exception)])

    async with VCloud(computers=endpoint(emulator)) as cloud:
        (outcome,) = await outcomes(cloud.bulk([1], act))
    assert outcome.status is status


async def test_a_limit_on_the_pager_ends_the_run_without_an_error(emulator: Emulator) -> None:
    emulator.faults.add("GET */machines", Fault.too_many(3600), skip=1)
    async with VCloud(computers=endpoint(emulator)) as cloud:
        machines = cloud.computers.machines.list(per_page=2)
        run: Bulk[Machine, None] = cloud.bulk(machines, lambda machine: machine.start())
        found = await outcomes(run)
    assert [outcome.status for outcome in found] == [DONE, DONE]
    assert run.totals.stopped == "rate_limit"
    assert ends_in(run.totals, 3600)


async def test_a_limit_that_lasts_longer_than_the_deadline_of_a_call_ends_the_run(
    emulator: Emulator,
) -> None:
    options = endpoint(emulator, rate_limits=[RateLimit(2, per=100)], deadline=20)
    async with VCloud(computers=options) as cloud:
        run = cloud.bulk(range(9), lambda _: buy(cloud), concurrency=3)
        found = await outcomes(run)
    assert (run.totals.done, run.totals.failed, run.totals.undone) == (2, 0, 7)
    assert isinstance(found[-1].error, RequestTimeout)
    assert run.totals.stopped == "rate_limit"
    assert ends_in(run.totals, 100, within=20)


async def test_a_late_pause_is_compared_with_the_rest_of_the_deadline(
    emulator: Emulator,
) -> None:
    # The third has been waiting since the beginning, when the pause would have been short enough.
    emulator.faults.add("POST */100/start", Fault.delay(1.5))
    emulator.faults.add("POST */101/start", Fault.too_many(5.8, "milliseconds"))
    async with VCloud(computers=endpoint(emulator, concurrency=1)) as cloud:
        run = cloud.bulk(
            ["100", "101", "102"],
            lambda name: cloud.computers.machines.ref(name).start(),
            deadline=6,
        )
        found = {outcome.item: outcome for outcome in await outcomes(run)}
    assert [found[id].status for id in ("100", "101", "102")] == [DONE, UNDONE, UNDONE]
    assert isinstance(found["102"].error, RateLimitError), "it did not wait for the end of the run"
    assert run.totals.stopped == "rate_limit"
    assert ends_in(run.totals, 5.8, within=5.8)


async def test_items_in_progress_at_another_provider_are_finished(emulator: Emulator) -> None:
    slow = asyncio.Event()

    async def act(name: str) -> None:
        if name == "limited":
            try:
                await buy(cloud)
            finally:
                slow.set()
        else:
            await slow.wait()
            await cloud.streams.applications.list().first()

    limited = endpoint(emulator, rate_limits=[RateLimit(1, per=3600)])
    async with VCloud(streams=emulator.endpoints()["streams"], computers=limited) as cloud:
        await buy(cloud)
        run = cloud.bulk(["other", "limited", "never begun"], act, concurrency=2)
        found = {outcome.item: outcome.status for outcome in await outcomes(run)}
    assert found["other"] is DONE
    assert found["limited"] is UNDONE
    assert run.totals.stopped == "rate_limit"


async def test_calls_that_a_run_left_running_wait_as_other_calls_do(emulator: Emulator) -> None:
    left: list[asyncio.Task[str]] = []

    async def act(_: int) -> None:
        left.append(asyncio.create_task(later()))

    async def later() -> str:
        await over.wait()
        return await buy(cloud)

    over = asyncio.Event()
    options = endpoint(emulator, rate_limits=[RateLimit(1, per=0.5)])
    async with VCloud(computers=options) as cloud:
        await cloud.bulk([1], act, deadline=0.2).run()
        await asyncio.sleep(0.3)
        await buy(cloud)
        over.set()
        assert await left[0]


async def test_without_a_deadline_the_run_continues_as_long_as_items_finish(
    emulator: Emulator,
) -> None:
    async def act(_: int) -> str:
        # More refusals than a call has attempts, and in total for longer than a call waits.
        emulator.faults.add(BUY, Fault.too_many(0.05, "milliseconds"), times=5)
        return await buy(cloud)

    retry = RetryPolicy(base=0.001, max_retry_after=0.6)
    async with VCloud(computers=endpoint(emulator, retry=retry)) as cloud:
        totals = await cloud.bulk(range(4), act, concurrency=1).run()
    assert (totals.done, totals.attempts, totals.stopped) == (4, 24, None)


async def test_a_machine_that_an_item_started_is_stopped_after_the_deadline_of_the_run(
    emulator: Emulator,
) -> None:
    found = emulator.endpoints()["desktops"]
    # The stop has to wait for the limit, until after the end of the run.
    limited = evolve(found, rate_limits=[RateLimit(1, per=1.5)])

    async def act(_: int) -> None:
        async with cloud.desktops.launch():
            await asyncio.sleep(3600)

    async with VCloud(desktops=limited) as cloud:
        totals = await cloud.bulk([1], act, deadline=0.5).run()
    assert totals.stopped == "deadline"
    assert [call.method for call in emulator.calls] == ["POST", "POST"]
    assert emulator.calls[-1].path.endswith("/stop")
