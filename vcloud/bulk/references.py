"""From an item to what the journal keeps of it, and back from there to an item.

A run may need an item that its list no longer has: the journal left it unknown, or a plan names it.
So the journal keeps a reference beside the key, which is JSON:

- ``["computers", "MachineRef", {"id": "100"}]``: a handle, by its class and its ids,
- ``["computers", "MachineRef", {"id": "100"}, "Instance"]``: an instance, by its handle,
- ``["str"]`` or ``["int"]``: a string or a number that is its own key.

It never holds a uid, because a uid opens a Streams machine. It holds no other text of an item.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from attrs import frozen

from vcloud._core.arguments import identifier
from vcloud._core.instances import Controllable, Instance, InstanceRef, InstanceState
from vcloud._core.keys import instance_key, split_key
from vcloud._core.resource import Handle, bind, session_of_handle
from vcloud.errors import InvalidArgumentError

if TYPE_CHECKING:
    from vcloud._core.client import Client
    from vcloud._core.session import Session

__all__ = ["ItemMaker", "checked_key", "default_key"]

T = TypeVar("T")

_PROVIDERS: Final = "vcloud.providers"
#: The kind of plain items, by what they are made of.
_PLAIN: Final[dict[str, Callable[[str], object]]] = {"str": str, "int": int}


def default_key(item: object) -> str:
    """The name of an item in the journal: the item itself, or its id.

    Raises:
        InvalidArgumentError: it is neither a string nor a number, and has no ``id``.
    """
    if isinstance(item, str) or type(item) is int:
        return str(item)
    id = getattr(item, "id", None)
    if not isinstance(id, str):
        raise InvalidArgumentError(
            f"a {type(item).__name__} has no id that could name it in the journal: "
            "pass key=, a function that returns a name for each item"
        )
    return instance_key(item.provider, id) if isinstance(item, InstanceRef) else id


def checked_key(item: T, key: Callable[[T], str] | None) -> str:
    """The name of an item in the journal, by the user's function or by default.

    Raises:
        InvalidArgumentError: ``key`` did not return a string, or not one that can be encoded.
    """
    name = default_key(item) if key is None else key(item)
    if type(name) is not str or name.encode("utf-8", "replace").decode() != name:
        raise InvalidArgumentError(
            f"key must return a string of valid Unicode for each item, not {name!r:.80}"
        )
    return name


@frozen
class _Kind:
    """What an item is, without its ids.

    Attributes:
        provider: the provider's name; empty for a plain item.
        name: the class of its handle, or of the plain item.
        instance: whether it is an :class:`InstanceRef`.
    """

    provider: str
    name: str
    instance: bool = False


class ItemMaker:
    """Makes an item of its key and of what the journal keeps of it.

    Args:
        handle: the user's function that makes an item of its key; None: there is none.
        clients: the clients of the facade, by the providers' names; empty: there is none.
        keyed: whether the user names the items. Then their keys do not tell their ids.
    """

    def __init__(
        self,
        handle: Callable[[str], Any] | None = None,
        clients: Mapping[str, Client] | None = None,
        *,
        keyed: bool = False,
    ) -> None:
        self._handle = handle
        self._clients = clients or {}
        self._keyed = keyed
        #: The sessions of items of this run, by the providers' names.
        self._sessions: dict[str, Session] = {}
        #: What the last item was, for journals of earlier versions.
        self._last: _Kind | None = None

    def note(self, item: object) -> str | None:
        """Learn from an item of this run, and return its reference; None if it has none."""
        if isinstance(item, str) or type(item) is int:
            self._last = _Kind("", "str" if isinstance(item, str) else "int")
            return None if self._keyed else json.dumps([self._last.name])
        subject = item.resource if isinstance(item, InstanceRef) else item
        cls = _handle_class(subject)
        if cls is None or not isinstance(subject, Handle):
            return None
        provider = cls.__module__.split(".")[2]
        if (session := session_of_handle(subject)) is not None:
            self._sessions[provider] = session
        ids = {name: getattr(subject, name) for name in _id_fields(cls)}
        self._last = _Kind(provider, cls.__name__, isinstance(item, InstanceRef))
        if not all(isinstance(id, str) for id in ids.values()):
            return None
        return json.dumps([provider, cls.__name__, ids, *(["Instance"] * self._last.instance)])

    def make(self, key: str, reference: str | None) -> Any:
        """Make an item.

        Args:
            key: its name in the journal.
            reference: what the journal keeps of it; None: nothing.

        Raises:
            InvalidArgumentError: this key cannot become an item.
        """
        if self._handle is not None:
            return self._handle(key)
        match _parsed(reference):
            case [("str" | "int") as plain]:
                return self._plain(key, plain)
            case [str(provider), str(name), dict(ids), *rest]:
                return self._of_handle(key, _Kind(provider, name, bool(rest)), ids)
            case _:
                return self._guessed(key)

    def _plain(self, key: str, name: str) -> object:
        try:
            return _PLAIN[name](key)
        except ValueError:
            _refuse(key, f"it is not {name}")

    def _guessed(self, key: str) -> object:
        """An item of a journal that keeps no references, as earlier versions wrote them."""
        if self._keyed:
            _refuse(key, "the journal does not say what it names")
        last = self._last
        if last is not None and not last.provider:
            return self._plain(key, last.name)
        if last is not None and not last.instance:
            return self._of_handle(key, last, {"id": key})
        if last is None and not self._clients:
            _refuse(key, "the journal does not say what it names")
        provider, id = split_key(key, [*self._clients, *self._sessions])
        if provider in self._clients:
            # Loaded already, by the facade; without it, `import vcloud.bulk` stays small.
            from vcloud._core.client import handle_of  # noqa: PLC0415

            return _unfetched(provider, id, handle_of(self._clients[provider], id))
        assert last is not None
        return self._of_handle(key, last, {"id": id})

    def _of_handle(self, key: str, kind: _Kind, ids: dict[str, object]) -> object:
        session = self._session(kind.provider)
        if session is None:
            example = ", such as cloud.instance" if kind.instance else ""
            _refuse(key, f"no client of {kind.provider!r:.80} is known here", example)
        cls = _named_class(kind)
        if cls is None or set(ids) != set(_id_fields(cls)):
            _refuse(key, f"it is of a kind that this version does not know: {kind.name!r:.80}")
        handle = bind(cls(**{name: _checked(id) for name, id in ids.items()}), session)
        if not kind.instance:
            return handle
        assert isinstance(handle, Controllable)
        return _unfetched(kind.provider, str(ids["id"]), handle)

    def _session(self, provider: str) -> Session | None:
        """The session of items of this run, because it has their options; or of the facade."""
        if (session := self._sessions.get(provider)) is not None:
            return session
        if (client := self._clients.get(provider)) is None:
            return None
        from vcloud._core.client import session_of  # noqa: PLC0415 - as for handle_of

        return session_of(client)


def _refuse(key: str, why: str, example: str = "") -> NoReturn:
    raise InvalidArgumentError(
        f"the key {key!r:.80} in the journal cannot become an item, because {why}: "
        f"pass handle=, a function that makes an item of its key{example}"
    )


def _checked(id: object) -> str:
    if not isinstance(id, str):
        raise InvalidArgumentError(f"an id in the journal is not a string: {id!r:.80}")
    return identifier(id)


def _unfetched(provider: str, id: str, handle: Controllable) -> Instance:
    return Instance(provider, id, id, InstanceState.UNKNOWN, None, None, handle)


def _parsed(reference: str | None) -> object:
    try:
        return None if reference is None else json.loads(reference)
    except (ValueError, RecursionError):
        return None


def _handle_class(item: object) -> Any:
    """The class of this item's handle: it has the ids and the verbs, but no other field."""
    for cls in type(item).__mro__:
        if cls.__name__.endswith("Ref") and cls.__module__.startswith(f"{_PROVIDERS}."):
            return cls
    return None


def _named_class(kind: _Kind) -> Any:
    """The class of a handle by its name; None if there is none."""
    if not (kind.provider.isidentifier() and kind.name.endswith("Ref")):
        return None
    try:
        cls = getattr(import_module(f"{_PROVIDERS}.{kind.provider}"), kind.name, None)
    except ImportError:
        return None
    return cls if isinstance(cls, type) and issubclass(cls, Handle) else None


def _id_fields(cls: Any) -> list[str]:
    return [field.name for field in cls.__attrs_attrs__ if field.name != "uid"]
