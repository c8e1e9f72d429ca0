from __future__ import annotations

from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vcloud import InvalidArgumentError
from vcloud._core.request import Request, Response, path_segment, query


@given(st.text(min_size=1).filter(lambda text: text not in (".", "..")))
def test_any_text_is_exactly_one_segment_and_comes_back_unchanged(text: str) -> None:
    try:
        quoted = path_segment(text)
    except InvalidArgumentError:
        with pytest.raises(UnicodeEncodeError):
            text.encode()
        return
    assert quoted.isascii()
    assert not set(quoted) & set("/?#\\ \r\n")
    assert unquote(quoted) == text


@pytest.mark.parametrize("bad", ["", ".", "..", None, True, 1.0, 10**19, b"x", "\ud800"])
def test_an_invalid_id_is_refused_with_the_argument_name(bad: object) -> None:
    with pytest.raises(InvalidArgumentError, match="machine id"):
        path_segment(bad, "machine id")  # type: ignore[arg-type]


@given(
    st.dictionaries(
        st.sampled_from("abc"), st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
    )
)
def test_query_survives_a_round_trip(parameters: dict[str, str]) -> None:
    assert (
        dict(parse_qsl(query(parameters), keep_blank_values=True, strict_parsing=bool(parameters)))
        == parameters
    )


def test_query_writes_each_kind_of_value_as_the_documents_do() -> None:
    at = datetime(2023, 9, 15, 8, 42, 36, 564000, tzinfo=timezone(timedelta(hours=2)))
    parameters = {"a": True, "b": False, "c": None, "d": 7, "e": ["x", "y z"], "f": at, "g": "ü/&"}
    assert (
        query(parameters)
        == "a=true&b=false&d=7&e=x,y%20z&f=2023-09-15T06%3A42%3A36.564Z&g=%C3%BC%2F%26"
    )


def test_bodies_are_not_in_reprs() -> None:
    assert "hunter2" not in repr(Request("POST", "/auth/login", body=b'{"password":"hunter2"}'))
    assert "hunter2" not in repr(Response(200, {}, b"hunter2"))
