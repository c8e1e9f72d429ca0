"""Numbers that no service should send: in answers, in each spelling, and in headers."""

from __future__ import annotations

import importlib
import inspect
import json
import math
import pkgutil
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import msgspec
import pytest
from aiohttp import web
from attrs import frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st

import vcloud.providers
from vcloud import DecodeError, Endpoint, HMACAuth, RetryPolicy, VCloud
from vcloud._core.codec import Codec
from vcloud._core.scalars import (
    MAX_DECIMAL_PLACES,
    MAX_DURATION,
    MAX_ID,
    MAX_NUMBER,
    Amount,
    Float,
    GoDuration,
    Id,
    Instant,
    Integer,
    Minutes,
    Seconds,
)

CODEC = Codec()
NOW = 1_771_000_000.0
STEADY = settings(derandomize=True, deadline=None, database=None)


@frozen(kw_only=True)
class Holder:
    """A number of each kind, each alone in its answer."""

    whole: Integer | None = None
    real: Float | None = None
    seconds: Seconds | None = None
    minutes: Minutes | None = None
    go: GoDuration | None = None
    at: Instant | None = None
    id: Id | None = None
    named: dict[str, Integer] | None = None


@frozen(kw_only=True)
class Bill:
    """Amounts as our models have them."""

    amount: Amount | None = None
    amounts: tuple[Amount, ...] = ()


NUMBERS = ["amount", "whole", "real", "seconds", "minutes"]
TIMES = ["go", "at"]

#: As JSON numbers and as texts.
ABSURD = [
    "1e999999", "-1e999999", "1E+1000000000", "1e400", "1e19", "1e9999999999999999999999999",
    "1" * 20, "-" + "1" * 30, "9" * 4300, "9" * 5000, "1" + "0" * 400 + ".5", str(MAX_NUMBER * 2),
]  # fmt: skip
#: As texts only.
ABSURD_TEXTS = [
    "NaN", "nan", "-NaN", "sNaN", "NaN123", "Infinity", "-Infinity", "inf", "+INF", "infinity",
    "1_000", "1__0", "_1", "1_", "1e1_0", "\uff11\uff12", "1\uff11", "\u0663", "\u00b2", "1,5",
    "0x10",
    "1e", "e5", ".", "-", "--1", "1 2", "0b1", "1e0005", "1" * 65, "0" * 100, "", " ", "true",
    "\u221e",
]  # fmt: skip
#: In escapes, which a look at the bytes of a text would pass over.
ABSURD_LITERALS = [
    '"n\\u0061n"', '"\\u004eaN"', '"N\\u0061N"', '"s\\u004eaN"', '"sN\\u0061N"', '"i\\u006ef"',
    '"\\u0069nf"',
    '"in\\u0066"', '"1\\u005f000"', '"\\u005f1"', '"\\uff11"', '"1\\u0065999999"',
    '"\\u00091e999999"',
    '"\\t1e999999"', '"\\u0020NaN"', '"\\n-Infinity"', '"1e\\u0039\\u0039\\u0039\\u0039"',
    "NaN", "-Infinity", "Infinity", "01", "+1", ".5", "1.", "1e", "0x10", "1_000",
]  # fmt: skip
LITERALS = [
    *ABSURD,
    *(json.dumps(text) for text in [*ABSURD, *ABSURD_TEXTS]),
    *(f'"{text}"' for text in ABSURD_TEXTS if not text.isascii()),
    *ABSURD_LITERALS,
]


def body_of(field: str, literal: str) -> bytes:
    return f'{{"{field}": {literal}}}'.encode()


def both(field: str, literal: str) -> list[Any]:
    """What the fast way (which may turn to the lenient one) and the lenient one make of it."""
    found: list[Any] = []
    holder: type[Any] = Bill if field.startswith("amount") else Holder
    for decode in (CODEC.decode, CODEC.decode_leniently):
        try:
            found.append(getattr(decode(body_of(field, literal), holder), field))
        except DecodeError as error:
            found.append(DecodeError if len(f"{error}") < 2000 else error)
    return found


@pytest.mark.parametrize("field", [*NUMBERS, *TIMES])
@pytest.mark.parametrize("literal", LITERALS, ids=lambda text: f"{text:.30}")
def test_an_absurd_number_is_a_decode_error_both_ways(field: str, literal: str) -> None:
    assert both(field, literal) == [DecodeError, DecodeError]


@pytest.mark.parametrize("literal", ["1e999999", '"1_0"', '"NaN"', "9" * 400])
def test_an_absurd_number_in_a_list_or_a_mapping_is_a_decode_error(literal: str) -> None:
    assert both("amounts", f"[1, {literal}]") == [DecodeError, DecodeError]
    assert both("named", f'{{"a": {literal}}}') == [DecodeError, DecodeError]


