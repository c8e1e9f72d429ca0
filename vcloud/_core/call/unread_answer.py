"""What an answer to a change says although it cannot be read: its status, its text, the ids in it.

The service has carried the change out, and a machine may be running that only this answer names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from vcloud._core.decoding.plain_json import UNREADABLE, loads
from vcloud._core.decoding.unread import Unread
from vcloud._core.redaction.sent_secrets import Redactor
from vcloud._core.request import Request, Response
from vcloud.errors.plain import HIDDEN, SECRET_NAME
from vcloud.errors.text import MAX_WORD, shortened

__all__ = ["unread_answer"]

#: Characters of an answer that an error keeps.
MAX_BODY: Final = 2000
#: Ids that an error keeps, and levels of lists and objects that are searched for them.
MAX_IDS: Final = 100
MAX_LEVELS: Final = 4
#: Bytes that are searched for an id when the answer is not JSON.
SEARCHED: Final = 64 * 1024

#: A member of an object, with a value that is not an object or a list. The end may be cut off.
_MEMBER: Final = re.compile(
    r'"((?:[^"\\]|\\.){1,80})"\s*:\s*("(?:[^"\\]|\\.)*(?:"|\Z)|[^\s,{}\[\]"]+)', re.DOTALL
)
#: A parameter of an address.
_PARAMETER: Final = re.compile(r"([?&#][^\s=&#?\"]{0,80}=)[^\s&#\"\\<>]+")
#: A JSON Web Token.
_JWT: Final = re.compile(r"\beyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?")


def unread_answer(
    request: Request, response: Response, redactor: Redactor, id_fields: Collection[str]
) -> Unread | None:
    """What is known of an answer that cannot be read; None: it answers no change, or no success.

    Args:
        request: what was sent.
        response: the answer.
        redactor: removes the secrets of the request.
        id_fields: the fields of the provider's answers that may hold an id, the best first.
    """
    if request.safe or not 200 <= response.status < 300:
        return None
    ids = [
        redactor.text(shortened(one, MAX_WORD), cut=len(one) > MAX_WORD)
        for one in _ids(response.body, id_fields)
    ]
    return Unread(
        response.status,
        None if request.sensitive else _shown(response.body, redactor),
        tuple(dict.fromkeys(ids)),
    )


def _shown(body: bytes, redactor: Redactor) -> str:
    """The beginning of an answer as an error may keep it."""
    # More than is kept, because what is removed from it makes room.
    text = body[: 2 * MAX_BODY].decode("utf-8", "replace")
    text = _MEMBER.sub(_hidden, redactor.text(text, cut=len(body) > 2 * MAX_BODY))
    text = _JWT.sub(HIDDEN, _PARAMETER.sub(rf"\1{HIDDEN}", text))
    return text if len(text) <= MAX_BODY else f"{text[:MAX_BODY]}… ({len(body)} bytes)"


def _hidden(member: re.Match[str]) -> str:
    """A member of an object, without its value if its name says that this is a secret."""
    if SECRET_NAME.search(member[1]) is None:
        return member[0]
    return f'"{member[1]}": "{HIDDEN}"'


def _ids(body: bytes, fields: Collection[str]) -> list[str]:
    """The ids in an answer, as far as they can be found."""
    try:
        value = loads(body)
    except UNREADABLE:
        return _ids_of_text(body[:SEARCHED].decode("utf-8", "replace"), fields)
    return _ids_of([value], fields, MAX_LEVELS)[:MAX_IDS]


def _ids_of(values: Iterable[Any], fields: Collection[str], levels: int) -> list[str]:
    """The ids of the outermost objects that have one. Of several members, the first that has."""
    objects = [value for value in _without_lists(values, MAX_LEVELS) if isinstance(value, dict)]
    for name in fields:
        found = [one for value in objects if (one := _id(value.get(name)))]
        if found:
            return found
    if levels:
        for value in objects:
            for inner in value.values():
                if found := _ids_of([inner], fields, levels - 1):
                    return found
    return []


def _without_lists(values: Iterable[Any], levels: int) -> Iterator[Any]:
    """The values, and in place of a list its items."""
    for value in values:
        if isinstance(value, list) and levels:
            yield from _without_lists(value, levels - 1)
        else:
            yield value


def _ids_of_text(text: str, fields: Collection[str]) -> list[str]:
    """The first id in a text that is no JSON, but may have been."""
    members = [(found[1], found[2]) for found in _MEMBER.finditer(text)]
    for name in fields:
        for key, value in members:
            if key == name and (one := _id(value.strip('"'))):
                return [one]
    return []


def _id(value: object) -> str:
    """A value as an id; empty if it is none."""
    if isinstance(value, str):
        return value if value.strip() and value not in {"null", "true", "false"} else ""
    return str(value) if type(value) is int and abs(value) < 2**64 else ""
