"""Which hosts and web pages the emulator answers: requests byte by byte, as from browsers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from yarl import URL

from tests.emulator.http_raw import Wire, wired
from tests.emulator.realtime_raw import token
from vcloud import VCloud
from vcloud.emulator import Emulator, Fault
from vcloud.emulator.net.hosts import Hosts, host_of, is_loopback

JSON = "Content-Type: application/json"
ALL_HERE = [
    *("127.0.0.1", "127.0.0.1:8080", "127.8.9.10:1", "localhost", "localhost:3000", "LocalHost:80"),
    *("localhost.", "localhost.:80", "app.localhost", "a.b.LOCALHOST:9", "[::1]", "[::1]:8080"),
    *("[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]:8080"),
]
FOREIGN = [
    *("evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example"),
    *("evillocalhost", "127.1", "2130706433", "0x7f.1", "0.0.0.0:8080", "192.0.2.1"),
    *("[2001:db8::1]:80", "[::ffff:192.0.2.1]", "emulator:8080"),
]
INVALID = [
    *(
        "user@127.0.0.1",
        "127.0.0.1@evil.example",
        "localhost:port",
        "[::1",
        "::1",
        "localhost/",
        "",
    ),
    *("localhost,evil.example", "local\tho\tst", "http://localhost", "local host"),
    # Letters that become ASCII in lower or upper case.
    *("\u212aost.localhost", "localho\u017ft"),
]


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[Emulator, Wire]]:
    async with Emulator(machines=1, **options) as emu, wired(emu) as wire:
        yield emu, wire


def advance(*headers: str, target: str = "/_emulator/clock/advance", version: str = "1.1") -> bytes:
    """A request that does something, and needs no key."""
    body = b'{"seconds": 3600}'
    lines = (f"POST {target} HTTP/{version}", *headers, JSON, f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


async def sent(wire: Wire, request: bytes) -> tuple[int, str]:
    wire.send(request)
    status, _, body = await wire.answer()
    return status, body.decode()


@asynccontextmanager
async def untouched(emu: Emulator) -> AsyncIterator[None]:
    """Nothing was processed or recorded."""
    before = emu.clock.now()
    yield
    assert emu.clock.now() - before < 3600
    assert not emu.calls
    assert not emu.faults.rules
    assert not emu.desktops.desktops


# -- Host ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ALL_HERE)
async def test_loopback_is_answered_however_it_is_written(host: str) -> None:
    async with serving() as (emu, wire):
        before = emu.clock.now()
        assert (await sent(wire, advance(f"Host: {host}")))[0] == 200
        assert emu.clock.now() - before >= 3600


@pytest.mark.parametrize("host", FOREIGN)
async def test_foreign_host_is_misdirected(host: str) -> None:
    async with serving() as (emu, wire), untouched(emu):
        status, body = await sent(wire, advance(f"Host: {host}"))
        assert status == 421
        assert "--allow-host" in json.loads(body)["error"]
        assert await wire.is_over()


@pytest.mark.parametrize("host", INVALID)
async def test_invalid_host_is_refused(host: str) -> None:
    async with serving() as (emu, wire), untouched(emu):
        assert (await sent(wire, advance(f"Host: {host}")))[0] == 400
        assert await wire.is_over()


async def test_second_host_is_refused() -> None:
    async with serving() as (emu, wire), untouched(emu):
        assert (await sent(wire, advance("Host: localhost", "Host: localhost")))[0] == 400


async def test_only_http_1_0_may_name_no_host() -> None:
    """No browser speaks it."""
    async with serving() as (emu, wire), untouched(emu):
        assert (await sent(wire, advance()))[0] == 400
    async with serving() as (_, wire):
        assert (await sent(wire, advance(version="1.0")))[0] == 200


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost", "127.0.0.1", 200),
        ("http://evil.example", "127.0.0.1", 421),
        ("http://localhost", "evil.example", 421),
        ("http://127.0.0.1@evil.example", "127.0.0.1", 400),
        ("http://", "127.0.0.1", 400),
        ("HTTP://EVIL.EXAMPLE:80", "localhost", 421),
    ],
)
async def test_target_in_absolute_form_has_a_host_too(target: str, host: str, status: int) -> None:
    async with serving() as (emu, wire):
        path = f"{target}/_emulator/clock/advance"
        checked = untouched(emu) if status != 200 else contextlib.nullcontext()
        async with checked:
            assert (await sent(wire, advance(f"Host: {host}", target=path)))[0] == status


async def test_services_and_web_sockets_are_refused_as_administration_is() -> None:
    async with serving() as (emu, wire), untouched(emu):
        key = emu.env()["VCLOUD_DESKTOPS_API_KEY"]
        launch = f"POST /v1/desktop HTTP/1.1\r\nHost: evil.example\r\nx-api-key: {key}\r\n"
        assert (await sent(wire, f"{launch}Content-Length: 0\r\n\r\n".encode()))[0] == 421
    async with serving() as (emu, wire), untouched(emu):
        emu.streamspace.add_session()
        assert (await sent(wire, viewer(emu, "Host: evil.example:1")))[0] == 421


async def test_refused_request_uses_no_rule() -> None:
    async with serving() as (emu, wire):
        rule = emu.faults.add("*", Fault.html())
        assert (await sent(wire, b"GET /v1/x HTTP/1.1\r\nHost: evil.example\r\n\r\n"))[0] == 421
        assert (rule.seen, rule.hits) == (0, 0)


async def test_refusal_comes_before_the_body() -> None:
    async with serving() as (_, wire):
        head = (
            b"POST /_emulator/faults HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 999999\r\n"
        )
        assert (await sent(wire, head + b"Expect: 100-continue\r\n\r\n"))[0] == 421
        assert await wire.is_over()


@pytest.mark.parametrize(
    ("options", "host", "status"),
    [
        ({"allow_hosts": ["emulator"]}, "emulator:8080", 200),
        ({"allow_hosts": ["Emulator."]}, "EMULATOR", 200),
        ({"allow_hosts": "emulator"}, "emulator:8080", 200),
        ({"allow_hosts": ["emulator"]}, "sub.emulator", 421),
        ({"allow_hosts": ["emulator"]}, "192.0.2.1", 421),
        ({"allow_hosts": ["192.0.2.1", "2001:DB8::1"]}, "192.0.2.1:80", 200),
        ({"allow_hosts": ["192.0.2.1", "2001:DB8::1"]}, "[2001:db8:0::1]:80", 200),
        ({"allow_remote": True}, "192.0.2.1:80", 200),
        ({"allow_remote": True}, "[2001:db8::1]", 200),
        ({"allow_remote": True}, "0.0.0.0:80", 200),
        # DNS rebinding needs a name.
        ({"allow_remote": True}, "evil.example", 421),
        ({"allow_remote": True, "allow_hosts": ["emulator"]}, "emulator", 200),
    ],
)
async def test_allowed_host_is_answered(options: dict[str, Any], host: str, status: int) -> None:
    async with serving(**options) as (_, wire):
        assert (await sent(wire, advance(f"Host: {host}")))[0] == status


@pytest.mark.parametrize("name", ["http://x", "x:80", "a b", "", "[::1]:80", "*.x", "x/"])
def test_invalid_host_cannot_be_allowed(name: str) -> None:
    with pytest.raises(ValueError, match="a host to allow must be a name or an address"):
        Emulator(allow_hosts=[name])


async def test_names_that_the_certificate_is_for_are_answered() -> None:
    async with Emulator(tls=True, tls_names=["emulator"]) as emu, aiohttp.ClientSession() as http:
        url = f"{emu.url}/_emulator/clock"
        for host, status in (("emulator", 200), ("evil.example", 421)):
            async with http.get(url, headers={"Host": host}, ssl=emu.ssl_context()) as response:
                assert response.status == status


async def test_the_other_host_refuses_foreign_requests_too() -> None:
    async with Emulator() as emu, aiohttp.ClientSession() as http:
        url = await emu.elsewhere.open()
        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            async with http.post(url, headers=headers, data=b"x") as response:
                assert response.status in {421, 403}
        assert not emu.elsewhere.arrivals


async def test_client_reports_which_host_to_allow() -> None:
    """In a Compose file, the emulator has the name of its service."""
    async with Emulator(allow_remote=True, machines=1) as emu:
        async with VCloud(**emu.endpoints()) as cloud:
            assert await cloud.computers.machines.list().first()


# -- Origin ----------------------------------------------------------------------------------------

REFUSED_PAGES = {
    "another site": ["Origin: http://evil.example"],
    "another site by https": ["Origin: https://evil.example:8443"],
    "an opaque origin": ["Origin: null"],
    "nothing": ["Origin:"],
    "an extension": ["Origin: chrome-extension://abcdefghijklmnop"],
    "a file": ["Origin: file://"],
    "a user part": ["Origin: http://localhost@evil.example"],
    "a name that begins alike": ["Origin: http://localhost.evil.example"],
    "two origins": ["Origin: http://localhost", "Origin: http://evil.example"],
    "two origins in one": ["Origin: http://localhost http://evil.example"],
    "an image of another site": ["Sec-Fetch-Site: cross-site"],
    "a scheme in capitals": ["Origin: HTTP://EVIL.EXAMPLE"],
}


def viewer(emu: Emulator, *headers: str) -> bytes:
    session = next(iter(emu.streamspace.sessions))
    lines = [
        f"GET /vnc-viewer/{session}?token={token(emu)} HTTP/1.1",
        *headers,
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("name", REFUSED_PAGES)
async def test_foreign_page_is_refused_before_anything_is_done(name: str, *, remote: bool) -> None:
    async with serving(allow_remote=remote) as (emu, wire), untouched(emu):
        status, body = await sent(wire, advance("Host: 127.0.0.1", *REFUSED_PAGES[name]))
        assert (status, "does not answer" in body) == (403, True)
        assert await wire.is_over()
    async with serving(allow_remote=remote) as (emu, wire), untouched(emu):
        session = emu.streamspace.add_session()
        assert (await sent(wire, viewer(emu, "Host: localhost", *REFUSED_PAGES[name])))[0] == 403
        assert not session.viewers


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:3000", "localhost"),
        ("https://127.0.0.1", "127.0.0.1"),
        ("http://[::1]:9", "::1"),
        ("http://app.localhost", "app.localhost"),
    ],
)
async def test_page_of_another_port_is_answered_if_its_host_is_allowed(
    origin: str, allowed: str
) -> None:
    """Any user of the machine can serve pages there; the user's own application can be allowed."""
    headers = ("Host: localhost:8080", f"Origin: {origin}")
    for hosts, (answer, upgrade) in {(): (403, b"403"), (allowed,): (200, b"101")}.items():
        async with serving(allow_hosts=hosts) as (_, wire):
            assert (await sent(wire, advance(*headers)))[0] == answer
        async with serving(allow_hosts=hosts) as (emu, wire):
            emu.streamspace.add_session()
            wire.send(viewer(emu, *headers))
            assert (await wire.head()).startswith(b"HTTP/1.1 " + upgrade)


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("192.0.2.1:80", "http://192.0.2.1:80", 200),
        # On the emulator's machine, but not the emulator.
        ("192.0.2.1:80", "http://192.0.2.1:81", 403),
        ("192.0.2.1:80", "http://192.0.2.2:80", 403),
        ("emulator", "http://emulator:3000", 200),
        ("192.0.2.1", "http://emulator", 200),
    ],
)
async def test_address_of_another_server_is_foreign_with_any_address_allowed(
    host: str, origin: str, status: int
) -> None:
    async with serving(allow_remote=True, allow_hosts=["emulator"]) as (_, wire):
        assert (await sent(wire, advance(f"Host: {host}", f"Origin: {origin}")))[0] == status