@pytest.mark.parametrize(
    ("field", "literal", "value"),
    [
        ("amount", "12.50", Decimal("12.50")),
        ("amount", '"12.50"', Decimal("12.50")),
        ("amount", '" 12.5 "', Decimal("12.5")),
        ("amount", "-0.0", Decimal("-0.0")),
        ("amount", "1e3", Decimal(1000)),
        ("amount", str(MAX_NUMBER), Decimal(MAX_NUMBER)),
        ("amount", f"1e-{MAX_DECIMAL_PLACES}", Decimal(10) ** -MAX_DECIMAL_PLACES),
        ("amount", f"1e-{MAX_DECIMAL_PLACES + 1}", DecodeError),
        ("amount", "1e-999999", DecodeError),
        ("amount", str(MAX_NUMBER + 1), DecodeError),
        ("whole", "-0", 0),
        ("whole", '"-0"', 0),
        ("whole", '"+7"', 7),
        ("whole", "1e3", 1000),
        ("whole", "9007199254740993.0", 9007199254740993),
        ("whole", str(-MAX_NUMBER), -MAX_NUMBER),
        ("whole", str(-MAX_NUMBER - 1), DecodeError),
        ("whole", "1.5", DecodeError),
        ("whole", '"1.0"', DecodeError),
        ("real", "1e18", 1e18),
        ("real", '".5"', 0.5),
        ("real", "-1e19", DecodeError),
        ("real", "1e-999999", 0.0),
        ("seconds", "1e3", timedelta(seconds=1000)),
        ("seconds", str(int(MAX_DURATION.total_seconds())), timedelta(seconds=9223372036)),
        ("seconds", str(int(MAX_DURATION.total_seconds()) + 1), DecodeError),
        ("minutes", '"1.5"', timedelta(seconds=90)),
        ("minutes", "-1e10", DecodeError),
        ("go", '"2562047h47m16.854775807s"', MAX_DURATION),
        ("go", '"2562048h"', DecodeError),
        ("go", '"-99999999999h"', DecodeError),
        ("go", '"1e9h"', DecodeError),
        ("go", '"\\uff11h"', DecodeError),
        ("id", "7", "7"),
        ("id", "1" * MAX_ID, "1" * MAX_ID),
        ("id", "1" * (MAX_ID + 1), DecodeError),
        ("id", "1e400", DecodeError),
        ("at", "1771000000", DecodeError),
        ("at", '"0001-01-01T00:00:00Z"', datetime(1, 1, 1, tzinfo=UTC)),
        ("at", '"10000-01-01T00:00:00Z"', DecodeError),
        ("at", '"2026-13-01T00:00:00Z"', DecodeError),
        ("at", '"\\uff12026-01-01T00:00:00Z"', DecodeError),
    ],
)
def test_numbers_and_other_texts_are_distinguished(field: str, literal: str, value: Any) -> None:
    found = both(field, literal)
    assert found == [value, value]
    assert type(found[0]) is type(found[1]) is type(value)
    assert f"{found[0]}" == f"{found[1]}"


digits = st.text("0123456789", min_size=1, max_size=30)
plain = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "-", "+", " ", "_"]),
        digits,
        st.sampled_from(["", ".", "_", "\uff11"]),
        digits | st.just(""),
        st.sampled_from(["", "e", "E", "e+", "E-"]),
        st.integers(0, 2_000_000).map(str) | st.just(""),
        st.sampled_from(["", " ", "\n", "_", "s", "h"]),
    ),
)
spellings = (
    plain
    | st.integers().map(str)
    | st.floats().map(repr)
    | st.decimals(allow_nan=True, allow_infinity=True).map(str)
    | st.text("0123456789eE+-._ nNaAiIfFsS\uff11\u0663\u00a0", max_size=12)
    | st.sampled_from([*ABSURD, *ABSURD_TEXTS])
)


@st.composite
def literals(draw: st.DrawFn) -> str:
    """A number as JSON, or as a JSON text of any spelling."""
    said = draw(spellings)
    if draw(st.booleans()):
        return said.strip() or "null"
    escaped = draw(st.booleans())
    if escaped and said:
        at = draw(st.integers(0, len(said) - 1))
        code = f"\\u{ord(said[at]):04x}"
        return json.dumps(said[:at])[:-1] + code + json.dumps(said[at + 1 :])[1:]
    return json.dumps(said, ensure_ascii=draw(st.booleans()))


