"""Sessions: when a machine was used."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen

from vcloud._core.decoding.models import none_when_absent
from vcloud._core.paging.pager import Pager
from vcloud._core.request import path_segment
from vcloud._core.resource import Collection, Handle
from vcloud._core.resources import all_of
from vcloud._core.scalars import Instant, Minutes
from vcloud._core.session import Session
from vcloud.providers.vagon_resources import Item, Listing, resources

__all__ = ["MachineSession", "MachineSessions"]


@frozen(kw_only=True, field_transformer=none_when_absent)
class MachineSession(Handle):
    """One use of a machine.

    Attributes:
        id: the session's id.
        start_at: when it began.
        end_at: when it ended; None if it has not.
        duration: how long it lasted, in whole minutes; zero if it has not ended.
    """

    id: str = ""
    start_at: Instant | None
    end_at: Instant | None
    duration: Minutes | None


@frozen(kw_only=True, eq=False, repr=False, field_transformer=none_when_absent)
class MachineSessionList(Listing):
    """``GET /machines/{id}/sessions``: the whole list, without ``count`` or pages."""

    key: ClassVar[str] = "sessions"

    sessions: list[Item[MachineSession]] | None


SESSIONS = resources(MachineSessionList, MachineSession)


class MachineSessions(Collection):
    """The sessions of one machine."""

    __slots__ = ("_machine_id",)

    def __init__(self, session: Session, machine_id: str) -> None:
        super().__init__(session)
        self._machine_id = machine_id

    def list(self) -> Pager[MachineSession]:
        """The sessions, the most recent first.  ``GET /machines/{id}/sessions``

        Raises:
            NotFoundError: there is no such machine.
            PermissionDeniedError: permission required (4710).
        """
        return all_of(
            self._session, f"/machines/{path_segment(self._machine_id)}/sessions", SESSIONS
        )
