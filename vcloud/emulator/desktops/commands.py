"""The shell command behind each action, as the published service composes it.

Source: the service's published code, and runs of it. Its bugs are included: the quoting of typed
text is wrong, and names of keys are not quoted at all, so a text with apostrophes and a key with a
semicolon are shell code.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from vcloud.emulator.desktops.schema import Json

DISPLAY: Final = ":99"
"""The X display of every desktop of the service."""
SCREEN_FILE: Final = "/tmp/screen.jpg"  # noqa: S108 - a path on the desktop, not on this machine
MAX_SCROLL: Final = 500
_BUTTONS: Final = {"left": 1, "middle": 2, "right": 3}
_WHEEL: Final = {"up": 4, "down": 5, "left": 6, "right": 7}
_KEYS: Final = {"press": "key", "down": "keydown", "up": "keyup"}
_PLAIN_BELOW: Final = 1e21


def command_of(action: Json, screen_file: str = SCREEN_FILE) -> str:
    """The command for a valid action; `screen_file` is the file for screenshots."""
    if action["type"] == "wait":
        return f"sleep {number(max(0, float(action['ms'])) / 1000)}"
    return f"export DISPLAY={DISPLAY}; {_program(action, screen_file)}"


def _program(action: Json, screen_file: str) -> str:
    match action["type"]:
        case "click_mouse":
            program = _click(action)
        case "scroll":
            clicks = max(1, min(int(action["amount"]), MAX_SCROLL))
            program = f"xdotool click --repeat {clicks} --delay 25 {_WHEEL[action['direction']]}"
        case "move_mouse":
            program = f"xdotool mousemove {_point(action)}"
        case "drag_mouse":
            start, end = _point(action["start"]), _point(action["end"])
            program = f"xdotool mousemove {start} mousedown 1 mousemove {end} mouseup 1"
        case "type":
            # Three apostrophes for each, where an escaped one was meant.
            text = action["text"].replace("'", "'''")
            program = f"xdotool type --clearmodifiers --delay 50 '{text}'"
        case "press_keys":
            keys = action["keys"] if isinstance(action["keys"], str) else "+".join(action["keys"])
            kind = _KEYS[action.get("key_action_type", "press")]
            program = f"xdotool {kind} --clearmodifiers {keys}"
        case "screenshot":
            program = f"scrot -q 100 {screen_file} && base64 {screen_file} && rm {screen_file}"
        case _:
            program = "xdotool getmouselocation --shell"
    return program


def _click(action: Json) -> str:
    button = _BUTTONS[action.get("button", "left")]
    # A single coordinate is ignored.
    move = f"xdotool mousemove {_point(action)} && " if "x" in action and "y" in action else ""
    match action.get("click_type", "click"):
        case "click":
            clicks = number(action.get("num_of_clicks", 1))
            return f"{move}xdotool click --repeat {clicks} {button}"
        case kind:
            return f"{move}xdotool mouse{kind} {button}"


def _point(place: Any) -> str:
    return f"{number(place['x'])} {number(place['y'])}"


def number(value: float) -> str:
    """A number in JavaScript's form: in full below 1e21, with an exponent from there on."""
    double = float(value)
    if abs(double) >= _PLAIN_BELOW:
        return repr(double)
    return str(int(double)) if double.is_integer() and abs(double) < 2**53 else _in_full(double)


def _in_full(double: float) -> str:
    return format(Decimal(repr(double)), "f").removesuffix(".0")