@pytest.mark.parametrize("site", ["none", "same-origin", "same-site"])
async def test_browser_s_own_requests_are_answered(site: str) -> None:
    """As for a typed address, and for pages of this machine."""
    async with serving() as (_, wire):
        assert (await sent(wire, advance("Host: localhost", f"Sec-Fetch-Site: {site}")))[0] == 200


# -- whatever is sent ------------------------------------------------------------------------------

AUTHORITIES = st.one_of(
    st.text(max_size=40),
    st.text("localhst127.0:@[]/ \u017f\u212a%é", max_size=20),
    st.lists(st.sampled_from([*ALL_HERE, *FOREIGN, *INVALID, "@", ":", "."]), max_size=3).map(
        "".join
    ),
)


@given(AUTHORITIES)
def test_host_is_found_as_a_url_parser_finds_it(authority: str) -> None:
    """A host that another parser calls foreign is never accepted as loopback."""
    host = host_of(authority)
    if host is None or not is_loopback(host):
        return
    try:
        other = URL(f"http://{authority}/").host
    except ValueError:
        # It is stricter with ports.
        return
    assert other is not None
    assert is_loopback(other.lower().removesuffix("."))


@given(AUTHORITIES, st.sampled_from(["Host", "Origin"]))
def test_mutated_headers_are_refused_or_answered(text: str, name: str) -> None:
    headers = CIMultiDict({"Host": "localhost"})
    headers[name] = text if name == "Host" else f"http://{text}"
    request = make_mocked_request("GET", "/", headers=headers)
    refused = Hosts().refusal(request)
    if refused is None:
        return
    assert refused.status in {400, 403, 421}
    assert isinstance(refused.body, bytes)
    assert json.loads(refused.body)["error"].isprintable()
