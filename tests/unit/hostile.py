"""Answers that no service should give, and clients that get them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import frozen
from hypothesis import settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from tests.contract.contract_harness import PROVIDERS, CannedTransport, Provider
from vcloud import Endpoint, RetryPolicy
from vcloud._core.client import client_with
from vcloud._core.codec import Codec

ONCE = RetryPolicy(attempts=1)
#: The same examples in every run: what fails, fails for everybody, and for a change that was made.
STEADY = settings(derandomize=True, deadline=None, database=None)

LONG = "x" * 10_240
TEXTS = st.text(st.characters(codec=None), max_size=20) | st.sampled_from(
    [
        "",
        " ",
        "\r\n",
        "a\r\nX-Injected: 1",
        "\x00",
        "\ud800",
        "..",
        ".",
        "/",
        "%2f",
        "../../admin",
        "?a=b",
        "#",
        "\\",
        "é",
        "🙂",
        LONG,
    ]
)
_WORDS = [
    "2023-09-15T06:42:36.564Z",
    "30m",
    "running",
    "error",
    "off",
    "1_hour",
    "7",
    "true",
    200,
    4204,
]
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | TEXTS
    | st.sampled_from(_WORDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            TEXTS | st.sampled_from(["id", "attributes", "status", "error", "message", "code"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
#: JSON that no Python value is written as, and what is nearly JSON.
LITERALS = st.sampled_from(
    [
        "1e999", "-1e999", "1e-999", "NaN", "Infinity", "-Infinity", "9" * 30, "-" + "9" * 30,
        "9" * 5000, "1." + "0" * 5000,
        '"\\ud800"', '"\\u0000"', '"9999-12-31T23:59:59.999999-14:00"',
        '"0001-01-01T00:00:00+14:00"', f'"{"9" * 5000}"', '"1e400"',
        '"nan"', f'"{"9" * 4500}_min"', f'"Command failed with code {"9" * 5000}"',
        '"Command failed with code \u0663"',
        '{"issues":[{"path":7,"message":[]},3,{"path":{"a":1}}]}', "[" * 60 + "]" * 60,
        "[" * 300 + "]" * 300,
        '{"a":' * 2000 + "1" + "}" * 2000, "[" * 100_000, 'null,"id":7', 'null,"attributes":{}',
        "tru", "", '"', "{",
    ]
)  # fmt: skip

_HOLE = "@@ a hole @@"


@st.composite
def spoiled(draw: st.DrawFn, document: Any) -> bytes:
    """A document some of whose values are replaced, removed, doubled or added."""
    value = json.loads(json.dumps(document))
    fillings: list[str] = []
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(value))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        how = draw(st.sampled_from(["replace", "replace", "remove", "double", "add"]))
        if how == "remove":
            del holder[key]
        elif how == "double" and isinstance(holder, list):
            holder.insert(key, holder[key])
        elif how == "double":
            holder[draw(TEXTS)] = holder[key]
        else:
            holder[draw(TEXTS) if how == "add" and isinstance(holder, dict) else key] = _HOLE
            fillings.append(draw(JSON_VALUES.map(json.dumps) | LITERALS))
    text = json.dumps(value)
    for filling in fillings:
        text = text.replace(json.dumps(_HOLE), filling, 1)
    return text.encode()


def _places(value: Any) -> list[tuple[Any, Any]]:
    keys: list[Any] = (
        list(value)
        if isinstance(value, dict)
        else list(range(len(value)))
        if isinstance(value, list)
        else []
    )
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]


#: What may come in place of JSON.
RUBBISH = (
    JSON_VALUES.map(lambda value: json.dumps(value).encode())
    | LITERALS.map(str.encode)
    | st.binary(max_size=40)
    | st.sampled_from([b"\xef\xbb\xbf{}", b"<html>502 Bad Gateway</html>", b"not found"])
)
NUMBERS = st.sampled_from(
    [
        "0",
        "1",
        "-1",
        "1e9",
        "1e400",
        "nan",
        "inf",
        "-inf",
        "9" * 30,
        "9" * 5000,
        "1_0",
        "\u0663",
        "\u00b2",
        "",
        " 7 ",
        "0x10",
    ]
)
DATES = st.sampled_from(
    [
        "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 -0000",
        "Wed, 21 Oct 99999 07:28:00 GMT",
        "Wed, 21 Oct 2015 07:28:00 +99999999999999999999", f"Wed, 21 Oct {'9' * 5000} 07:28:00 GMT",
        "1 Jan 0001 00:00:00 +2359",
        "31 Dec 9999 23:59:59 -2359", "1 Jan 1 0:0:0 -0000", "21 Oct 2015", ",", "Oct", "Wed",
        "Wed, 21 Oct 2015 7.28.00 GMT",
    ]
)  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "Retry-After", "Retry-After-Ms", "Date", "X-RateLimit-Limit", "X-RateLimit-Remaining",
            "X-RateLimit-Reset",
            "X-Request-Id", "Content-Type", "Location",
        ]
    ),
    NUMBERS | DATES | TEXTS | st.floats().map(str) | st.integers().map(str),
    max_size=4,
)  # fmt: skip
STATUSES = st.sampled_from(
    [
        200,
        201,
        204,
        301,
        304,
        400,
        401,
        403,
        404,
        409,
        422,
        429,
        440,
        480,
        500,
        502,
        503,
        599,
        700,
        999,
    ]
)


@frozen
class Case:
    """A documented call, and what its document shows of answers."""

    provider: Provider
    operation: str
    call: Callable[[Any], Awaitable[object]]
    answers: list[Any]


def cases(*apis: str) -> list[Case]:
    """Every documented call of these providers."""
    return [
        Case(
            PROVIDERS[api],
            operation["id"],
            call,
            [answer["body"] for answer in operation["responses"]] or [{}],
        )
        for api in apis
        for operation in PROVIDERS[api].operations
        for call in PROVIDERS[api].calls[operation["id"]]
    ]


def answered(
    provider: Provider,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    codec: Codec | None = None,
    **settings: Any,
) -> tuple[Any, CannedTransport]:
    """A client that gets this for everything it asks."""
    transport = CannedTransport(status, body, CIMultiDict(headers))  # type: ignore[arg-type]
    endpoint = Endpoint(provider.document["base_url"], auth=provider.auth(), retry=ONCE, **settings)
    client = client_with(
        provider.client_class, endpoint, transport=transport, codec=codec, own=provider.own
    )
    return client, transport
