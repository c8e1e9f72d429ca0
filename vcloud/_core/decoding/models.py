"""Common parts of the models, the attrs classes that answers are decoded into.

A field may be absent or null, unless the call was made to get it. The annotation says what it is
then: ``T | None`` is None, and a list or a mapping (:data:`ListOf`, :data:`MappingOf`) is empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from vcloud._core.scalars import Id

T = TypeVar("T")

__all__ = ["DOCUMENTED", "InnerId", "ListOf", "MappingOf", "NullAsEmpty", "none_when_absent"]

#: In a field's metadata: the document always shows the field, so the strict codec requires it.
DOCUMENTED: Final = "documented"

if TYPE_CHECKING:
    InnerId = str
    ListOf = tuple[T, ...]
    MappingOf = dict[str, T]
else:
    # An id that a resource repeats among its attributes. It may be null there, because the id
    # beside the attributes counts.
    InnerId = Id | None
    # The decoders accept null, and NullAsEmpty replaces it.
    ListOf = tuple[T, ...] | None
    MappingOf = dict[str, T] | None


def none_when_absent(
    cls: type[Any],  # noqa: ARG001 - the signature that attrs asks for
    fields: list[attrs.Attribute[Any]],
) -> list[attrs.Attribute[Any]]:
    """Give each ``T | None`` field without a default the default None; a ``field_transformer``.

    The document always shows such a field, so the strict codec requires it; the lenient one does
    not. A field with its own default is one that the document leaves out in some answers.
    """
    return [
        field.evolve(default=None, metadata={**field.metadata, DOCUMENTED: True})
        if field.default is attrs.NOTHING and _admits_none(field.type)
        else field
        for field in fields
    ]


def _admits_none(annotation: Any) -> bool:
    # A text where the module postpones its annotations. To resolve them would slow every import.
    if isinstance(annotation, str):
        return annotation.endswith("| None")
    return type(None) in getattr(annotation, "__args__", ())


#: For each model, the fields that hold collections, and what makes an empty one.
_COLLECTIONS: Final[dict[type[Any], tuple[tuple[str, Callable[[], Any]], ...]]] = {}


class NullAsEmpty:
    """A model whose lists and mappings are empty instead of null. Their defaults must be empty."""

    __slots__ = ()

    def __attrs_post_init__(self) -> None:
        kind = type(self)
        for name, empty in _COLLECTIONS.get(kind) or _collections(kind):
            if getattr(self, name) is None:
                object.__setattr__(self, name, empty())


def _collections(kind: type[Any]) -> tuple[tuple[str, Callable[[], Any]], ...]:
    found = tuple(
        (field.name, tuple if field.default == () else field.default.factory)
        for field in attrs.fields(kind)
        if field.default == () or hasattr(field.default, "factory")
    )
    _COLLECTIONS[kind] = found
    return found
