"""Common parts of the models, the attrs classes that answers are decoded into.

A field may be absent or null, unless the call was made to get it. The annotation says what it is
then: ``T | None`` is None, and a list or a mapping (:data:`ListOf`, :data:`MappingOf`) is empty.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
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


class NullAsEmpty:
    """A model whose lists and mappings are empty instead of null. Their defaults must be empty."""

    __slots__ = ()

    def __attrs_post_init__(self) -> None:
        read, empties = _COLLECTIONS[type(self)]
        if None in read(self):
            for name, empty in empties:
                if getattr(self, name) is None:
                    object.__setattr__(self, name, empty())


#: The fields of a model that hold collections: what reads them all, and what makes an empty one.
_Collections = tuple[Callable[[Any], tuple[object, ...]], list[tuple[str, Callable[[], Any]]]]


class _CollectionsByModel(dict[type[Any], _Collections]):
    """For each model, its collections."""

    def __missing__(self, kind: type[Any]) -> _Collections:
        empties: list[tuple[str, Callable[[], Any]]] = [
            (field.name, tuple if field.default == () else field.default.factory)
            for field in attrs.fields(kind)
            if field.default == () or hasattr(field.default, "factory")
        ]
        names = [name for name, _ in empties]
        # By two or more names an attrgetter gives a tuple.
        found = self[kind] = (attrgetter(*names, *names[:1]), empties)
        return found


_COLLECTIONS: Final = _CollectionsByModel()
