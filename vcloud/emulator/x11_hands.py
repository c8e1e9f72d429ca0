"""A hand on the mouse and the keyboard of a display: clicks, chords and texts as events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from vcloud.emulator.x11_display import (
    BUTTON_PRESS,
    BUTTON_RELEASE,
    KEY_PRESS,
    KEY_RELEASE,
    Display,
    DisplayError,
)
from vcloud.emulator.x11_keys import SHIFT, Keyboard, symbol_of, symbols_for, symbols_of

BUTTONS: Final = {"left": 1, "middle": 2, "right": 3}
WHEEL: Final = {"up": 4, "down": 5, "left": 6, "right": 7}
_AT_ONCE: Final = 64
"""Keys that are sent before it is waited for the server, so that a long text does not fill its queue."""
_UNUSUAL: Final = 8
"""Different characters that the keyboard may lack, in such a piece: about half of the keys that have no meaning."""
_SETTLE: Final = 0.1
"""Seconds that programs get to look up a key before it gets another meaning."""


def parts(symbols: Sequence[int]) -> Iterator[Sequence[int]]:
    """Cut a text into pieces that a keyboard can hold at once."""
    start, unusual = 0, set[int]()
    for index, symbol in enumerate(symbols):
        # Neither ASCII nor one of the named keys, which every keyboard has.
        if not (symbol < 0x80 or 0xFF00 <= symbol <= 0xFFFF):
            unusual.add(symbol)
        if index - start == _AT_ONCE or len(unusual) > _UNUSUAL:
            yield symbols[start:index]
            start, unusual = index, unusual & {symbol}
    if symbols:
        yield symbols[start:]


class Hands:
    """Enters what a person would.

    A character that the keyboard lacks is given a key that was without a meaning, and keeps it for as long as there are
    such keys: programs look a key up only after they were pressed, and would find the next one's meaning otherwise.
    """

    def __init__(self, display: Display) -> None:
        """Use this display."""
        self._display = display
        self._given: deque[int] = deque()
        self._shift = 0
        # Two texts at once must not mix, nor chords with texts.
        self._one = asyncio.Lock()

    async def click(self, button: str, count: int) -> None:
        """Click so often, where the pointer is."""
        await self._buttons(BUTTONS[button], count)

    async def hold_button(self, button: str, *, down: bool) -> None:
        """Press or release a button."""
        await self._display.fake([(BUTTON_PRESS if down else BUTTON_RELEASE, BUTTONS[button])])

    async def scroll(self, direction: str, clicks: int) -> None:
        """Turn the wheel, which X knows as buttons."""
        await self._buttons(WHEEL[direction], clicks)

    async def type(self, text: str) -> None:
        """Enter a text, a key press and release for each character."""
        symbols = symbols_for(text)
        async with self._one:
            for part in parts(symbols):
                keys = await self._keys(part)
                await self._display.fake(
                    event for symbol in part for event in _pressed([keys[symbol]], self._shift)
                )

    async def press_keys(self, keys: str) -> None:
        """Press keys, joined with a plus, one after the other, and release them in the opposite order."""
        async with self._one:
            found = await self._found(keys)
            await self._display.fake(_pressed(found, self._shift))

    async def hold_keys(self, keys: str, *, down: bool) -> None:
        """Press or release keys."""
        async with self._one:
            found = await self._found(keys)
            held = _down(found, self._shift)
            await self._display.fake(held if down else _up(held))

    async def _buttons(self, button: int, count: int) -> None:
        # The request may ask for as many as it likes, and must not fill the server's queue.
        while count > 0:
            some = min(count, _AT_ONCE)
            await self._display.fake([(BUTTON_PRESS, button), (BUTTON_RELEASE, button)] * some)
            count -= some

    async def _found(self, keys: str) -> list[tuple[int, bool]]:
        symbols = symbols_of(keys)
        found = await self._keys(symbols)
        return [found[symbol] for symbol in symbols]

    async def _keys(self, symbols: Iterable[int]) -> dict[int, tuple[int, bool]]:
        """The keys of these symbols; those that the keyboard lacks are put on it."""
        wanted = dict.fromkeys(symbols)
        # Asked anew each time: a VNC viewer, or a program, may have changed it.
        keyboard = await self._keyboard()
        lacking = [symbol for symbol in wanted if keyboard.find(symbol) is None]
        if len(lacking) > len(keyboard.spare):
            await asyncio.sleep(_SETTLE)
        for symbol in lacking:
            await self._bind(
                keyboard, symbol, {key[0] for other in wanted if (key := keyboard.find(other))}
            )
            keyboard = await self._keyboard()
        found = {symbol: at for symbol in wanted if (at := keyboard.find(symbol)) is not None}
        if len(found) != len(wanted):
            raise DisplayError("the X server does not take new keys")
        if (shift := keyboard.find(symbol_of(SHIFT))) is None:
            raise DisplayError("the keyboard has no shift")
        self._shift = shift[0]
        return found

    async def _bind(self, keyboard: Keyboard, symbol: int, in_use: set[int]) -> None:
        if keyboard.spare:
            keycode = keyboard.spare[-1]
        else:
            # All are given away, so the one that was given first gets another meaning.
            keycode = next((given for given in self._given if given not in in_use), 0)
            if not keycode:
                raise DisplayError("the keyboard is full")
            self._given.remove(keycode)
        self._given.append(keycode)
        # Twice, with and without shift: a letter alone would be taken for both of its cases.
        await self._display.bind(keycode, (symbol, symbol))

    async def _keyboard(self) -> Keyboard:
        return Keyboard(self._display.screen.min_keycode, await self._display.keyboard())


def _down(keys: Iterable[tuple[int, bool]], shift: int) -> list[tuple[int, int]]:
    events = []
    for keycode, shifted in keys:
        if shifted and (KEY_PRESS, shift) not in events:
            events.append((KEY_PRESS, shift))
        events.append((KEY_PRESS, keycode))
    return events


def _up(pressed: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(KEY_RELEASE, keycode) for _, keycode in reversed(list(pressed))]


def _pressed(keys: Iterable[tuple[int, bool]], shift: int) -> list[tuple[int, int]]:
    held = _down(keys, shift)
    return held + _up(held)
