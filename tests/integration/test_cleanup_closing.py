"""Closing a client ends what was opened through it, and names what it could not end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.emulator.faults_raw import until
from tests.integration.open_desktops import agents, block, endpoint, left, stops
from tests.integration.realtime_plane import Handler, plane
from vcloud import (
    CleanupError,
    ConfigurationError,
    VCloud,
    VCloudError,
)
from vcloud.emulator import Emulator, Fault
from vcloud.providers.desktops import Desktop
from vcloud.providers.streamspace import StopSession


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(speed=1000) as emulator:
        yield emulator


async def test_closing_the_client_stops_what_is_open_and_cancels_no_task(
    emulator: Emulator,
) -> None:
    leave, entered = asyncio.Event(), asyncio.Event()
    errors: list[BaseException] = []

    async def agent(desktops: list[Desktop]) -> None:
        async with cloud.desktops.launch(poll=0.01) as desktop:
            desktops.append(desktop)
            entered.set()
            await leave.wait()
            try:
                await desktop.click(1, 1)
            except ConfigurationError as error:
                errors.append(error)

    cloud = VCloud(**emulator.endpoints())
    await cloud.aopen()
    desktops: list[Desktop] = []
    task = asyncio.create_task(agent(desktops))
    await entered.wait()
    await cloud.aclose()
    assert left(emulator) == 0
    assert not task.done()
    leave.set()
    await task
    assert ["closed" in str(error) for error in errors] == [True]
    assert sum(stops(call.path) for call in emulator.calls) == 1


async def test_closing_reports_what_could_not_be_stopped(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    cloud = VCloud(desktops=endpoint(emulator, cleanup_timeout=0.2))
    await cloud.aopen()
    tasks = await agents(cloud, 2)
    emulator.faults.add("POST */stop", Fault.delay(5), times=None)
    with pytest.raises(CleanupError) as error:
        await cloud.aclose()
    assert set(error.value.ids) == set(emulator.desktops.desktops)
    assert error.value.provider == "desktops"
    assert error.value.outcome_unknown
    assert sum(record.levelname == "ERROR" for record in caplog.records) == 2
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in ended] == [asyncio.CancelledError] * 2, (
        "leaving the block reports nothing more"
    )


async def test_machines_left_running_are_noted_on_the_error_of_the_clients_block(
    emulator: Emulator,
) -> None:
    tasks: list[asyncio.Task[None]] = []

    async def program() -> None:
        async with VCloud(desktops=endpoint(emulator, cleanup_timeout=0.2)) as cloud:
            tasks.extend(await agents(cloud, 1))
            emulator.faults.add("POST */stop", Fault.delay(5), times=None)
            1 / 0  # noqa: B018

    with pytest.raises(ZeroDivisionError) as error:
        await program()
    (id,) = emulator.desktops.desktops
    assert ["could not be stopped" in note for note in error.value.__notes__] == [True]
    assert id in error.value.__notes__[0]
    tasks[0].cancel()
    await asyncio.wait(tasks)


async def test_closing_within_a_block_does_not_deadlock(emulator: Emulator) -> None:
    async with (
        asyncio.timeout(10),
        VCloud(**emulator.endpoints()) as cloud,
        cloud.desktops.launch(poll=0.01),
    ):
        await cloud.aclose()
    assert left(emulator) == 0


async def test_closing_twice_at_once_waits_for_the_same_end(emulator: Emulator) -> None:
    cloud = VCloud(**emulator.endpoints())
    await cloud.aopen()
    tasks = await agents(cloud, 3)
    async with asyncio.timeout(10):
        await asyncio.gather(*[cloud.aclose() for _ in range(5)])
    assert left(emulator) == 0
    assert sum(stops(call.path) for call in emulator.calls) == 3
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_an_exit_stack_in_the_wrong_order_still_stops_what_was_launched(
    emulator: Emulator,
) -> None:
    async with AsyncExitStack() as stack:
        cloud = await VCloud(**emulator.endpoints()).aopen()
        await stack.enter_async_context(cloud.desktops.launch(poll=0.01))
        stack.push_async_callback(cloud.aclose)
    assert left(emulator) == 0


@pytest.mark.parametrize("form", ["await", "block"])
async def test_a_launch_in_flight_ends_with_an_error_that_has_the_id(
    emulator: Emulator, form: str
) -> None:
    emulator.faults.add("POST */desktop", Fault.stall_headers(0.3))
    cloud = await VCloud(**emulator.endpoints()).aopen()

    async def launch() -> None:
        if form == "await":
            await cloud.desktops.launch()
        else:
            await block(cloud, asyncio.Event())

    task = asyncio.create_task(launch())
    await until(lambda: bool(emulator.desktops.desktops))
    await cloud.aclose()
    (id,) = emulator.desktops.desktops
    with pytest.raises(ConfigurationError, match=f"desktop {id} was launched; it was stopped"):
        await task
    assert left(emulator) == 0


@pytest.mark.parametrize("waits", [True, False])
async def test_a_block_that_waits_for_its_desktop_ends_with_an_error_that_has_the_id(
    emulator: Emulator, waits: bool
) -> None:
    cloud = await VCloud(**emulator.endpoints()).aopen()
    if waits:
        emulator.faults.add("GET */desktop/*", Fault.delay(0.2), times=None)

    async def launch() -> None:
        async with cloud.desktops.launch(poll=0.1 if waits else 3):
            raise AssertionError("the client was closed before")

    emulator.faults.add(
        "GET */desktop/*",
        Fault.edit(lambda answer: {**answer, "status": "pending"}),
        times=None,
    )
    task = asyncio.create_task(launch())
    await until(lambda: any(call.method == "GET" for call in emulator.calls) or waits)
    await until(lambda: bool(emulator.desktops.desktops))
    await asyncio.sleep(0.05)
    await cloud.aclose()
    (id,) = emulator.desktops.desktops
    with pytest.raises(VCloudError) as error:
        await asyncio.wait_for(task, 5)
    assert any(id in text for text in (str(error.value), *error.value.__notes__))
    assert left(emulator) == 0


async def test_calls_in_the_queue_end_when_the_client_closes(emulator: Emulator) -> None:
    emulator.faults.add("GET *", Fault.delay(0.3), times=None)
    cloud = await VCloud(desktops=endpoint(emulator, concurrency=1)).aopen()
    id = "7c65c1e5-82e2-4662-b728-b4fa42485e3a"
    tasks = [asyncio.create_task(cloud.desktops.get(id)) for _ in range(5)]
    await asyncio.sleep(0.05)
    await cloud.aclose()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(one, ConfigurationError) for one in ended[1:]] == [True] * 4
    assert all("nothing was sent" in str(one) for one in ended[1:])


async def test_a_closing_that_is_cancelled_still_stops_what_is_open(
    emulator: Emulator,
) -> None:
    async def program() -> None:
        async with VCloud(**emulator.endpoints()) as cloud:
            await agents(cloud, 3)

    emulator.faults.add("POST */stop", Fault.stall_headers(0.3), times=None)
    task = asyncio.create_task(program())
    await until(lambda: any(stops(call.path) for call in emulator.calls) or _busy(emulator))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left(emulator) == 0


def _busy(emulator: Emulator) -> bool:
    """Whether all three are launched; closing begins when they run."""
    return len(emulator.desktops.desktops) == 3


@pytest.fixture
async def session(emulator: Emulator) -> AsyncIterator[str]:
    """The id of a session that runs."""
    async with VCloud(**emulator.endpoints()) as cloud:
        made = await cloud.streamspace.sessions.create("admin", "firefox-browser")
        running = await made.wait_until("running", poll=0.01)
        yield running.id


async def test_closing_ends_tunnels_and_forwards_with_a_close_frame(
    emulator: Emulator, session: str
) -> None:
    cloud = await VCloud(**emulator.endpoints()).aopen()
    ref = cloud.streamspace.sessions.ref(session)
    async with ref.open_vnc() as tunnel, ref.forward_vnc() as forward:
        reader, writer = await asyncio.open_connection(forward.host, forward.port)
        assert await tunnel.read()
        assert await reader.read(3) == b"RFB"
        await cloud.aclose()
        assert tunnel.close_code == 1001
        while await tunnel.read():
            pass
        await reader.read()
        with pytest.raises(OSError, match="refused|Connect call failed"):
            await asyncio.open_connection(forward.host, forward.port)
        writer.close()
    with pytest.raises(ConfigurationError, match="closed"):
        await ref.open_vnc().aopen()


async def test_closing_stops_an_agent_after_the_grace_of_its_commands() -> None:
    async with plane() as control:
        handler = Handler()
        worker = control.agent(handler, grace=10)
        async with worker:
            await control.command("start_session", "c1")
            await until(lambda: bool(handler.running))
            assert control.streamspace is not None
            closing = asyncio.create_task(control.streamspace.aclose())
            await until(lambda: worker.draining)
            handler.gate.set()
            await closing
            await until(lambda: "c1" in control.results())
            assert control.results()["c1"]["status"] == "completed"
            assert handler.cancelled == []


async def test_closing_reports_an_agent_whose_commands_take_longer_than_the_time_limit() -> None:
    async def program() -> None:
        async with plane(cleanup_timeout=0.1) as control, control.agent(handler, grace=10):
            await control.command("start_session", "c1")
            await until(lambda: bool(handler.running))
            assert control.streamspace is not None
            asyncio.get_running_loop().call_later(0.3, handler.gate.set)
            await control.streamspace.aclose()

    handler = Handler()
    with pytest.raises(CleanupError, match="had not stopped after 0.1 s") as error:
        await program()
    assert error.value.ids == ("agent-1",)
    assert error.value.__cause__ is not None


async def test_time_in_a_blocked_loop_does_not_count_for_the_commands_of_an_agent() -> None:
    async with plane(cleanup_timeout=0.5) as control:
        handler = Handler()
        worker = control.agent(handler, grace=0.5)
        async with worker:
            await control.command("start_session", "c1")
            await until(lambda: bool(handler.running))
            assert control.streamspace is not None
            closing = asyncio.create_task(control.streamspace.aclose())
            await until(lambda: worker.draining)
            await asyncio.sleep(0)
            time.sleep(1)  # noqa: ASYNC251 - it blocks the loop for longer than both limits
            asyncio.get_running_loop().call_later(0.1, handler.gate.set)
            await closing
            await until(lambda: "c1" in control.results())
            assert control.results()["c1"]["status"] == "completed"
            assert handler.cancelled == []


@pytest.mark.parametrize("by", ["itself", "a task of its own"])
@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
async def test_a_handler_that_closes_its_own_client_does_not_deadlock(by: str, first: bool) -> None:
    closed, called = asyncio.Event(), asyncio.Event()
    async with plane() as control:
        assert control.streamspace is not None
        client = control.streamspace

        class Closing(Handler):
            async def stop_session(self, command: StopSession) -> None:
                called.set()
                if not first:
                    await asyncio.sleep(0.1)
                if by == "itself":
                    await client.aclose()
                else:
                    await asyncio.create_task(client.aclose())
                closed.set()

        async with asyncio.timeout(10), control.agent(Closing(), grace=60):
            await control.command("stop_session", "c1")
            await called.wait()
            if not first:
                await client.aclose()
            await closed.wait()
