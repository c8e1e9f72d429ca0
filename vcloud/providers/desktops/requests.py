"""The requests of an action.

Most actions are one request. A text and a long wait are several, and a held key is a shell command.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final, NamedTuple

from vcloud.providers.desktops.actions import MILLISECOND, Action, PressKeys, TypeText, Wait
from vcloud.providers.desktops.keys import are_modifiers
from vcloud.providers.desktops.models import KeyAction
from vcloud.providers.desktops.recording import to_json
from vcloud.providers.desktops.typed_text import MAX_CHARACTERS, entries

__all__ = ["COMMAND", "TIMEOUT", "ActionRequest", "action_requests", "hold_request"]

_ACTION: Final = "computer-action"
COMMAND: Final = "bash-action"

#: The default timeout, in seconds, of an attempt of an action or a command: the service's gateway
#: cuts a request off after 30, and its answer to that has to arrive.
TIMEOUT: Final = 45.0
#: The longest wait in one request, in seconds; below the 30 after which the gateway cuts it off.
MAX_WAIT: Final = 25.0
#: Seconds that the service takes to type a character (26 to 32 ms, measured).
_PER_CHARACTER: Final = 0.032
#: The share of an attempt's timeout that the service may use; the rest is for the network.
_SHARE: Final = 0.8
#: The display of the desktop (from the service's published source). Commands set it themselves,
#: because it is not known whether the service does.
_DISPLAY: Final = ":99"
_XDOTOOL: Final = {KeyAction.DOWN: "keydown", KeyAction.UP: "keyup"}


class ActionRequest(NamedTuple):
    """One request of an action.

    Attributes:
        path: its path below the desktop's.
        body: its JSON body.
        characters: how many characters of a typed text it enters.
    """

    path: str
    body: dict[str, Any]
    characters: int = 0


def action_requests(action: Action, *, timeout: float) -> Iterator[ActionRequest]:
    """The requests of an action, in order.

    Args:
        action: what to do.
        timeout: seconds for one attempt. No request makes the service work for longer.
    """
    if isinstance(action, TypeText):
        longest = min(MAX_CHARACTERS, max(1, int(timeout * _SHARE / _PER_CHARACTER)))
        for entry in entries(action.text, longest):
            body = (
                {"type": PressKeys.tag, "keys": entry.keys}
                if entry.keys
                else {"type": TypeText.tag, "text": entry.text}
            )
            yield ActionRequest(_ACTION, body, entry.characters)
    elif isinstance(action, Wait):
        longest_wait = timedelta(seconds=min(MAX_WAIT, timeout * _SHARE))
        for pause in _pauses(action.duration, max(MILLISECOND, longest_wait)):
            yield ActionRequest(_ACTION, to_json(Wait(pause)))
    elif isinstance(action, PressKeys) and (kind := action.key_action_type) and kind in _XDOTOOL:
        # The service's own action holds modifiers, but no other key together with one, and does
        # not release modifiers.
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
    """The command that presses or releases keys, without changing other keys that are held."""
    chord = keys if isinstance(keys, str) else "+".join(keys)
    xdotool = shlex.join(("xdotool", _XDOTOOL[kind], chord))
    return ActionRequest(COMMAND, {"command": f"DISPLAY={_DISPLAY} {xdotool}"})
