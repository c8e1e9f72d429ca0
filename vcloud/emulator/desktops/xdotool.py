"""`xdotool` on a simulated screen.

The rules were measured with Debian's xdotool 3.20160805 on a real X server. The tests in
`tests/x11` run the same requests on both, and compare the results. What it does with windows, and
its other options, are not simulated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from attrs import evolve, frozen

from vcloud.emulator.desktops.commands import DISPLAY
from vcloud.emulator.desktops.files import HOME, USER, Files
from vcloud.emulator.desktops.keysyms import (
    LOCKS,
    MODIFIERS,
    SHIFTS,
    character,
    edits,
    is_simulated,
    on_keyboard,
    symbol_of,
    text_of,
)
from vcloud.emulator.desktops.other_keysyms import is_other
from vcloud.emulator.desktops.programs import Call, Ran
from vcloud.emulator.desktops.refusal import NotSimulatedError
from vcloud.emulator.desktops.screen import Screen

ENVIRONMENT: Final[Mapping[str, str]] = {
    "DISPLAY": DISPLAY,
    "HOME": HOME,
    "PWD": HOME,
    "USER": USER,
}

DISPLAYS: Final = (DISPLAY, f"{DISPLAY}.0")
"""The ways to write the display."""
_OVERHEAD: Final = 0.001
"""Seconds that a typed character takes beyond its delay."""
_TYPE_DELAY: Final = 12
_KEY_DELAY: Final = 12
_CLICK_DELAY: Final = 100
_WINDOW: Final = 123
_BUTTONS: Final = {1: "left", 2: "middle", 3: "right"}
_WHEEL: Final = {4: "up", 5: "down", 6: "left", 7: "right"}
_INVALID: Final = re.compile(r"[ \t\n.\-\[\]{}\\|]")
"""Characters that are invalid in a sequence of keys; other unknown names are ignored."""
_INTEGER: Final = re.compile(r"\s*[+-]?\d+")
_DIGITS: Final = 19
_CONTROLS: Final = {
    **dict.fromkeys(map(chr, (*range(0x20), *range(0x7F, 0xA0))), ""),
    "\r": "\n",
    "\t": "\t",
}
"""What `type` enters for control characters. `\\n` is the keysym Linefeed, which editors ignore."""

#: The options of each command, and whether they take a value.
_FLAGS: Final = {"clearmodifiers": False, "window": True, "help": False}
_REPEATED: Final = {**_FLAGS, "delay": True, "repeat": True, "repeat-delay": True}
_OPTIONS: Final[Mapping[str, Mapping[str, bool]]] = {
    "mousemove": {**_FLAGS, "screen": True, "sync": False, "polar": False},
    "mousedown": _FLAGS,
    "mouseup": _FLAGS,
    "click": {**_FLAGS, "repeat": True, "delay": True},
    "key": _REPEATED,
    "keydown": _REPEATED,
    "keyup": _REPEATED,
    "type": {**_FLAGS, "delay": True, "args": True, "terminator": True, "file": True},
    "getmouselocation": {"shell": False, "prefix": True, "help": False},
    "sleep": {"help": False},
}
#: Options that are not simulated, of these commands, or of any.
_OTHER_OPTIONS: Final = frozenset({"window", "screen", "polar", "args", "terminator", "prefix"})
_OTHER_OF_KEYS: Final = frozenset({"repeat", "repeat-delay"})
_SHORT: Final = frozenset("cdhprsw")
"""Short options that some commands have. Those of `type` and `key` were measured to fail."""
_MEASURED: Final = frozenset({"type", "key", "keydown", "keyup"})
_OTHER_COMMANDS: Final = """
    - behave behave_screen_edge exec get_desktop get_desktop_for_window get_desktop_viewport
    get_num_desktops getactivewindow getdisplaygeometry getwindowfocus getwindowgeometry
    getwindowname getwindowpid help mousemove_relative search selectwindow set_desktop
    set_desktop_for_window set_desktop_viewport set_num_desktops set_window version -v --version -h
    --help -help windowactivate windowclose windowfocus windowkill windowmap windowminimize
    windowmove windowraise windowreparent windowsize windowunmap
