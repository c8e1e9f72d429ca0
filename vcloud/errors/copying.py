"""Rebuilds an error from its pickle. Imports nothing of the package, so its errors can use it."""

from __future__ import annotations

from typing import Any

__all__ = ["rebuilt"]


def rebuilt(cls: type[Any], args: tuple[object, ...], state: dict[str, Any]) -> Any:
    """An error of this class with these attributes. ``__init__`` is not called."""
    error: Any = cls.__new__(cls, *args)
    error.__dict__.update(state)
    if "__notes__" in state:
        # A copy has its own notes: one answer may become the error of many calls.
        error.__notes__ = list(error.__notes__)
    return error
