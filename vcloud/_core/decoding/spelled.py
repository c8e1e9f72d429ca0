"""Answers whose fields have other names than those of the model, decoded as fast as any other.

A model is decoded by the names of its fields. A service that writes other names has a
:class:`Spelled` beside the model: msgspec decodes an answer into it, and then makes the model from
its attributes, both in C. To repair the names of an answer first would take ten times as long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeGuard, TypeVar, cast

import attrs
import msgspec

__all__ = ["LEARNING", "Spelled", "is_spelled", "spelled", "spells"]

#: Held while msgspec learns the fields of a class. It keeps them at the class before it knows them
#: all, and another thread that decodes with them meanwhile ends the process.
LEARNING: Final = threading.Lock()

M = TypeVar("M")
S = TypeVar("S", bound="type[Spelled]")


class Spelled(msgspec.Struct, kw_only=True):
    """The base of answers in another spelling than their model's.

    An attribute has the name of the model's field that it becomes, and ``rename`` or
    ``msgspec.field(name=...)`` says how the service writes it. A property may compute one.

    Attributes:
        model: what is made of the answer; None: it is used as it is.
        item_fields: the fields that hold a list's items.
        optional: the attributes that the service leaves out in some answers. The strict codec
            requires the others.
        unread: other names that the service writes, which nothing reads.
    """

    model: ClassVar[type[Any] | None] = None
    _result: ClassVar[type[msgspec.Struct] | None] = None
    item_fields: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[frozenset[str]] = frozenset()
    unread: ClassVar[frozenset[str]] = frozenset()

    def finish(self) -> Any:
        """The model that is made of the answer.

        Raises:
            msgspec.ValidationError: a value does not fit the model.
        """
        if self.model is None:
            return self
        # msgspec looks at a class of attrs anew for each call, which takes 1 us, but knows a Struct
        # (python -m tests.benchmarks overhead). So the model is the field of one.
        result: Any = msgspec.convert(
            _Answer(self),
            self._result or _result_of(type(self)),
            from_attributes=True,
            dec_hook=_decoded_already,
        )
        return result.made


class _Answer(msgspec.Struct, gc=False):
    """An answer as the attribute from which the model is made."""

    made: Spelled


def _result_of(answer: type[Spelled]) -> type[msgspec.Struct]:
    """The Struct whose field is the answer's model."""
    with LEARNING:
        result = msgspec.defstruct("Result", [("made", answer.model)])
        msgspec.json.Decoder(result, dec_hook=_decoded_already)
        answer._result = result  # noqa: SLF001 - of this module
    return result


def is_spelled(kind: object) -> TypeGuard[type[Spelled]]:
    """Whether this is a class of such answers."""
    return isinstance(kind, type) and issubclass(kind, Spelled)


def spells(model: type[Any]) -> Callable[[S], S]:
    """A decorator: the class is another spelling of this model.

    Fields of the model that the service does not have become class attributes of None, because it
    takes msgspec long to find that an attribute is missing.
    """

    def decorated(answer: S) -> S:
        answer.model = model
        answer._result = None  # noqa: SLF001 - of this module; a base may spell another model
        for field in attrs.fields(model):
            if not hasattr(answer, field.name):
                setattr(answer, field.name, None)
        return answer

    return decorated


def spelled(model: type[M], answer: type[Spelled]) -> type[M]:
    """The class that an answer is decoded into, for a :class:`Shape`, with the type of its model.

    Raises:
        TypeError: it is another model's spelling.
    """
    if answer.model is not model:
        raise TypeError(f"{answer.__name__} is no spelling of {model.__name__}")
    return cast("type[M]", answer)


def _decoded_already(kind: type[Any], value: Any) -> Any:  # noqa: ARG001 - the signature of a hook
    # The first decoding has made the values of the markers (Id, Seconds).
    return value
