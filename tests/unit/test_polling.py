"""How often a wait looks, and when it looks once more, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.unit.virtual_time import after, now, stand_still, virtual
from vcloud import NotFoundError, RequestTimeout, WaitFailed
from vcloud._core.timing.polling import PollTimeoutError, poll_until

#: Seconds: of a wait, between two looks, and for a look after the end.
TIMEOUT, POLL, ATTEMPT = 10.0, 2.0, 30.0


class Service:
    """Answers looks, and counts them.

    Args:
        takes: seconds until it answers.
        ready_at: when there is something to be found, in seconds from now.
    """

    def __init__(self, takes: float = 0.3, ready_at: float = 1e9) -> None:
        self._began = now()
        self._ready_at = now() + ready_at
        self._takes = takes
        self.failure: Exception | None = None
        #: When each look began.
        self.looks: list[float] = []

    async def look(self) -> str | None:
        self.looks.append(round(now() - self._began, 3))
        # What it is as the request arrives.
        found = "ready" if now() >= self._ready_at else None
        await asyncio.sleep(self._takes)
        if self.failure is not None:
            raise self.failure
        return found

    def is_slow(self, seconds: float) -> None:
        self._takes = seconds

    def fails(self, error: Exception) -> None:
        self.failure = error

    async def wait(self, look_late: Callable[[], object] | None = None, poll: float = POLL) -> str:
        return await poll_until(
            self.look,
            timeout=TIMEOUT,
            poll=poll,
            attempt=ATTEMPT,
            clock=now,
            final_check=look_late,  # type: ignore[arg-type]
        )


@virtual
async def test_a_wait_that_runs_out_in_time_looks_no_more_than_its_polls() -> None:
    service, began = Service(takes=0.01), now()
    with pytest.raises(PollTimeoutError):
        await service.wait()
    assert service.looks == [0, 2.01, 4.02, 6.03, 8.04]
    assert now() - began == pytest.approx(TIMEOUT)


@virtual
async def test_a_wait_looks_once_more_after_it_stood_still_beyond_its_end() -> None:
    service = Service(ready_at=20)
    after(5.5, stand_still, 33)
    assert await service.wait() == "ready"
    assert service.looks == [0, 2.3, 4.6, 38.5]


@virtual
async def test_a_wait_that_stood_still_looks_once_more_however_seldom_it_polls() -> None:
    service = Service(ready_at=9)
    after(5.5, stand_still, 7)
    assert await service.wait(poll=30) == "ready"
    assert service.looks == [0, 12.5]


@virtual
async def test_a_wait_that_stood_still_looks_once_more_and_no_oftener() -> None:
    service = Service()
    after(5.5, stand_still, 33)
    with pytest.raises(PollTimeoutError) as late:
        await service.wait()
    assert service.looks == [0, 2.3, 4.6, 38.5]
    assert late.value.__cause__ is None


@virtual
async def test_an_answer_from_before_the_pause_is_an_old_one() -> None:
    service = Service(ready_at=20)
    # In the middle of the second look, whose answer is read afterwards.
    after(2.4, stand_still, 33)
    assert await service.wait() == "ready"
    assert service.looks == [0, 2.3, 35.4]


@virtual
async def test_a_look_that_is_not_answered_after_the_pause_is_begun_again() -> None:
    service = Service(takes=0.3, ready_at=20)
    after(2.2, service.is_slow, 1000.0)
    after(2.4, stand_still, 33)
    after(2.5, service.is_slow, 0.3)
    assert await service.wait() == "ready"
    assert service.looks == [0, 2.3, pytest.approx(35.4)]


@virtual
async def test_a_wait_that_stood_still_until_just_before_its_end_has_its_last_look() -> None:
    service = Service(takes=0.3, ready_at=8)
    after(2.7, stand_still, 7.2)  # the next look begins at 9.9, and is not answered at 10
    after(2.7, service.is_slow, 0.5)
    assert await service.wait() == "ready"
    assert service.looks == [0, 2.3, 9.9, 10]


@virtual
async def test_a_service_that_does_not_answer_is_given_up_in_time() -> None:
    service, began = Service(), now()
    after(1, service.is_slow, 1000.0)
    with pytest.raises(PollTimeoutError):
        await service.wait()
    assert service.looks == [0, 2.3]
    assert now() - began == pytest.approx(TIMEOUT)


@virtual
async def test_slow_answers_leave_room_for_one_more_look_when_the_last_is_old() -> None:
    service = Service(takes=1.5, ready_at=8)  # looks begin at 0, 3.5 and 7, and rest from 8.5 on
    assert await service.wait() == "ready"
    assert service.looks == [0, 3.5, 7, 10]


@virtual
async def test_the_look_after_the_end_takes_no_longer_than_an_attempt() -> None:
    service, began = Service(), now()
    after(5, stand_still, 33)
    after(5, service.is_slow, 1000.0)
    with pytest.raises(PollTimeoutError):
        await service.wait()
    assert now() - began == pytest.approx(38 + ATTEMPT)
    assert len(service.looks) == 4


@pytest.mark.parametrize(
    "failure", [RequestTimeout("no answer"), NotFoundError("it is gone", status=404)]
)
@virtual
async def test_the_look_after_the_end_hides_nothing_when_it_fails(failure: Exception) -> None:
    service = Service()
    after(5, stand_still, 33)
    after(5, service.fails, failure)
    with pytest.raises(PollTimeoutError) as late:
        await service.wait()
    assert late.value.__cause__ is failure
    assert len(service.looks) == 4


@virtual
async def test_what_the_look_after_the_end_finds_hopeless_is_said() -> None:
    service = Service()
    after(5, stand_still, 33)
    after(5, service.fails, WaitFailed("it is gone", last="gone"))
    with pytest.raises(WaitFailed):
        await service.wait()


@virtual
async def test_the_look_after_the_end_may_be_another_one() -> None:
    async def late() -> str:
        return "found late"

    service = Service()
    after(5, stand_still, 33)
    assert await service.wait(late) == "found late"
    assert len(service.looks) == 3


@virtual
async def test_an_error_of_a_look_in_time_is_passed_on() -> None:
    service = Service()
    after(2.4, service.fails, RequestTimeout("no answer"))
    with pytest.raises(RequestTimeout):
        await service.wait()


@virtual
async def test_a_wait_that_is_cancelled_looks_no_more() -> None:
    service = Service()
    task = asyncio.create_task(service.wait())
    after(5, stand_still, 33)
    after(5, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.looks == [0, 2.3, 4.6]
