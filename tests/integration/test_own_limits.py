"""A process without file descriptors or ports: programs of their own, under real limits."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vcloud.emulator import Emulator, Fault

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its limits are Linux's")

ROOT = Path(__file__).parents[2]
PRELUDE = '''
import asyncio, ctypes, fcntl, json, logging, os, resource, socket, struct, sys
import vcloud
from vcloud import *
from vcloud._core.call import queueing
from vcloud.emulator import Emulator, Fault

class Lines(logging.Handler):
    """Keeps the log, and sets an event when a call begins to wait."""
    def __init__(self):
        super().__init__(logging.WARNING)
        self.kept, self.waits = [], asyncio.Event()
    def emit(self, record):
        self.kept.append(record.getMessage())
        self.waits.set()

lines = Lines()
logging.getLogger("vcloud").addHandler(lines)

def allow(more):
    """Allow so many more descriptors than are in use."""
    most = max(map(int, os.listdir("/proc/self/fd"))) + more
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

def fill():
    """Open all descriptors that are left."""
    taken = []
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return taken

def give_back(taken):
    for descriptor in taken:
        os.close(descriptor)

def computers(**options):
    return VCloud(computers=Endpoint(sys.argv[1], auth=HMACAuth(*sys.argv[2:4]), **options))

async def ended(work):
    """The outcome of this as JSON."""
    try:
        return ["done", str(await work)[:40]]
    except VCloudError as error:
        return [type(error).__name__, error.outcome_unknown, str(error)]

def isolate(ports):
    """Enter a network namespace with so many local ports."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = 0x40000000 | (0 if os.geteuid() == 0 else 0x10000000)
    try:
        if libc.unshare(flags):
            raise OSError(ctypes.get_errno(), "unshare")
        with socket.socket() as any_socket:
            wanted = struct.pack("16sh", b"lo", 1 | 64)
            fcntl.ioctl(any_socket, 0x8914, wanted)
        with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as file:
            file.write(f"40000 {40000 + ports - 1}")
    except OSError:
        print(json.dumps("no network namespace"))
        sys.exit()

