"""Faults by name, for programs in other languages: from a header, or from JSON."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, get_type_hints

import msgspec

from vcloud.emulator.faults.fault import Body, Fault
from vcloud.emulator.faults.play import ACTIONS

HEADER: Final = "X-VCloud-Fault"
"""The request header that orders a fault for the request itself."""

NAMES: Final = tuple(sorted(ACTIONS.keys() - {"edit"}))
"""The faults that can be described without Python."""

_ARGUMENT = re.compile(r'\s*;\s*([a-z0-9_]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;"]*)\s*')


def named(name: str, arguments: Mapping[str, Any]) -> Fault:
    """The fault of this name.

    Raises:
        ValueError: there is no such fault, or its arguments are wrong. It lists the valid ones.
    """
    if name not in NAMES:
        msg = f"no fault is called {name!r}; there are {', '.join(NAMES)}"
        raise ValueError(msg)
    try:
        found = msgspec.to_builtins(msgspec.convert(arguments, _signature(name)))
    except msgspec.ValidationError as error:
        known = ", ".join(_arguments(name)) or "none"
        msg = f"{name}: {error}; its arguments are {known}"
        raise ValueError(msg) from error
    several = found.pop("names", ())
    made: Fault = getattr(Fault, name)(*several, **found)
    return made


def from_header(text: str) -> Fault:
    """The fault that a header orders, for instance ``too_many; retry_after=2; form=date``.

    A value is JSON or plain text. One with a semicolon or a quote is written as a JSON string.
    Several names are separated by commas.

    Raises:
        ValueError: the header is malformed, or `named` refuses it.
    """
    name, semicolon, _ = text.partition(";")
    rest = text[len(name) :] if semicolon else ""
    arguments: dict[str, Any] = {}
    while rest:
        found = _ARGUMENT.match(rest)
        if found is None:
            msg = f"cannot read {rest!r}: expected `name; argument=value; argument=value`"
            raise ValueError(msg)
        key, value = found.groups()
        if key in arguments:
            msg = f"{key} is given twice"
            raise ValueError(msg)
        arguments[key] = (
            [part.strip() for part in value.split(",")] if key == "names" else _value(value.strip())
        )
        rest = rest[found.end() :]
    return named(name.strip(), arguments)


def described() -> dict[str, Any]:
    """Every fault of `NAMES`: what it does, and its arguments with their defaults."""
    return {name: {"does": _summary(name), "arguments": _arguments(name)} for name in NAMES}


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeEncodeError):
        return text


def _summary(name: str) -> str:
    return (inspect.getdoc(getattr(Fault, name)) or "").partition("\n")[0]


def _parameters(name: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(getattr(Fault, name)).parameters


def _arguments(name: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, parameter in _parameters(name).items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            made[key] = []
        elif parameter.default is parameter.empty:
            made[key] = "required"
        else:
            made[key] = (
                parameter.default.decode()
                if isinstance(parameter.default, bytes)
                else parameter.default
            )
    return made


@cache
def _signature(name: str) -> type[msgspec.Struct]:
    hints = get_type_hints(getattr(Fault, name))
    fields: list[Any] = []
    for key, parameter in _parameters(name).items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            fields.append((key, list[str], msgspec.field(default_factory=list)))
            continue
        # JSON has no bytes.
        hint = str | dict[str, Any] | list[Any] if hints[key] == Body else hints[key]
        default = (
            parameter.default.decode()
            if isinstance(parameter.default, bytes)
            else parameter.default
        )
        fields.append((key, hint) if default is parameter.empty else (key, hint, default))
    return msgspec.defstruct(name, fields, forbid_unknown_fields=True, kw_only=True)
