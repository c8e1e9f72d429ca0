"""How often a wait polls, and when it checks once more, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.unit.virtual_time import after, block, now, virtual
from vcloud import NotFoundError, RequestTimeout, WaitFailed
from vcloud._core.timing.polling import PollTimeoutError, poll_until

#: Seconds: of a wait, between two checks, and for a final check.
TIMEOUT, POLL, ATTEMPT = 10.0, 2.0, 30.0


class Service:
    """Answers checks, and counts them.

    Args:
        takes: seconds until it answers.
        ready_at: when there is a result, in seconds from now.
    """

    def __init__(self, takes: float = 0.3, ready_at: float = 1e9) -> None:
        self._began = now()
        self._ready_at = now() + ready_at
        self._takes = takes
        self.failure: Exception | None = None
        #: When each check began.
        self.checks: list[float] = []

    async def check(self) -> str | None:
        self.checks.append(round(now() - self._began, 3))
        # The state when the request arrives.
        found = "ready" if now() >= self._ready_at else None
        await asyncio.sleep(self._takes)
        if self.failure is not None:
            raise self.failure
        return found

    def is_slow(self, seconds: float) -> None:
        self._takes = seconds

    def fails(self, error: Exception) -> None:
        self.failure = error

    async def wait(
        self, final_check: Callable[[], object] | None = None, poll: float = POLL
    ) -> str:
        return await poll_until(
            self.check,
            timeout=TIMEOUT,
            poll=poll,
            attempt=ATTEMPT,
            clock=now,
            final_check=final_check,  # type: ignore[arg-type]
        )


@virtual
async def test_a_wait_that_times_out_without_a_block_checks_no_more_than_its_polls() -> None:
    service, began = Service(takes=0.01), now()
    with pytest.raises(PollTimeoutError):
        await service.wait()
    assert service.checks == [0, 2.01, 4.02, 6.03, 8.04]
    assert now() - began == pytest.approx(TIMEOUT)


@virtual
async def test_a_wait_that_was_blocked_beyond_its_end_checks_once_more() -> None:
    service = Service(ready_at=20)
    after(5.5, block, 33)
    assert await service.wait() == "ready"
    assert service.checks == [0, 2.3, 4.6, 38.5]


@virtual
async def test_a_wait_that_was_blocked_checks_once_more_however_seldom_it_polls() -> None:
    service = Service(ready_at=9)
    after(5.5, block, 7)
    assert await service.wait(poll=30) == "ready"
    assert service.checks == [0, 12.5]


@virtual
async def test_a_wait_that_was_blocked_checks_once_more_and_not_twice() -> None:
    service = Service()
    after(5.5, block, 33)
    with pytest.raises(PollTimeoutError) as caught:
        await service.wait()
    assert service.checks == [0, 2.3, 4.6, 38.5]
    assert caught.value.__cause__ is None


@virtual
async def test_an_answer_from_before_the_block_is_too_old() -> None:
    service = Service(ready_at=20)
    # In the middle of the second check, whose answer is read afterwards.
    after(2.4, block, 33)
    assert await service.wait() == "ready"
    assert service.checks == [0, 2.3, 35.4]


@virtual
async def test_a_check_without_an_answer_after_the_block_is_repeated() -> None:
    service = Service(takes=0.3, ready_at=20)
    after(2.2, service.is_slow, 1000.0)
    after(2.4, block, 33)
    after(2.5, service.is_slow, 0.3)
    assert await service.wait() == "ready"
    assert service.checks == [0, 2.3, pytest.approx(35.4)]


@virtual
async def test_a_wait_that_was_blocked_until_just_before_its_end_has_its_final_check() -> None:
    service = Service(takes=0.3, ready_at=8)
    after(2.7, block, 7.2)  # the next check begins at 9.9, and is not answered at 10
    after(2.7, service.is_slow, 0.5)
    assert await service.wait() == "ready"
    assert service.checks == [0, 2.3, 9.9, 10]


@virtual
async def test_a_wait_for_a_service_that_does_not_answer_ends_in_time() -> None:
    service, began = Service(), now()
    after(1, service.is_slow, 1000.0)
    with pytest.raises(PollTimeoutError):
        await service.wait()
    assert service.checks == [0, 2.3]
    assert now() - began == pytest.approx(TIMEOUT)


@virtual
async def test_after_slow_answers_there_is_one_more_check_if_the_last_is_old() -> None:
    service = Service(
        takes=1.5, ready_at=8
    )  # checks begin at 0, 3.5 and 7, and it sleeps from 8.5 on
    assert await service.wait() == "ready"
    assert service.checks == [0, 3.5, 7, 10]


@virtual
async def test_the_final_check_takes_no_longer_than_an_attempt() -> None:
    service, began = Service(), now()
    after(5, block, 33)
    after(5, service.is_slow, 1000.0)
    with pytest.raises(PollTimeoutError):
        await service.wait()
    assert now() - began == pytest.approx(38 + ATTEMPT)
    assert len(service.checks) == 4


@pytest.mark.parametrize(
    "failure", [RequestTimeout("no answer"), NotFoundError("it is gone", status=404)]
)
@virtual
async def test_the_error_of_the_final_check_is_the_cause(failure: Exception) -> None:
    service = Service()
    after(5, block, 33)
    after(5, service.fails, failure)
    with pytest.raises(PollTimeoutError) as caught:
        await service.wait()
    assert caught.value.__cause__ is failure
    assert len(service.checks) == 4


@virtual
async def test_the_final_check_may_find_that_the_wait_has_failed() -> None:
    service = Service()
    after(5, block, 33)
    after(5, service.fails, WaitFailed("it is gone", last="gone"))
    with pytest.raises(WaitFailed):
        await service.wait()


@virtual
async def test_the_final_check_may_be_another_one() -> None:
    async def late() -> str:
        return "found late"

    service = Service()
    after(5, block, 33)
    assert await service.wait(late) == "found late"
    assert len(service.checks) == 3


@virtual
async def test_the_error_of_an_earlier_check_is_raised() -> None:
    service = Service()
    after(2.4, service.fails, RequestTimeout("no answer"))
    with pytest.raises(RequestTimeout):
        await service.wait()


@virtual
async def test_a_cancelled_wait_checks_no_more() -> None:
    service = Service()
    task = asyncio.create_task(service.wait())
    after(5, block, 33)
    after(5, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.checks == [0, 2.3, 4.6]
