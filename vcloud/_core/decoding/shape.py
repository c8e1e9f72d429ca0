"""The shape of an answer: the class that it is decoded into, and what the caller gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from vcloud._core.decoding.plain_json import loads
from vcloud._core.decoding.unread import Unread
from vcloud.errors import DecodeError

__all__ = ["BrokenItems", "Shape", "plain", "required"]

W = TypeVar("W")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


class BrokenItems(msgspec.Struct, frozen=True):
    """The items of a list that cannot be decoded.

    Attributes:
        positions: the positions of the items that were decoded, in order.
        count: how many items were not decoded.
        reason: the position and the field of the first broken item, and how many more there are.
        unread: what is known of the answer, if it answers a change.
    """

    positions: tuple[int, ...]
    count: int
    reason: str
    unread: Unread | None = None


class Shape(msgspec.Struct, Generic[W, R_co], frozen=True, eq=False):
    """What an endpoint answers.

    The session is Any here: it decodes by shapes, so its type would make a circle of imports.

    Attributes:
        wire: the class that the body is decoded into.
        open: makes what the caller gets from the decoded object, the session and the body.
        open_partly: the same for a list with items that cannot be decoded. They are described by
            the name of their field; the decoded object holds the others. None: such a list is a
            ``DecodeError``.
    """

    wire: type[W]
    open: Callable[[W, Any, bytes], R_co]
    open_partly: Callable[[W, Any, bytes, Mapping[str, BrokenItems]], R_co] | None = None


def plain(wire: type[W]) -> Shape[W, W]:
    """A shape whose decoded object is what the caller gets."""
    return Shape(wire, lambda value, session, body: value)


def required(items: Sequence[T] | None, body: bytes, *names: str) -> Sequence[T]:
    """The list that a call is made for. Null is an empty list.

    Args:
        items: the decoded list; None if it was null or absent.
        body: the answer.
        names: the fields that may hold the list.

    Raises:
        DecodeError: the answer has none of these fields.
    """
    if items is not None:
        return items
    if loads(body, dict[str, msgspec.Raw]).keys().isdisjoint(names):
        raise DecodeError(f"the answer is not what the contract says: it has no {names[0]}")
    return ()
