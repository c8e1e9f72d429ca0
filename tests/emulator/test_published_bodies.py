"""How the emulated published StreamSpace reads bodies. What it says was seen on the server."""

from __future__ import annotations

from typing import Final

import pytest

from vcloud.emulator.streamspace.published.reading import ABSENT, BodyError, Field, read

RESOURCES: Final = (Field(name="memory", go="Memory"), Field(name="cpu", go="CPU"))
CAPACITY: Final = (Field(name="maxSessions", go="MaxSessions", kind="int"),)
FIELDS: Final = (
    Field(name="user", go="User", required=True),
    Field(name="email", go="Email", email=True),
    Field(name="platform", go="Platform", one_of=("vm", "cloud")),
    Field(name="tags", go="Tags", kind="[]string"),
    Field(name="persistentHome", go="PersistentHome", kind="bool", pointer=True),
    Field(name="count", go="Count", kind="int"),
    Field(name="manifest", go="Manifest", kind="any"),
    Field(name="payload", go="Payload", kind="map"),
    Field(name="resources", go="Resources", pointer=True, inner=RESOURCES),
    Field(name="capacity", go="Capacity", struct="AgentCapacity", inner=CAPACITY),
)
UNTYPED: Final = 'struct { Memory string "json:\\"memory\\""; CPU string "json:\\"cpu\\"" }'
KEY: Final = "looking for beginning of object key string"
VALUE: Final = "looking for beginning of value"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "EOF"),
        (b"  ", "EOF"),
        (b"{", "unexpected EOF"),
        (b'{"user":', "unexpected EOF"),
        (b'{"user":"a', "unexpected EOF"),
        (b"[1,", "unexpected EOF"),
        (b"hello", f"invalid character 'h' {VALUE}"),
        (b"NaN", f"invalid character 'N' {VALUE}"),
        (b'{"user":NaN}', f"invalid character 'N' {VALUE}"),
        (b"{user:1}", f"invalid character 'u' {KEY}"),
        (b"{'user':1}", f"invalid character '\\'' {KEY}"),
        (b'{"user":"a",}', f"invalid character '}}' {KEY}"),
        (b'{"user":"a" "b"}', "invalid character '\"' after object key:value pair"),
        (b'{"user" 1}', "invalid character '1' after object key"),
    ],
    ids=str,
)
def test_what_is_no_json(body: bytes, said: str) -> None:
    with pytest.raises(BodyError) as caught:
        read(body, "", FIELDS)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"user":1}', "number into Go struct field .user of type string"),
        (b'{"user":{}}', "object into Go struct field .user of type string"),
        (b'{"user":"a","tags":"x"}', "string into Go struct field .tags of type []string"),
        (b'{"user":"a","tags":["x",true]}', "bool into Go struct field .tags of type string"),
        (b'{"persistentHome":0}', "number into Go struct field .persistentHome of type bool"),
        (b'{"count":1.5}', "number 1.5 into Go struct field .count of type int"),
        (b'{"count":true}', "bool into Go struct field .count of type int"),
        (b'{"payload":[]}', "array into Go struct field .payload of type map[string]interface {}"),
        (b'{"resources":"x"}', f"string into Go struct field .resources of type {UNTYPED}"),
        (b'{"resources":{"cpu":1}}', "number into Go struct field .resources.cpu of type string"),
        (b'{"capacity":"x"}', "string into Go struct field .capacity of type AgentCapacity"),
        (
            b'{"capacity":{"maxSessions":"3"}}',
            "string into Go struct field AgentCapacity.capacity.maxSessions of type int",
        ),
        (b'{"count":"x","user":1}', "string into Go struct field .count of type int"),
    ],
    ids=str,
)
def test_the_first_field_of_a_wrong_type_is_named(body: bytes, said: str) -> None:
    with pytest.raises(BodyError) as caught:
        read(body, "", FIELDS)
    assert str(caught.value) == f"json: cannot unmarshal {said}"


def test_what_is_nested_too_deep() -> None:
    with pytest.raises(BodyError, match="^exceeded max depth$"):
        read(b"[" * 100_000, "", FIELDS)


@pytest.mark.parametrize(("body", "kind"), [(b"[]", "array"), (b'"x"', "string"), (b"1", "number")])
def test_what_is_no_object_is_named_with_its_type(body: bytes, kind: str) -> None:
    with pytest.raises(
        BodyError, match=rf"^json: cannot unmarshal {kind} into Go value of type a\.B$"
    ):
        read(body, "a.B", FIELDS)
    with pytest.raises(BodyError) as caught:
        read(body, "", (*FIELDS[:1], *FIELDS[4:5]))
    assert str(caught.value).endswith(
        'struct { User string "json:\\"user\\" binding:\\"required\\""; '
        'PersistentHome *bool "json:\\"persistentHome\\"" }'
    )


def test_required_fields_and_words_are_checked_together() -> None:
    with pytest.raises(BodyError) as caught:
        read(b'{"email":"x","platform":"y"}', "models.Request", FIELDS)
    assert str(caught.value).splitlines() == [
        f"Key: 'Request.{name}' Error:Field validation for '{name}' failed on the '{tag}' tag"
        for name, tag in (("User", "required"), ("Email", "email"), ("Platform", "oneof"))
    ]
    with pytest.raises(BodyError, match=r"^Key: 'User' Error"):
        read(b"null", "", FIELDS)


def test_names_match_in_any_case_and_what_is_unknown_or_null_is_left_out() -> None:
    found = read(
        b'{"USER":"b","user":null,"Tags":[],"idle_timeout":1,"RESOURCES":{"CPU":"1"}} rest',
        "",
        FIELDS,
    )
    assert found == {
        "user": "b",
        "email": None,
        "platform": None,
        "tags": [],
        "persistentHome": None,
        "count": None,
        "manifest": ABSENT,
        "payload": None,
        "resources": {"memory": None, "cpu": "1"},
        "capacity": None,
    }
    assert read(b'{"user":"a","manifest":null}', "", FIELDS)["manifest"] is None
