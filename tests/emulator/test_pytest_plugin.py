"""The pytest plugin in a project that has installed the package; the emulator in a thread."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from vcloud import TransportError, VCloud
from vcloud.emulator import Emulator, Fault

#: pytest-asyncio warns without it, and warnings are errors here.
ASYNCIO = "asyncio_mode = strict\nasyncio_default_fixture_loop_scope = function"


#: Loading it takes seconds, and these tests have no use for it.
QUICKLY = ("-p", "no:schemathesis")


class Project:
    """A project's tests, in a folder and a process of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def test(self, code: str, *options: str, ini: str = ASYNCIO) -> str:
        (self.folder / "pytest.ini").write_text(
            f"[pytest]\naddopts = --strict-markers -W error -p no:cacheprovider\n{ini}\n"
        )
        (self.folder / "test_it.py").write_text(textwrap.dedent(code))
        command = [sys.executable, "-m", "pytest", "-q", *QUICKLY, *options]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        return f"{done.stdout}{done.stderr}exit status {done.returncode}"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


EVERY_STYLE = """
import asyncio, urllib.error, urllib.request
import pytest
from vcloud import TransportError, VCloud
from vcloud.emulator import Fault

async def create(emulator):
    emulator.faults.add("POST */machines", Fault.reset_after())
    async with VCloud(**emulator.endpoints()) as cloud:
        with pytest.raises(TransportError) as caught:
            await cloud.computers.machines.create(1, region="dublin")
    assert caught.value.outcome_unknown
    assert len(emulator.computers.machines) == 1
    assert emulator.calls[-1].fault == "reset_after"

def test_plain(vcloud_emulator):
    vcloud_emulator.faults.add("GET *", Fault.server_error(503))
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(vcloud_emulator.url)
    caught.value.close()
    assert caught.value.status == 503

def test_with_a_loop_of_its_own(vcloud_emulator):
    asyncio.run(create(vcloud_emulator))

@pytest.mark.asyncio
async def test_asyncio(vcloud_emulator):
    await create(vcloud_emulator)

@pytest.mark.anyio
async def test_anyio(vcloud_emulator, anyio_backend):
    await create(vcloud_emulator)

@pytest.fixture
def anyio_backend():
    return "asyncio"
"""


def test_tests_of_every_style_get_an_emulator(project: Project) -> None:
    said = project.test(EVERY_STYLE)
    assert "4 passed" in said, said


def test_the_nearest_marker_configures_it(project: Project) -> None:
    said = project.test(
        """
        import pytest

        pytestmark = pytest.mark.vcloud_emulator(machines=3, speed=60)

        def test_of_the_module(vcloud_emulator):
            assert (len(vcloud_emulator.computers.machines), vcloud_emulator.clock.speed) == (3, 60)

        @pytest.mark.vcloud_emulator(machines=5)
        def test_of_its_own(vcloud_emulator):
            assert (len(vcloud_emulator.computers.machines), vcloud_emulator.clock.speed) == (5, 60)

        @pytest.mark.vcloud_emulator(3)
        def test_positional(vcloud_emulator): ...

        @pytest.mark.vcloud_emulator(machine=3)
        def test_misspelt(vcloud_emulator): ...
        """
    )
    assert "2 passed, 2 errors" in said, said
    assert "takes named arguments only, as in machines=3" in said
    assert "unexpected keyword argument 'machine': did you mean 'machines'?" in said


