"""Reading the bodies of requests as the published StreamSpace server's JSON library does.

Names match in any case, unknown ones are ignored, null leaves a field out, and what follows the
first value is not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NoReturn

from attrs import frozen

Json = dict[str, Any]

ABSENT: Final = object()
"""What is read for a field of any kind that is missing."""

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_KINDS: Final = ((bool, "bool"), (int | float, "number"), (str, "string"), (list, "array"))
_TAKEN: Final[Mapping[str, type[Any]]] = {
    "string": str,
    "bool": bool,
    "int": int,
    "[]string": list,
    "map": dict,
}
_VALUE: Final = "looking for beginning of value"
_KEY: Final = "looking for beginning of object key string"
_PLACES: Final = {
    "Expecting property name enclosed in double quotes": _KEY,
    "Illegal trailing comma before end of object": _KEY,
    "Expecting ',' delimiter": "after object key:value pair",
    "Expecting ':' delimiter": "after object key",
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
    pointer: bool = False
    """Whether the server can tell a field that is missing; it shows in some errors."""
    inner: tuple[Field, ...] = ()
    struct: str = ""
    """The name of the object's type."""

    @property
    def type(self) -> str:
        """What it takes, as errors name it."""
        if self.inner:
            return self.struct or described(self.inner)
        return _WRITTEN.get(self.kind, self.kind)


def read(content: bytes, struct: str, fields: Sequence[Field]) -> Json:
    """The fields of a body, by their names; what is missing is None.

    Args:
        content: the body.
        struct: the name of its type in the server's program, with its package; "" for none.
        fields: what it may have.

    Raises:
        BodyError: the body is not JSON, or a field is of another type, or a required one is empty.
    """
    found = _decoded(content)
    if found is None:
        found = {}
    if not isinstance(found, dict):
        whole = struct or described(fields)
        raise BodyError(f"json: cannot unmarshal {_kind(found)} into Go value of type {whole}")
    struct = struct.rpartition(".")[2]
    values = _values(found, struct, "", fields)
    if wrong := [text for one in fields if (text := _failure(one, struct, values[one.name]))]:
        raise BodyError("\n".join(wrong))
    return values


def described(fields: Iterable[Field]) -> str:
    """A type without a name, as errors have it."""
    lines = []
    for one in fields:
        tag = f'json:\\"{one.name}\\"' + (' binding:\\"required\\"' if one.required else "")
        lines.append(f'{one.go} {"*" if one.pointer else ""}{one.type} "{tag}"')
    return f"struct {{ {'; '.join(lines)} }}"


def _decoded(content: bytes) -> Any:
    text = content.decode(errors="replace").lstrip()
    if not text:
        raise BodyError("EOF")
    try:
        found, _ = json.JSONDecoder(parse_constant=_refused).raw_decode(text)
    except json.JSONDecodeError as error:
        if error.pos >= len(text.rstrip()) or "Unterminated" in error.msg:
            raise BodyError("unexpected EOF") from error
        place = error.pos
        if error.msg.startswith("Illegal trailing comma"):
            # Python 3.13 names the comma; the server names what follows it.
            place = len(text) - len(text[place + 1 :].lstrip())
        raise _invalid(text[place], _PLACES.get(error.msg, _VALUE)) from error
    except RecursionError as error:
        raise BodyError("exceeded max depth") from error
    return found


def _refused(constant: str) -> NoReturn:
    raise _invalid(constant[0], _VALUE)


def _invalid(character: str, where: str) -> BodyError:
    shown = "\\'" if character == "'" else character
    return BodyError(f"invalid character '{shown}' {where}")


def _values(found: Json, struct: str, path: str, fields: Iterable[Field]) -> Json:
    by_name = {one.name.lower(): one for one in fields}
    values: Json = {one.name: ABSENT if one.kind == "any" else None for one in fields}
    # In the body's order, because the first field of a wrong type is named.
    for name, value in found.items():
        one = by_name.get(name.lower())
        if one is not None and (value is not None or one.kind == "any"):
            values[one.name] = _value(one, struct, path, value)
    return values


def _value(one: Field, struct: str, path: str, value: Any) -> Any:
    if one.kind == "any":
        return value
    where = f"{path}{one.name}"
    if one.inner:
        if not isinstance(value, dict):
            raise _wrong_type(value, struct, where, one.type)
        return _values(value, one.struct or struct, f"{where}.", one.inner)
    if not isinstance(value, _TAKEN[one.kind]) or (one.kind == "int" and isinstance(value, bool)):
        raise _wrong_type(value, struct, where, one.type)
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
    elif one.email and not empty and not _EMAIL.fullmatch(str(value)):
        tag = "email"
    else:
        return ""
    key = f"{struct}.{one.go}" if struct else one.go
    return f"Key: '{key}' Error:Field validation for '{one.go}' failed on the '{tag}' tag"


def _kind(value: Any) -> str:
    if isinstance(value, float):
        return f"number {value!r}"
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "object")
