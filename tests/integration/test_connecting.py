"""What never left this side: silent names, connections, TLS and proxies, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self, TypeVar

import aiohttp
import attrs
import pytest
import uvloop

from tests.secrets.tls import client_context, server_context
from tests.unit.streamspace_samples import ID
from vcloud import (
    APIKeyAuth,
    Attempt,
    BearerAuth,
    ConfigurationError,
    ConnectError,
    ConnectTimeout,
    Endpoint,
    HMACAuth,
    Observer,
    OutcomeStatus,
    RequestTimeout,
    RetryPolicy,
    StreamSpace,
    VCloud,
)
from vcloud._core.connections.resolver import THREADS
from vcloud.emulator import Emulator, Fault

T = TypeVar("T")

DESKTOP = b'{"id":"d","status":"running","stream_url":null}'
ONCE = RetryPolicy(attempts=1)
#: Which bound is the shortest, and what the error calls it.
BOUNDS: dict[str, tuple[dict[str, Any], str]] = {
    "connect_timeout": ({"connect_timeout": 0.2, "timeout": 60}, "connect_timeout of the Endpoint"),
    "timeout": ({"connect_timeout": 60, "timeout": 0.2}, "all the time that the attempt had"),
    "deadline": ({"connect_timeout": 60, "deadline": 0.2}, "all the time that the attempt had"),
}


class Resolver:
    """Replaces ``getaddrinfo``: names below ``.example`` are this machine, when it answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.answers = threading.Event()
        self._ask = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self.getaddrinfo)

    def getaddrinfo(self, host: Any, port: Any, *others: Any, **options: Any) -> Any:
        if not str(host).endswith(".example"):
            return self._ask(host, port, *others, **options)
        self.asked.append(host)
        assert self.answers.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    made = Resolver(monkeypatch)
    yield made
    made.answers.set()


@contextlib.asynccontextmanager
async def full() -> AsyncIterator[int]:
    """The port of a server that accepts nobody, and whose line is full: a SYN is not answered."""
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port: int = listener.getsockname()[1]
        for _ in range(4):
            caller = opened.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(("127.0.0.1", port))
        while True:
            probe = opened.enter_context(socket.socket())
            probe.settimeout(0.3)
            try:
                probe.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        yield port


@contextlib.asynccontextmanager
async def mute() -> AsyncIterator[int]:
    """The port of a server that accepts, and says nothing."""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.asynccontextmanager
async def silence(what: str) -> AsyncIterator[tuple[str, dict[str, Any], str]]:
    """An address with options where nothing comes about, and how the error names that."""
    if what == "a name":
        yield (
            "http://slow.example:1",
            {"allow_http": True},
            "the name slow.example was not resolved",
        )
    elif what == "a SYN":
        async with full() as port:
            yield f"http://127.0.0.1:{port}", {}, f"no connection to 127.0.0.1:{port} was made"
    elif what == "TLS":
        async with mute() as port:
            yield f"https://127.0.0.1:{port}", {}, f"no connection to 127.0.0.1:{port} was made"
    else:
        async with mute() as port:
            options = {"proxy": f"http://127.0.0.1:{port}"}
            yield "https://far.test", options, "no connection to far.test:443 by way of the proxy"


async def assert_never_sent(what: str, bound: str, *, own: bool) -> None:
    limits, called = BOUNDS[bound]
    async with (
        contextlib.nullcontext() if own else aiohttp.ClientSession() as session,
        silence(what) as (url, options, words),
    ):
        endpoint = Endpoint(url, auth=APIKeyAuth("key"), retry=ONCE, **options, **limits)
        async with VCloud(desktops=endpoint, client_session=session) as cloud:
            with pytest.raises(ConnectTimeout) as caught:
                await cloud.desktops.launch()
    assert isinstance(caught.value, ConnectError)
    assert isinstance(caught.value, RequestTimeout)
    assert not caught.value.outcome_unknown
    said = str(caught.value)
    assert words in said or (not own and "no connection to slow.example:1 was made" in said)
    assert said.endswith(f" s, {called}; nothing was sent")


@pytest.mark.usefixtures("resolver")
@pytest.mark.parametrize("own", [True, False], ids=["own session", "given session"])
@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("what", ["a name", "a SYN", "TLS", "a proxy"])
async def test_what_is_silent_before_the_request_is_a_connect_timeout(
    what: str, bound: str, own: bool, resolver: Resolver
) -> None:
    try:
        await assert_never_sent(what, bound, own=own)
    finally:
        # A given session asks in the loop's own threads, for which its end waits.
        resolver.answers.set()


