"""Names from a service (ids, states, codes, words, headers) have a bounded length in errors."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from aiohttp import web

from tests.contract.contract_harness import PROVIDERS
from tests.unit.hostile import answered
from vcloud import (
    APIError,
    DecodeError,
    Endpoint,
    RetryPolicy,
    TransportError,
    VCloudError,
    WaitFailed,
    WaitTimeout,
)
from vcloud.errors import CleanupError
from vcloud.errors.wording import MAX_TEXT
from vcloud.providers.desktops import NoStreamError

LONG = "x" * 2**20


def json_of(api: str, **fields: str) -> bytes:
    said = ",".join(f'"{name}":"{value}"' for name, value in fields.items()).encode()
    if api == "computers":
        return b'{"client_code":200,"id":"1","attributes":{%s}}' % said
    return b"{%s}" % said


@pytest.mark.parametrize(
    ("api", "body", "wait"),
    [
        (
            "computers",
            json_of("computers", friendly_status=LONG),
            lambda cloud: cloud.machines.ref("1").wait_until("ready", timeout=0),
        ),
        (
            "streamspace",
            json_of("streamspace", id=LONG[:900], state=LONG),
            lambda cloud: cloud.sessions.ref("s").wait_until("running", timeout=0),
        ),
        (
            "streamspace-published",
            json_of("streamspace", name=LONG[:900], state=LONG),
            lambda cloud: cloud.sessions.ref("s").wait_until("running", timeout=0),
        ),
        (
            "desktops",
            json_of("desktops", id=LONG, status=LONG),
            lambda cloud: cloud.ref("d").wait_until("running", timeout=0),
        ),
    ],
)
async def test_a_long_state_makes_no_long_error_of_a_wait(api: str, body: bytes, wait: Any) -> None:
    client, _ = answered(PROVIDERS[api], 200, {}, body)
    with pytest.raises((WaitTimeout, WaitFailed)) as caught:
        await wait(client)

    error: Any = caught.value
    assert error.last.startswith("xxx")
    assert len(str(error)) < 500
    assert len(pickle.dumps(error)) < 4000


async def test_a_desktop_without_a_stream_says_so_in_few_words() -> None:
    body = json_of("desktops", id=LONG, status=LONG)
    client, _ = answered(PROVIDERS["desktops"], 200, {}, body)
    with pytest.raises(NoStreamError) as caught:
        await client.ref("d").connect_url()

    assert len(str(caught.value)) < 500
    assert len(pickle.dumps(caught.value)) < 4000


@pytest.mark.parametrize("api", PROVIDERS)
async def test_the_fields_of_a_refusal_are_short(api: str) -> None:
    body = json_of(
        "", code=LONG, error=LONG, message=LONG, details=LONG, request_id=LONG, status="error"
    )
    headers = {"X-Request-Id": LONG, "Location": LONG, "Retry-After": LONG, "Content-Type": LONG}
    calls: dict[str, Any] = {
        "computers": lambda cloud: cloud.machines.get("1"),
        "streams": lambda cloud: cloud.streams.get("1"),
        "streamspace": lambda cloud: cloud.sessions.get("1"),
        "streamspace-published": lambda cloud: cloud.sessions.get("1"),
        "desktops": lambda cloud: cloud.get("1"),
    }
    for status in (400, 429, 307):
        client, _ = answered(PROVIDERS[api], status, headers, body)
        with pytest.raises(APIError) as caught:
            await calls[api](client)

        assert len(str(caught.value)) < 5000
        assert len(pickle.dumps(caught.value)) < 30_000


async def test_a_number_for_a_code_is_short() -> None:
    body = b'{"client_code":4%s}' % (b"0" * 3000)
    client, _ = answered(PROVIDERS["computers"], 400, {}, body)
    with pytest.raises(APIError) as caught:
        await client.machines.get("1")

    assert len(str(caught.value)) < 1000
    assert len(str(caught.value.code)) < 100


async def test_a_long_transition_is_read_and_shortened() -> None:
    message = f"Cannot transition from '{LONG[:30_000]}' to 'running'"
    body = json_of("", error="no", message=message)
    client, _ = answered(PROVIDERS["streamspace"], 422, {}, body)
    with pytest.raises(APIError) as caught:
        await client.sessions.ref("s").hibernate()

    error: Any = caught.value
    assert len(error.from_state) < 300
    assert error.to_state == "running"


async def test_the_name_of_a_field_that_a_service_made_up_is_short() -> None:
    body = b'{"id":"s","state":"running","resources":7,"%s":1}' % LONG.encode()
    client, _ = answered(PROVIDERS["streamspace"], 200, {}, body)
    with pytest.raises(DecodeError) as caught:
        await client.sessions.get("s")

    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("kind", [VCloudError, TransportError, DecodeError, CleanupError])
def test_whatever_an_error_is_made_of_its_text_and_its_notes_are_bounded(
    kind: type[VCloudError],
) -> None:
    error = kind(LONG)
    error.add_note(LONG)

    assert len(str(error)) < MAX_TEXT + 100
    assert len(error.__notes__[0]) < MAX_TEXT + 100
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_the_url_of_an_error_is_bounded() -> None:
    error = APIError("no", status=400, url="https://example.com/" + LONG)

    assert len(error.url) < 2100


# -- heads: aiohttp's own limits -------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        {f"X-{number}": "y" for number in range(200)},
        {"X-Long": "y" * 9000},
        {"X-" + "y" * 9000: "z"},
    ],
    ids=["200 headers", "a value of 9 kB", "a name of 9 kB"],
)
async def test_a_head_that_is_larger_than_aiohttp_reads_is_a_short_error(
    head: dict[str, str],
) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b'{"client_code":200}', headers=head)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    provider = PROVIDERS["computers"]
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        endpoint = Endpoint(url, auth=provider.auth(), retry=RetryPolicy(attempts=1))
        async with provider.client_class(endpoint) as cloud:
            with pytest.raises(TransportError) as caught:
                await cloud.machines.get("1")
    finally:
        await runner.cleanup()

    assert len(str(caught.value)) < 2000
