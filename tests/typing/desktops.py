"""What a type checker knows of desktops. mypy and pyright read this; nothing here runs."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, assert_type

from vcloud import Desktops, Instance, Pager, Stats
from vcloud.providers.desktops import (
    Action,
    ActionResult,
    ActionsFailed,
    ClickMouse,
    ClickType,
    Controls,
    Desktop,
    DesktopRef,
    DesktopStatus,
    DragMouse,
    GetCursorPosition,
    KeyAction,
    Launch,
    LaunchedDesktop,
    MouseButton,
    MoveMouse,
    Point,
    PressKeys,
    Screenshot,
    Scroll,
    ScrollDirection,
    TakeScreenshot,
    TypeText,
    Wait,
    from_json,
    parse_cursor_position,
    to_json,
)


async def client(desktops: Desktops) -> None:
    assert_type(desktops.launch(), Launch)
    assert_type(await desktops.launch(timedelta(hours=1), wait_timeout=60), LaunchedDesktop)
    assert_type(desktops.launch(lifetime=60, poll=1), Launch)
    assert_type(desktops.launch(timeout=60), Launch)  # deprecated
    desktops.launch(60, timeout=60)  # type: ignore[call-overload]
    async with desktops.launch() as desktop:
        assert_type(desktop, Desktop)
    async with asyncio.TaskGroup() as group:
        assert_type(group.create_task(desktops.launch()), asyncio.Task[LaunchedDesktop])
    assert_type(await desktops.get("d"), Desktop)
    assert_type(desktops.ref("d"), DesktopRef)
    assert_type(desktops.instances(), Pager[Instance])
    assert_type(desktops.stats(), Stats)
    assert_type(desktops.with_options(timeout=5), Desktops)


async def verbs(desktop: DesktopRef) -> None:
    assert_type(await desktop.refresh(), Desktop)
    assert_type(await desktop.stop(), None)
    assert_type(await desktop.wait_until("running"), Desktop)
    assert_type(await desktop.connect_url(), str)
    assert_type(await desktop.perform(TypeText("a")), ActionResult)
    assert_type(
        await desktop.perform_all([TypeText("a"), MoveMouse(1, 2)]), tuple[ActionResult, ...]
    )
    assert_type(await desktop.click(1, 2, button="right"), None)
    assert_type(await desktop.click(1, 2, "right", count=2), None)
    assert_type(await desktop.double_click(1, 2), None)
    assert_type(await desktop.right_click(), None)
    assert_type(await desktop.mouse_down(button=MouseButton.LEFT), None)
    assert_type(await desktop.mouse_up(), None)
    assert_type(await desktop.scroll("down", 3), None)
    assert_type(await desktop.move(1, 2), None)
    assert_type(await desktop.drag((1, 2), Point(3, 4)), None)
    assert_type(await desktop.type("text"), None)
    assert_type(await desktop.press("Control_L", "c"), None)
    assert_type(await desktop.key_down("Shift_L"), None)
    assert_type(await desktop.key_up("Shift_L"), None)
    assert_type(await desktop.wait(timedelta(seconds=1)), None)
    assert_type(await desktop.screenshot(), Screenshot)
    assert_type(await desktop.cursor_position(), Point)
    assert_type(await desktop.bash("ls"), str)


def recordings(action: Action, screenshot: Screenshot) -> None:
    assert_type(to_json(action), dict[str, Any])
    assert_type(from_json({"type": "wait"}), Action)
    assert_type(parse_cursor_position("x:1 y:2"), Point)
    assert_type(screenshot.save("screen.jpg"), Path)


async def controls(controls: Controls) -> None:
    assert_type(await controls.click(1, 2), None)


def failed(error: ActionsFailed) -> None:
    assert_type(error.results, tuple[ActionResult, ...])


def desktop_fields(value: Desktop) -> None:
    assert_type(value.id, str)
    assert_type(value.status, DesktopStatus)
    assert_type(value.created_at, datetime | None)
    assert_type(value.timeout_at, datetime | None)
    assert_type(value.stream_url, str | None)
    assert_type(value.raw, dict[str, Any])


def launched_desktop_fields(value: LaunchedDesktop) -> None:
    assert_type(value.id, str)
    assert_type(value.status, DesktopStatus | None)
    assert_type(value.raw, dict[str, Any])


def action_result_fields(value: ActionResult) -> None:
    assert_type(value.output, str | None)
    assert_type(value.error, str | None)
    assert_type(value.screenshot, Screenshot | None)


def screenshot_fields(value: Screenshot) -> None:
    assert_type(value.data, bytes)
    assert_type(value.media_type, str)


def point_fields(value: Point) -> None:
    assert_type(value.x, int)
    assert_type(value.y, int)


def click_mouse_fields(value: ClickMouse) -> None:
    assert_type(value.x, int | None)
    assert_type(value.y, int | None)
    assert_type(value.button, MouseButton | None)
    assert_type(value.count, int | None)
    assert_type(value.click_type, ClickType | None)
    assert_type(value.tag, str)
    assert_type(value.sensitive, bool)


def drag_mouse_fields(value: DragMouse) -> None:
    assert_type(value.start, Point)
    assert_type(value.end, Point)
    assert_type(value.tag, str)
    assert_type(value.sensitive, bool)


def move_mouse_fields(value: MoveMouse) -> None:
    assert_type(value.x, int)
    assert_type(value.y, int)
    assert_type(value.tag, str)
    assert_type(value.sensitive, bool)


def press_keys_fields(value: PressKeys) -> None:
    assert_type(value.keys, str | tuple[str, ...])
    assert_type(value.key_action_type, KeyAction | None)
    assert_type(value.tag, str)
    assert_type(value.sensitive, bool)


def scroll_fields(value: Scroll) -> None:
    assert_type(value.direction, ScrollDirection)
    assert_type(value.amount, int)
    assert_type(value.tag, str)
    assert_type(value.sensitive, bool)


def type_text_fields(value: TypeText) -> None:
    assert_type(value.text, str)
    assert_type(value.tag, str)
    assert_type(value.sensitive, bool)


def take_screenshot_fields(value: TakeScreenshot) -> None:
    assert_type(value.tag, str)
    assert_type(value.sensitive, bool)


def get_cursor_position_fields(value: GetCursorPosition) -> None:
    assert_type(value.tag, str)
    assert_type(value.sensitive, bool)


def wait_fields(value: Wait) -> None:
    assert_type(value.duration, timedelta)
    assert_type(value.tag, str)
    assert_type(value.sensitive, bool)
