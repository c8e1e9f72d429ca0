"""Desktops against the emulator, over a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.seeded import API_KEY, SEED
from vcloud import (
    APIKeyAuth,
    AuthenticationError,
    ConflictError,
    DecodeError,
    Endpoint,
    InvalidRequestError,
    NotFoundError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    TransportError,
    WaitFailed,
    WaitTimeout,
)
from vcloud.emulator import Clock, Emulator, Fault
from vcloud.emulator.desktops import Desktop
from vcloud.providers.desktops import (
    ActionsFailed,
    DesktopRef,
    Desktops,
    DesktopStatus,
    MoveMouse,
    Point,
    TakeScreenshot,
    TypeText,
    Wait,
    from_json,
    to_json,
)

START = 1_770_000_000.0
NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(clock=Clock.stopped(START), seed=SEED) as emulator:
        yield emulator


@pytest.fixture
async def desktops(emulator: Emulator) -> AsyncIterator[Desktops]:
    endpoint = Endpoint(
        f"{emulator.url}/v1", auth=APIKeyAuth(API_KEY), retry=RetryPolicy(base=0.001)
    )
    async with Desktops(endpoint) as desktops:
        yield desktops


@pytest.fixture
def seeded(emulator: Emulator) -> Desktop:
    return emulator.desktops.add_desktop()


@pytest.fixture
def desktop(desktops: Desktops, seeded: Desktop) -> DesktopRef:
    return desktops.ref(seeded.id)


# The life of a desktop.


async def test_the_life_of_a_desktop_from_launch_to_stop(
    emulator: Emulator, desktops: Desktops
) -> None:
    launched = await desktops.launch(timedelta(hours=1))
    assert launched.status is DesktopStatus.PENDING
    pending = await launched.refresh()
    assert (pending.status, pending.stream_url) == (DesktopStatus.PENDING, None)
    assert pending.created_at is not None
    assert pending.timeout_at == pending.created_at + timedelta(hours=1)
    assert pending.created_at.timestamp() == START
    emulator.clock.advance(6)
    running = await pending.refresh()
    assert running.status is DesktopStatus.RUNNING
    stream = await running.connect_url()
    await running.stop()
    await running.stop()
    stopped = await desktops.get(running.id)
    assert (stopped.status, stopped.stream_url) == (DesktopStatus.TERMINATED, stream), (
        "the stream stays after the stop"
    )


async def test_without_a_timeout_a_desktop_ends_after_a_day(
    emulator: Emulator, desktops: Desktops
) -> None:
    launched = await desktops.launch()
    emulator.clock.advance(24 * 3600 - 1)
    assert (await launched.refresh()).status is DesktopStatus.RUNNING
    emulator.clock.advance(1)
    assert (await launched.refresh()).status is DesktopStatus.TERMINATED


async def test_a_block_has_a_running_desktop_and_stops_it() -> None:
    async with (
        Emulator(speed=1000) as emulator,
        Desktops(emulator.endpoints()["desktops"]) as desktops,
    ):
        async with desktops.launch(timedelta(hours=1), poll=0.002) as desktop:
            await desktop.click(500, 300)
        assert emulator.desktops.desktops[desktop.id].forced == "terminated"
        with pytest.raises(ConflictError):
            await desktop.click(500, 300)


async def test_a_launch_cancelled_after_the_desktop_was_made_leaves_none_running(
    emulator: Emulator, desktops: Desktops, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, add = asyncio.Event(), emulator.desktops.add_desktop

    def add_and_tell(**options: Any) -> Desktop:
        made.set()
        return add(**options)

    monkeypatch.setattr(emulator.desktops, "add_desktop", add_and_tell)
    task = asyncio.ensure_future(desktops.launch())
    await made.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [desktop.forced for desktop in emulator.desktops.desktops.values()] == ["terminated"]


async def test_waiting_ends_at_the_timeout_or_when_the_desktop_has_ended(
    emulator: Emulator, desktops: Desktops, seeded: Desktop
) -> None:
    ref = desktops.ref(seeded.id)
    for status in ("terminated", "error", "completed"):
        emulator.desktops.set_status(seeded.id, status)
        with pytest.raises(WaitFailed) as failed:
            await ref.wait_until("running", poll=0.001)
        assert failed.value.last == status
        assert (await ref.wait_until(status)).status == status
    emulator.desktops.set_status(seeded.id, "pending")
    with pytest.raises(WaitTimeout) as late:
        # Long enough for one answer, even on a busy machine.
        await ref.wait_until("running", timeout=0.5, poll=0.1)
    assert late.value.last == "pending"


async def test_an_unknown_status_is_kept(
    emulator: Emulator, desktops: Desktops, seeded: Desktop
) -> None:
    emulator.desktops.set_status(seeded.id, "hibernating")
    status = (await desktops.get(seeded.id)).status
    assert (str(status), status.known) == ("hibernating", False)


# Actions.


def seen(seeded: Desktop) -> list[tuple[str, dict[str, Any]]]:
    return [(event.name, dict(event.data)) for event in seeded.events]


async def test_mouse_actions_arrive(desktop: DesktopRef, seeded: Desktop) -> None:
    await desktop.click(500, 300)
    await desktop.double_click(button="middle")
    await desktop.right_click(10, 20)
    await desktop.mouse_down(1, 2)
    assert seeded.simulated.buttons == {"left"}
    await desktop.mouse_up()
    assert seeded.simulated.buttons == set()
    await desktop.drag((100, 100), (200, 210))
    await desktop.scroll("down", 3)
    assert seen(seeded) == [
        ("move", {"x": 500, "y": 300}),
        ("click", {"button": "left", "count": 1, "x": 500, "y": 300}),
        ("click", {"button": "middle", "count": 2, "x": 500, "y": 300}),
        ("move", {"x": 10, "y": 20}),
        ("click", {"button": "right", "count": 1, "x": 10, "y": 20}),
        ("move", {"x": 1, "y": 2}),
        ("button_down", {"button": "left", "x": 1, "y": 2}),
        ("button_up", {"button": "left", "x": 1, "y": 2}),
        ("move", {"x": 100, "y": 100}),
        ("button_down", {"button": "left", "x": 100, "y": 100}),
        ("move", {"x": 200, "y": 210}),
        ("button_up", {"button": "left", "x": 200, "y": 210}),
        ("scroll", {"direction": "down", "clicks": 3}),
    ]
    assert await desktop.cursor_position() == Point(200, 210)


async def test_the_pointer_stops_at_the_edge_of_the_screen(desktop: DesktopRef) -> None:
    await desktop.move(5000, 5000)
    assert await desktop.cursor_position() == (1023, 767)


async def test_keyboard_actions_arrive(desktop: DesktopRef, seeded: Desktop) -> None:
    await desktop.type("Grüße ")
    await desktop.type("🙂")
    await desktop.press("ctrl", "c")
    await desktop.press("Return")
    await desktop.key_down("ctrl", "shift")
    assert (seeded.simulated.typed, seeded.simulated.keys) == ("Grüße 🙂\n", {"ctrl", "shift"})
    await desktop.bash("DISPLAY=:99 xdotool keyup ctrl+shift")
    assert seeded.simulated.keys == set()
    assert [data["keys"] for name, data in seen(seeded) if name == "press"] == ["ctrl+c", "Return"]


async def test_a_wait_takes_its_time_on_the_clock(emulator: Emulator, desktop: DesktopRef) -> None:
    before = emulator.clock.now()
    await desktop.wait(timedelta(seconds=2.5))
    assert emulator.clock.now() - before == pytest.approx(2.5)


async def test_a_screenshot_is_a_jpeg_that_shows_the_pointer(desktop: DesktopRef) -> None:
    shots = []
    for place in ((0, 0), (1023, 767), (500, 300)):
        await desktop.move(*place)
        shots.append(await desktop.screenshot())
    await desktop.mouse_down()
    shots.append(await desktop.screenshot())
    for shot in shots:
        assert shot.media_type == "image/jpeg"
        assert shot.data.startswith(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00")
        assert shot.data.endswith(b"\xff\xd9")
        frame = shot.data.index(b"\xff\xc0")
        assert int.from_bytes(shot.data[frame + 5 : frame + 7], "big") == 768
        assert int.from_bytes(shot.data[frame + 7 : frame + 9], "big") == 1024
    assert len({shot.data for shot in shots}) == 4, "the pointer, and a held button, are to be seen"


async def test_a_recorded_run_is_replayed(
    emulator: Emulator, desktops: Desktops, seeded: Desktop
) -> None:
    recorded = json.dumps(
        [to_json(action) for action in (MoveMouse(5, 6), TypeText("hi"), TakeScreenshot())]
    )
    other = emulator.desktops.add_desktop()
    for one in (seeded, other):
        results = await desktops.ref(one.id).perform_all(map(from_json, json.loads(recorded)))
        assert [result.output for result in results] == ["", "", None]
        assert results[2].screenshot is not None
    assert seen(seeded) == seen(other)


async def test_a_failed_action_has_its_exit_code_and_stops_those_after_it(
    desktop: DesktopRef, seeded: Desktop
) -> None:
    seeded.simulated.failing.append(3)
    with pytest.raises(ServerError, match="Command failed with code 3") as caught:
        await desktop.click(1, 1)
    assert caught.value.details == {
        "docs": "https://docs.cyberdesk.io/docs/api-reference/",
        "exit_code": 3,
    }
    seeded.simulated.failing.append(4)
    with pytest.raises(ActionsFailed) as stopped:
        await desktop.perform_all([Wait(0), MoveMouse(1, 1), MoveMouse(2, 2)])
    assert (stopped.value.index, len(stopped.value.results)) == (1, 1)
    assert seen(seeded) == []


async def test_a_command_that_takes_too_long_is_cut_off(desktop: DesktopRef) -> None:
    with pytest.raises(ServerError, match="failed via gateway") as caught:
        await desktop.bash("sleep 31")
    assert caught.value.status == 502


# Errors.


async def test_actions_on_a_desktop_that_is_not_running_conflict(
    emulator: Emulator, desktop: DesktopRef, seeded: Desktop
) -> None:
    for status in ("pending", "terminated", "error", "completed"):
        emulator.desktops.set_status(seeded.id, status)
        for call in (desktop.move(1, 1), desktop.screenshot(), desktop.bash("pwd")):
            with pytest.raises(ConflictError, match=f"not running.*{status}"):
                await call


async def test_missing_desktops_and_those_of_other_users_are_not_found(
    emulator: Emulator, desktops: Desktops
) -> None:
    other = emulator.desktops.add_desktop(owner="somebody else")
    for id_ in (other.id, NOBODY):
        ref = desktops.ref(id_)
        for call in (
            ref.refresh(),
            ref.stop(),
            ref.move(1, 1),
            ref.bash("pwd"),
            ref.connect_url(),
        ):
            with pytest.raises(NotFoundError, match="Desktop instance not found"):
                await call
    assert other.forced is None


async def test_an_id_that_is_not_a_uuid_is_400_when_fetched_and_500_elsewhere(
    desktops: Desktops,
) -> None:
    ref = desktops.ref("desktop_12345")
    with pytest.raises(InvalidRequestError, match="id: Invalid uuid"):
        await ref.refresh()
    for call in (ref.stop(), ref.move(1, 1), ref.bash("pwd")):
        with pytest.raises(ServerError) as caught:
            await call
        assert caught.value.status == 500


async def test_a_wrong_key_is_refused_and_a_missing_one_looks_like_a_missing_page(
    emulator: Emulator,
) -> None:
    url = f"{emulator.url}/v1"
    async with Desktops(Endpoint(url, auth=APIKeyAuth("ck_wrong"))) as desktops:
        with pytest.raises(AuthenticationError, match="Invalid API key") as wrong:
            await desktops.launch()
        assert "ck_wrong" not in str(wrong.value)
    async with Desktops(Endpoint(url, auth=APIKeyAuth(API_KEY, header="x-other"))) as desktops:
        with pytest.raises(AuthenticationError, match="the API key is missing") as missing:
            await desktops.get(NOBODY)
        assert missing.value.status == 404


async def test_an_error_under_http_200_raises(emulator: Emulator, desktop: DesktopRef) -> None:
    body = '{"status":"error","error":"the display is gone","details":"X11"}'
    emulator.faults.add(
        "POST */computer-action", Fault.reply(200, body, content_type="application/json")
    )
    with pytest.raises(ServerError, match="the display is gone") as caught:
        await desktop.screenshot()
    assert (caught.value.status, caught.value.details) == (200, {"details": "X11"})


async def test_too_many_requests_are_sent_again_after_the_pause(
    emulator: Emulator, desktop: DesktopRef
) -> None:
    body = '{"status":"error","error":"slow down","docs":"d"}'
    emulator.faults.add(
        "POST */computer-action",
        Fault.reply(429, body, {"Retry-After": "0"}, "application/json"),
        times=2,
    )
    await desktop.move(3, 4)
    assert [call.status for call in emulator.calls] == [429, 429, 200]
    emulator.faults.add(
        "POST */bash-action", Fault.reply(429, body, {"Retry-After": "500"}, "application/json")
    )
    with pytest.raises(RateLimitError) as caught:
        await desktop.bash("pwd")
    assert caught.value.retry_after == 500


async def test_an_action_with_a_lost_answer_is_not_repeated_and_a_stop_is(
    emulator: Emulator, desktop: DesktopRef, seeded: Desktop
) -> None:
    emulator.faults.add("POST *", Fault.reset_after())
    with pytest.raises(TransportError) as caught:
        await desktop.type("once")
    assert caught.value.outcome_unknown
    assert seeded.simulated.typed == "once"
    emulator.faults.add("POST *", Fault.reset_after())
    await desktop.stop()
    assert [call.status for call in emulator.calls] == [None, None, 200]


@pytest.mark.parametrize(
    "fault",
    [
        Fault.edit(lambda answer: {"base64_image": answer["base64_image"][:-3] + "%"}),
        Fault.edit(lambda answer: {}),
        Fault.reply(200, "<html>login</html>", content_type="text/html"),
    ],
)
async def test_a_corrupt_screenshot_is_a_decode_error(
    emulator: Emulator, desktop: DesktopRef, fault: Fault
) -> None:
    emulator.faults.add("POST *", fault)
    with pytest.raises(DecodeError):
        await desktop.screenshot()


async def test_a_truncated_screenshot_is_a_transport_error(
    emulator: Emulator, desktop: DesktopRef
) -> None:
    emulator.faults.add("POST *", Fault.truncate(1000))
    with pytest.raises(TransportError):
        await desktop.screenshot()


async def test_fifty_desktops_at_once(emulator: Emulator, desktops: Desktops) -> None:
    launched = await asyncio.gather(*[desktops.launch() for _ in range(50)])
    emulator.clock.advance(6)

    async def use(ref: DesktopRef, number: int) -> Point:
        await ref.move(number, number)
        return await ref.cursor_position()

    places = await asyncio.gather(*[use(ref, number) for number, ref in enumerate(launched)])
    assert places == [(number, number) for number in range(50)]
    await asyncio.gather(*[ref.stop() for ref in launched])
