"""Bounds the details that an error keeps. Bulk runs keep errors by the thousand.

Imports only ``vcloud.errors.text``, so that the errors can use it.
"""

from __future__ import annotations

from typing import Any, Final

from vcloud.errors.text import shortened

__all__ = ["MAX_DETAILS", "MAX_DETAIL_TEXT", "kept_details"]

#: Values of ``error.details``: a schema's violations are some tens. Each takes up to 100 bytes.
MAX_DETAILS: Final = 500
#: Characters of all texts and names in ``error.details`` together.
MAX_DETAIL_TEXT: Final = 16 * 1024
#: Levels of lists and objects, as in every answer that is decoded.
MAX_LEVELS: Final = 64


def kept_details(value: Any) -> tuple[Any, bool]:
    """The details that an error keeps, and whether something was left out.

    Args:
        value: JSON.

    Returns:
        The first :data:`MAX_DETAILS` values and :data:`MAX_DETAIL_TEXT` characters, in their order.
        Lists and objects end where a bound is reached. The text that reaches the second bound is
        shortened.
    """
    budget = _Budget()
    kept = budget.kept(value, MAX_LEVELS)
    return (kept, True) if budget.cut else (value, False)


class _Budget:
    """How much more of the details is kept."""

    def __init__(self) -> None:
        self.values = MAX_DETAILS
        self.characters = MAX_DETAIL_TEXT
        #: Whether something was left out.
        self.cut = False

    def kept(self, value: Any, levels: int) -> Any:
        self.values -= 1
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, list):
            made: list[Any] = []
            for inner in value:
                if self._spent(levels):
                    break
                made.append(self.kept(inner, levels - 1))
            return made
        if isinstance(value, dict):
            named: dict[Any, Any] = {}
            for name, inner in value.items():
                if self._spent(levels):
                    break
                named[self._text(name)] = self.kept(inner, levels - 1)
            return named
        return value

    def _spent(self, levels: int) -> bool:
        spent = self.values <= 0 or self.characters <= 0 or levels <= 0
        self.cut = self.cut or spent
        return spent

    def _text(self, text: str) -> str:
        kept = shortened(text, max(self.characters, 0))
        self.characters -= len(text)
        self.cut = self.cut or kept is not text
        return kept
