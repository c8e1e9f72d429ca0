"""Handles, which act on resources. A fetched resource is a handle with fields."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Self, TypeVar

import attrs
import msgspec

from vcloud._core.arguments import identifier
from vcloud._core.decoding.plain_json import loads
from vcloud._core.guided import Guided, add_wrong_names, real_names
from vcloud._core.model import Model
from vcloud._core.suggestions import VOCABULARY
from vcloud._core.wrong_arguments import explained
from vcloud.errors import ConfigurationError, DecodeError

if TYPE_CHECKING:
    from vcloud._core.session import Session

H = TypeVar("H", bound="Handle")

#: The answer that an object came in, which all objects of a page share, and the path to this one.
Origin = tuple[bytes, *tuple[str | int, ...]]


class _HandleType(type):
    """Makes copies by :func:`attrs.evolve` act through the same client.

    ``evolve`` builds a new object from the fields alone. The client is not a field, because a field
    would be decoded, compared, printed and pickled. ``evolve`` has no hook, so the constructor
    looks at its frame to find the object that is copied.
    """

    if not TYPE_CHECKING:  # a checker should see the constructor of each class

        def __call__(cls, *args: object, **fields: object) -> object:
            made = super().__call__(*args, **fields)
            # The only way to see which object evolve copies.
            caller = sys._getframe(1)  # noqa: SLF001 - see above
            if caller.f_code is _EVOLVE:
                session = getattr(caller.f_locals.get("inst"), "_owner_session", None)
                if session is not None:
                    set_session(made, session)
            return made

    def __dir__(cls) -> list[str]:
        return real_names(cls, super().__dir__())


_EVOLVE: Final = attrs.evolve.__code__


class Handle(Model, metaclass=_HandleType):
    """A resource at a provider. It is immutable, and equal to another one with the same fields.

    Copies (``copy.copy``, ``copy.deepcopy``, ``attrs.evolve``) act through the same client. A
    handle can be pickled. An unpickled one has its fields, and belongs to no client.
    """

    # Not attrs fields, because equality and repr concern only what the service sent.
    __slots__ = ("_origin", "_owner_session")

    #: The fields that hold other resources, if the provider's answers nest them.
    nested: ClassVar[tuple[str, ...]] = ()

    @property
    def _session(self) -> Session:
        try:
            return self._owner_session
        except AttributeError:
            # Only an unpickled handle has an answer and no client.
            why = "a pickle holds no client"
            act = "use the client's ref(id) to act on it"
            if not hasattr(self, "_origin"):
                why = "it was made by hand, or by vcloud.testing"
                act += "; in a test, act on what a vcloud.emulator.Emulator has"
            raise ConfigurationError(
                f"this {type(self).__name__} belongs to no client ({why}): {act}"
            ) from None

    @property
    def raw(self) -> dict[str, Any]:
        """What the service sent for this object, with fields that this SDK does not know.

        It is empty for a handle that was not fetched.

        Raises:
            DecodeError: a field that this SDK does not know has a value that Python cannot hold,
                such as ``1e999``.
        """
        try:
            raw: dict[str, Any] = loads(self._own_part())
        except (msgspec.DecodeError, RecursionError) as error:
            raise DecodeError(
                f"what came for this {type(self).__name__} cannot be read as a whole: {error}"
            ) from None
        return raw

    def _own_part(self) -> bytes:
        """What the service sent for this object, byte for byte, without the rest of the page."""
        body, *path = getattr(self, "_origin", (b"{}",))
        for step in path:
            kind: Any = list[msgspec.Raw] if isinstance(step, int) else dict[str, msgspec.Raw]
            body = loads(body, kind)[step]
        return bytes(body)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        fields = {field.name: getattr(self, field.name) for field in type(self).__attrs_attrs__}
        return _restore, (type(self), fields, self._own_part())

    def __copy__(self) -> Self:
        return self._copied(lambda value: value)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self._copied(lambda value: deepcopy(value, memo))

    def _copied(self, copied: Callable[[Any], Any]) -> Self:
        made = type(self).__new__(type(self))
        for field in type(self).__attrs_attrs__:
            object.__setattr__(made, field.name, copied(getattr(self, field.name)))
        for name in Handle.__slots__:
            if hasattr(self, name):
                object.__setattr__(made, name, getattr(self, name))
        return made

    if TYPE_CHECKING:
        __attrs_attrs__: ClassVar[tuple[attrs.Attribute[Any], ...]]
        _owner_session: Session
        _origin: Origin


# The setters of the slots, because the classes are frozen. They run for each object of a page.
set_session: Callable[[Handle, Session], None] = Handle.__dict__["_owner_session"].__set__
set_origin: Callable[[Handle, Origin], None] = Handle.__dict__["_origin"].__set__


def bind(handle: H, session: Session) -> H:
    """Give a handle the session that it acts through, and return it."""
    set_session(handle, session)
    return handle


def adopt(handle: H, session: Session, origin: Origin) -> H:
    """Give a decoded resource its session and the answer that it came in, and return it."""
    set_session(handle, session)
    set_origin(handle, origin)
    return handle


def session_of_handle(handle: Handle) -> Session | None:
    """The session that a handle acts through; None if it belongs to no client."""
    return getattr(handle, "_owner_session", None)


def _restore(cls: type[Handle], fields: dict[str, object], body: bytes) -> Handle:
    handle = cls.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(handle, name, value)
    set_origin(handle, (body,))
    return handle


class Collection(Guided):
    """The resources of one kind at one provider. A client makes it, as one of its attributes."""

    __slots__ = ("_session",)

    def __init_subclass__(cls) -> None:
        """Let the class's ``list`` answer wrong arguments with what to write."""
        super().__init_subclass__()
        listing = getattr(cls, "list", None)
        if listing is not None:
            # Not that of the base class, which would name the base class.
            named = explained(f"{cls.__name__}.list")(inspect.unwrap(listing))
            setattr(cls, "list", named)  # noqa: B010 - only some have one

    def __init__(self, session: Session) -> None:
        self._session = session

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self._session.base_url}>"


class IdCollection(Collection, Generic[H]):
    """A collection whose handles need only an id. ``H`` is the class of the handles."""

    __slots__ = ()

    _handle: Callable[..., H]

    def ref(self, id: H | str | int) -> H:
        """A handle of the resource with this id; nothing is sent.

        Args:
            id: the id, or the resource itself: one that was pickled, say, and has no client.

        Raises:
            InvalidArgumentError: the id is not valid.
        """
        handle: Any = self._handle
        return bind(self._handle(id=identifier(id, "id", handle)), self._session)


if not TYPE_CHECKING:
    # What other SDKs call the same, and the states of the other providers.
    add_wrong_names(Handle, [*VOCABULARY, "connection_status", "friendly_status"])
