"""The dialect of a StreamSpace installation, as the user gives it.

The facade checks it before it loads the provider.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, Literal, get_args

from vcloud._core.suggestions import did_you_mean
from vcloud.errors import ConfigurationError

__all__ = ["DialectName", "checked_dialect", "dialect_of_environment"]

DialectName = Literal["documented", "published"]

_NAMES: Final[tuple[DialectName, ...]] = get_args(DialectName)
_VARIABLE: Final = "VCLOUD_STREAMSPACE_DIALECT"


def checked_dialect(value: object, name: str) -> DialectName | None:
    """A dialect that was given.

    Args:
        value: the argument.
        name: its name.

    Raises:
        ConfigurationError: it is neither of the two, nor None.
    """
    for known in _NAMES:
        if value == known:
            return known
    if value is None:
        return None
    said = f"{name} must be {' or '.join(map(repr, _NAMES))}"
    if not isinstance(value, str):
        raise ConfigurationError(f"{said}, or None, not a {type(value).__name__}")
    question = did_you_mean(value, _NAMES)
    raise ConfigurationError(f"{said}, not {value!r:.40}{f': {question}' if question else ''}")


def dialect_of_environment(
    environ: Mapping[str, str] | None, given: object, name: str
) -> DialectName | None:
    """A dialect that was given; otherwise that of the environment, if it has one.

    Args:
        environ: the variables; None: those of the process.
        given: the argument.
        name: its name.

    Raises:
        ConfigurationError: it is neither of the two.
    """
    if given is not None:
        return checked_dialect(given, name)
    found = (os.environ if environ is None else environ).get(_VARIABLE)
    return checked_dialect(found or None, _VARIABLE)
