"""Compares decoded objects by class and field: the classes of the wire have no equality."""

from __future__ import annotations

from typing import Any

import attrs


def fields(value: Any) -> Any:
    """A decoded object as its class and its fields, all the way down."""
    if attrs.has(type(value)):
        return type(value), {
            field.name: fields(getattr(value, field.name)) for field in attrs.fields(type(value))
        }
    if isinstance(value, list | tuple):
        return type(value), [fields(one) for one in value]
    return value