@pytest.mark.usefixtures("resolver")
@pytest.mark.parametrize("what", ["a name", "a SYN", "TLS"])
def test_the_same_on_uvloop(what: str) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(assert_never_sent(what, "connect_timeout", own=True))


@pytest.mark.usefixtures("resolver", "aiohttp_parts")
@pytest.mark.parametrize("own", [True, False], ids=["own session", "given session"])
@pytest.mark.parametrize("bound", BOUNDS)
async def test_an_upgrade_that_has_no_connection_is_one_too(bound: str, own: bool) -> None:
    limits, _ = BOUNDS[bound]
    async with (
        contextlib.nullcontext() if own else aiohttp.ClientSession() as session,
        silence("a SYN") as (url, _, words),
    ):
        endpoint = Endpoint(f"{url}/api/v1", auth=BearerAuth("t"), retry=ONCE, **limits)
        async with StreamSpace(endpoint, client_session=session) as streamspace:
            with pytest.raises(ConnectTimeout, match=words):
                await streamspace.sessions.ref(ID).open_vnc().aopen()


async def test_a_full_pool_of_the_users_is_waited_for_as_long_as_an_attempt_may_take() -> None:
    with Emulator() as emulator:
        emulator.faults.add("GET /v1/desktop/*", Fault.delay(0.4))
        endpoint = attrs.evolve(emulator.endpoints()["desktops"], connect_timeout=0.1)
        connector = aiohttp.TCPConnector(limit=1)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            VCloud(desktops=endpoint, client_session=session) as cloud,
        ):
            both = (cloud.desktops.get(ID) for _ in range(2))
            ends = await asyncio.gather(*both, return_exceptions=True)
    assert not any(isinstance(end, ConnectError) for end in ends), ends


def desktops_url(emulator: Emulator) -> str:
    url = emulator.endpoints()["desktops"].base_url
    assert url is not None
    return url


class Heard(Observer):
    """Lets a name be resolved as soon as an attempt failed."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.errors: list[str | None] = []

    def ended(self, attempt: Attempt) -> None:
        self.errors.append(None if attempt.error is None else type(attempt.error).__name__)
        self.resolver.answers.set()


async def test_a_create_that_had_no_connection_is_sent_once_it_has_one(resolver: Resolver) -> None:
    async with Emulator(allow_hosts=["desk.example"]) as emulator:
        heard = Heard(resolver)
        endpoint = attrs.evolve(
            emulator.endpoints()["desktops"],
            base_url=desktops_url(emulator).replace("127.0.0.1", "desk.example"),
            allow_http=True,
            connect_timeout=0.2,
            retry=RetryPolicy(attempts=2, base=0.01),
            observers=[heard],
        )
        async with VCloud(desktops=endpoint) as cloud:
            desktop = await cloud.desktops.launch()
        assert desktop.id
        assert heard.errors == ["ConnectTimeout", None]
        assert len([call for call in emulator.calls if call.method == "POST"]) == 1
    assert resolver.asked == ["desk.example"], "the second attempt joins the first one's lookup"


async def test_hundreds_of_calls_ask_once_and_one_that_goes_ends_no_other(
    resolver: Resolver,
) -> None:
    async with Emulator(allow_hosts=["desk.example"]) as emulator:
        desktop_url = desktops_url(emulator).replace("127.0.0.1", "desk.example")
        auth = emulator.endpoints()["desktops"].auth
        endpoint = Endpoint(desktop_url, auth=auth, allow_http=True, concurrency=300)
        async with VCloud(desktops=endpoint) as cloud, VCloud(desktops=endpoint) as other:
            calls = [
                asyncio.create_task(one.desktops.get(ID))
                for one in (cloud, other)
                for _ in range(150)
            ]
            while not resolver.asked:  # noqa: ASYNC110 - a thread tells it
                await asyncio.sleep(0.01)
            for call in calls[::150]:
                call.cancel()
            await asyncio.wait(calls[::150])
            assert resolver.asked == ["desk.example"]
            resolver.answers.set()
            ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(end).__name__ for end in ends].count("CancelledError") == 2
        assert {type(end).__name__ for end in ends} == {"CancelledError", "NotFoundError"}
    assert resolver.asked == ["desk.example"]


async def test_four_threads_at_most_ask_and_none_is_left(resolver: Resolver) -> None:
    endpoints = [
        Endpoint(f"http://n{number}.example:1", auth=APIKeyAuth("key"), allow_http=True)
        for number in range(2 * THREADS)
    ]
    async with contextlib.AsyncExitStack() as opened:
        clouds = [await opened.enter_async_context(VCloud(desktops=one)) for one in endpoints]
        calls = [asyncio.create_task(cloud.desktops.get(ID)) for cloud in clouds]
        while len(resolver.asked) < THREADS:  # noqa: ASYNC110 - threads tell it
            await asyncio.sleep(0.01)
        assert len(asking()) == THREADS
        # What nobody waits for any more is not begun.
        for cloud, call in zip(clouds[THREADS:], calls[THREADS:], strict=True):
            call.cancel()
            await asyncio.wait({call})
            await cloud.aclose()
        resolver.answers.set()
        await asyncio.wait(calls)
    assert sorted(resolver.asked)[: THREADS + 1] == [f"n{n}.example" for n in range(THREADS)]
    for thread in asking():
        thread.join()


def asking() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "vcloud-names"]


#: A program that ends, or forks, while a name is looked up for ever.
PROGRAM = """
import asyncio, os, socket, sys, threading
from vcloud import APIKeyAuth, ConnectTimeout, Endpoint, VCloud

