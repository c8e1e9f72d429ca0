"""Every error with any text in any place is one printable line, however it is shown."""

from __future__ import annotations

import copy
import importlib
import inspect
import io
import pickle
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vcloud
from tests.hostile.texts import HALF, HOSTILE, assert_harmless, harmful
from vcloud import APIError, CleanupError, TransportError, VCloudError, printable
from vcloud.providers.streamspace import CommandFailed

STEADY = settings(derandomize=True, deadline=None, database=None, max_examples=100)
ANY = st.text(st.characters()) | st.sampled_from([HOSTILE, HALF])  # lone surrogates, too
#: What a constructor takes by keyword that is not a string.
OTHERS: dict[str, st.SearchStrategy[Any]] = {
    "outcome_unknown": st.booleans(),
    "status": st.integers(100, 599),
    "index": st.integers(0, 9),
    "code": st.none() | st.integers() | ANY,
    "ids": st.lists(ANY, max_size=3),
    "details": st.none() | ANY | st.dictionaries(ANY, ANY, max_size=2),
    "timestamp": st.none(),
    "results": st.just(()),
    "error": st.builds(TransportError, ANY),
}


def classes() -> list[type[VCloudError]]:
    """All classes of errors that the package has."""
    for module in pkgutil.walk_packages(vcloud.__path__, "vcloud."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

    def below(kind: type[VCloudError]) -> Iterator[type[VCloudError]]:
        yield kind
        for inner in kind.__subclasses__():
            yield from below(inner)

    return [
        kind for kind in dict.fromkeys(below(VCloudError)) if kind.__module__.startswith("vcloud")
    ]


@pytest.mark.parametrize("text", [HOSTILE, HALF])
def test_a_note_is_printable_however_it_was_added(text: str) -> None:
    error = TransportError("broken")

    error.add_note(text)

    assert_harmless(error)
    assert error.__notes__ == [printable(text)]


def argument(name: str, kind: type[VCloudError]) -> st.SearchStrategy[Any]:
    if name == "status" and not issubclass(kind, APIError):
        return ANY
    return OTHERS.get(name, ANY)


@st.composite
def errors(draw: st.DrawFn, kind: type[VCloudError]) -> VCloudError:
    parameters = inspect.signature(kind.__init__).parameters.values()
    named = {
        one.name: draw(argument(one.name, kind))
        for one in parameters
        if one.kind is one.KEYWORD_ONLY
    }
    error = kind(draw(ANY), **named)
    if draw(st.booleans()):
        error.outcome_unknown = True
    return error


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
@STEADY
@given(data=st.data())
def test_any_text_in_any_argument_is_one_printable_line(
    kind: type[VCloudError], data: st.DataObject
) -> None:
    error = data.draw(errors(kind))
    for one in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert not harmful(str(one))
        assert len(str(one).splitlines()) <= 1
        assert not harmful(repr(one))
        print(one, file=io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))


@STEADY
@given(ANY, ANY)
def test_the_text_keeps_what_is_printable(before: str, after: str) -> None:
    assert str(VCloudError(f"{before}\x1b{after}")) == f"{printable(before)}\\x1b{printable(after)}"
    assert VCloudError(before).args == (before,)


class Loud(APIError):
    """One with a text of its own, as a user's subclass may have it."""

    def __str__(self) -> str:
        return f"loud: {self.message}\n{super().__str__()}"

    def __repr__(self) -> str:
        return f"Loud({self.message})"


class Words:
    """A class with a text, mixed in before ours."""

    def __str__(self) -> str:
        return HALF


class Mixed(Words, TransportError):
    """One that has the text of another base."""


class Key(KeyError, VCloudError):
    """One that is an error of Python's first."""


@pytest.mark.parametrize("kind", [Mixed, Key])
def test_a_subclass_with_the_text_of_another_base_is_printable(kind: type[VCloudError]) -> None:
    assert "busy" in str(kind(HALF))
    assert_harmless(kind(HALF))


def test_a_subclass_with_a_text_of_its_own_is_printable() -> None:
    error = Loud(HALF, status=500)
    assert_harmless(error)
    assert str(error).startswith(r"loud: busy\x1b[2J")
    assert "Loud(busy" in repr(error)
    assert Loud.__str__.__qualname__ == "Loud.__str__"


def test_an_argument_that_is_not_a_string_is_shown_printable() -> None:
    class Odd:
        def __repr__(self) -> str:
            return HALF

    assert_harmless(VCloudError(Odd()))
    assert_harmless(VCloudError(Odd(), HALF))


def test_a_cleanup_that_could_not_be_made_names_its_reason_printable() -> None:
    error = CleanupError(f"desktop {HALF} runs: {OSError(HALF)}", provider=HALF, ids=[HALF])
    assert error.ids == (HALF,)
    assert_harmless(error)


def test_a_handlers_text_is_printable_and_its_fields_are_unchanged() -> None:
    error = CommandFailed(HALF, HALF)
    assert (error.code, error.message) == (HALF, HALF)
    assert_harmless(error)
