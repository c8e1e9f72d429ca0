"""The values of a query that StreamSpace's published server refuses, known before they are sent."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vcloud.emulator.streamspace.published.refusals import PublishedError
from vcloud.emulator.streamspace.published.screening import refuse_query
from vcloud.providers.streamspace.refusals import refused_by_filter


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("a--b", "'--'"),
        ("R&D", "'&'"),
        ("a;b", "';'"),
        ("#1", "'#'"),
        ("a|b", "'|'"),
        ("`a`", "'`'"),
        ("$(a)", "'$('"),
        ("/*", "'/*'"),
        ("x\0", "'\\x00'"),
        ("Union \t SELECT", "'Union \\t SELECT'"),
        ("select a from b", "'select a from'"),
        ("JavaScript:", "'JavaScript:'"),
        ("(a)", "'(' and ')'"),
        ("é" * 5001, "10000 bytes"),
    ],
)
def test_reason_names_what_is_refused(value: str, why: str) -> None:
    assert why in refused_by_filter(value)


@pytest.mark.parametrize(
    "value", ["", "admin", "a-b", "a(b", "select from", "union\vselect", "it's", "é" * 5000]
)
def test_other_values_are_sent(value: str) -> None:
    assert refused_by_filter(value) == ""


WORDS = (
    "-- - # ; & | ` $( $ ( ) * \\ / /* union select insert into delete from drop table update set "
    "exec( exec execute script > script> javascript: onerror onerror= onload = a é"
)
PIECES = st.sampled_from([*WORDS.split(), " ", "\t", "\n", "\0", "x" * 9_990])


@settings(deadline=None, max_examples=300)
@given(st.lists(PIECES, max_size=6).map("".join))
def test_client_and_emulator_refuse_the_same(value: str) -> None:
    try:
        refuse_query([("category", value)])
    except PublishedError:
        refused = True
    else:
        refused = False
    assert bool(refused_by_filter(value)) is refused