began, asked = threading.Event(), []

def silent(host, port, *others, **options):
    asked.append(host)
    began.set()
    if os.getpid() == parent:
        threading.Event().wait()
    raise socket.gaierror(socket.EAI_NONAME, "no")

parent = os.getpid()
socket.getaddrinfo = silent

async def call(timeout):
    auth = APIKeyAuth("key")
    endpoint = Endpoint("http://slow.example:1", auth=auth, allow_http=True, timeout=timeout)
    async with VCloud(desktops=endpoint) as cloud:
        try:
            await cloud.desktops.launch()
        except Exception as error:
            return type(error).__name__, str(error)
"""


def test_neither_the_loop_nor_the_interpreter_waits_for_a_lookup() -> None:
    program = f"{PROGRAM}\nprint(asyncio.run(call(0.1))[0], len(asked))\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ConnectTimeout 1\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
def test_a_child_that_is_forked_during_a_lookup_looks_up_by_itself() -> None:
    program = f"""{PROGRAM}
asyncio.run(call(0.1))
child = os.fork()
if not child:
    name, text = asyncio.run(call(30))
    os._exit(0 if name == "ConnectError" and "is not known" in text and len(asked) == 5 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(asked))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "0 1\n"), done.stderr


@pytest.mark.parametrize("own", [True, False], ids=["own session", "given session"])
async def test_a_cancelled_start_that_had_no_connection_is_reported_as_none(
    own: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        contextlib.nullcontext() if own else aiohttp.ClientSession() as session,
        full() as port,
    ):
        endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", auth=HMACAuth("ak", "sk"))
        async with VCloud(computers=endpoint, client_session=session) as cloud:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await cloud.computers.machines.ref("100").start()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_cancelled_launch_that_had_no_connection_left_no_desktop() -> None:
    async with full() as port:
        endpoint = Endpoint(
            f"http://127.0.0.1:{port}",
            auth=APIKeyAuth("key"),
            connect_timeout=60,
            timeout=60,
            cleanup_timeout=0.3,
        )
        async with VCloud(desktops=endpoint) as cloud:
            launch = asyncio.create_task(cloud.desktops.launch())
            await asyncio.sleep(0.1)
            launch.cancel()
            # Not the CleanupError of a desktop that may be there.
            with pytest.raises(asyncio.CancelledError):
                await launch


@pytest.mark.parametrize("own", [True, False], ids=["own session", "given session"])
@pytest.mark.parametrize("bulk", [True, False], ids=["a run", "a call"])
async def test_a_launch_that_had_no_connection_is_not_sent_once_it_is_cancelled(
    own: bool, bulk: bool, resolver: Resolver
) -> None:
    async with contextlib.nullcontext() if own else aiohttp.ClientSession() as session:
        async with Emulator(allow_hosts=["desk.example"]) as emulator:
            endpoint = attrs.evolve(
                emulator.endpoints()["desktops"],
                base_url=desktops_url(emulator).replace("127.0.0.1", "desk.example"),
                allow_http=True,
            )
            async with VCloud(desktops=endpoint, client_session=session) as cloud:
                run = cloud.bulk(range(2), lambda _: cloud.desktops.launch(), deadline=0.1)
                work = run.run() if bulk else cloud.desktops.launch()
                launch = asyncio.create_task(work)
                while not resolver.asked:  # noqa: ASYNC110 - it is set in a thread
                    await asyncio.sleep(0.01)
                if not bulk:
                    launch.cancel()
                await asyncio.sleep(0.2)
                assert launch.done() or not own
                resolver.answers.set()
                await asyncio.wait({launch})
                assert not emulator.calls
                if bulk:
                    assert (run.totals.undone, run.totals.unknown) == (2, 0)
                else:
                    assert launch.cancelled()


