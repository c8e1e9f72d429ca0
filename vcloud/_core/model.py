"""The base of what services answer and requests consist of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from vcloud._core.guided import add_wrong_names, real_names
from vcloud._core.wrong_arguments import explained
from vcloud.errors.plain import plain

__all__ = ["Model", "PlainStruct"]


class PlainStruct:
    """A msgspec Struct that becomes a dictionary. It is no Struct itself: some are frozen."""

    __slots__ = ()

    __struct_fields__: ClassVar[tuple[str, ...]]

    def to_dict(self) -> dict[str, Any]:
        """The attributes as plain JSON values, for a log or an answer of your own."""
        return {name: plain(getattr(self, name)) for name in self.__struct_fields__}


class Model:
    """A class of values. A wrong attribute or argument is answered with what to write instead."""

    __slots__ = ()

    #: As for :class:`Guided`.
    _absent: ClassVar[Mapping[str, str]] = {}
    #: Names that people guess, where the message can be derived from the real names.
    _guesses: ClassVar[tuple[str, ...]] = ()

    def __dir__(self) -> list[str]:
        return real_names(type(self), super().__dir__())

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values: for an answer of your own, a log or a file.

        A time is ISO 8601 in UTC (``2026-01-31T12:00:00Z``), a duration a number of seconds, an
        amount of money its digits (``"1.50"``), an enumeration its value. What a model holds of
        others becomes dicts and lists. Secrets (links that open a machine, tokens, what is typed)
        and pictures are left out.
        """
        fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(type(self))  # type: ignore[arg-type]
        return {
            field.name: plain(getattr(self, field.name))
            for field in fields
            # What no repr may show is a secret.
            if field.repr and not field.name.startswith("_")
        }

    if not TYPE_CHECKING:  # no part of the types of the models

        @classmethod
        def __attrs_init_subclass__(cls) -> None:
            cls.__init__ = explained(cls.__name__, error=TypeError)(cls.__init__)
            guesses = [*cls._absent, *cls._guesses]
            add_wrong_names(cls, guesses)
            # A handle does not have the fields of what it fetches.
            for handle in cls.__bases__:
                if hasattr(handle, "refresh"):
                    fields = [field.name for field in attrs.fields(cls)]
                    add_wrong_names(handle, [*fields, *guesses])
