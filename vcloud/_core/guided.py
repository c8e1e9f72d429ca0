"""Attributes that do not exist: the error says which one to use.

All of it is derived from classes: their fields, methods and properties, the models in their fields,
the state of their lifecycle, and the fetched model of a handle.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, get_args, get_type_hints

import attrs

from vcloud._core.reachable import by_name, handle_of, hint_at, reachable
from vcloud._core.suggestions import MAX_NAME, joined, nearest, same_thing, words_of
from vcloud.errors.text import printable

__all__ = ["Guided", "WrongName", "add_wrong_names", "real_names"]

#: Messages that are remembered. Libraries ask for the same few names of each object.
MAX_REMEMBERED: Final = 256
#: The methods of :class:`~vcloud.Controllable`. ``isinstance`` looks for a protocol's methods in
#: the dictionaries of classes, and a :class:`WrongName` there would be one of them. A handle that
#: answers one of these names is a :class:`Guided`.
_OF_PROTOCOLS: Final = frozenset({"stop", "wait_until"})
#: Words of an attribute that holds a state, in one provider or another.
_STATE: Final = "state"
#: The fields that hold it at some providers only.
_ELSEWHERE: Final = ("friendly_status", "connection_status")


class Guided:
    """An object whose ``AttributeError`` names the attribute that was probably meant.

    Type checkers do not see this, so they still report a wrong name. ``hasattr`` is False for it.
    """

    __slots__ = ()

    #: What to use instead of a name that others would have, where no name is near it.
    _absent: ClassVar[Mapping[str, str]] = {}

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            cls = type(self)
            # Python, pickle and other libraries ask for names that begin so.
            if name.startswith("_") or len(name) > MAX_NAME:
                raise AttributeError(_plainly(cls, name), name=name)
            if hasattr(cls, name):
                # A slot that was never set, or a property that failed: its own error.
                return object.__getattribute__(self, name)
            # Without the object, for which Python would add a suggestion of its own.
            own = _own_names(self) if cls.__dictoffset__ else ()
            paths = tuple(reachable(self, Guided))
            raise AttributeError(_missing(cls, name, own, paths), name=name)


class WrongName:
    """An attribute that does not exist, on a class that is decoded into.

    There, ``__getattr__`` would slow every field of every object: a page takes twice as long to
    decode (msgspec asks for each field after it was set). This costs nothing.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, thing: object, cls: type) -> object:
        name = self._name
        for base in cls.__mro__:
            # Another base of the class may have it.
            found = vars(base).get(name, self)
            if not isinstance(found, WrongName):
                return found.__get__(thing, cls) if hasattr(found, "__get__") else found
        if thing is None:
            # What looks through a class (help, inspect, mocks) asks for each of them.
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")
        raise AttributeError(_missing(cls, name, (), ()), name=name)


def add_wrong_names(cls: type[Any], names: Iterable[str]) -> None:
    """Let a class answer these names, also in camelCase, where no subclass has them.

    Args:
        cls: a class of models.
        names: what people guess. Python itself suggests names that are spelt alike.
    """
    for name in names:
        first, *others = name.split("_")
        for guess in {name, "".join([first, *map(str.capitalize, others)])}:
            if guess not in _OF_PROTOCOLS and not hasattr(cls, guess):
                setattr(cls, guess, WrongName(guess))


def real_names(cls: type, names: Iterable[str]) -> list[str]:
    """Those of a class's names that exist, for ``dir``."""
    found = {name: inspect.getattr_static(cls, name, None) for name in names}
    return [name for name, one in found.items() if not isinstance(one, WrongName)]


def _plainly(cls: type, name: str) -> str:
    return f"{cls.__name__!r} object has no attribute {printable(name[:MAX_NAME])!r}"


def _own_names(thing: object) -> tuple[str, ...]:
    """The public attributes that only this object has: the collections of a client.

    Also those of these attributes, such as ``computers.machines`` of a facade.
    """
    own = {name: one for name, one in _variables(thing).items() if not name.startswith("_")}
    inner = [
        f"{name}.{below}"
        for name, one in own.items()
        if isinstance(one, Guided)
        for below in _variables(one)
        if not below.startswith("_")
    ]
    return (*own, *inner)


def _variables(thing: object) -> Mapping[str, object]:
    return vars(thing) if type(thing).__dictoffset__ else {}