def test_the_environment_points_at_it_and_hides_a_real_account(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VCLOUD_STREAMSPACE_TOKEN", "a real one")
    said = project.test(
        """
        import asyncio, os, subprocess, sys
        from vcloud import VCloud

        async def ask():
            async with VCloud.from_env() as cloud:
                assert await cloud.streamspace.users.list().first()

        def test_environment(vcloud_env, vcloud_emulator):
            assert "VCLOUD_STREAMSPACE_TOKEN" not in os.environ
            assert vcloud_env == vcloud_emulator.env()
            asyncio.run(ask())
            assert vcloud_emulator.calls

        def test_that_it_is_put_back():
            assert os.environ["VCLOUD_STREAMSPACE_TOKEN"] == "a real one"
            assert "VCLOUD_COMPUTERS_KEY" not in os.environ
        """
    )
    assert "2 passed" in said, said


def test_it_imports_nothing_until_it_is_used(project: Project) -> None:
    unused = """
        import sys, threading

        def test_nothing():
            heavy = {"vcloud", "aiohttp", "attrs", "cattrs", "msgspec"}
            loaded = {name for name in sys.modules if name.partition(".")[0] in heavy}
            assert loaded <= {"vcloud", "vcloud.pytest_plugin"}
        """
    # Other plugins load what they need.
    others = ("-p", "no:asyncio", "-p", "no:anyio")
    assert "1 passed" in project.test(unused, *others, ini="")
    assert "1 passed" in project.test(unused, "-p", "no:vcloud")
    said = project.test("def test_it(vcloud_emulator): ...", "-p", "no:vcloud")
    assert "fixture 'vcloud_emulator' not found" in said
    assert "@pytest.mark.vcloud_emulator(**options)" in project.test("", "--markers")


MODULE = "vcloud.pytest_plugin"
NAMED = f"pytest_plugins = ['{MODULE}']"
USES_IT = """
    def test_it(vcloud_emulator, pytestconfig):
        assert vcloud_emulator.url
        loaded = [name for name, plugin in pytestconfig.pluginmanager.list_name_plugin()
                  if getattr(plugin, "__name__", "") == "vcloud.pytest_plugin"]
        assert len(loaded) == 1
        assert len([line for line in pytestconfig.getini("markers") if "vcloud" in line]) == 1
    """


@pytest.mark.parametrize(
    ("options", "conftest", "autoload"),
    [
        ((), NAMED, True),
        (("-p", MODULE), "", True),
        (("-p", MODULE, "-p", "vcloud", "-p", MODULE), NAMED, True),
        (("-p", "vcloud", "-p", MODULE), NAMED, False),
    ],
)
def test_it_can_be_loaded_twice(
    project: Project,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    conftest: str,
    *,
    autoload: bool,
) -> None:
    (project.folder / "conftest.py").write_text(conftest)
    if not autoload:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    said = project.test(USES_IT, *options, ini=ASYNCIO if autoload else "")
    assert "1 passed" in said, said


def test_loading_it_overrides_blocking_its_entry_point(project: Project) -> None:
    assert "1 passed" in project.test(USES_IT, "-p", "no:vcloud", "-p", MODULE)


# -- the emulator in a thread of its own -----------------------------------------------------------


def status(emulator: Emulator, path: str = "/") -> int:
    try:
        with urllib.request.urlopen(f"{emulator.url}{path}", timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_a_thread_serves_and_ends_afterwards() -> None:
    before = threading.active_count()
    emulator = Emulator()
    with emulator:
        assert status(emulator) == 404
        assert [call.path for call in emulator.calls] == ["/"]
        with pytest.raises(RuntimeError, match="already running"), emulator:
            pass
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="not running"):
        _ = emulator.url
    with emulator:
        assert status(emulator) == 404


def test_an_error_at_the_start_is_raised_to_the_caller() -> None:
    with Emulator() as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(OSError, match="address already in use"), Emulator(port=port):
            pytest.fail("it cannot have started")


def test_functions_run_where_the_emulator_runs() -> None:
    emulator = Emulator()
    assert emulator.run(threading.get_ident) == threading.get_ident()
    with emulator:
        assert emulator.run(threading.get_ident) != threading.get_ident()
        assert emulator.run(lambda: emulator.run(threading.get_ident)) != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            emulator.run(lambda: 1 / 0)
    assert emulator.run(lambda: 1) == 1


def test_it_can_refuse_callers_without_a_loop() -> None:
    with Emulator() as emulator:
        with emulator.refusing():
            with pytest.raises(urllib.error.URLError) as caught:
                status(emulator)
            assert isinstance(caught.value.reason, ConnectionRefusedError)
        assert status(emulator) == 404
        assert len(emulator.calls) == 1


def test_it_can_be_closed_while_it_refuses() -> None:
    with Emulator() as emulator:
        refusing = emulator.refusing()
        refusing.__enter__()
    refusing.__exit__()


async def test_it_can_refuse_callers_in_another_loop() -> None:
    with Emulator() as emulator:
        async with emulator.refusing():
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", int(emulator.url.rpartition(":")[2]))
        assert await asyncio.to_thread(status, emulator) == 404


async def test_a_client_in_another_loop_meets_its_faults() -> None:
    with Emulator(machines=2) as emulator:
        async with VCloud(**emulator.endpoints()) as cloud:
            emulator.faults.add("POST *start", Fault.truncate(3))
            with pytest.raises(TransportError):
                await cloud.computers.machines.ref("100").start()
            assert emulator.calls[-1].fault == "truncate"
            emulator.clock.advance(600)
            assert (await cloud.computers.machines.ref("100").refresh()).friendly_status == "ready"


def test_a_stall_does_not_delay_the_end_of_the_thread() -> None:
    found: list[Any] = []

    def ask(emulator: Emulator) -> None:
        try:
            status(emulator)
        except OSError as error:
            found.append(error)

    with Emulator() as emulator:
        emulator.faults.add("*", Fault.stall_headers())
        asking = threading.Thread(target=ask, args=[emulator])
        asking.start()
        while not emulator.calls:
            time.sleep(0.001)
    asking.join()
    assert isinstance(found[0], OSError)
