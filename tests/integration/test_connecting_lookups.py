"""Lookups of host names: shared, limited, and waited for by nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading

import attrs
import pytest

from tests.integration.silent_peers import Resolver, desktops_url
from tests.unit.streamspace_samples import ID
from vcloud import (
    APIKeyAuth,
    Attempt,
    Endpoint,
    Observer,
    RetryPolicy,
    VCloud,
)
from vcloud._core.connections.resolver import THREADS
from vcloud.emulator import Emulator


class Resolves(Observer):
    """Lets the resolver answer as soon as an attempt has failed."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.errors: list[str | None] = []

    def ended(self, attempt: Attempt) -> None:
        self.errors.append(None if attempt.error is None else type(attempt.error).__name__)
        self.resolver.answers.set()


async def test_a_create_that_had_no_connection_is_sent_once_it_has_one(resolver: Resolver) -> None:
    async with Emulator(allow_hosts=["desk.example"]) as emulator:
        observer = Resolves(resolver)
        endpoint = attrs.evolve(
            emulator.endpoints()["desktops"],
            base_url=desktops_url(emulator).replace("127.0.0.1", "desk.example"),
            allow_http=True,
            connect_timeout=0.2,
            retry=RetryPolicy(attempts=2, base=0.01),
            observers=[observer],
        )
        async with VCloud(desktops=endpoint) as cloud:
            desktop = await cloud.desktops.launch()
        assert desktop.id
        assert observer.errors == ["ConnectTimeout", None]
        assert len([call for call in emulator.calls if call.method == "POST"]) == 1
    assert resolver.asked == ["desk.example"], "the second attempt joins the first one's lookup"


async def test_hundreds_of_calls_share_one_lookup_and_a_cancelled_one_ends_no_other(
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
            while not resolver.asked:  # noqa: ASYNC110 - a thread sets it
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


async def test_at_most_four_threads_look_names_up_and_none_is_left(resolver: Resolver) -> None:
    endpoints = [
        Endpoint(f"http://n{number}.example:1", auth=APIKeyAuth("key"), allow_http=True)
        for number in range(2 * THREADS)
    ]
    async with contextlib.AsyncExitStack() as opened:
        clouds = [await opened.enter_async_context(VCloud(desktops=one)) for one in endpoints]
        calls = [asyncio.create_task(cloud.desktops.get(ID)) for cloud in clouds]
        while len(resolver.asked) < THREADS:  # noqa: ASYNC110 - threads set it
            await asyncio.sleep(0.01)
        assert len(lookup_threads()) == THREADS
        # A lookup that nobody waits for is not started.
        for cloud, call in zip(clouds[THREADS:], calls[THREADS:], strict=True):
            call.cancel()
            await asyncio.wait({call})
            await cloud.aclose()
        resolver.answers.set()
        await asyncio.wait(calls)
    assert sorted(resolver.asked)[: THREADS + 1] == [f"n{n}.example" for n in range(THREADS)]
    for thread in lookup_threads():
        thread.join()


def lookup_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "vcloud-names"]


#: A program that ends, or forks, during a lookup that never ends.
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
def test_a_child_that_is_forked_during_a_lookup_has_lookups_of_its_own() -> None:
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