@settings(STEADY, max_examples=1500)
@given(st.sampled_from([*NUMBERS, *TIMES]), literals())
@example("amount", '"1_0"')
@example("real", str(2**63))
def test_both_ways_agree_on_every_spelling_and_what_they_give_can_be_used(
    field: str, literal: str
) -> None:
    fast, lenient = both(field, literal)
    if fast is None or fast is DecodeError:
        assert lenient is fast
        return
    assert fast == lenient
    assert (type(fast), f"{fast}") == (type(lenient), f"{lenient}")
    if isinstance(fast, timedelta):
        assert abs(fast) <= MAX_DURATION
        assert (datetime(2026, 1, 1, tzinfo=UTC) + fast).year > 1700
    elif not isinstance(fast, datetime):
        assert math.isfinite(fast)
        assert abs(int(fast)) <= MAX_NUMBER + 1
        assert len(f"{fast:f}") < 200
        assert math.isfinite(float(fast))


# -- models ----------------------------------------------------------------------------------------

#: Modules whose classes are never decoded: what is sent, and what is counted here.
OURS = (
    "desktops.actions",
    "desktops.requests",
    "desktops.typed_text",
    "streamspace.realtime.vnc_relay",
)
#: Classes that are never decoded.
SENT = {"AgentOptions", "LinkOptions", "Approval", "Capacity"}


def models() -> Iterator[type[Any]]:
    packages = pkgutil.walk_packages(vcloud.providers.__path__, "vcloud.providers.")
    for name in sorted(one.name for one in packages):
        if not name.endswith(OURS):
            module = importlib.import_module(name)
            for _, kind in inspect.getmembers(module, attrs.has):
                if kind.__module__ == name and kind.__name__ not in SENT:
                    yield kind


def test_no_field_of_a_model_is_a_number_without_a_bound() -> None:
    kinds = list(models())
    assert len(kinds) > 60
    found = {
        f"{kind.__name__}.{name}"
        for kind in kinds
        # As it is written: attrs resolves a field's type once somebody asks, and Integer is an int.
        for base in kind.__mro__
        if attrs.has(base)
        for name, hint in inspect.get_annotations(base).items()
        if re.search(r"\b(int|float|Decimal)\b", str(hint))
    }
    assert found == set()


# -- through a client ------------------------------------------------------------------------------


async def serving(answer: Mapping[str, Any] | str, headers: Mapping[str, str]) -> web.ServerRunner:
    async def handle(request: web.BaseRequest) -> web.Response:
        body = answer if isinstance(answer, str) else json.dumps(answer)
        if request.path.endswith("/auth/login"):
            body = json.dumps({"token": "t", "expires_at": "2099-01-01T00:00:00Z"})
        return web.Response(text=body, content_type="application/json", headers=headers)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner


@pytest.mark.parametrize("literal", ["1e999999", '"1E+1000000000"', '"NaN"', '"1_000"', "9" * 4000])
async def test_an_absurd_cost_is_a_decode_error_of_the_call(literal: str) -> None:
    machine = f'{{"id":"1","type":"machine","attributes":{{"cost":{literal}}}}}'
    runner = await serving(f'{{"client_code":200,"count":1,"machines":[{machine}]}}', {})
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v2"
    once = RetryPolicy(attempts=1)
    try:
        async with VCloud(
            streams=Endpoint(url, auth=HMACAuth("a key", "a secret"), retry=once)
        ) as cloud:
            with pytest.raises(DecodeError, match="cost|not JSON"):
                await cloud.streams.machines.list(
                    start_at=datetime(2026, 1, 1, tzinfo=UTC),
                    end_at=datetime(2026, 1, 2, tzinfo=UTC),
                ).all()
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("number", ["1e400", "9" * 400, '"\\uff11"', '"nan"', "1e25"])
async def test_absurd_totals_of_a_list_are_a_decode_error_of_the_call(number: str) -> None:
    runner = await serving(
        f'{{"client_code":200,"count":{number},"page":1,"next_page":null,"machines":[]}}', {}
    )
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        async with VCloud(computers=Endpoint(url, auth=HMACAuth("a key", "a secret"))) as cloud:
            with pytest.raises(DecodeError):
                await cloud.computers.machines.list().all()
    finally:
        await runner.cleanup()


def test_a_bound_of_the_fast_way_is_that_of_the_lenient_one() -> None:
    """msgspec compares in C: what it takes for the bound must be what Python takes for it."""
    for kind, bound in ((Integer, MAX_NUMBER), (Float, float(MAX_NUMBER))):
        decoder = msgspec.json.Decoder(kind)
        assert decoder.decode(str(bound)) == bound
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(f"{int(bound) + 2000}")
