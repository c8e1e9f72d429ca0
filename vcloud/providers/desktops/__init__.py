"""The desktop-action API: the client, its desktops, and the actions on them.

Handles come from a client; their constructors are not for users.
"""

from __future__ import annotations

from vcloud.providers.desktops.actions import (
    Action,
    ClickMouse,
    DragMouse,
    GetCursorPosition,
    MoveMouse,
    PressKeys,
    Scroll,
    TakeScreenshot,
    TypeText,
    Wait,
)
from vcloud.providers.desktops.client import Desktops
from vcloud.providers.desktops.controls import Controls
from vcloud.providers.desktops.desktops import Desktop, DesktopRef, LaunchedDesktop
from vcloud.providers.desktops.errors import ActionsFailed, NoStreamError
from vcloud.providers.desktops.launch import Launch
from vcloud.providers.desktops.models import (
    ActionResult,
    ClickType,
    DesktopStatus,
    KeyAction,
    MouseButton,
    Point,
    Screenshot,
    ScrollDirection,
    parse_cursor_position,
)
from vcloud.providers.desktops.recording import from_json, to_json

__all__ = [
    "Action",
    "ActionResult",
    "ActionsFailed",
    "ClickMouse",
    "ClickType",
    "Controls",
    "Desktop",
    "DesktopRef",
    "DesktopStatus",
    "Desktops",
    "DragMouse",
    "GetCursorPosition",
    "KeyAction",
    "Launch",
    "LaunchedDesktop",
    "MouseButton",
    "MoveMouse",
    "NoStreamError",
    "Point",
    "PressKeys",
    "Screenshot",
    "Scroll",
    "ScrollDirection",
    "TakeScreenshot",
    "TypeText",
    "Wait",
    "from_json",
    "parse_cursor_position",
    "to_json",
]
