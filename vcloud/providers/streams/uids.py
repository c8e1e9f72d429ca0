"""Resources with two ids: the uid, to fetch them by, and the id, for all other methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from vcloud._core.arguments import identifier
from vcloud._core.redaction.secretive import concealing
from vcloud._core.resource import Collection, Handle, bind
from vcloud.errors import InvalidArgumentError
from vcloud.errors.text import word

M = TypeVar("M", bound=Handle)
R = TypeVar("R", bound="UidRef[Any]")


class UidRef(Handle, Generic[M]):
    """A handle with an id, and a uid if that is known. ``M`` is the fetched resource."""

    __slots__ = ()

    #: The word for the resource in errors.
    _noun: ClassVar[str]

    if TYPE_CHECKING:
        id: str
        uid: str | None

    async def refresh(self) -> M:
        """Fetch the resource as it is now."""
        raise NotImplementedError

    def _known_uid(self) -> str:
        """The uid.

        Raises:
            InvalidArgumentError: the handle was made without one.
        """
        if self.uid is None:
            raise InvalidArgumentError(
                f"{self._noun} {word(self.id)} can only be fetched by its uid: "
                "make the handle with ref(id, uid=...)"
            )
        return self.uid


class StreamHandle(UidRef[M]):
    """What makes a handle one of a stream, for arguments in modules that the stream's imports."""

    __slots__ = ()


class UidCollection(Collection, Generic[R, M]):
    """A collection of such resources. ``R`` is the class of the handles."""

    __slots__ = ()

    _handle: Callable[..., R]

    @concealing
    async def get(self, uid: R | str | int) -> M:
        """Fetch one resource by its uid, not its id.

        ``GET /machines/{machine_uid}`` or ``GET /streams/{stream_uid}``

        Args:
            uid: the uid, or the resource itself.

        Raises:
            InvalidArgumentError: the uid is not valid, or the resource has none.
            NotFoundError: there is no such resource.
        """
        kind: Any = self._handle
        handle: UidRef[M] = self._handle(uid=identifier(uid, "uid", kind, "uid"))
        return await bind(handle, self._session).refresh()

    @concealing
    def ref(self, id: R | str | int, *, uid: str | int | None = None) -> R:
        """A handle of the resource with this id; nothing is sent.

        Args:
            id: the id of the resource, or the resource itself, whose uid is then used too.
            uid: its uid; without it the handle cannot be refreshed.

        Raises:
            InvalidArgumentError: an id is not valid.
        """
        kind: Any = self._handle
        if uid is None and isinstance(id, UidRef):
            uid = id.uid
        known_uid = None if uid is None else identifier(uid, "uid")
        return bind(self._handle(id=identifier(id, "id", kind), uid=known_uid), self._session)