'''


def result_of(emulator: Emulator | None, program: str, *arguments: object) -> Any:
    """Run a program. Returns its last output, which is JSON."""
    where: list[object] = ["", "ak", "sk"]
    if emulator is not None:
        endpoint = emulator.endpoints()["computers"]
        given = emulator.credentials
        where = [endpoint.base_url, given.computers_key, given.computers_secret]
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + program, *map(str, [*where, *arguments])],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    if said == "no network namespace":
        pytest.skip("this user may not make a network namespace")
    return said


def starts(emulator: Emulator) -> list[str]:
    return [call.path for call in emulator.calls if call.path.endswith("/start")]


RUN = """
async def main():
    async with computers(concurrency=100) as cloud:
        allow(40)
        async with cloud.bulk(
            map(str, range(100, 300)),
            lambda id: cloud.computers.machines.ref(id).start(),
            concurrency=100,
            journal=sys.argv[4],
        ) as run:
            statuses = [outcome.status async for outcome in run]
        print(json.dumps([len(statuses), run.totals.done, run.totals.attempts, lines.kept]))

asyncio.run(main())
"""


def test_a_run_with_more_calls_at_once_than_descriptors_sends_each_item_once(
    tmp_path: Path,
) -> None:
    with Emulator(machines=200) as emulator:
        emulator.faults.add("POST */start", Fault.delay(0.05), times=None)
        journal = tmp_path / "start.journal"
        items, done, attempts, log = result_of(emulator, RUN, journal)
        # A second run finds the journal, and all items are done.
        again = result_of(emulator, RUN, journal)
        sent = starts(emulator)
    assert (items, done, attempts) == (200, 200, 200)
    assert again[:3] == [200, 200, 0]
    assert len(sent) == len(set(sent)) == 200
    assert len(log) == 1, log
    assert "this process has no file descriptor left (EMFILE, ulimit -n is" in log[0]
    assert "raise its limit (`ulimit -n`), or lower Endpoint(concurrency=)" in log[0]


def test_an_observer_gets_one_event_for_each_call_that_waits_for_a_descriptor() -> None:
    program = """
class Waits(Observer):
    def __init__(self):
        self.events, self.all = [], asyncio.Event()
    def queued(self, event):
        self.events.append(event)
        if len(self.events) == 3:
            self.all.set()

async def main():
    observer = Waits()
    async with computers(observers=[observer], retry=RetryPolicy(attempts=1)) as cloud:
        allow(10)
        taken = fill()
        calls = [
            asyncio.create_task(ended(cloud.computers.machines.ref(str(100 + n)).start()))
            for n in range(3)
        ]
        await observer.all.wait()
        await asyncio.sleep(0.6)
        give_back(taken)
        ends = await asyncio.gather(*calls)
        print(json.dumps([ends, [[one.reason, one.waited, one.path] for one in observer.events]]))

asyncio.run(main())
"""
    with Emulator(machines=3) as emulator:
        ends, events = result_of(emulator, program)
    assert [end[0] for end in ends] == ["done"] * 3
    assert [reason for reason, _, _ in events] == ["descriptors"] * 3
    assert all(waited >= 1 for _, waited, _ in events)
    assert len({path for _, _, path in events}) == 3


def test_a_call_waits_until_a_descriptor_is_free() -> None:
    program = """
async def main():
    async with computers(retry=RetryPolicy(attempts=1)) as cloud:
        allow(10)
        taken = fill()
        calls = [
            asyncio.create_task(ended(cloud.computers.machines.ref(str(100 + n)).start()))
            for n in range(3)
        ]
        await lines.waits.wait()
        calls[0].cancel()
        await asyncio.sleep(0.6)
        waited = [call.done() for call in calls]
        give_back(taken)
        ends = await asyncio.gather(*calls[1:])
        left = cloud._transport.shortage.waiting
        print(json.dumps([waited, ends, left, len(lines.kept)]))

asyncio.run(main())
"""
    with Emulator(machines=3) as emulator:
        waited, ends, left, logged = result_of(emulator, program)
        sent = starts(emulator)
    assert waited == [True, False, False]
    assert [end[0] for end in ends] == ["done"] * 2
    assert len(sent) == 2
    assert (left, logged) == (0, 1)


def test_a_call_waits_for_two_of_a_run_at_most() -> None:
    program = """
async def main():
    async with computers() as cloud:
        look_up = cloud.computers.machines.ref
        allow(3)
        taken = fill()
        run = cloud.bulk(range(150), lambda _: look_up("100").refresh(), concurrency=150)
        working = asyncio.create_task(run.run())
        while cloud.computers._session.transport.shortage.waiting < 150:
            await asyncio.sleep(0.01)
        visit = asyncio.create_task(look_up("101").refresh())
        while cloud.computers._session.transport.shortage.waiting < 151:
            await asyncio.sleep(0.01)
        give_back(taken)
        await visit
        print(json.dumps((await working).done))
asyncio.run(main())
"""
    with Emulator(machines=2) as emulator:
        assert result_of(emulator, program) == 150
        ids = [call.path.rpartition("/")[2] for call in emulator.calls]
    assert ids.index("101") <= 2, "it waited for the run"


@pytest.mark.parametrize(
    ("bound", "host"),
    [
        ("deadline", "127.0.0.1"),
        ("max_wait", "nobody.example"),
        pytest.param("deadline", "nobody.example", marks=pytest.mark.long),
        pytest.param("max_wait", "127.0.0.1", marks=pytest.mark.long),
    ],
)
def test_a_limit_that_lasts_is_named_in_the_error_and_nothing_was_sent(
    bound: str, host: str
) -> None:
    program = f"""
async def main():
    queueing.MAX_WAIT = 0.3 if {bound!r} == "max_wait" else 60
    deadline = 0.3 if {bound!r} == "deadline" else None
    sys.argv[1] = sys.argv[1].replace("127.0.0.1", {host!r})
    async with computers(deadline=deadline, allow_http=True) as cloud:
        allow(10)
        taken = fill()
        end = await ended(cloud.computers.machines.ref("100").start())
        give_back(taken)
        print(json.dumps(end))

asyncio.run(main())
"""
    with Emulator(machines=1) as emulator:
        kind, unknown, text = result_of(emulator, program)
        assert starts(emulator) == []
    assert (kind, unknown) == ("ConnectError", False)
    assert "cannot reach it: this process has no file descriptor left (EMFILE, ulimit -n" in text
    assert re.search(r"none came free within 0\.\d+ s: close what it holds open, raise its", text)
    assert text.endswith("; nothing was sent")


def test_waiting_calls_fail_when_the_client_closes() -> None:
    program = """
async def main():
    async with computers() as cloud:
        allow(10)
        taken = fill()
        call = asyncio.create_task(ended(cloud.computers.machines.get("100")))
        await lines.waits.wait()
        await cloud.aclose()
        end = await call
        give_back(taken)
        print(json.dumps(end))

asyncio.run(main())
"""
    with Emulator(machines=1) as emulator:
        kind, unknown, text = result_of(emulator, program)
    assert (kind, unknown) == ("ConfigurationError", False)
    assert "this client is closed" in text


def test_a_journal_waits_for_descriptors_and_needs_none_afterwards(tmp_path: Path) -> None:
    program = """
async def main():
    allow(20)
    for number in range(2):
        lines.waits.clear()
        taken = fill()
        run = Bulk([f"{number}{'a' * 5000}", f"{number}b"], say, journal=sys.argv[4])
        entering = asyncio.create_task(run.__aenter__())
        await lines.waits.wait()
        give_back(taken)
        await entering
        taken = fill()
        statuses = [outcome.status async for outcome in run]
        give_back(taken)
        await run.__aexit__(None, None, None)
    print(json.dumps([statuses, len(lines.kept)]))

async def say(item):
    return None

asyncio.run(main())
"""
    statuses, logged = result_of(None, program, tmp_path / "x.journal")
    assert statuses == ["done", "done"]
    assert logged == 2


def test_idle_connections_are_closed_to_open_a_journal(tmp_path: Path) -> None:
    program = """
async def main():
    async with computers(concurrency=12) as cloud:
        machines = cloud.computers.machines
        await asyncio.gather(*(machines.get(str(100 + n)) for n in range(12)))
        allow(1)
        taken = fill()
        async with Journal(sys.argv[4]) as journal:
            entries = await journal.entries()
        give_back(taken)
        print(json.dumps([entries, lines.kept]))

asyncio.run(main())
"""
    with Emulator(machines=12) as emulator:
        emulator.faults.add("GET *", Fault.delay(0.2), times=None)
        entries, log = result_of(emulator, program, tmp_path / "x.journal")
    assert entries == []
    assert len(log) == 1
    assert "the journal" in log[0]


def test_calls_wait_for_ports_and_not_for_a_missing_address_family() -> None:
    program = """
isolate(12)

async def main():
    async with Emulator(machines=60) as emulator:
        emulator.faults.add("POST */start", Fault.delay(0.05), times=None)
        given = emulator.credentials
        url = emulator.endpoints()["computers"].base_url
        auth = HMACAuth(given.computers_key, given.computers_secret)
        async with VCloud(computers=Endpoint(url, auth=auth, concurrency=60)) as cloud:
            calls = (cloud.computers.machines.ref(str(100 + n)).start() for n in range(60))
            ends = await asyncio.gather(*map(ended, calls))
        sent = [call.path for call in emulator.calls if call.path.endswith("/start")]
    kept = list(lines.kept)
    with open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w") as file:
        file.write("1")
    async with VCloud(computers=Endpoint("http://[::1]:9", auth=auth)) as cloud:
        none = await ended(cloud.computers.machines.get("100"))
    print(json.dumps([[end[0] for end in ends], len(sent), kept, none, len(lines.kept)]))

asyncio.run(main())
"""
    ends, sent, log, none, logged = result_of(None, program)
    assert ends == ["done"] * 60
    assert sent == 60
    assert len(log) == 1
    assert "no local port left for that address (EADDRNOTAVAIL)" in log[0]
    assert none[0] == "ConnectError"
    assert "errno 99" in none[2]
    assert logged == 1, "it did not wait"
