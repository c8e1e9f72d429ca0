"""The screen, mouse and keyboard of a simulated desktop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

from attrs import define, field, frozen

from vcloud.emulator.clock import Clock
from vcloud.emulator.desktops.jpeg import SIDE, Encoded, block, image
from vcloud.emulator.desktops.refusal import NotSimulatedError

WIDTH, HEIGHT = 1024, 768


@frozen
class Event:
    """Something that happened on the desktop, for tests: its name and its values."""

    at: float
    name: str
    data: Mapping[str, Any]


@define(kw_only=True)
class Screen:
    """The state that `xdotool` changes and tests read."""

    clock: Clock
    x: int = WIDTH // 2
    y: int = HEIGHT // 2
    buttons: set[str] = field(factory=set)
    """The mouse buttons held down."""
    held: dict[int, str] = field(factory=dict)
    """The keys held down, by symbol: the name with which each was pressed."""
    events: list[Event] = field(factory=list, repr=False)
    ended: float = math.inf
    """When the desktop ended, by the clock; nothing is entered after that."""
    locked: set[int] = field(factory=set)
    """The symbols of the keys that are locked, such as Caps_Lock's."""
    _entered: list[tuple[float, str, bool]] = field(factory=list, repr=False)
    """Texts, and keys that edit, each with its time and whether it edits."""

    @property
    def keys(self) -> set[str]:
        """The names of the keys held down, as they were sent."""
        return set(self.held.values())

    @property
    def typed(self) -> str:
        """The text that an editor has received so far, by the clock.

        `Return` is a line's end in it. `Linefeed`, which `xdotool type` presses for a line's end,
        is not: editors ignore it (seen with mousepad), while a terminal takes it. `BackSpace`
        removes the last character.

        Raises:
            NotSimulatedError: a key such as Left or ctrl+v was pressed after some text. There is no
                cursor here; `events` has all keys.
        """
        until = min(self.clock.now(), self.ended)
        entered = sorted((one for one in self._entered if one[0] <= until), key=lambda one: one[0])
        typed = ""
        for _, what, edits in entered:
            if not edits:
                typed += what
            elif what == "BackSpace":
                typed = typed[:-1]
            elif typed:
                raise NotSimulatedError(f"what {what} does to the text; read the events instead")
        return typed

    def enter(self, text: str, after: float, *, edits: bool = False) -> None:
        """Enter text, or a key that edits, in so many seconds."""
        self._entered.append((self.clock.now() + after, text, edits))

    @contextmanager
    def whole_or_not(self) -> Iterator[None]:
        """Undo what is done in the block if it is not simulated to its end."""
        held, buttons, locked = dict(self.held), set(self.buttons), set(self.locked)
        before = self.x, self.y, len(self.events), len(self._entered)
        try:
            yield
        except NotSimulatedError:
            self.x, self.y = before[:2]
            self.held, self.buttons, self.locked = held, buttons, locked
            del self.events[before[2] :]
            del self._entered[before[3] :]
            raise

    def note(self, name: str, **data: Any) -> None:
        """Record an event."""
        self.events.append(Event(self.clock.now(), name, data))

    def move(self, x: int, y: int) -> None:
        """Move the pointer; it stops at the edge of the screen."""
        self.note("move", x=x, y=y)
        self.x, self.y = max(0, min(x, WIDTH - 1)), max(0, min(y, HEIGHT - 1))

    def picture(self) -> bytes:
        """Draw the screen as a JPEG file, with the pointer on it."""
        return _drawn(self.x, self.y, held=bool(self.buttons))


# -- the picture -----------------------------------------------------------------------------------

_BACKGROUND, _PANEL, _WINDOW, _TITLE = 0x50, 0x20, 0xE8, 0x90
_PANEL_TOP: Final = HEIGHT - 32
# Multiples of a block, so that most blocks have a single gray.
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
    """One block with the pointer: an arrow of 16 pixels whose tip is at its position."""
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
def _drawn(x: int, y: int, *, held: bool) -> bytes:
    blocks = list(_desktop())
    for top in range(y // SIDE * SIDE, min(y + _POINTER, HEIGHT), SIDE):
        for left in range(x // SIDE * SIDE, min(x + _POINTER, WIDTH), SIDE):
            drawn = _pixels(left, top, (x, y), _HELD if held else _FREE)
            blocks[top // SIDE * (WIDTH // SIDE) + left // SIDE] = block(drawn)
    return image(WIDTH, HEIGHT, blocks)
