"""Real servers that close idle connections while the client's event loop is blocked.

The next request of the client is a POST, while the end of its connection is unread in the socket.
With aiohttp alone this is a ServerDisconnectedError (see its issues 394, 850, 7495 and 9138).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import pytest
import uvicorn

from tests.gateways.clients import behind
from tests.gateways.programs import END, PROGRAMS, START, Gateway
from tests.gateways.setups import IDLE, Setup
from tests.integration.each_loop import run
from tests.lacking import untested
from vcloud import Endpoint, HMACAuth, VagonComputers
from vcloud.emulator import Emulator

#: Concurrent requests, after which as many connections are kept.
AT_ONCE: Final = 5
ANSWER: Final = json.dumps({"id": "1", "type": "machine", "attributes": {}, "client_code": 200})
LOOPS: Final = ["asyncio"] if sys.platform == "win32" else ["asyncio", "uvloop"]
#: Node's own server. It prints its port, and a line for each request, and ends with its parent.
NODE: Final = """
const http = require("node:http");
const server = http.createServer((request, response) => {
  request.resume().on("end", () => {
    console.log(request.method);
    response.setHeader("Content-Type", "application/json");
    response.end(process.argv[1]);
  });
});
server.keepAliveTimeout = 1000;
process.stdin.resume().on("end", () => process.exit());
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""

#: A call that must not be repeated.
Call = Callable[[], Awaitable[object]]


async def before_and_after_a_block(*calls: Call) -> None:
    """Make calls, block the loop until the servers have closed the connections, and make more.

    The calls have no body: before Python 3.12 aiohttp would write that one turn of the loop later,
    after the loop has read the end.
    """
    for call in calls:
        await asyncio.gather(*(call() for _ in range(AT_ONCE)))
    time.sleep(IDLE + 1)  # noqa: ASYNC251 - as blocking code does
    # Right after the block, before the loop has read anything; uvloop reads before it starts tasks.
    await calls[0]()
    for call in calls:
        await asyncio.gather(*(call() for _ in range(AT_ONCE)))


@contextlib.contextmanager
def node() -> Iterator[tuple[int, list[str]]]:
    """The port, and the methods of the requests, which are complete after the block."""
    found = shutil.which("node")
    if found is None:
        untested("NODE'S SERVER IS NOT TESTED: there is no node (Debian: apt-get install nodejs)")
    methods: list[str] = []
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [found, "-e", NODE, ANSWER], stdin=pipe, stdout=pipe, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), methods
        finally:
            process.terminate()
            methods += process.stdout.read().split()
            process.wait(END)


@contextlib.contextmanager
def served_by_uvicorn() -> Iterator[tuple[int, list[str]]]:
    """The port, and the methods of the requests."""
    methods: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        methods.append(scope["method"])
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": ANSWER.encode()})

    options: dict[str, Any] = {"lifespan": "off", "log_level": "error", "timeout_keep_alive": 1}
    server = uvicorn.Server(uvicorn.Config(app, port=0, **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        ends = time.monotonic() + START
        while not server.started and time.monotonic() < ends:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1], methods
    finally:
        server.should_exit = True
        thread.join(END)


@pytest.mark.parametrize("loop", LOOPS)
def test_no_start_is_lost_in_a_connection_that_a_gateway_has_closed(
    loop: str, emulator: Emulator, started: Callable[[str], Gateway]
) -> None:
    urls = [started(name).urls[Setup.SHORT_TIMEOUTS] for name in PROGRAMS]
    count = 2 * AT_ONCE * len(urls) + 1
    ids = [emulator.run(lambda: emulator.computers.add_machine().id) for _ in range(count)]
    left = iter(ids)

    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            machines = []
            for url in urls:
                client = behind(emulator, url, only=("computers",))
                machines.append((await stack.enter_async_context(client)).computers.machines)
            await before_and_after_a_block(
                *(lambda behind=behind: behind.ref(next(left)).start() for behind in machines)
            )

    run(loop, test())
    starts = [call.path.split("/")[-2] for call in emulator.calls if call.method == "POST"]
    assert sorted(starts) == sorted(ids)


@pytest.mark.parametrize("serving", [node, served_by_uvicorn], ids=["Node", "uvicorn"])
def test_nothing_is_lost_in_a_connection_that_a_server_has_closed(
    serving: Callable[[], contextlib.AbstractContextManager[tuple[int, list[str]]]],
) -> None:
    with serving() as (port, methods):

        async def test() -> None:
            endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", auth=HMACAuth("ak", "sk"))
            async with VagonComputers(endpoint) as computers:
                machine = computers.machines.ref("1")
                await before_and_after_a_block(machine.start)

        run("asyncio", test())
    assert methods == ["POST"] * (2 * AT_ONCE + 1)
