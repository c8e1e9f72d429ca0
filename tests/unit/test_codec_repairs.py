"""Amounts, byte order marks and half characters: what decoding repairs."""

from __future__ import annotations

import json
import pickle
from decimal import Decimal
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.contract_harness import PROVIDERS
from tests.unit.hostile import answered
from tests.unit.test_codec import CODEC, Tagged
from vcloud import DecodeError
from vcloud._core.scalars import (
    Amount,
)

DIGITS = "0.1000000000000000000001"


@frozen(kw_only=True)
class Bill:
    cost: Amount
    number: int
    ratio: float = 0.0
    free: dict[str, Any] | None = None
    extra: Any = None


@given(
    st.from_regex(r"-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,30})?([eE](-?[0-9]|\+[0-9]))?", fullmatch=True),
    st.booleans(),
)
def test_an_amount_keeps_every_digit_both_ways(digits: str, quoted: bool) -> None:
    wire = f'"{digits}"' if quoted else digits
    body = f'{{"cost":{wire},"number":1}}'.encode()
    fast, lenient = CODEC.decode(body, Bill).cost, CODEC.decode_leniently(body, Bill).cost
    assert fast == lenient == Decimal(digits)
    assert str(fast) == str(lenient)


@pytest.mark.parametrize("amount", ["12.50", "1234567890123456.78", DIGITS, f'"{DIGITS}"'])
def test_an_amount_beside_a_misspelt_number_is_the_same_amount(amount: str) -> None:
    bills = [
        CODEC.decode(f'{{"cost":{amount},"number":{number}}}'.encode(), Bill)
        for number in ("1", '"1"')
    ]
    assert bills[0] == bills[1]
    assert str(bills[0].cost) == str(bills[1].cost) == amount.strip('"')


def test_a_number_that_is_not_an_amount_is_a_plain_float_in_the_lenient_decoder_too() -> None:
    body = b'{"cost":1,"number":"2","ratio":0.5,"free":{"a":[0.25]},"extra":{"b":1.5}}'
    bill = CODEC.decode(body, Bill)
    assert bill.free is not None
    for value in (bill.ratio, bill.free["a"][0], bill.extra["b"]):
        assert type(value) is float
    assert bill == CODEC.decode(body.replace(b'"2"', b"2"), Bill)


@pytest.mark.parametrize("field", ["ratio", "extra"])
def test_a_number_too_large_for_a_float_is_refused_both_ways(field: str) -> None:
    for number in ("1", '"1"'):
        with pytest.raises(DecodeError):
            CODEC.decode(f'{{"cost":1,"number":{number},"{field}":1e999}}'.encode(), Bill)


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        ("Render \\ud83d", "Render \ufffd"),
        ("\\ude00\\ud83d", "\ufffd\ufffd"),
        ("\\ud83d\\ud83d\\ude00", "\ufffd\U0001f600"),
        ("\\ud83d\\\\ude00", "\ufffd\\ude00"),
        ("\\\\ud83d \\uDFFF", "\\ud83d \ufffd"),
        ("\\ud83d\\ude00", "\U0001f600"),
    ],
)
@pytest.mark.parametrize("count", ["3", '"3"'])
def test_half_a_surrogate_pair_becomes_a_replacement_character(
    escaped: str, text: str, count: str
) -> None:
    body = f'{{"tags":["{escaped}"],"count":{count},"{escaped}":1}}'.encode()
    assert CODEC.decode(body, Tagged).tags == (text,)


@given(st.text(st.characters(codec=None), max_size=20))
def test_any_text_that_json_can_write_is_read(text: str) -> None:
    body = json.dumps({"tags": [text], "count": 1}).encode()
    # Adjacent halves make one character, which is what the escapes of them say.
    expected = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    (read,) = CODEC.decode(body, Tagged).tags
    assert read.count("\ufffd") >= expected.count("\ufffd") > 0 or read == expected
    assert not any("\ud800" <= character <= "\udfff" for character in read)


@pytest.mark.parametrize("count", ["3", '"3"'])
def test_a_byte_order_mark_is_skipped(count: str) -> None:
    body = b"\xef\xbb\xbf" + f'{{"tags":["\u00e9"],"count":{count}}}'.encode()
    assert CODEC.decode(body, Tagged) == Tagged(tags=("\u00e9",), count=3)
    with pytest.raises(DecodeError, match="not JSON"):
        CODEC.decode(b"\xef\xbb\xbf" * 2 + body, Tagged)
    with pytest.raises(DecodeError, match="not JSON"):
        CODEC.decode(b"\xef\xbb\xbf" + b'{"tags":["\xff"],"count":3}', Tagged)


async def test_repaired_json_can_be_shown_and_pickled() -> None:
    item = '{"id":"1","attributes":{"name":"Render \\ud83d"},"\\udfff":"\\udfff"}'
    text = '\ufeff{"machines":[' + item + '],"client_code":200}'
    client, _ = answered(PROVIDERS["computers"], 200, {}, text.encode())
    (machine,) = await client.machines.list().all()
    assert machine.name == "Render \ufffd"
    for one in (machine, pickle.loads(pickle.dumps(machine))):
        assert one.raw == {
            "id": "1", "attributes": {"name": "Render \ufffd"}, "\ufffd": "\ufffd"
        }  # fmt: skip
