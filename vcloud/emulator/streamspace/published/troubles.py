"""What is wrong with the published server while it handles one request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from attrs import frozen


@frozen(kw_only=True)
class Troubles:
    """What is wrong; False is as it should be."""

    keeps_answers: bool = False
    """Whether answers come from Redis, and are kept there."""
    database_away: bool = False
    other_replica: bool = False
    """Whether another replica handles the request, to which no agent is connected."""


_NONE: Final = Troubles()
_NOW: Final[ContextVar[Troubles]] = ContextVar("vcloud_emulator_troubles", default=_NONE)


def troubles() -> Troubles:
    """What is wrong with the server for this task."""
    return _NOW.get()


@contextmanager
def with_troubles(found: Troubles) -> Iterator[None]:
    """Have this be wrong for this task, inside the block."""
    token = _NOW.set(found)
    try:
        yield
    finally:
        _NOW.reset(token)