async def test_a_call_whose_client_is_closed_during_the_lookup_is_told_so(
    resolver: Resolver,
) -> None:
    endpoint = Endpoint("http://slow.example:1", auth=APIKeyAuth("key"), allow_http=True)
    async with VCloud(desktops=endpoint) as cloud:
        call = asyncio.create_task(cloud.desktops.get(ID))
        while not resolver.asked:  # noqa: ASYNC110 - it is set in a thread
            await asyncio.sleep(0.01)
        await cloud.aclose()
        with pytest.raises(ConfigurationError, match="this client is closed"):
            await call


@pytest.mark.usefixtures("resolver")
@pytest.mark.parametrize("what", ["a name", "a SYN"])
async def test_a_run_whose_deadline_passes_before_there_is_a_connection_leaves_items_undone(
    what: str,
) -> None:
    async with silence(what) as (url, options, _):
        endpoint = Endpoint(url, auth=APIKeyAuth("key"), **options)
        async with VCloud(desktops=endpoint) as cloud:
            async with cloud.bulk(
                [ID, ID.replace("0", "1")],
                lambda name: cloud.desktops.ref(name).stop(),
                deadline=0.3,
            ) as run:
                outcomes = [outcome async for outcome in run]
    assert [outcome.status for outcome in outcomes] == [OutcomeStatus.UNDONE] * 2
    assert not any(getattr(outcome.error, "outcome_unknown", False) for outcome in outcomes)


@pytest.mark.parametrize("own", [True, False], ids=["own session", "given session"])
async def test_an_overdue_run_sends_nothing_on_a_connection_that_comes_about_then(
    own: bool, resolver: Resolver
) -> None:
    async with (
        contextlib.nullcontext() if own else aiohttp.ClientSession() as session,
        Emulator(allow_hosts=["desk.example"]) as emulator,
    ):
        endpoint = emulator.endpoints()["computers"]
        assert endpoint.base_url is not None
        named = endpoint.base_url.replace("127.0.0.1", "desk.example")
        endpoint = attrs.evolve(endpoint, base_url=named, allow_http=True)
        async with VCloud(computers=endpoint, client_session=session) as cloud:
            run = cloud.bulk(
                range(2),
                lambda _: cloud.computers.machines.create(1, region="dublin"),
                deadline=0.2,
            )
            work = asyncio.create_task(run.run())
            while not resolver.asked:  # noqa: ASYNC110 - it is set in a thread
                await asyncio.sleep(0.01)
            resolver.answers.set()
            time.sleep(0.5)  # noqa: ASYNC251 - the loop stands still, and the run's time passes
            await work
            assert not emulator.calls
            assert (run.totals.undone, run.totals.unknown) == (2, 0)


class Handshake:
    """A TLS server for one connection, in a thread. It answers each part of the handshake at once.

    Attributes:
        greeted: set when the client has begun.
        go: to be set before it answers.
        answered: set when the client has all that it needs to send its request.
        asked: the requests.
    """

    def __init__(self) -> None:
        self.greeted, self.go, self.answered = (threading.Event() for _ in range(3))
        self.asked: list[bytes] = []
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = server_context("127.0.0.1").wrap_bio(
            self._incoming, self._outgoing, server_side=True
        )
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        with self._listener.accept()[0] as plain:
            self._incoming.write(plain.recv(65536))
            self.greeted.set()
            assert self.go.wait(60)
            self._step(plain, self._tls.do_handshake)
            self.asked.append(self._step(plain, self._tls.read))
            self._tls.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(DESKTOP), DESKTOP)
            )
            plain.sendall(self._outgoing.read())
            plain.recv(1)

    def _step(self, plain: socket.socket, step: Callable[[], T]) -> T:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                if said := self._outgoing.read():
                    plain.sendall(said)
                    self.answered.set()
                self._incoming.write(plain.recv(65536))


def test_a_handshake_that_was_answered_while_the_loop_was_blocked_goes_on() -> None:
    async def main(server: Handshake) -> str:
        endpoint = Endpoint(
            f"https://127.0.0.1:{server.port}",
            auth=APIKeyAuth("key"),
            ssl=client_context(),
            retry=ONCE,
            connect_timeout=1,
            timeout=60,
        )
        async with VCloud(desktops=endpoint) as cloud:
            asking = asyncio.create_task(cloud.desktops.get(ID))
            while not server.greeted.is_set():  # noqa: ASYNC110 - a thread tells it
                await asyncio.sleep(0.001)
            # Somebody's code blocks the loop.
            server.go.set()
            assert server.answered.wait(30)
            time.sleep(1.2)  # noqa: ASYNC251
            return (await asking).id

    with Handshake() as server:
        assert asyncio.run(main(server)) == "d"
        assert len(server.asked) == 1
