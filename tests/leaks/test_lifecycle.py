"""A client in other event loops, in other processes, and at the end of the interpreter."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Iterator

import pytest

from tests.leaks.nothing_held import assert_nothing_held
from vcloud import ConfigurationError, VCloud
from vcloud.emulator import Emulator, Fault

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and fork are POSIX's")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(machines=3, rate_limits=False) as emulator:
        yield emulator


def run(emulator: Emulator, script: str, *options: str) -> subprocess.Popen[str]:
    """Start a program with all of Python's warnings."""
    return subprocess.Popen(
        [sys.executable, "-X", "dev", *options, "-c", textwrap.dedent(script)],
        env={**os.environ, **emulator.env()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """A program's exit code and output. One that hangs is killed, and is a failure."""
    with process:
        try:
            out, err = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    # The debug mode reports slow imports.
    return (
        process.returncode,
        out,
        "".join(
            line for line in err.splitlines(keepends=True) if not line.startswith("Executing <")
        ),
    )


# -- loops -----------------------------------------------------------------------------------------


def test_two_loops_in_two_threads_have_a_client_each(emulator: Emulator) -> None:
    async def use() -> None:
        async with VCloud(**emulator.endpoints()) as cloud:
            for _ in range(20):
                await asyncio.gather(
                    *[cloud.computers.machines.get("100") for _ in range(5)],
                    cloud.streamspace.agents.stats(),
                )
            assert_nothing_held(cloud)

    failures: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(use())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_one_endpoint_serves_clients_in_two_loops_at_once(emulator: Emulator) -> None:
    # They share the strategy, with its token and its single login.
    endpoints = emulator.endpoints()
    results: list[int] = []

    def work() -> None:
        async def use() -> None:
            async with VCloud(**endpoints) as cloud:
                await asyncio.gather(*[cloud.streamspace.agents.stats() for _ in range(20)])
                assert_nothing_held(cloud)

        asyncio.run(use())
        results.append(1)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2


def test_a_client_in_use_in_one_loop_is_refused_in_another_and_goes_on_in_its_own(
    emulator: Emulator,
) -> None:
    async def use() -> None:
        async with VCloud(**emulator.endpoints()) as cloud:
            await cloud.computers.machines.get("100")

            async def elsewhere() -> None:
                with pytest.raises(ConfigurationError, match="another event loop"):
                    await cloud.computers.machines.get("100")

            await asyncio.to_thread(asyncio.run, elsewhere())
            await cloud.computers.machines.get("100")
            assert_nothing_held(cloud)

    asyncio.run(use())


# -- processes -------------------------------------------------------------------------------------

FORK = """
    import asyncio, os, sys
    from vcloud import ConfigurationError, VCloud

    cloud = VCloud.from_env()
    loop = asyncio.new_event_loop()

    async def ask():
        return (await cloud.computers.machines.get("100")).id

    async def refused(where):
        try:
            await ask()
        except ConfigurationError as error:
            print(where, error, flush=True)
        else:
            print(where, "used the parent's connection", flush=True)

    async def anew():
        async with VCloud.from_env() as mine:
            print("new client", (await mine.computers.machines.get("100")).id, flush=True)

    loop.run_until_complete(cloud.aopen())
    loop.run_until_complete(ask())
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        loop.run_until_complete(refused("same loop:"))
        asyncio.run(refused("new loop:"))
        asyncio.run(cloud.aclose())
        asyncio.run(anew())
        del cloud
        {leave}
    assert os.waitpid(child, 0)[1] == 0
    print("parent", loop.run_until_complete(ask()), flush=True)
    loop.run_until_complete(cloud.aclose())
    loop.close()
"""


@pytest.mark.parametrize("leave", ["sys.exit(0)", "os._exit(0)"])
def test_a_forked_process_cannot_use_its_parents_connections_nor_break_them(
    emulator: Emulator, leave: str
) -> None:
    code, out, err = ended(run(emulator, FORK.format(leave=leave)))
    assert code == 0, err
    lines = out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "same loop",
        "new loop",
        "new client 100",
        "parent 100",
    ], out
    assert all("process forked" in line for line in lines[:2])
    assert "Traceback" not in err, err


def test_a_model_can_be_sent_to_a_spawned_process_and_a_client_cannot(
    emulator: Emulator,
) -> None:
    script = """
        import asyncio, copy, multiprocessing, pickle
        from concurrent.futures import ProcessPoolExecutor
        from vcloud import ConfigurationError, VCloud

        async def main():
            async with VCloud.from_env() as cloud:
                machine = await cloud.computers.machines.get("100")
                spawn = multiprocessing.get_context("spawn")
                loop = asyncio.get_running_loop()
                with ProcessPoolExecutor(1, mp_context=spawn) as pool:
                    back = await loop.run_in_executor(pool, copy.copy, machine)
                assert back == machine and back.raw == machine.raw
                try:
                    await back.start()
                except ConfigurationError as error:
                    print(error)
                for secret in (cloud, cloud.computers):
                    try:
                        pickle.dumps(secret)
                    except TypeError as error:
                        print(error)

        if __name__ == "__main__":
            asyncio.run(main())
    """
    code, out, err = ended(run(emulator, script))
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines()] == ["this", "VCloud", "VagonComputers"]
    assert not err


