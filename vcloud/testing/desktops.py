"""Factories for the models of the desktop-action API."""

from __future__ import annotations

from base64 import b64decode
from datetime import datetime, timedelta
from typing import Final, TypedDict, Unpack

from vcloud.providers.desktops import (
    ActionResult,
    Desktop,
    DesktopStatus,
    LaunchedDesktop,
    Point,
    Screenshot,
)
from vcloud.testing.building import NOW, checked, filled, uuid_of

#: Where a desktop that was just launched, or never ran, has no stream.
NO_STREAM: Final = frozenset({DesktopStatus.PENDING, DesktopStatus.ERROR})
#: A JPEG file of one gray pixel.
PICTURE: Final = b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAFA3PEY8MlBGQUZaVVBfeMiCeG5uePWvuZHI////////////////////"
    "////////////////////////////////wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAAP/EABQQAQAA"
    "AAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AP//Z"
)


class DesktopFields(TypedDict, total=False):
    """The fields of :func:`make_desktop`."""

    id: str
    status: DesktopStatus | str
    created_at: datetime | str | None
    timeout_at: datetime | str | None
    stream_url: str | None


def make_desktop(**fields: Unpack[DesktopFields]) -> Desktop:
    """A desktop, by default one that runs and was launched for a day.

    One that is ``pending``, or has failed, has no ``stream_url``.
    """
    given = checked("make_desktop", DesktopFields, fields)
    given["id"] = id = uuid_of(given, "desktop", "330e8400")
    status = given.setdefault("status", DesktopStatus.RUNNING)
    launched = given.setdefault("created_at", NOW - timedelta(hours=1))
    url = f"https://stream.cyberdesk.io/vnc/{id}?token=made-for-a-test"
    return Desktop(
        **filled(
            given,
            timeout_at=None if launched is None else launched + timedelta(days=1),
            stream_url=None if status in NO_STREAM else url,
        )
    )


class LaunchedDesktopFields(TypedDict, total=False):
    """The fields of :func:`make_launched_desktop`."""

    id: str
    status: DesktopStatus | str | None


def make_launched_desktop(**fields: Unpack[LaunchedDesktopFields]) -> LaunchedDesktop:
    """A desktop as it is in the answer to a launch: pending."""
    given = checked("make_launched_desktop", LaunchedDesktopFields, fields)
    given["id"] = uuid_of(given, "desktop", "330e8400")
    return LaunchedDesktop(**filled(given, status=DesktopStatus.PENDING))


class ActionResultFields(TypedDict, total=False):
    """The fields of :func:`make_action_result`."""

    output: str | None
    error: str | None
    screenshot: Screenshot | None


def make_action_result(**fields: Unpack[ActionResultFields]) -> ActionResult:
    """The result of an action that printed nothing; of a screenshot, if one is given."""
    given = checked("make_action_result", ActionResultFields, fields)
    output = "" if given.get("screenshot") is None else None
    return ActionResult(**filled(given, output=output))


class ScreenshotFields(TypedDict, total=False):
    """The fields of :func:`make_screenshot`."""

    data: bytes
    media_type: str


def make_screenshot(**fields: Unpack[ScreenshotFields]) -> Screenshot:
    """An image of the screen: a JPEG of one gray pixel."""
    given = checked("make_screenshot", ScreenshotFields, fields)
    png = given.get("data", b"").startswith(b"\x89PNG")
    return Screenshot(
        **filled(given, data=PICTURE, media_type="image/png" if png else "image/jpeg")
    )


class PointFields(TypedDict, total=False):
    """The fields of :func:`make_point`."""

    x: int
    y: int


def make_point(**fields: Unpack[PointFields]) -> Point:
    """A position on the screen: its middle, if it has 1024 by 768 pixels."""
    given = checked("make_point", PointFields, fields)
    return Point(**filled(given, x=512, y=384))
