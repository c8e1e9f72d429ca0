"""Reads the messages of a frame on an agent's socket, each independently of the others."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from vcloud._core.codec import Codec
from vcloud._core.decoding.plain_json import MAX_DEPTH, too_deep
from vcloud._core.scalars import MAX_ID
from vcloud.errors import DecodeError
from vcloud.providers.streamspace.agent.messages import (
    KINDS,
    Message,
    RegisterAck,
    UnknownMessage,
    UnreadableMessage,
)

__all__ = ["iter_messages", "iter_objects", "message_of", "read_messages", "readable_id"]

_CODEC: Final = Codec()
_JSON: Final = json.JSONDecoder()
_NOT_BLANK: Final = re.compile(r"\S")
#: How many problems of an unreadable message are named.
MAX_PROBLEMS: Final = 3
#: How many messages of a frame may be unreadable. The rest of such a frame is not read.
MAX_UNREADABLE: Final = 100
#: How often a frame is scanned in all. After text that is not JSON the scan starts again behind it,
#: and each such scan may read up to the frame's end.
MAX_SCANS: Final = 4


def read_messages(text: str, *, codec: Codec = _CODEC) -> list[Message]:
    """Read all messages of one frame, see :func:`iter_messages`."""
    return [message for message, _ in iter_messages(text, codec=codec)]


def iter_messages(
    text: str,
    *,
    codec: Codec = _CODEC,
    read: Callable[[dict[str, Any], Codec], Message] | None = None,
) -> Iterator[tuple[Message, int]]:
    """Read the messages of one frame, one by one, each with the number of its characters.

    A frame may hold several (the published server separates them with newlines). An unreadable one
    becomes an :class:`UnreadableMessage` in its place, and those after it are read, until there are
    a hundred unreadable ones.

    Args:
        text: the frame.
        codec: decodes them.
        read: makes a message of an object; None: as the document spells it.
    """
    read = read or message_of
    unreadable = 0
    for found, size in iter_objects(text):
        message = found if isinstance(found, Message) else read(found, codec)
        yield message, size
        unreadable += isinstance(message, UnreadableMessage)
        if unreadable == MAX_UNREADABLE:
            yield _unreadable(f"the {unreadable}th of its frame, which ends here"), 0
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


def iter_objects(text: str) -> Iterator[tuple[dict[str, Any] | UnreadableMessage, int]]:
    """The objects of a frame, and an unreadable message for anything else, each with its size."""
    end, budget = 0, MAX_SCANS * len(text)
    while (start := _NOT_BLANK.search(text, end)) is not None:
        at = start.start()
        try:
            value, end = _JSON.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            # A JSONDecodeError says how far was read; any other error may have read everything.
            budget -= (error.pos if isinstance(error, json.JSONDecodeError) else len(text)) - at
            # Each message begins on a new line, without indentation.
            following = text.find("\n{", at)
            end = len(text) if following < 0 or budget <= 0 else following
            yield _unreadable(f"not JSON ({_reason(error)})"), end - at
            continue
        if not isinstance(value, dict):
            yield _unreadable(f"no object, but {type(value).__name__}"), end - at
        elif too_deep(value):
            yield _unreadable(f"nested more than {MAX_DEPTH} levels deep"), end - at
        else:
            yield value, end - at


def _unreadable(problem: str) -> UnreadableMessage:
    return UnreadableMessage(raw={}, problem=problem)


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def message_of(value: dict[str, Any], codec: Codec = _CODEC) -> Message:
    """The message that an object is, as the document spells it."""
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
        # The registration counts without it: the agent then uses the documented interval.
        fields.pop("heartbeat_interval")
    try:
        return _decoded(fields, kind, codec)
    except DecodeError:
        problems = codec.mismatches(fields, kind)[:MAX_PROBLEMS]
        problem = "; ".join(problems) or "not as the document says"
        return UnreadableMessage(raw=value, problem=problem)
    except (UnicodeEncodeError, OverflowError):
        problem = "it holds a text that is not valid unicode, or a number without bounds"
        return UnreadableMessage(raw=value, problem=problem)


def _decoded(fields: dict[str, Any], kind: type[Message], codec: Codec) -> Message:
    # Sensitive: a message may hold a session's environment, and that a password.
    return codec.decode(msgspec.json.encode(fields), kind, sensitive=True)


def _fits(fields: dict[str, Any], codec: Codec) -> bool:
    try:
        _decoded(fields, RegisterAck, codec)
    except (DecodeError, UnicodeEncodeError, OverflowError):
        return False
    return True
