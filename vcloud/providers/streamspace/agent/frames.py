"""What a frame on an agent's socket holds: messages that are read independently of each other."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import msgspec

from vcloud._core.codec import MAX_DEPTH, Codec, too_deep
from vcloud._core.scalars import MAX_ID
from vcloud.errors import DecodeError
from vcloud.providers.streamspace.messages import KINDS, Message, RegisterAck, UnknownMessage
from vcloud.providers.streamspace.messages import UnreadableMessage as Unreadable

__all__ = ["read_frame", "readable_id"]

_CODEC: Final = Codec()
_JSON: Final = json.JSONDecoder()
_SOMETHING: Final = re.compile(r"\S")
#: How many problems of an unreadable message are named.
MAX_PROBLEMS: Final = 3
#: How many times reading a frame is taken up again after what is not JSON. Each may read on to its end.
MAX_NOT_JSON: Final = 100


def read_frame(text: str, *, codec: Codec = _CODEC) -> list[Message]:
    """The messages of one frame: one, or several one after the other (the published server's, newline-separated).

    What cannot be read is an :class:`UnreadableMessage` in its place; it does not keep those after it from being read.
    """
    return [
        found if isinstance(found, Message) else _message(found, codec) for found in _parts(text)
    ]


def readable_id(raw: dict[str, Any], name: str) -> str | None:
    """The id of this name (``command_id``, or ``commandId`` as the published server writes it); None without a usable one."""
    head, *rest = name.split("_")
    camel_case = head + "".join(word.capitalize() for word in rest)
    value = raw.get(name, raw.get(camel_case))
    if type(value) is int:
        value = str(value)
    usable = isinstance(value, str) and 0 < len(value) <= MAX_ID and _is_unicode(value)
    return value if usable else None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parts(text: str) -> list[dict[str, Any] | Unreadable]:
    """The objects of a frame, and what is none."""
    found: list[dict[str, Any] | Unreadable] = []
    end = not_json = 0
    while (start := _SOMETHING.search(text, end)) is not None:
        try:
            value, end = _JSON.raw_decode(text, start.start())
        except (ValueError, RecursionError) as error:
            found.append(Unreadable(raw={}, problem=f"not JSON ({error})"))
            # Messages begin on lines of their own, without indentation.
            following = text.find("\n{", start.start())
            not_json += 1
            end = len(text) if following < 0 or not_json == MAX_NOT_JSON else following
            continue
        if not isinstance(value, dict):
            found.append(Unreadable(raw={}, problem=f"no object, but {type(value).__name__}"))
        elif too_deep(value):
            found.append(Unreadable(raw={}, problem=f"nested more than {MAX_DEPTH} levels deep"))
        else:
            found.append(value)
    return found


def _message(value: dict[str, Any], codec: Codec) -> Message:
    name, command = value.get("type"), value.get("command_type")
    kind = (
        KINDS.get((name, command))
        if isinstance(name, str) and isinstance(command, str | None)
        else None
    )
    if kind is None:
        return UnknownMessage(raw=value)
    fields = {key: inner for key, inner in value.items() if key not in ("type", "command_type")}
    if kind is RegisterAck and not _fits(fields, codec) and "heartbeat_interval" in fields:
        # It says how often, not whether: the agent then keeps to the document's interval.
        fields.pop("heartbeat_interval")
    try:
        return _decoded(fields, kind, codec)
    except DecodeError:
        problems = codec.mismatches(fields, kind)[:MAX_PROBLEMS]
        return Unreadable(raw=value, problem="; ".join(problems) or "not as the document says")
    except (UnicodeEncodeError, OverflowError):
        return Unreadable(
            raw=value,
            problem="it holds a text that is not valid unicode, or a number without bounds",
        )


def _decoded(fields: dict[str, Any], kind: type[Message], codec: Codec) -> Message:
    # A message may hold a session's environment, and that a password: what came is not shown.
    return codec.decode(msgspec.json.encode(fields), kind, sensitive=True)


def _fits(fields: dict[str, Any], codec: Codec) -> bool:
    try:
        _decoded(fields, RegisterAck, codec)
    except (DecodeError, UnicodeEncodeError, OverflowError):
        return False
    return True
