"""What a type checker knows of desktops. mypy and pyright read this; nothing here runs."""

from __future__ import annotations

from datetime import datetime
from typing import assert_type

from vcloud import Desktops
from vcloud.providers.desktops import (
    ActionResult,
    Desktop,
    DesktopRef,
    DesktopStatus,
    LaunchedDesktop,
    Point,
    Screenshot,
    TypeText,
)


async def desktops(desktops: Desktops) -> None:
    assert_type(await desktops.launch(), LaunchedDesktop)
    async with desktops.launch() as desktop:
        assert_type(desktop, Desktop)
    assert_type(await desktops.get("d"), Desktop)
    assert_type(desktops.ref("d"), DesktopRef)


async def verbs(desktop: DesktopRef) -> None:
    assert_type(await desktop.click(1, 2), None)
    assert_type(await desktop.type("text"), None)
    assert_type(await desktop.screenshot(), Screenshot)
    assert_type(await desktop.cursor_position(), Point)
    assert_type(await desktop.bash("ls"), str)
    assert_type(await desktop.perform(TypeText("a")), ActionResult)
    assert_type(await desktop.perform_all([TypeText("a")]), tuple[ActionResult, ...])
    assert_type(await desktop.wait_until("running"), Desktop)
    assert_type(await desktop.connect_url(), str)


async def fields(desktop: Desktop) -> None:
    assert_type(desktop.id, str)
    assert_type(desktop.status, DesktopStatus)
    assert_type(desktop.created_at, datetime | None)
    assert_type(desktop.stream_url, str | None)
