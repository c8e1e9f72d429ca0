"""What an emulated desktop runs on: the seam at which a real display could stand in for the simulated one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

from attrs import define, field, frozen

from vcloud.emulator.clock import Clock
from vcloud.emulator.desktops_bash import HOME_FILES, Ran, Shell
from vcloud.emulator.desktops_jpeg import SIDE, Encoded, block, image

WIDTH, HEIGHT = 1024, 768


class CommandFailedError(Exception):
    """The program behind an action ended with an exit code other than 0."""

    def __init__(self, code: int) -> None:
        """Carry the exit code."""
        super().__init__(f"Command failed with code {code}")
        self.code = code


class CommandCutError(Exception):
    """A command ran for longer than the gateway waits, and was killed."""


class Pointer(NamedTuple):
    """Where the pointer is: on which screen, and over which window."""

    x: int
    y: int
    screen: int = 0
    window: int = 123


class Backend(Protocol):
    """A display with a mouse, a keyboard and a shell.

    The service checks and words everything; a backend only does it. Any method may raise `CommandFailedError`, and `bash`
    also `CommandCutError`. One that must be started first, and ended, is a `desktops_lifetimes.Startable` too.
    """

    async def move(self, x: int, y: int) -> None:
        """Put the pointer somewhere."""

    async def click(self, button: str, count: int) -> None:
        """Click so often, where the pointer is."""

    async def hold_button(self, button: str, *, down: bool) -> None:
        """Press or release a button."""

    async def scroll(self, direction: str, clicks: int) -> None:
        """Turn the wheel."""

    async def type(self, text: str) -> None:
        """Enter a text."""

    async def press_keys(self, keys: str) -> None:
        """Press keys, joined with a plus, together."""

    async def hold_keys(self, keys: str, *, down: bool) -> None:
        """Press or release keys."""

    async def pointer(self) -> Pointer:
        """Return where the pointer is."""
        ...

    async def screenshot(self) -> bytes:
        """Return the screen as a JPEG file."""
        ...

    async def bash(self, command: str) -> Ran:
        """Run a command, without waiting for as long as it says it takes."""
        ...


@frozen
class Event:
    """Something that reached the desktop, for tests to look at: what, and with which values."""

    at: float
    name: str
    data: Mapping[str, Any]


@define(kw_only=True)
class SimulatedBackend:
    """A desktop that exists in memory only. Nothing that a caller sends is ever run on the host."""

    clock: Clock
    x: int = WIDTH // 2
    y: int = HEIGHT // 2
    buttons: set[str] = field(factory=set)
    """The mouse buttons held down."""
    keys: set[str] = field(factory=set)
    """The keys held down."""
    typed: str = field(default="", repr=False)
    """All text entered so far."""
    files: dict[str, str] = field(factory=lambda: dict(HOME_FILES), repr=False)
    """What `ls` and `cat` find, by absolute path."""
    events: list[Event] = field(factory=list, repr=False)
    failing: list[int] = field(factory=list)
    """Exit codes with which the next actions, one each, are to fail."""

    async def move(self, x: int, y: int) -> None:
        """Put the pointer somewhere; at the edge of the screen it stops."""
        self._note("move", x=x, y=y)
        self.x, self.y = max(0, min(x, WIDTH - 1)), max(0, min(y, HEIGHT - 1))

    async def click(self, button: str, count: int) -> None:
        """Click so often."""
        self._note("click", button=button, count=count, x=self.x, y=self.y)

    async def hold_button(self, button: str, *, down: bool) -> None:
        """Press or release a button."""
        self._note("button_down" if down else "button_up", button=button, x=self.x, y=self.y)
        (self.buttons.add if down else self.buttons.discard)(button)

    async def scroll(self, direction: str, clicks: int) -> None:
        """Turn the wheel; the screen has nothing to scroll."""
        self._note("scroll", direction=direction, clicks=clicks)

    async def type(self, text: str) -> None:
        """Enter a text."""
        self._note("type", text=text)
        self.typed += text

    async def press_keys(self, keys: str) -> None:
        """Press keys together."""
        self._note("press", keys=keys)

    async def hold_keys(self, keys: str, *, down: bool) -> None:
        """Press or release keys."""
        self._note("key_down" if down else "key_up", keys=keys)
        names = keys.split("+")
        (self.keys.update if down else self.keys.difference_update)(names)

    async def pointer(self) -> Pointer:
        """Return where the pointer is."""
        self._note("pointer")
        return Pointer(self.x, self.y)

    async def screenshot(self) -> bytes:
        """Draw the screen, with the pointer on it."""
        self._note("screenshot")
        return _screen(self.x, self.y, held=bool(self.buttons))

    async def bash(self, command: str) -> Ran:
        """Let the built-in set of commands answer."""
        self._note("bash", command=command)
        return Shell(self.files, datetime.fromtimestamp(self.clock.now(), UTC)).run(command)

    def _note(self, name: str, **data: Any) -> None:
        if self.failing:
            raise CommandFailedError(self.failing.pop(0))
        self.events.append(Event(self.clock.now(), name, data))


# -- the screen ------------------------------------------------------------------------------------------------------

_BACKGROUND, _PANEL, _WINDOW, _TITLE = 0x50, 0x20, 0xE8, 0x90
_PANEL_TOP: Final = HEIGHT - 32
# Multiples of a block, so that most blocks are of one gray.
_WINDOW_AT: Final = (256, 128, 768, 512)
_TITLE_BOTTOM: Final = 152
_POINTER: Final = 16
_FREE, _HELD, _OUTLINE = 0xFF, 0x00, 0x80


def _gray(x: int, y: int) -> int:
    left, top, right, bottom = _WINDOW_AT
    if y >= _PANEL_TOP:
        return _PANEL
    if left <= x < right and top <= y < bottom:
        return _TITLE if y < _TITLE_BOTTOM else _WINDOW
    return _BACKGROUND


def _pixels(left: int, top: int, pointer: tuple[int, int], fill: int) -> bytes:
    """One block with the pointer on it: an arrow of 16 pixels whose tip is where it points to."""
    out = bytearray()
    for y in range(top, top + SIDE):
        for x in range(left, left + SIDE):
            across, down = x - pointer[0], y - pointer[1]
            inside = 0 <= across <= down < _POINTER
            edge = across in (0, down) or down == _POINTER - 1
            out.append((_OUTLINE if edge else fill) if inside else _gray(x, y))
    return bytes(out)


@lru_cache(maxsize=1)
def _desktop() -> tuple[Encoded, ...]:
    return tuple(
        block(bytes((_gray(left, top),)) * SIDE * SIDE)
        for top in range(0, HEIGHT, SIDE)
        for left in range(0, WIDTH, SIDE)
    )


@lru_cache(maxsize=64)
def _screen(x: int, y: int, *, held: bool) -> bytes:
    blocks = list(_desktop())
    for top in range(y // SIDE * SIDE, min(y + _POINTER, HEIGHT), SIDE):
        for left in range(x // SIDE * SIDE, min(x + _POINTER, WIDTH), SIDE):
            drawn = _pixels(left, top, (x, y), _HELD if held else _FREE)
            blocks[top // SIDE * (WIDTH // SIDE) + left // SIDE] = block(drawn)
    return image(WIDTH, HEIGHT, blocks)
