"""What a frame on an agent's socket holds: messages that are read independently of each other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from vcloud._core.decoding.codec import Codec
from vcloud._core.decoding.plain_json import MAX_DEPTH, too_deep
from vcloud._core.scalars import MAX_ID
from vcloud.errors import DecodeError
from vcloud.providers.streamspace.agent.messages import KINDS, Message, RegisterAck, UnknownMessage
from vcloud.providers.streamspace.agent.messages import UnreadableMessage as Unreadable

__all__ = ["each_message", "read_frame", "readable_id"]

_CODEC: Final = Codec()
_JSON: Final = json.JSONDecoder()
_SOMETHING: Final = re.compile(r"\S")
#: How many problems of an unreadable message are named.
MAX_PROBLEMS: Final = 3
#: How many messages of a frame may be unreadable. The rest of such a frame is not read.
MAX_UNREADABLE: Final = 100
#: How often a frame is read in all, where reading is taken up again after what is not JSON, because
#: each such try may read on to the frame's end.
MAX_READINGS: Final = 4


def read_frame(text: str, *, codec: Codec = _CODEC) -> list[Message]:
    """All messages of one frame, see :func:`each_message`."""
    return [message for message, _ in each_message(text, codec=codec)]


def each_message(text: str, *, codec: Codec = _CODEC) -> Iterator[tuple[Message, int]]:
    """The messages of one frame, one by one, each with the number of its characters.

    They come one after the other (the published server's, newline-separated). What cannot be read
    is an :class:`UnreadableMessage` in its place; it does not keep those after it from being read,
    unless there are a hundred of them.
    """
    unreadable = 0
    for found, size in _parts(text):
        message = found if isinstance(found, Message) else _message(found, codec)
        yield message, size
        unreadable += isinstance(message, Unreadable)
        if unreadable == MAX_UNREADABLE:
            yield Unreadable(raw={}, problem=f"the {unreadable}th of its frame, which ends here"), 0
            return


def readable_id(raw: dict[str, Any], name: str) -> str | None:
    """The id of this name (``command_id``, or ``commandId`` as the published server writes it).

    None without a usable one: what is longer than any id is not sent back, nor kept.
    """
    head, *rest = name.split("_")
    camel_case = head + "".join(word.capitalize() for word in rest)
    value = raw.get(name, raw.get(camel_case))
    if type(value) is int and abs(value) < 10**19:
        value = str(value)
    return value if isinstance(value, str) and 0 < len(value) <= MAX_ID else None


def _parts(text: str) -> Iterator[tuple[dict[str, Any] | Unreadable, int]]:
    """The objects of a frame, and what is none, each with its size."""
    end, readings = 0, MAX_READINGS * len(text)
    while (start := _SOMETHING.search(text, end)) is not None:
        at = start.start()
        try:
            value, end = _JSON.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            # How far it read is known of what is not JSON; all else may have read everything.
            readings -= (error.pos if isinstance(error, json.JSONDecodeError) else len(text)) - at
            # Messages begin on lines of their own, without indentation.
            following = text.find("\n{", at)
            end = len(text) if following < 0 or readings <= 0 else following
            yield Unreadable(raw={}, problem=f"not JSON ({_why(error)})"), end - at
            continue
        if not isinstance(value, dict):
            problem = f"no object, but {type(value).__name__}"
            yield Unreadable(raw={}, problem=problem), end - at
        elif too_deep(value):
            problem = f"nested more than {MAX_DEPTH} levels deep"
            yield Unreadable(raw={}, problem=problem), end - at
        else:
            yield value, end - at


def _why(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


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