"""
"""Commands of xdotool that are not simulated."""


@frozen(kw_only=True)
class _Command:
    """One command of a chain: its options, the arguments after them, and the seconds before it."""

    name: str
    options: Mapping[str, str]
    rest: list[str]
    elapsed: float

    @property
    def clears(self) -> bool:
        """Whether held modifiers do not apply."""
        return "clearmodifiers" in self.options

    def delay(self, default: int) -> float:
        """The delay in seconds."""
        return max(0, _atoi(self.options.get("delay", str(default)))) / 1000


class _UsageError(Exception):
    """A command was called wrongly, or asked for its help."""

    def __init__(self, ran: Ran) -> None:
        super().__init__(ran)
        self.ran = ran


class Xdotool:
    """The program, on one screen."""

    def __init__(self, screen: Screen, files: dict[str, str]) -> None:
        """Work on this screen; `type --file` reads from these files."""
        self._screen = screen
        self._files = Files(files, dict(ENVIRONMENT))
        self._commands: Mapping[str, Callable[[_Command], Ran]] = {
            "mousemove": self._mousemove,
            "mousedown": partial(self._hold_button, down=True),
            "mouseup": partial(self._hold_button, down=False),
            "click": self._click,
            "key": self._key,
            "keydown": partial(self._hold_keys, down=True),
            "keyup": partial(self._hold_keys, down=False),
            "type": self._type,
            "getmouselocation": self._getmouselocation,
            "sleep": _sleep,
        }

    def run(self, call: Call) -> Ran:
        """Run a chain of commands, up to the first that fails."""
        if not call.arguments:
            return Ran(stderr="Usage: xdotool <cmd> <args>\n", code=1)
        if call.environment.get("DISPLAY") not in DISPLAYS:
            return Ran(stderr="Error: Can't open display: (null)\n", code=1)
        self._files = evolve(self._files, variables=dict(call.environment))
        rest = list(call.arguments)
        total = Ran()
        while rest and not total.code:
            name = rest.pop(0)
            if name not in self._commands:
                return self._unknown(name).after(total)
            elapsed = call.elapsed + total.seconds
            try:
                options = _options(name, rest)
                command = _Command(name=name, options=options, rest=rest, elapsed=elapsed)
                total = self._commands[name](command).after(total)
            except _UsageError as error:
                # Help ends the program, with success.
                return error.ran.after(total)
        return total

    def _unknown(self, name: str) -> Ran:
        if name in _OTHER_COMMANDS.split() or "/" in name or self._files.read(name) is not None:
            raise NotSimulatedError(f"xdotool {name}")
        hint = "Run 'xdotool help' if you want a command list"
        return Ran(stderr=f"xdotool: Unknown command: {name}\n{hint}\n", code=1)

    # -- the mouse ---------------------------------------------------------------------------------

    def _mousemove(self, command: _Command) -> Ran:
        if command.rest[:1] == ["restore"]:
            raise NotSimulatedError("xdotool mousemove restore")
        if len(command.rest) < 2:
            return _usage(command.name)
        # The X protocol has 16 bits for each.
        x, y = (_signed(_atoi(command.rest.pop(0)), 16) for _ in range(2))
        self._screen.move(x, y)
        return Ran()

    def _hold_button(self, command: _Command, *, down: bool) -> Ran:
        button = self._button(command)
        if button is None:
            return _usage(command.name)
        at = {"x": self._screen.x, "y": self._screen.y}
        self._screen.note("button_down" if down else "button_up", button=button, **at)
        (self._screen.buttons.add if down else self._screen.buttons.discard)(button)
        return Ran()

    def _click(self, command: _Command) -> Ran:
        count = _atoi(command.options.get("repeat", "1"))
        if count < 1:
            return Ran(stderr=f"Invalid repeat value '{count}' (must be >= 1)\n", code=1)
        wheel = _WHEEL.get(_atoi(command.rest[0])) if command.rest else None
        button = self._button(command)
        if button is None:
            return _usage(command.name)
        if wheel:
            self._screen.note("scroll", direction=wheel, clicks=count)
        else:
            at = {"x": self._screen.x, "y": self._screen.y}
            self._screen.note("click", button=button, count=count, **at)
            # The click releases a held button.
            self._screen.buttons.discard(button)
        return Ran(seconds=count * command.delay(_CLICK_DELAY))

    def _button(self, command: _Command) -> str | None:
        number = _atoi(command.rest.pop(0)) if command.rest else 0
        return _BUTTONS.get(number, str(number)) if number > 0 else None

    def _getmouselocation(self, command: _Command) -> Ran:
        self._screen.note("pointer")
        x, y = self._screen.x, self._screen.y
        if "shell" in command.options:
            return Ran(stdout=f"X={x}\nY={y}\nSCREEN=0\nWINDOW={_WINDOW}\n")
        return Ran(stdout=f"x:{x} y:{y} screen:0 window:{_WINDOW}\n")

    # -- the keyboard ------------------------------------------------------------------------------

    def _key(self, command: _Command) -> Ran:
        total = Ran()
        for keys in self._sequences(command):
            # It fails twice, for pressing and for releasing.
            ran, found = self._found(keys, fails=2)
            if found:
                self._screen.note("press", keys="+".join(name for _, name in found))
                self._press(found, command, total.seconds)
                if not command.clears:
                    self._release(found)
            each = Ran(seconds=len(found) * command.delay(_KEY_DELAY), code=total.code + ran.code)
            total = each.after(ran).after(total)
        return total

    def _hold_keys(self, command: _Command, *, down: bool) -> Ran:
        total = Ran()
        for keys in self._sequences(command):
            ran, found = self._found(keys, fails=1)
            if found:
                sent = "+".join(name for _, name in found)
                self._screen.note("key_down" if down else "key_up", keys=sent)
            if down:
                self._press(found, command, total.seconds)
                self._screen.held.update(found)
            else:
                # A held modifier is released, and pressed again after the command.
                self._release(
                    [one for one in found if not (command.clears and one[0] in MODIFIERS)]
                )
            each = Ran(seconds=len(found) * command.delay(_KEY_DELAY), code=total.code + ran.code)
            total = each.after(ran).after(total)
        return total

    def _type(self, command: _Command) -> Ran:
        texts = list(command.rest)
        command.rest.clear()
        if path := command.options.get("file"):
            if path == "-":
                raise NotSimulatedError("xdotool type --file -")
            content = self._files.read(path)
            if content is None:
                return Ran(stderr=f"Failure opening '{path}': No such file or directory\n", code=1)
            texts.insert(0, content)
        elif not texts:
            return _usage(command.name)
        text = "".join(texts)
        self._screen.note("type", text=text)
        each = command.delay(_TYPE_DELAY) / 2 + _OVERHEAD
        held = set[int]() if command.clears else MODIFIERS & self._screen.held.keys()
        for number, wanted in enumerate(text):
            entered = (
                _CONTROLS.get(wanted)
                if wanted in _CONTROLS
                else character(wanted, shift=bool(held))
            )
            if entered and held <= SHIFTS:
                self._require_unlocked()
                self._screen.enter(entered, command.elapsed + number * each)
        return Ran(seconds=len(text) * each)

    def _press(self, found: Sequence[tuple[int, str]], command: _Command, seconds: float) -> None:
        """Enter the text of keys that are pressed one after the other, while all are held."""
        held = set[int]() if command.clears else set(MODIFIERS & self._screen.held.keys())
        after = command.elapsed + seconds
        for symbol, name in found:
            if symbol in LOCKS:
                self._screen.locked ^= {symbol}
            elif symbol in MODIFIERS:
                held.add(symbol)
            elif held <= SHIFTS and (text := text_of(symbol, shift=bool(held))):
                self._require_unlocked()
                self._screen.enter(text, after)
            elif edits(symbol, held):
                self._screen.enter(name, after, edits=True)

    def _require_unlocked(self) -> None:
        if self._screen.locked:
            raise NotSimulatedError("text that is entered while Caps_Lock or Num_Lock is on")

    def _release(self, found: Sequence[tuple[int, str]]) -> None:
        for symbol, _ in found:
            self._screen.held.pop(symbol, None)

    def _sequences(self, command: _Command) -> list[str]:
        """Take the arguments up to the next command of the chain."""
        taken: list[str] = []
        while command.rest and command.rest[0] not in self._commands:
            taken.append(command.rest.pop(0))
        if not taken:
            raise _UsageError(_usage(command.name))
        return taken

    def _found(self, keys: str, *, fails: int) -> tuple[Ran, list[tuple[int, str]]]:
        """The symbols of a sequence, with the names as they were sent; unknown names are ignored.

        It is read `fails` times, and each time complained about.
        """
        if _INVALID.search(keys):
            message = f"Error: Invalid key sequence '{keys}'\n"
            return Ran(stderr=message * fails, code=fails), []
        found: list[tuple[int, str]] = []
        ignored = Ran()
        for name in filter(None, keys.split("+")):
            if (symbol := symbol_of(name)) is None and not is_other(name):
                message = f"(symbol) No such key name '{name}'. Ignoring it.\n"
                ignored = Ran(stderr=message).after(ignored)
            elif symbol is None or not is_simulated(on_keyboard(symbol)):
                raise NotSimulatedError(f"the key {name}")
            else:
                found.append((on_keyboard(symbol), name))
        return Ran(stderr=ignored.stderr * fails), found


def _options(name: str, rest: list[str]) -> dict[str, str]:
    """Remove the options from the arguments, as getopt_long_only: also shortened, or one dash."""
    known = _OPTIONS[name]
    found: dict[str, str] = {}
    while rest and rest[0].startswith("-") and rest[0] != "-":
        argument = rest.pop(0)
        if argument == "--":
            break
        option, equals, value = argument.removeprefix("-").removeprefix("-").partition("=")
        matching = [option] if option in known else [one for one in known if one.startswith(option)]
        short = not argument.startswith("--") and len(option) < 2
        if short and option in _SHORT and name not in _MEASURED:
            raise NotSimulatedError(f"the option {argument} of xdotool {name}")
        if len(matching) != 1 or short:
            raise _UsageError(_usage(name, f"{name}: unrecognized option '{argument}'\n"))
        if matching[0] == "help":
            raise _UsageError(Ran(stdout=f"Usage: {name}\n"))
        if matching[0] in _OTHER_OPTIONS or (
            matching[0] in _OTHER_OF_KEYS and name.startswith("key")
        ):
            raise NotSimulatedError(f"the option --{matching[0]} of xdotool {name}")
        if known[matching[0]] and not equals:
            if not rest:
                raise _UsageError(_usage(name, f"{name}: option '{argument}' needs a value\n"))
            value = rest.pop(0)
        found[matching[0]] = value
    return found


def _usage(name: str, reason: str = "") -> Ran:
    return Ran(stderr=f"{reason}Usage: {name}\n", code=1)


def _sleep(command: _Command) -> Ran:
    try:
        return Ran(seconds=max(0.0, float(command.rest.pop(0))))
    except (IndexError, ValueError):
        return _usage(command.name)


def _atoi(text: str) -> int:
    """The number at a text's beginning, else 0, in 32 bits, as C reads it."""
    if not (found := _INTEGER.match(text)):
        return 0
    # Beyond 64 bits it stops at the largest number, of which 32 bits remain.
    return _signed(int(found[0]) if len(found[0]) < _DIGITS else -1, 32)


def _signed(number: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return (number + half) % (1 << bits) - half
