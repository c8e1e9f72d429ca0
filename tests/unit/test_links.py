"""Links that services hand out: which ones are, and that Node reads those as we do."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import shutil
import subprocess
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lacking import untested
from tests.unit.streamspace_samples import ID, SESSION, STATUS
from vcloud import (
    APIKeyAuth,
    BearerAuth,
    DecodeError,
    Endpoint,
    HMACAuth,
    VCloud,
)
from vcloud._core.links import fault_of_link
from vcloud.emulator import Emulator, Fault

GOOD = [
    "https://app.vagon.io/team/session/6a1f",
    "HTTPS://App.Vagon.io",
    "https://stream.cyberdesk.io/vnc/1?token=s3cret&user=a@b",
    "https://host:8443/#/x",
    "https://host./",
    "https://10.0.0.7/x",
    "https://[2001:db8::7]:8443/x",
    "https://xn--bcher-kva.example/",
    "https://a_b.example/x",
    "https://host?x=http://user:pass@other",
    "https://host/café",
    "wss://host/vnc-viewer/1",
]
NEAR = [
    "http://localhost:8080/x",
    "http://desk.localhost/",
    "http://LocalHost./",
    "ws://127.0.0.1:5900/",
    "http://127.8.7.6/",
    "http://[::1]:80/",
    "ws://[0:0:0:0:0:0:0:1]/",
]
FAR = [
    "http://host/",
    "ws://host/",
    "http://localhost.example/",
    "http://notlocalhost/",
    "http://128.0.0.1/",
    "http://[::2]/",
    "http://localhost.localhost.example/",
]
BAD = [
    "",
    " ",
    "javascript:alert(1)",
    "JavaScript://host/%0aalert(1)",
    "data:text/html,<script>alert(1)</script>",
    "data://host/x",
    "file:///etc/passwd",
    "file://host/share",
    "vbscript:x",
    "blob:https://host/x",
    "ftp://host/",
    "mailto:a@b",
    "intent://x#Intent;scheme=http;end",
    "view-source:https://host/",
    " javascript:alert(1)",
    " https://host/",
    "https://host/ ",
    "java\tscript:alert(1)",
    "java\nscript:alert(1)",
    "\x00https://host/",
    "https://ho\nst/",
    "https://host/\r\nSet-Cookie: x",
    "https://host/\x1b]8;;x\x07",
    "https://host/\u202egpj.exe",
    "https://host/\u200b",
    "https://host/\ud800",
    "https://host/\u00a0",
    "https://host/\u2028",
    "https://host\\@evil/",
    "https:\\\\host/",
    "https://user@host/",
    "https://user:pass@host/",
    "https://@host/",
    "https://:@host/",
    "https://host@evil/",
    "https:host/",
    "https:/host/",
    "https:///host/",
    "https:////host/",
    "https://",
    "https://?x",
    "https://#x",
    "https://:443/",
    "https://host:/",
    "https://host:65536/",
    "https://host:8x/",
    "https://host:1:2/",
    "https://./",
    "https://.host/",
    "https://a..b/",
    "https://ho%73t/",
    "https://host%00.evil/",
    "https://h\u00f6st/",
    "https://evil\u3002example/",
    "https://\uff10x7f.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://127.1/",
    "https://010.0.0.1/",
    "https://1.2.3.4.5/",
    "https://host.7/",
    "https://host.0x7/",
    "https://256.0.0.1/",
    "https://127.0.0.1./",
    "https://[::1/",
    "https://[::1]x/",
    "https://[::1%25lo]/",
    "https://[fe80::1%eth0]/",
    "https://[v1.x]/",
    "https://[]/",
    "https://::1/",
    "//host/x",
    "/x",
    "host/x",
    'https://host/"onclick="x',
    "https://host/<script>",
    "https://host/`x`",
]


@pytest.mark.parametrize("link", GOOD)
def test_a_link_that_travels_encrypted_to_a_host_is_handed_out(link: str) -> None:
    assert fault_of_link(link, allow_http=False) is None


@pytest.mark.parametrize("link", NEAR)
def test_plain_http_to_this_machine_is_handed_out(link: str) -> None:
    assert fault_of_link(link, allow_http=False) is None


@pytest.mark.parametrize("link", FAR)
def test_plain_http_to_other_machines_is_handed_out_only_where_it_is_allowed(link: str) -> None:
    assert "which is not encrypted" in str(fault_of_link(link, allow_http=False))
    assert fault_of_link(link, allow_http=True) is None


@pytest.mark.parametrize("link", BAD)
@pytest.mark.parametrize("allow_http", [True, False])
def test_any_other_link_is_refused(link: str, *, allow_http: bool) -> None:
    fault = fault_of_link(link, allow_http=allow_http)
    assert fault is not None
    assert fault.isprintable()


def test_a_user_before_the_host_is_named_as_the_fault() -> None:
    fault = fault_of_link("https://user:s3cret@host/", allow_http=False)
    assert fault == "it has a user before its host"


def test_of_a_refused_link_the_fault_says_the_scheme_and_no_more_than_20_characters_of_it() -> None:
    assert fault_of_link("javascript:s3cret", allow_http=False) == (
        "its scheme is javascript, not https or wss"
    )
    fault = fault_of_link("a" * 1000 + ":x", allow_http=False)
    assert fault is not None
    assert "a" * 20 in fault
    assert "a" * 21 not in fault


# Node reads what is handed out as we do.

PARSER = """
require('node:readline').createInterface({input: process.stdin}).on('line', line => {
  let found = null
  try {
    const url = new URL(JSON.parse(line))
    found = [url.protocol, url.hostname, url.username, url.password, url.port]
  } catch {}
  console.log(JSON.stringify(found))
})
"""


class Node:
    """``new URL(link)`` in a process that answers line by line."""

    def __init__(self, path: str) -> None:
        self.process = subprocess.Popen(
            [path, "-e", PARSER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def read(self, link: str) -> list[str] | None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(link) + "\n")
        self.process.stdin.flush()
        found: list[str] | None = json.loads(self.process.stdout.readline())
        return found


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    path = shutil.which("node")
    if path is None:
        untested("LINKS ARE NOT COMPARED WITH NODE'S: there is no node (Debian: nodejs)")
    made = Node(path)
    yield made
    made.process.kill()
    made.process.communicate()


def check_read_alike(node: Node, link: str) -> bool:
    """Compare what is handed out with what Node makes of it; return whether it is handed out."""
    accepted = fault_of_link(link, allow_http=False) is None
    assert not accepted or fault_of_link(link, allow_http=True) is None
    if fault_of_link(link, allow_http=True) is not None:
        return False
    found = node.read(link)
    # The third part of RFC 3986, which knows nothing of browsers.
    named = urlsplit(link).hostname
    assert named is not None
    if found is None:
        # A name that claims to be Unicode and is none: a browser does not open it.
        assert any(label.startswith("xn--") for label in named.split(".")), link
        return accepted
    protocol, host, user, password, _ = found
    assert (user, password) == ("", ""), link
    assert protocol in ({"https:", "wss:"} if accepted else {"http:", "ws:"}) or near(host), link
    if host.startswith("["):
        assert ip_address(host[1:-1]) == ip_address(named), link
    else:
        assert host == named, link
    return accepted


def near(host: str) -> bool:
    """Whether a host as Node writes it is this machine, by RFC 6761 and RFC 1122."""
    return (
        host in ("[::1]", "localhost", "localhost.")
        or host.startswith(("127.", "[::ffff:7f"))
        or host.endswith((".localhost", ".localhost."))
    )


@pytest.mark.parametrize("link", [*GOOD, *NEAR, *FAR, *BAD])
def test_node_reads_the_samples_alike(node: Node, link: str) -> None:
    assert check_read_alike(node, link) == (link in GOOD or link in NEAR)


LABELS = st.sampled_from(
    ["a", "host", "localhost", "127", "0", "1", "0x7f", "xn--a", "-", "_", "example", "010", "256"]
)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
HOSTS = st.one_of(
    NAMES,
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map(lambda found: f"[{found}]"),
    st.ip_addresses(v=6).map(lambda found: f"[{found.exploded}]"),
    st.text("0123456789abcdefx.:[]%-_", max_size=20),
)
PIECES = st.one_of(
    st.sampled_from("\t\n "),
    st.sampled_from(
        [
            "https",
            "http",
            "ws",
            "javascript",
            "data",
            "file",
            ":",
            "/",
            "//",
            "\\",
            "@",
            "?",
            "#",
            ".",
            "[",
            "]",
            "%",
            "%2e",
            "\u3002",
            "\uff0f",
            "\u00df",
            "\u202e",
            "localhost",
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "host",
            ":80",
            ":99999",
            "user",
            "xn--",
            "0x",
        ]
    ),
)
LINKS = st.one_of(
    st.builds(
        "{}{}{}{}{}{}".format,
        st.sampled_from(["https", "http", "wss", "ws", "HTTPS", "ftp"]),
        st.sampled_from(["://", "://", "://", ":/", ":", ":///"]),
        st.one_of(st.just(""), st.just(""), st.text(max_size=3).map(lambda text: f"{text}@")),
        HOSTS,
        st.one_of(st.just(""), st.integers(0, 70_000).map(lambda port: f":{port}")),
        st.one_of(st.just(""), st.text(max_size=5).map(lambda text: f"/{text}")),
    ),
    st.lists(PIECES, max_size=12).map("".join),
    st.text(max_size=20).map(lambda text: f"https://{text}"),
    st.text(max_size=20),
)


@given(link=LINKS)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_node_reads_whatever_is_handed_out_alike(node: Node, link: str) -> None:
    check_read_alike(node, link)


@pytest.mark.long
@pytest.mark.timeout(1200)
@given(link=LINKS)
@settings(max_examples=20_000, deadline=None)
def test_node_reads_twenty_thousand_links_alike(node: Node, link: str) -> None:
    check_read_alike(node, link)


# Through the clients.

CANARY = "canary-7f3a91"
HOSTILE = [
    f"javascript:{CANARY}",
    f"https://user:{CANARY}@host/",
    f"http://host/{CANARY}",
    f"https://host/{CANARY}\n",
    f"{CANARY} javascript:alert(1)",
    f"https://{CANARY}\\@evil/",
]


@asynccontextmanager
async def cloud_saying(link: Callable[[], str], **options: Any) -> AsyncIterator[VCloud]:
    """All four providers at a server that gives this link wherever it gives one."""
    computer = {"client_code": 200, "id": "1", "type": "access"}
    desktop = {"id": "d", "status": "running", "created_at": None, "timeout_at": None}
    machine = {"id": "7", "type": "machine", "attributes": {"friendly_status": "ready"}}

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("/access"):
            attributes = {"expires_at": None, "connection_link": link()}
            return web.json_response({**computer, "attributes": attributes})
        if request.path.endswith("/assign-machine"):
            return web.json_response(
                {"client_code": 200, "connection_link": link(), "machine": machine}
            )
        if request.path.startswith("/desktop/"):
            return web.json_response({**desktop, "stream_url": link()})
        broken = {**SESSION, "status": {**STATUS, "vnc_url": link()}}
        whole = {**SESSION, "id": "other", "status": {**STATUS, "vnc_url": "/vnc-viewer/other"}}
        if request.path.endswith("/sessions"):
            return web.json_response({"sessions": [broken, whole], "total": 2})
        return web.json_response(broken)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(web.Server(answer), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        async with VCloud(
            computers=Endpoint(url, auth=HMACAuth("key", "secret"), **options),
            streams=Endpoint(url, auth=HMACAuth("key", "secret"), **options),
            desktops=Endpoint(url, auth=APIKeyAuth("key"), **options),
            streamspace=Endpoint(url, auth=BearerAuth("token"), **options),
        ) as cloud:
            yield cloud
    finally:
        server.close()


async def access_link(cloud: VCloud) -> str:
    return (
        await cloud.computers.machines.ref("1").create_access_link(timedelta(hours=1))
    ).connection_link


async def assignment(cloud: VCloud) -> str:
    return (await cloud.streams.streams.ref("1").assign_machine("dublin")).connection_link


async def vnc_address(cloud: VCloud) -> str:
    return (await cloud.streamspace.sessions.get(ID)).vnc_url


WAYS: dict[str, Callable[[VCloud], Awaitable[str]]] = {
    "access link": access_link,
    "computer": lambda cloud: cloud.computers.machines.ref("1").connect_url(),
    "assignment": assignment,
    "desktop": lambda cloud: cloud.desktops.ref("d").connect_url(),
}


@pytest.mark.parametrize("link", HOSTILE)
@pytest.mark.parametrize("way", WAYS)
async def test_a_link_that_is_not_safe_to_open_is_refused_by_an_error_that_keeps_it_secret(
    way: str, link: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with cloud_saying(lambda: link) as cloud:
            with pytest.raises(DecodeError, match="not safe to open") as caught:
                await WAYS[way](cloud)
    error = caught.value
    frames = traceback.TracebackException.from_exception(error, capture_locals=True)
    texts = [str(error), repr(error), *frames.format(), caplog.text, str(pickle.dumps(error))]
    # The test's own frame has it.
    texts = [text for text in texts if "test_links.py" not in text]
    assert not [text for text in texts if CANARY in text]
    assert error.outcome_unknown == (way != "desktop")


@pytest.mark.parametrize("link", [link for link in HOSTILE if "://" in link])
async def test_a_picture_s_address_that_is_not_safe_to_open_is_refused_when_it_is_read(
    link: str,
) -> None:
    async with cloud_saying(lambda: link) as cloud:
        session = await cloud.streamspace.sessions.get(ID)
        with pytest.raises(DecodeError, match="vnc_url for session .* not safe to open") as caught:
            _ = session.vnc_url
    assert CANARY not in str(caught.value)
    assert session.status is not None
    # What the service sent is data.
    assert session.status.vnc_url == link


async def test_a_link_that_is_not_safe_spoils_no_page_and_no_fetch() -> None:
    async with cloud_saying(lambda: f"javascript://host/{CANARY}") as cloud:
        broken, whole = await cloud.streamspace.sessions.list().all()
        assert whole.vnc_url.endswith("/vnc-viewer/other")
        assert broken.status is not None
        assert broken.status.vnc_url == f"javascript://host/{CANARY}"
        assert CANARY not in repr(broken)
        desktop = await cloud.desktops.get("d")
        assert desktop.stream_url == f"javascript://host/{CANARY}"
        assert CANARY not in repr(desktop)


@pytest.mark.parametrize("way", [*WAYS, "picture"])
async def test_plain_http_links_follow_allow_http_of_their_endpoint(way: str) -> None:
    work = {**WAYS, "picture": vnc_address}[way]
    link = "http://host.example/x?token=t"
    async with cloud_saying(lambda: link) as cloud:
        with pytest.raises(DecodeError, match="allow_http"):
            await work(cloud)
    async with cloud_saying(lambda: link, allow_http=True) as cloud:
        assert (await work(cloud)).endswith("://host.example/x?token=t")


async def test_a_connection_whose_link_is_refused_names_the_machine_that_may_be_assigned() -> None:
    async with Emulator() as emulator, VCloud(**emulator.endpoints()) as cloud:
        emulator.faults.add(
            "POST *assign-machine",
            Fault.edit(lambda said: {**said, "connection_link": f"javascript:{CANARY}"}),
            times=None,
        )
        stream = cloud.streams.streams.ref("1381")
        connecting = asyncio.create_task(stream.connect("dublin", poll=0.01))
        async with asyncio.timeout(30):
            while not emulator.streams.machines:  # noqa: ASYNC110 - the emulator tells nobody
                await asyncio.sleep(0.01)
        # The time that a machine takes to start.
        emulator.clock.advance(15)
        with pytest.raises(DecodeError, match="not safe to open") as caught:
            await connecting
        notes = getattr(caught.value, "__notes__", [])
        assert ["may be assigned and running" in note for note in notes] == [True]
        assert CANARY not in f"{caught.value}{notes}"
