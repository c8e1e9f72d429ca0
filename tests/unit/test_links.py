"""Which links of services are safe to open, and that Node reads those in the same way."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lacking import untested
from vcloud._core.links import fault_of_link

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
