"""Launching desktops, and stopping them after errors and cancellations too."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest

from tests.unit.desktops_wired import DESKTOP, ID, STREAM, Wired, answering, client, response
from vcloud import (
    CleanupError,
    ConnectError,
    InvalidArgumentError,
    NotFoundError,
    Response,
    ServerError,
    TransportError,
    WaitFailed,
)
from vcloud._core.instances import Controllable
from vcloud.providers.desktops import (
    Desktops,
    DesktopStatus,
)
from vcloud.providers.desktops.registry import LaunchRegistry

POST, STOP = "POST /desktop", f"POST /desktop/{ID}/stop"


def service(
    statuses: list[str] | None = None,
    *,
    create: Callable[[], Awaitable[Response | None]] | None = None,
    stop: Exception | Response | None = None,
    cleanup_timeout: float = 25.0,
) -> tuple[Desktops, Wired]:
    """A service that launches one desktop, which has these statuses one after the other."""
    left = list(statuses or ["running"])

    async def reply(method: str, path: str) -> Response:
        if path == "/desktop":
            made = None if create is None else await create()
            return made or response({"id": ID, "status": "pending"})
        if path.endswith("/stop"):
            if isinstance(stop, Exception):
                raise stop
            return stop or response({"status": "terminated"})
        return response({**DESKTOP, "status": left.pop(0) if len(left) > 1 else left[0]})

    wired = Wired(reply)
    return client(wired, cleanup_timeout=cleanup_timeout), wired


async def test_a_block_waits_until_the_desktop_is_running_and_stops_it_at_its_end() -> None:
    desktops, wired = service(["pending", "running"])
    async with desktops.launch(poll=0.001) as desktop:
        assert (desktop.status, desktop.stream_url) == (DesktopStatus.RUNNING, STREAM)
        assert STOP not in wired.paths
    assert wired.paths == [POST, f"GET /desktop/{ID}", f"GET /desktop/{ID}", STOP]


async def test_awaiting_returns_at_once_and_stops_nothing() -> None:
    desktops, wired = service(["pending"])
    launched = await desktops.launch()
    assert (launched.id, launched.status) == (ID, DesktopStatus.PENDING)
    assert wired.paths == [POST]


async def test_launches_work_in_a_task_group_and_in_gather() -> None:
    desktops, _ = service()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(desktops.launch()) for _ in range(3)]
    assert [task.result().id for task in tasks] == [ID] * 3
    assert [one.id for one in await asyncio.gather(desktops.launch(), desktops.launch())] == [
        ID
    ] * 2


async def test_a_launch_can_be_used_only_once() -> None:
    desktops, wired = service()
    launch = desktops.launch()
    await launch
    with pytest.raises(RuntimeError, match="cannot reuse"):
        await launch
    desktops.launch().close()
    assert wired.paths == [POST]


async def test_an_error_in_the_block_stops_the_desktop_and_is_raised() -> None:
    desktops, wired = service()
    with pytest.raises(ZeroDivisionError):
        async with desktops.launch():
            1 / 0  # noqa: B018
    assert wired.paths[-1] == STOP


async def test_a_failed_stop_does_not_hide_the_error_of_the_block() -> None:
    desktops, _ = service(
        stop=response({"status": "error", "error": "cannot stop", "docs": "d"}, 500)
    )
    with pytest.raises(ZeroDivisionError) as caught:
        async with desktops.launch():
            1 / 0  # noqa: B018
    (note,) = caught.value.__notes__
    assert ID in note
    assert "cannot stop" in note


async def test_a_failed_stop_after_a_successful_block_raises(
    caplog: pytest.LogCaptureFixture,
) -> None:
    desktops, _ = service(stop=ConnectError("no network"))
    with pytest.raises(CleanupError, match="runs until its lifetime ends: .*no network") as caught:
        async with desktops.launch():
            pass
    assert (caught.value.provider, caught.value.ids) == ("desktops", (ID,))
    assert not caught.value.outcome_unknown, "the stop was never sent, so it runs"
    assert isinstance(caught.value.__cause__, ConnectError)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("vcloud.desktops", "ERROR")
    assert record.getMessage() == str(caught.value)


async def test_a_stop_that_finds_no_desktop_succeeds() -> None:
    desktops, _ = service(
        stop=response({"status": "error", "error": "Desktop not found", "docs": "d"}, 404)
    )
    async with desktops.launch():
        pass


@pytest.mark.parametrize("limit", ["a cancellation", "asyncio.timeout", "asyncio.wait_for"])
async def test_a_hanging_stop_is_abandoned_if_the_caller_was_cancelled(limit: str) -> None:
    desktops, wired = service(cleanup_timeout=0.05)
    honest = wired.reply

    async def reply(method: str, path: str) -> Response:
        if path.endswith("/stop"):
            await asyncio.Event().wait()
        return await honest(method, path)

    wired.reply = reply
    entered = asyncio.Event()

    async def work() -> None:
        async with desktops.launch():
            entered.set()
            await asyncio.Event().wait()

    async def limited() -> None:
        if limit == "asyncio.timeout":
            async with asyncio.timeout(0.05):
                await work()
        elif limit == "asyncio.wait_for":
            await asyncio.wait_for(work(), 0.05)
        else:
            await work()

    task = asyncio.create_task(limited())
    await entered.wait()
    if limit == "a cancellation":
        task.cancel()
    with pytest.raises(CleanupError, match=r"no answer within 0\.05 s") as caught:
        await task
    assert caught.value.ids == (ID,)
    assert caught.value.outcome_unknown, "the stop was sent"


async def test_a_stop_that_cannot_be_sent_in_time_is_noted_on_another_error() -> None:
    desktops, wired = service(cleanup_timeout=0.05)
    honest, stopping = wired.reply, asyncio.Event()

    async def reply(method: str, path: str) -> Response:
        if path.endswith("/stop"):
            stopping.set()
            await asyncio.Event().wait()
        return await honest(method, path)

    async def work() -> None:
        async with desktops.launch():
            raise SystemExit(3)

    wired.reply = reply
    with pytest.raises(SystemExit) as noted:
        await work()
    assert "no answer within 0.05 s" in noted.value.__notes__[0]


async def test_a_desktop_that_ends_before_it_runs_is_stopped_and_the_wait_fails() -> None:
    desktops, wired = service(["pending", "error"])
    with pytest.raises(WaitFailed) as caught:
        async with desktops.launch(poll=0.001):
            raise AssertionError("it never ran")
    assert caught.value.last == "error"
    assert wired.paths[-1] == STOP


async def test_cancelling_the_block_stops_the_desktop_even_when_cancelled_again() -> None:
    stopping, entered = asyncio.Event(), asyncio.Event()
    desktops, wired = service()
    honest = wired.reply

    async def reply(method: str, path: str) -> Response:
        if path.endswith("/stop"):
            stopping.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        return await honest(method, path)

    wired.reply = reply

    async def work() -> None:
        async with desktops.launch():
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    await stopping.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wired.paths.count(STOP) == 1


@pytest.mark.parametrize("form", ["await", "async with"])
async def test_a_launch_cancelled_while_the_desktop_is_made_stops_it(form: str) -> None:
    asked, made = asyncio.Event(), asyncio.Event()

    async def create() -> None:
        asked.set()
        await made.wait()

    desktops, wired = service(create=create)

    async def work() -> None:
        if form == "await":
            await desktops.launch()
        else:
            async with desktops.launch():
                raise AssertionError("cancelled before")

    task = asyncio.create_task(work())
    await asked.wait()
    task.cancel()
    await asyncio.sleep(0)
    made.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wired.paths == [POST, STOP]


async def test_a_block_cancelled_while_it_waits_stops_the_desktop() -> None:
    desktops, wired = service(["pending"])
    honest, looked = wired.reply, asyncio.Event()

    async def reply(method: str, path: str) -> Response:
        if method == "GET":
            looked.set()
        return await honest(method, path)

    wired.reply = reply

    async def work() -> None:
        async with desktops.launch(poll=60):
            raise AssertionError("it never runs")

    task = asyncio.create_task(work())
    await looked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wired.paths[-1] == STOP


@pytest.mark.parametrize("failure", [TransportError("dropped"), ConnectError("no network")])
async def test_a_launch_cancelled_while_it_fails_stops_nothing(
    failure: TransportError,
) -> None:
    asked, made = asyncio.Event(), asyncio.Event()

    async def create() -> None:
        asked.set()
        await made.wait()
        raise failure

    desktops, wired = service(create=create)
    task = asyncio.ensure_future(desktops.launch())
    await asked.wait()
    task.cancel()
    await asyncio.sleep(0)
    made.set()
    if isinstance(failure, ConnectError):
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        with pytest.raises(CleanupError, match="may have been launched") as caught:
            await task
        assert caught.value.outcome_unknown
        assert caught.value.ids == ()
    assert wired.paths == [POST]


async def test_a_launch_cancelled_before_an_answer_that_cannot_be_read_names_the_desktop() -> None:
    asked, made = asyncio.Event(), asyncio.Event()

    async def create() -> Response:
        asked.set()
        await made.wait()
        return response({"id": ID, "status": []})

    desktops, _ = service(create=create)
    task = asyncio.ensure_future(desktops.launch())
    await asked.wait()
    task.cancel()
    await asyncio.sleep(0)
    made.set()
    with pytest.raises(CleanupError, match=f"may have been launched, and it may be {ID}") as caught:
        await task
    assert (caught.value.ids, caught.value.outcome_unknown) == ((ID,), True)


async def test_a_launch_with_a_lost_answer_is_not_repeated_and_a_stop_is() -> None:
    desktops, wired = answering(TransportError("dropped"), attempts=3)
    with pytest.raises(TransportError) as caught:
        await desktops.launch()
    assert caught.value.outcome_unknown
    assert len(wired.asked) == 1
    desktops, wired = answering(
        TransportError("dropped"), response({"status": "terminated"}), attempts=3
    )
    await desktops.ref(ID).stop()
    assert wired.paths == [STOP, STOP]


# The registry of launched desktops, because the service has no list.


async def test_instances_are_the_launched_desktops_that_have_not_ended() -> None:
    desktops, wired = service(["pending", "running", "error", "hibernating", "terminated"])
    assert await desktops.instances().all() == []
    await desktops.launch()
    other = desktops.with_options(timeout=5)
    seen = [(await other.instances().all())[0] for _ in range(4)]
    assert [str(one.state) for one in seen] == ["starting", "running", "failed", "unknown"]
    assert [one.started_at is not None for one in seen] == [False, True, False, False]
    assert {(one.provider, one.id, one.name, one.region) for one in seen} == {
        ("desktops", ID, ID, None)
    }
    assert isinstance(seen[0].resource, Controllable)
    assert await desktops.instances().all() == [], "it is over now"
    asked = len(wired.asked)
    assert await desktops.instances().all() == []
    assert len(wired.asked) == asked, "and forgotten"


async def test_instances_do_not_include_a_desktop_that_a_block_has_stopped() -> None:
    desktops, wired = service()
    async with desktops.launch() as desktop:
        assert [one.id for one in await desktops.instances().all()] == [desktop.id]
    asked = len(wired.asked)
    assert await desktops.instances().all() == []
    assert len(wired.asked) == asked


@pytest.mark.parametrize("gone", [False, True], ids=["stopped", "gone by then"])
async def test_a_stopped_desktop_is_not_fetched_again(gone: bool) -> None:
    missing = response({"status": "error", "error": "Desktop not found", "docs": "d"}, 404)
    desktops, wired = answering(
        response({"id": ID, "status": "pending"}),
        missing if gone else response({"status": "terminated"}),
    )
    await desktops.launch()
    # With another handle, of a client with other timeouts.
    with pytest.raises(NotFoundError) if gone else contextlib.nullcontext():
        await desktops.with_options(timeout=5).ref(ID).stop()
    assert await desktops.instances().all() == []
    assert wired.paths == [POST, STOP]


async def test_a_desktop_whose_stop_may_have_failed_is_fetched() -> None:
    desktops, _ = answering(
        response({"id": ID, "status": "pending"}),
        TransportError("dropped"),
        response({"id": ID, "status": "running"}),
    )
    await desktops.launch()
    with pytest.raises(TransportError):
        await desktops.ref(ID).stop()
    assert [one.id for one in await desktops.instances().all()] == [ID]


async def test_instances_raise_the_service_error_but_not_for_a_missing_desktop() -> None:
    gone = response({"status": "error", "error": "Desktop not found", "docs": "d"}, 404)
    broken = response({"status": "error", "error": "broke", "docs": "d"}, 500)
    desktops, _ = answering(response({"id": ID, "status": "pending"}), broken, gone)
    await desktops.launch()
    with pytest.raises(ServerError, match="broke"):
        await desktops.instances().all()
    assert await desktops.instances().all() == []


def test_the_registry_drops_desktops_whose_time_has_passed() -> None:
    register = LaunchRegistry()
    register.add("a", now=0, ends=60)
    register.add("b", now=50, ends=200)
    assert register.ids() == ("a", "b")
    register.add("c", now=60, ends=120)
    assert register.ids() == ("b", "c")
    register.discard("b")
    register.discard("never known")
    assert register.ids() == ("c",)


@pytest.mark.parametrize(
    "wrong", [{"wait_timeout": "x"}, {"wait_timeout": -1}, {"poll": 0}, {"lifetime": 59}], ids=str
)
async def test_nothing_is_launched_for_an_invalid_argument(wrong: dict[str, Any]) -> None:
    desktops, wired = service()
    with pytest.raises(InvalidArgumentError):
        async with desktops.launch(**wrong):
            raise AssertionError("it was entered")
    assert not wired.asked


# The former name of the lifetime.


async def test_a_lifetime_by_its_former_name_is_taken_with_a_warning_at_the_callers_line() -> None:
    desktops, wired = service()
    with pytest.warns(DeprecationWarning, match="write lifetime=") as warned:
        await desktops.launch(timeout=90)
    with pytest.warns(DeprecationWarning, match="write lifetime=") as of_class:
        await Desktops.launch(desktops, timeout=90)
    assert {one.filename for one in (*warned, *of_class)} == {__file__}
    assert [body for _, _, body in wired.asked] == [{"timeout_ms": 90_000}] * 2


async def test_an_error_about_the_former_name_names_it() -> None:
    desktops, wired = service()
    with (
        pytest.warns(DeprecationWarning, match="write lifetime="),
        pytest.raises(InvalidArgumentError, match=r"^timeout must be"),
    ):
        desktops.launch(timeout=59)
    assert not wired.asked


@pytest.mark.parametrize("lifetime", [60, timedelta(hours=1), 0])
async def test_both_names_of_the_lifetime_together_are_refused(lifetime: Any) -> None:
    desktops, wired = service()
    with pytest.raises(InvalidArgumentError, match="give lifetime alone"):
        desktops.launch(lifetime, timeout=60)  # type: ignore[call-overload]
    assert not wired.asked


# A coroutine function like any other.


def test_launching_is_a_coroutine_function_with_its_own_signature() -> None:
    desktops, _ = service()
    assert inspect.iscoroutinefunction(desktops.launch)
    assert inspect.iscoroutinefunction(Desktops.launch)
    assert list(inspect.signature(desktops.launch).parameters) == [
        "lifetime",
        "wait_timeout",
        "poll",
        "timeout",
    ]
    assert (desktops.launch.__name__, desktops.launch.__qualname__) == ("launch", "Desktops.launch")
    assert inspect.getdoc(desktops.launch) == inspect.getdoc(Desktops.launch)


async def test_autospecs_of_a_client_and_of_its_class_launch_like_the_client() -> None:
    desktops, _ = service()
    for double in (
        mock.create_autospec(desktops),
        mock.create_autospec(Desktops, instance=True),
        mock.create_autospec(Desktops)(None),
    ):
        double.launch.return_value = "a desktop"
        assert await double.launch(60, poll=1) == "a desktop"
        double.launch.assert_awaited_once_with(60, poll=1)
        with pytest.raises(TypeError, match="wrong"):
            await double.launch(wrong=1)


async def test_a_decorator_that_retries_coroutine_functions_retries_a_launch() -> None:
    def retried(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        assert inspect.iscoroutinefunction(function)

        async def again(*arguments: Any) -> Any:
            try:
                return await function(*arguments)
            except ServerError:
                return await function(*arguments)

        return again

    broken = response({"status": "error", "error": "broke", "docs": "d"}, 500)
    desktops, wired = answering(broken, response({"id": ID, "status": "pending"}))
    assert (await retried(desktops.launch)(60)).id == ID
    assert wired.paths == [POST, POST]
