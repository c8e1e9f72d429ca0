"""How texts from outside are shown."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcloud.errors.text import printable

ANY = st.text(st.characters())  # lone surrogates, too


@given(ANY)
def test_shown_text_is_one_printable_line(text: str) -> None:
    shown = printable(text)
    assert not {unicodedata.category(one) for one in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert len(shown.splitlines()) <= 1
    shown.encode()


@given(ANY)
def test_escaped_text_is_not_escaped_again(text: str) -> None:
    assert printable(printable(text)) == printable(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zürich \N{NO-BREAK SPACE}東京 \N{GRINNING FACE}", None),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("a\r\n\tb\x9b31m", r"a\r\n\tb\x9b31m"),
        ("\u202etxt.exe\u2028", r"\u202etxt.exe\u2028"),
        ("half an emoji: \ud83d", r"half an emoji: \ud83d"),
        ("\U000e0041", r"\U000e0041"),
        ("it reads 'C:\\temp'", None),
    ],
)
def test_characters_are_shown_as_themselves_or_escaped(text: str, shown: str | None) -> None:
    assert printable(text) == (text if shown is None else shown)
