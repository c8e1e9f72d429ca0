"""The requests that an action takes.

Most actions take one. A text and a long wait take several, and a held key takes a shell command.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final, NamedTuple

from vcloud.providers.desktops.actions import (
    MILLISECOND,
    Action,
    PressKeys,
    TypeText,
    Wait,
    to_json,
)
from vcloud.providers.desktops.keys import are_modifiers
from vcloud.providers.desktops.models import KeyAction
from vcloud.providers.desktops.typed_text import LONGEST, entries

__all__ = ["COMMAND", "TIMEOUT", "ActionRequest", "action_requests", "hold_request"]

_ACTION: Final = "computer-action"
COMMAND: Final = "bash-action"

#: Seconds for one attempt of an action or a command where the user chose none: the service is cut
#: after 30, and its answer to that has to arrive.
TIMEOUT: Final = 45.0
#: Seconds of one request that waits, below the 30 after which the service is cut.
_LONGEST_WAIT: Final = 25.0
#: Seconds that the service takes to type a character (26 to 32 ms, measured).
_PER_CHARACTER: Final = 0.032
#: How much of an attempt's time the service may work; the rest is for the way there and back.
_SHARE: Final = 0.8
#: The service's display (from its published source). Whether commands have it set is not known, so
#: it is set in them.
_DISPLAY: Final = ":99"
_XDOTOOL: Final = {KeyAction.DOWN: "keydown", KeyAction.UP: "keyup"}


class ActionRequest(NamedTuple):
    """One request: where to, with what, and how many characters of a typed text it enters."""

    path: str
    body: dict[str, Any]
    characters: int = 0


def action_requests(action: Action, *, timeout: float) -> Iterator[ActionRequest]:
    """The requests that an action takes, in order.

    Args:
        action: what to do.
        timeout: seconds for one attempt; a request never takes longer than most of it.
    """
    if isinstance(action, TypeText):
        longest = min(LONGEST, max(1, int(timeout * _SHARE / _PER_CHARACTER)))
        for entry in entries(action.text, longest):
            body = (
                {"type": PressKeys.tag, "keys": entry.keys}
                if entry.keys
                else {"type": TypeText.tag, "text": entry.text}
            )
            yield ActionRequest(_ACTION, body, entry.characters)
    elif isinstance(action, Wait):
        longest_wait = timedelta(seconds=min(_LONGEST_WAIT, timeout * _SHARE))
        for pause in _pauses(action.duration, max(MILLISECOND, longest_wait)):
            yield ActionRequest(_ACTION, to_json(Wait(pause)))
    elif isinstance(action, PressKeys) and (kind := action.key_action_type) and kind in _XDOTOOL:
        # The service's own action holds a modifier, but no other key together with one, and
        # releases no modifier.
        if are_modifiers(action.keys):
            yield ActionRequest(_ACTION, to_json(action))
        if kind is KeyAction.UP or not are_modifiers(action.keys):
            yield hold_request(action.keys, kind)
    else:
        yield ActionRequest(_ACTION, to_json(action))


def _pauses(duration: timedelta, longest: timedelta) -> Iterator[timedelta]:
    longest -= longest % MILLISECOND
    while duration > longest:
        yield longest
        duration -= longest
    yield duration


def hold_request(keys: str | tuple[str, ...], kind: KeyAction) -> ActionRequest:
    """The command that presses or releases keys and leaves alone those that are held."""
    chord = keys if isinstance(keys, str) else "+".join(keys)
    xdotool = shlex.join(("xdotool", _XDOTOOL[kind], chord))
    return ActionRequest(COMMAND, {"command": f"DISPLAY={_DISPLAY} {xdotool}"})