@lru_cache(MAX_REMEMBERED)
def _missing(cls: type, name: str, own: tuple[str, ...], paths: tuple[str, ...]) -> str:
    """The message for an attribute that does not exist."""
    hint = (
        _of_absent(cls, name)
        or _of_state(cls, name)
        or hint_at(name, _names(cls), paths)
        or _of_nearest(cls, name, own, by_name(paths))
        or _of_handles(cls, name)
        or _all_names(cls, own)
    )
    return f"{_plainly(cls, name)}: {hint}" if hint else _plainly(cls, name)


def _of_absent(cls: type, name: str) -> str:
    """What the class, or one that it inherits from, says of the name: of ``middleClick``, too."""
    name = "_".join(words_of(name))
    return next(
        (said[name] for one in cls.__mro__ if name in (said := vars(one).get("_absent", {}))), ""
    )


def _of_handles(cls: type, name: str) -> str:
    """What the handles of a collection say of the name."""
    handle = handle_of(cls)
    said = "" if handle is None else _of_absent(handle, name)
    return said.replace("did you mean ", "did you mean ref(id).")


def _of_state(cls: type, name: str) -> str:
    """The hint for a state under another name, such as ``status`` of what has a ``state``."""
    lifecycle = getattr(cls, "_lifecycle", None)
    nested = any(one.endswith(f".{name}") for one in _nested_names(cls))
    is_state = same_thing(name, _STATE) or name in _ELSEWHERE
    if lifecycle is None or nested or not is_state:
        return ""
    field = lifecycle.field
    return f"did you mean {field}?" if field in _fields(cls) else _after_refresh(cls, field)


def _of_nearest(cls: type[Any], name: str, own: tuple[str, ...], paths: Mapping[str, str]) -> str:
    """The hint for a name that is like one of the object, or of what it is when it is fetched."""
    here = dict.fromkeys([*own, *_names(cls), *_nested_names(cls), *paths])
    later = [one for model in _fetched(cls) for one in (*_fields(model), *_nested_names(model))]
    near = nearest(name, dict.fromkeys([*here, *later]))
    if near and near[0] not in here:
        return _after_refresh(cls, near[0])
    return f"did you mean {joined([paths.get(one, one) for one in near], 'or')}?" if near else ""


def _after_refresh(cls: type[Any], name: str) -> str:
    hint = f": write (await handle.refresh()).{name}" if hasattr(cls, "refresh") else ""
    what = f"this {cls.__name__} was not fetched, and only what was fetched or listed has {name}"
    return f"{what}{hint}"


def _all_names(cls: type[Any], own: tuple[str, ...]) -> str:
    """The hint for a name that is like no other: all that there are."""
    names = dict.fromkeys([*[name for name in own if "." not in name], *_names(cls)])
    return f"it has {joined(tuple(names))}" if names else ""


def _fetched(cls: type[Any]) -> list[type[Any]]:
    """The models of which this class is the handle."""
    package = cls.__module__.partition(".")[0]
    return [
        one
        for one in cls.__subclasses__()
        if one.__module__.partition(".")[0] == package and attrs.has(one)
    ]


def _fields(cls: type[Any]) -> tuple[str, ...]:
    if not attrs.has(cls):
        return ()
    return tuple([field.name for field in attrs.fields(cls) if not field.name.startswith("_")])


def _names(cls: type[Any]) -> Iterator[str]:
    """The public attributes of a class, the fields first, without its constants."""
    fields = _fields(cls)
    yield from fields
    for name in dir(cls):
        if name.startswith("_") or name in fields:
            continue
        one = inspect.getattr_static(cls, name)
        if not isinstance(one, WrongName) and (callable(one) or hasattr(one, "__get__")):
            yield name


def _nested_names(cls: type) -> Iterator[str]:
    """The fields of the models in the fields of a class: ``user.email``."""
    if not attrs.has(cls):
        return
    try:
        hints: dict[str, Any] = get_type_hints(cls)
    except (NameError, TypeError, AttributeError):
        return  # an annotation that only type checkers can read
    for field in _fields(cls):
        for kind in (hints.get(field), *get_args(hints.get(field))):
            if not isinstance(kind, type) or not attrs.has(kind):
                continue
            properties = [
                name for name in _names(kind) if isinstance(vars(kind).get(name), property)
            ]
            for name in (*_fields(kind), *properties):
                if name not in ("id", "raw"):
                    yield f"{field}.{name}"
