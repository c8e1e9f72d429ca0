"""The base of StreamSpace's models, which reads both spellings of an answer.

The document spells fields in snake_case, the published server in camelCase (from its source).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Final, get_args, get_origin, get_type_hints

import attrs
import msgspec
from attrs import frozen

from vcloud._core.decoding.models import DOCUMENTED
from vcloud._core.model import Model

__all__ = ["NamedModel", "WireModel", "one_lacks_documented_field", "refuse_camel_case"]

_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_CAMEL: Final = re.compile(rb'"([a-z0-9_]+[A-Z][a-zA-Z0-9_]*)"\s*:')


def _snake(name: str) -> str:
    return _HUMP.sub("_", name).lower()


@frozen
class _Known:
    """The fields of a model, as an answer may hold them."""

    names: frozenset[str]
    #: Fields that cannot be null, but may be missing.
    optional: frozenset[str]
    #: Reads the fields that the document always sends and that are spelled differently in
    #: camelCase: they tell the two spellings apart.
    distinctive: Callable[[Any], tuple[object, ...]]


_KNOWN: dict[type[Any], _Known] = {}


def _known(model: type[Any]) -> _Known:
    known = _KNOWN.get(model)
    if known is None:
        known = _KNOWN[model] = _learn(model)
    return known


def _learn(model: type[Any]) -> _Known:
    hints = get_type_hints(model, include_extras=True)
    fields = attrs.fields(model)
    nullable = {field.name for field in fields if type(None) in get_args(hints[field.name])}
    given = {field.name for field in fields if field.default is not attrs.NOTHING}
    distinctive = [
        field.name for field in fields if field.metadata.get(DOCUMENTED) and "_" in field.name
    ]
    # By two or more names an attrgetter gives a tuple.
    names = distinctive if len(distinctive) > 1 else distinctive * 2
    read = attrgetter(*names) if names else lambda value: ()
    return _Known(
        names=frozenset(field.name for field in fields),
        optional=frozenset(given - nullable),
        distinctive=read,
    )


def _names(kind: Any, seen: set[Any]) -> set[str]:
    """The names of all fields of a model, and of the models within it."""
    model = get_origin(kind) or kind
    names = {name for inner in get_args(kind) for name in _names(inner, seen)}
    if isinstance(model, type) and attrs.has(model) and model not in seen:
        seen.add(model)
        names |= _known(model).names
        for hint in get_type_hints(model, include_extras=True).values():
            names |= _names(hint, seen)
    return names


class WireModel(Model):
    """The base of what answers are decoded into, in the documented or the published spelling.

    The fast decoder takes camelCase names for unknown fields. :meth:`_spelling_check` refuses what
    it made of such an answer; the lenient decoder then reads the answer through :meth:`_adapt`.
    """

    __slots__ = ()

    @classmethod
    def _adapt(cls, value: dict[str, Any]) -> dict[str, Any]:
        """The same object in the document's spelling, without nulls for fields that have none."""
        known = _known(cls)
        return {
            (name if (name := _snake(key)) in known.names and name not in value else key): inner
            for key, inner in value.items()
            if not (inner is None and _snake(key) in known.optional)
        }

    @classmethod
    def _spelling_check(cls) -> Callable[[Any, bytes], None]:
        """The check that refuses what was made of an answer in the published spelling.

        It raises ``msgspec.ValidationError`` when a documented field is missing, and the answer
        has known fields in camelCase.
        """
        read = _known(cls).distinctive

        def check(value: Any, body: bytes) -> None:
            if None in read(value):
                refuse_camel_case(cls, body)

        return check


def one_lacks_documented_field(items: Sequence[WireModel]) -> bool:
    """Whether one of these items of a list lacks a field that the document always sends.

    They are of one class. It runs for each list, without a Python call for each item.
    """
    if not items:
        return False
    read = _known(type(items[0])).distinctive
    return None in chain.from_iterable(map(read, items))


class NamedModel(WireModel):
    """The base of what the published server identifies by its name (from its source).

    Go writes an empty text for a value that is not set, here for the idle timeout.
    """

    __slots__ = ()

    @classmethod
    def _adapt(cls, value: dict[str, Any]) -> dict[str, Any]:
        name = value.get("name")
        if value.get("id") is None and name is not None:
            value = {**value, "id": name}
        adapted = super()._adapt(value)
        if adapted.get("idle_timeout") == "":
            adapted["idle_timeout"] = None
        return adapted


def refuse_camel_case(model: type[Any], body: bytes) -> None:
    """Refuse an answer that has fields of a model in camelCase.

    Raises:
        msgspec.ValidationError: it has.
    """
    names = _names(model, set())
    if any(_snake(found[1].decode()) in names for found in _CAMEL.finditer(body)):
        raise msgspec.ValidationError("fields in camelCase")