# -- the end ---------------------------------------------------------------------------------------

IN_FLIGHT = """
    import asyncio, os, signal, sys
    from vcloud import VCloud

    async def main():
        async with VCloud.from_env() as cloud:
            await cloud.streamspace.agents.stats()
            async with asyncio.TaskGroup() as group:
                for _ in range(5):
                    group.create_task(cloud.computers.machines.get("100"))
                    group.create_task(cloud.computers.machines.list().prefetch(3).all())
                group.create_task(cloud.instances().all())
                {then}

    {run}
"""
STALLED = 5 + 5 + 1


def wait_until_stalled(emulator: Emulator) -> None:
    deadline = time.monotonic() + 20
    while sum(call.fault == "stall_headers" for call in list(emulator.calls)) < STALLED:
        assert time.monotonic() < deadline, "the requests never came"
        time.sleep(0.01)


@pytest.mark.parametrize("interruption", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_program_with_requests_in_flight_at_once(
    emulator: Emulator, interruption: signal.Signals
) -> None:
    emulator.faults.add("*/machines*", Fault.stall_headers(None), times=None)
    process = run(emulator, IN_FLIGHT.format(then="", run="asyncio.run(main())"))
    wait_until_stalled(emulator)
    process.send_signal(interruption)
    code, out, err = ended(process)
    assert code == -interruption
    assert not out
    assert "Warning" not in err
    assert "never retrieved" not in err
    # Python's own traceback for Ctrl-C, and nothing else.
    assert err.count("KeyboardInterrupt\n") == (interruption is signal.SIGINT)


def test_a_handled_signal_that_cancels_the_program_closes_everything(emulator: Emulator) -> None:
    emulator.faults.add("*/machines*", Fault.stall_headers(None), times=None)
    ending = """
    async def graceful():
        task = asyncio.current_task()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            await main()
        except asyncio.CancelledError:
            print("over", len(asyncio.all_tasks()) - 1)

    asyncio.run(graceful())
    """
    process = run(
        emulator, IN_FLIGHT.format(then="", run=textwrap.dedent(ending).replace("\n", "\n    "))
    )
    wait_until_stalled(emulator)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (0, "over 0\n", "")


def test_sys_exit_in_a_task_ends_the_program_with_its_code(emulator: Emulator) -> None:
    emulator.faults.add("*/machines*", Fault.stall_headers(None), times=None)
    then = "await asyncio.sleep(0.2); sys.exit(3)"
    code, out, err = ended(run(emulator, IN_FLIGHT.format(then=then, run="asyncio.run(main())")))
    assert (code, out) == (3, "")
    assert "Warning" not in err
    assert "never retrieved" not in err


def test_a_loop_that_is_closed_before_its_client_causes_only_warnings(
    emulator: Emulator,
) -> None:
    script = """
        import asyncio
        from vcloud import VCloud

        async def main():
            global cloud
            cloud = await VCloud.from_env().aopen()
            await cloud.computers.machines.get("100")
            await cloud.streamspace.agents.stats()

        asyncio.run(main())
        print("left open")
    """
    code, out, err = ended(run(emulator, script))
    assert (code, out) == (0, "left open\n")
    assert "Traceback" not in err, err
    assert "a vcloud client was never closed: use `async with`" in err


async def test_an_unclosed_client_that_is_garbage_collected_warns() -> None:
    async with Emulator(machines=1) as emulator:
        cloud = await VCloud(**emulator.endpoints()).aopen()
        await cloud.computers.machines.get("100")
        errors: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: errors.append(context["message"])
        )
        # aiohttp warns of its own parts, too.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del cloud
            gc.collect()
            said = [(one.category, str(one.message)) for one in caught]
            # A warning holds what it warns of. That is freed now, and aiohttp warns of each part.
            while caught:
                caught.clear()
                gc.collect()
        assert [text.partition(":")[0] for kind, text in said if kind is ResourceWarning] == [
            "a vcloud client was never closed"
        ]
        asyncio.get_running_loop().set_exception_handler(None)
