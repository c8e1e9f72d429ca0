"""The published server's answers to changes of a session."""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen

from vcloud._core.decoding.models import ListOf, NullAsEmpty, none_when_absent
from vcloud._core.decoding.shape import Shape, plain
from vcloud._core.scalars import Id
from vcloud.providers.streamspace.models import SessionState, SessionUpdate
from vcloud.providers.streamspace.spelling import WireModel

__all__ = ["ACCEPTED", "TAGGED"]


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class Accepted(WireModel):
    """``PUT /sessions/{name}/hibernate`` and ``/wake``, ``DELETE /sessions/{name}``: 202."""

    name: str
    command_id: str | None
    message: str | None
    error: Any = None

    def update(self, state: SessionState) -> SessionUpdate:
        """The change, with the state on the way, which the answer does not name."""
        return SessionUpdate(
            id=self.name,
            state=state,
            status=None,
            updated_at=None,
            command_id=self.command_id,
            message=self.message,
        )


@frozen(kw_only=True, eq=False, repr=False)
class Tagged(NullAsEmpty, WireModel):
    """``PATCH /sessions/{name}/tags``: the database's row."""

    id: Id
    tags: ListOf[str] = ()
    error: Any = None


ACCEPTED: Final = plain(Accepted)
TAGGED: Final[Shape[Tagged, tuple[str, ...]]] = Shape(Tagged, lambda wire, session, body: wire.tags)
