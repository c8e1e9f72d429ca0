"""Searches for a canary wherever a person, a log or an error reporter could see one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import pickle
import traceback
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.pretty import pretty_repr
from sentry_sdk.serializer import serialize

from tests.secrets.spelling import readings, texts_of

# In two parts, because a traceback prints lines of the tests, too.
CANARY = "kana" + "rie"
_TESTS = str(Path(__file__).parents[1])


def found_in(text: str | bytes, where: str) -> list[str]:
    """Where the canary stands in it, in some words around it."""
    shown = text.decode("latin-1") if isinstance(text, bytes) else text
    at = shown.lower().find(CANARY)
    return [] if at < 0 else [f"{where}: ...{shown[max(0, at - 60) : at + 40]}..."]


def leaks_in(thing: object) -> list[str]:
    """Where the canary is in an error or a result: repr, pickle, attributes, and frames."""
    found = found_in(repr(thing), "repr") + found_in(str(thing), "str")
    try:
        found += found_in(pickle.dumps(thing), "pickle")
    except (TypeError, AttributeError, pickle.PicklingError) as refusal:
        found += found_in(str(refusal), "refusal to pickle")
    if hasattr(thing, "to_dict"):
        found += found_in(json.dumps(thing.to_dict()), "to_dict")
    if isinstance(thing, BaseException):
        for link in _chain(thing):
            name = type(link).__name__
            found += found_in(
                repr(link) + str(link) + repr(vars(link)) + repr(link.args), f"chained {name}"
            )
            found += found_in(
                "".join(traceback.format_exception_only(link)), f"traceback of a {name}"
            )
        found += _in_traceback(thing)
    return found


def found_decoded(texts: Iterable[str], where: str) -> list[str]:
    """Where the canary is in texts, after any decoding."""
    return [
        hit
        for text in set(texts)
        for reading in readings(text)
        for hit in found_in(reading, f"{where}, decoded")
    ]


def decoded_leaks_in(error: BaseException) -> list[str]:
    """Where the canary is, in any spelling, in an error and in those that led to it."""
    return [
        hit
        for link in _chain(error)
        for hit in found_decoded(
            [*texts_of(link), *getattr(link, "__notes__", ())], type(link).__name__
        )
    ]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """All that led to an error, even what its traceback does not print."""
    todo, seen = [error], set[int]()
    while todo:
        link = todo.pop()
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        todo += [one for one in (link.__cause__, link.__context__) if one is not None]
        todo += getattr(link, "exceptions", ())


def ways_to_show(value: object) -> Iterator[str]:
    """A variable as those print it who show the variables of frames.

    ``repr`` is what ``pytest -l``, cgitb and the standard library's traceback take; rich (and so
    typer) and Sentry take apart what they know the parts of.
    """
    yield repr(value)
    yield pretty_repr(value, max_length=10, max_string=200, max_depth=4)
    yield str(serialize({"variable": value}, is_vars=True))


def _in_traceback(error: BaseException) -> list[str]:
    """The output of a reporter that prints each frame's variables, without the tests' own."""
    todo, seen, found = [error], set[int](), list[str]()
    while todo:
        link = todo.pop()
        if id(link) in seen:
            continue
        seen.add(id(link))
        for frame, line in traceback.walk_tb(link.__traceback__):
            code = frame.f_code
            if not code.co_filename.startswith(_TESTS):
                for name, value in frame.f_locals.items():
                    place = f"variable {name} of {code.co_name} ({code.co_filename}:{line})"
                    for shown in ways_to_show(value):
                        found += found_in(shown, place)
        todo += getattr(link, "exceptions", ())
        todo += [
            one
            for one in (link.__cause__, None if link.__suppress_context__ else link.__context__)
            if one is not None
        ]
    return found


class Listener(logging.Handler):
    """Hears all that is logged, and keeps what should not have been."""

    def __init__(self) -> None:
        super().__init__(1)
        self.found: list[str] = []
        self.heard = 0

    @contextlib.contextmanager
    def everywhere(self) -> Iterator[None]:
        """Listen to every logger, at every level."""
        root = logging.getLogger()
        before = root.level
        root.addHandler(self)
        root.setLevel(1)
        try:
            yield
        finally:
            root.setLevel(before)
            root.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.heard += 1
        text = self.format(record)
        self.found += found_in(text, f"log of {record.name}")
        if set(text) & set("%&") or "\\u" in text:
            self.found += found_decoded([text], f"log of {record.name}")


def leaks_below(root: object) -> list[str]:
    """What is found in the repr of every object of ours that can be reached from this one."""
    todo, seen, found = [root], set[int](), list[str]()
    while todo:
        thing: Any = todo.pop()
        # A loop leads to everything, the other side too.
        if id(thing) in seen or isinstance(
            thing, types.ModuleType | type | types.FrameType | asyncio.AbstractEventLoop
        ):
            continue
        seen.add(id(thing))
        if type(thing).__module__.startswith("vcloud."):
            found += found_in(repr(thing) + str(thing), f"repr of a {type(thing).__name__}")
        if isinstance(thing, types.FunctionType):
            todo += [
                cell.cell_contents for cell in thing.__closure__ or () if cell != types.CellType()
            ]
        else:
            todo += gc.get_referents(thing)
    return found
