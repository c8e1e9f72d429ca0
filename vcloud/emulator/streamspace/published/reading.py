"""Reading the bodies of requests as the published StreamSpace server's JSON library does.

Names match in any case, unknown ones are ignored, and null leaves a field out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from attrs import frozen

Json = dict[str, Any]

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_KINDS: Final = ((bool, "bool"), (int | float, "number"), (str, "string"), (list, "array"))
_TAKEN: Final[Mapping[str, type[Any]]] = {
    "string": str,
    "bool": bool,
    "int": int,
    "[]string": list,
    "map": dict,
}
_WRITTEN: Final = {"map": "map[string]interface {}"}


class BodyError(ValueError):
    """A body that cannot be read; its text is what the server says."""


@frozen(kw_only=True)
class Field:
    """A field of a body: its name there, its name in the server's program, and what it takes."""

    name: str
    go: str
    kind: str = "string"
    """`string`, `bool`, `int`, `[]string`, `map` or `any`; an object has `inner`."""
    required: bool = False
    one_of: tuple[str, ...] = ()
    email: bool = False
    inner: tuple[Field, ...] = ()


def read(content: bytes, struct: str, fields: Sequence[Field]) -> Json:
    """The fields of a body, by their names; what is missing is None.

    Raises:
        BodyError: the body is not JSON, or a field is of another type, or a required one is empty.
    """
    found = _decoded(content)
    if found is None:
        found = {}
    if not isinstance(found, dict):
        raise BodyError(
            f"json: cannot unmarshal {_kind(found)} into Go value of type {struct or 'struct'}"
        )
    values = _values(found, struct, "", fields)
    if wrong := [text for one in fields if (text := _failure(one, struct, values[one.name]))]:
        raise BodyError("\n".join(wrong))
    return values


def _decoded(content: bytes) -> Any:
    if not content.strip():
        raise BodyError("EOF")
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        cut = "truncated" in str(error)
        raise BodyError("unexpected EOF" if cut else "invalid character in JSON") from error


def _values(found: Json, struct: str, path: str, fields: Iterable[Field]) -> Json:
    by_name = {name.lower(): value for name, value in found.items()}
    return {one.name: _value(one, struct, path, by_name.get(one.name.lower())) for one in fields}


def _value(one: Field, struct: str, path: str, value: Any) -> Any:
    if value is None or one.kind == "any":
        return value
    where = f"{path}{one.name}"
    if one.inner:
        if not isinstance(value, dict):
            raise _wrong_type(value, struct, where, "struct")
        return _values(value, struct, f"{where}.", one.inner)
    if not isinstance(value, _TAKEN[one.kind]) or (one.kind == "int" and value is True):
        raise _wrong_type(value, struct, where, _WRITTEN.get(one.kind, one.kind))
    if isinstance(value, list):
        for item in value:
            if not isinstance(item, str):
                raise _wrong_type(item, struct, where, "string")
    return value


def _wrong_type(value: Any, struct: str, where: str, kind: str) -> BodyError:
    return BodyError(
        f"json: cannot unmarshal {_kind(value)} into Go struct field {struct}.{where} "
        f"of type {kind}"
    )


def _failure(one: Field, struct: str, value: Any) -> str:
    """Why a value does not do; "" if it does."""
    empty = value is None or value in ("", 0)
    if one.required and empty:
        tag = "required"
    elif one.one_of and not empty and value not in one.one_of:
        tag = "oneof"
    elif one.email and not empty and not _EMAIL.fullmatch(value):
        tag = "email"
    else:
        return ""
    key = f"{struct}.{one.go}" if struct else one.go
    return f"Key: '{key}' Error:Field validation for '{one.go}' failed on the '{tag}' tag"


def _kind(value: Any) -> str:
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "object")
