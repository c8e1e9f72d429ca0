"""What can be reached from a client or a collection, for errors: ``machines.ref(id).start``."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, get_type_hints

from vcloud._core.suggestions import joined

__all__ = ["by_name", "handle_of", "hint_at", "reachable"]

#: Methods that every client, every model or every handle has: nobody looks for those of another.
_EVERYWHERE: Final = frozenset({"aclose", "aopen", "raw", "stats", "to_dict", "with_options"})
#: Words for making something, of which each collection has one.
_MAKING: Final = frozenset(
    {"activate", "add", "buy", "create", "launch", "make", "new", "order", "register"}
)
#: Paths that a message offers.
_MAX_OFFERED: Final = 4


def reachable(thing: object, base: type) -> Iterator[str]:
    """The paths from a client or a collection to the methods of what it has.

    Args:
        thing: a client: ``machines.list``; or a collection: ``ref(id).start``.
        base: the class of what is looked into.
    """
    variables: Mapping[str, object] = vars(thing) if type(thing).__dictoffset__ else {}
    for name, one in variables.items():
        if name.startswith("_") or not isinstance(one, base):
            continue
        yield from (f"{name}.{method}" for method in _methods(type(one)))
        yield from (f"{name}.{path}" for path in reachable(one, base))
    if (handle := handle_of(type(thing))) is not None:
        _, argument, *_ = inspect.signature(type(thing).ref).parameters  # type: ignore[attr-defined]
        yield from (f"ref({argument}).{method}" for method in _methods(handle))


def _methods(cls: type) -> list[str]:
    return [
        name
        for name in dir(cls)
        if not name.startswith("_") and name not in _EVERYWHERE and _is_used(cls, name)
    ]


def _is_used(cls: type, name: str) -> bool:
    """Whether an attribute of a class is a method or a property, and no field."""
    one = inspect.getattr_static(cls, name)
    return callable(one) or isinstance(one, property)


def handle_of(cls: type) -> type | None:
    """The class of the handles that a collection makes."""
    handle: Any = getattr(cls, "_handle", None)
    if handle is None and hasattr(cls, "ref"):
        handle = get_type_hints(cls.ref).get("return")
    return handle if isinstance(handle, type) else None


def hint_at(name: str, own: Iterable[str], paths: Iterable[str]) -> str:
    """The hint for a name that something else has, or another word for making something.

    Args:
        name: the wrong name.
        own: the names of the object itself.
        paths: what can be reached from it.
    """
    words = _MAKING if name in _MAKING else {name}
    # The object itself comes first, and then what is nearer.
    found = sorted([one for one in (*own, *paths) if one.rpartition(".")[2] in words], key=_steps)
    nearest = [one for one in found if _steps(one) == _steps(found[0])]
    return f"did you mean {joined(nearest[:_MAX_OFFERED], 'or')}?" if nearest else ""


def _steps(path: str) -> int:
    return path.count(".")


def by_name(paths: Iterable[str]) -> dict[str, str]:
    """The paths by the names that others may compare: ``machines.start``."""
    named: dict[str, str] = {}
    for path in paths:
        steps = [step for step in path.split(".") if not step.startswith("ref(")]
        named.setdefault(".".join(steps), path)
    return named
