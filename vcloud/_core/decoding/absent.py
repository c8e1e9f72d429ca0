"""Fields that most answers leave out, decoded at little cost.

For each field without a value, msgspec makes an ``AttributeError`` and drops it before it sets the
default: 0.2 us. To set such a field before the others are decoded takes 0.05 us, and as much for
an answer that has it after all: so only for fields that nearly all answers lack. Three of them are
8 % of a page of sessions (python -m tests.benchmarks overhead).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import attrs

__all__ = ["often_absent"]

M = TypeVar("M", bound=type[Any])


def often_absent(*names: str) -> Callable[[M], M]:
    """A decorator of a model, above that of attrs: most answers lack these fields.

    It changes nothing but the time to decode an answer.

    Raises:
        TypeError: a field's default is made anew for each object.
    """

    def decorated(model: M) -> M:
        fields = attrs.fields_dict(model)
        defaults = [(name, fields[name].default) for name in names]
        for name, default in defaults:
            if default is not None and default != ():
                raise TypeError(f"the default of {model.__name__}.{name} is neither None nor ()")
        # The slots' own, because the model is frozen.
        setters = [(getattr(model, name).__set__, default) for name, default in defaults]

        def set_before(made: Any) -> None:
            for setter, default in setters:
                setter(made, default)

        # Only msgspec calls it: attrs has made the model's __init__ already.
        model.__attrs_pre_init__ = set_before
        return model

    return decorated
