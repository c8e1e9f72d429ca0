"""Writes the messages of an agent as JSON."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, Final

import attrs
import msgspec

from vcloud.errors import InvalidArgumentError
from vcloud.providers.streamspace.agent.messages import Message, UnknownMessage
from vcloud.providers.streamspace.arguments import go_duration

__all__ = ["UNWRITABLE", "encode_message", "plain_json"]

#: What writing raises for a value that JSON has no form for. These name types and no values.
UNWRITABLE: Final = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)
#: Ids of the other side, which are echoed exactly as they came.
_IDS: Final = frozenset({"command_id", "proxy_id", "session_id"})


def encode_message(message: Message) -> str:
    r"""The JSON text of a message, without the fields that are None.

    A text that is not valid unicode (a file's name, half an emoji) is sent with visible escapes:
    ``caf\udce9`` becomes the ten characters ``caf\\udce9``. An id is sent as JSON's own escape of
    the same characters, ``"\ud83d"``, so that the other side recognises it.

    Raises:
        InvalidArgumentError: it holds a value that JSON has no form for, such as an ``ip_address``.
    """
    try:
        if isinstance(message, UnknownMessage):
            return msgspec.json.encode(message.raw).decode()
        head = {"type": message.type} | (
            {"command_type": message.command_type} if message.command_type else {}
        )
        return plain_json(head | _plain(message))
    except UNWRITABLE as error:
        raise InvalidArgumentError(
            f"a {type(message).__name__} cannot be written as JSON: {error}"
        ) from None


def plain_json(plain: dict[str, Any]) -> str:
    """The JSON of plain values. A text that is not valid unicode is escaped."""
    try:
        return msgspec.json.encode(plain).decode()
    except UnicodeEncodeError:
        # Slower, but it escapes invalid unicode. Texts have visible escapes already.
        return json.dumps(plain, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if attrs.has(type(value)):
        named = ((part.name, getattr(value, part.name)) for part in attrs.fields(type(value)))
        return {
            name: str(inner) if name in _IDS and isinstance(inner, str) else _plain(inner)
            for name, inner in named
            if inner is not None
        }
    if isinstance(value, str):
        # msgspec does not write members of enumerations.
        return str(value).encode("utf-8", "backslashreplace").decode()
    if isinstance(value, timedelta):
        return _go(value)
    return value if not isinstance(value, datetime) else value.isoformat().replace("+00:00", "Z")


def _go(value: timedelta) -> str:
    if value.microseconds or value < timedelta(seconds=1):
        return f"{value / timedelta(milliseconds=1):g}ms"
    return go_duration(value, "duration")
