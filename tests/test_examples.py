"""Every example runs without configuration, succeeds and prints something.

Those of StreamSpace run against both forms of it, too.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.x11.conftest import temporary
from vcloud.emulator import Emulator
from vcloud.providers.streamspace import StreamSpace

__all__ = ["temporary"]

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
DIALECTS = ["documented", "published"]


# One of them types for a minute.
@pytest.mark.timeout(300)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
async def test_example_runs_against_the_embedded_emulator(example: Path, tmp_path: Path) -> None:
    code, output, errors = await run(example, tmp_path, {})
    assert code == 0, errors.decode()
    assert errors == b""
    assert len(output.splitlines()) > 5


@pytest.mark.parametrize(
    "example",
    [path for path in EXAMPLES if "VCLOUD_EXAMPLE_BUY" in path.read_text()],
    ids=lambda path: path.stem,
)
async def test_example_spends_nothing_on_a_real_service_without_permission(
    example: Path, tmp_path: Path
) -> None:
    async with Emulator(machines=3) as emulator:
        before = emulator.streams.machines.keys() | emulator.computers.machines.keys()
        await run(example, tmp_path, emulator.env())
        sent = {f"{call.method} {call.path}" for call in emulator.calls if call.method != "GET"}
        assert sent <= {"POST /api/v1/auth/login", "POST /api/v1/auth/logout"}
        assert emulator.streams.machines.keys() | emulator.computers.machines.keys() == before


def sessions(emulator: Emulator, dialect: str) -> list[str]:
    """The states of its sessions."""
    served: Any = (
        emulator.streamspace if dialect == "documented" else (emulator.published_streamspace)
    )
    return [session.state for session in served.sessions.values()]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("example", "says"),
    [
        ("streamspace", r"cannot go from hibernated to hibernated"),
        ("vnc_forward", r"the greeting is RFB 003\.008$"),
        ("fleet_report", r"^streamspace, in all +2 "),
        ("nightly_stop", r"^0 done, 0 failed, 0 unknown"),
    ],
)
async def test_example_works_with_either_streamspace(
    example: str, says: str, dialect: str, tmp_path: Path
) -> None:
    async with Emulator(streamspace=dialect, sessions=2, speed=100) as emulator:
        code, output, errors = await run(
            FOLDER / f"{example}.py", tmp_path, only_streamspace(emulator)
        )
        assert (code, errors) == (0, b"")
        assert re.search(says, output.decode(), re.MULTILINE), output.decode()
        left = [state for state in sessions(emulator, dialect) if state != "running"]
        assert set(left) <= {"terminating", "terminated"}
        assert len(left) == (1 if example in {"streamspace", "vnc_forward"} else 0)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_agent_example_serves_either_streamspace(
    dialect: str, tmp_path: Path, temporary: Path
) -> None:
    script, name = FOLDER / "streamspace_agent.py", "the-agent"
    async with (
        Emulator(streamspace=dialect, rate_limits=False) as emulator,
        StreamSpace(emulator.endpoints()["streamspace"]) as client,
    ):
        if dialect == "published":
            await approved(emulator, client, name)
        environment = {**only_streamspace(emulator), "TMPDIR": str(temporary)}
        arguments = ("--id", name, "--remember", str(tmp_path / "agent.db"))
        async with started(script, tmp_path, environment, *arguments) as process:
            assert process.stdout is not None
            assert b"until it is interrupted" in await process.stdout.readline()
            while name not in await online(client):  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.02)
            session = await client.sessions.create("admin", "firefox-browser")
            session = await session.wait_until("running", poll=0.02, timeout=60)
            assert b"is on display" in await process.stdout.readline()
            async with session.open_vnc() as tunnel:
                assert (await tunnel.read()).startswith(b"RFB 003.008")
            await session.terminate()
            await session.wait_until("terminated", poll=0.02, timeout=60)
            process.send_signal(signal.SIGTERM)
            output, errors = await process.communicate()
            assert (process.returncode, errors) == (0, b"")
            assert b"is gone" in output


async def approved(emulator: Emulator, client: StreamSpace, name: str) -> None:
    """Register an agent and approve it, so that it has not to ask again."""
    async with aiohttp.ClientSession() as http:
        await http.post(
            f"{emulator.url}/api/v1/agents/register",
            json={"agentId": name, "platform": "kubernetes"},
            headers={"X-Agent-API-Key": emulator.credentials.streamspace_bootstrap_key},
        )
    await client.agents.ref(name).approve()


async def online(client: StreamSpace) -> list[str]:
    """The agents that are connected."""
    return [agent.agent_id async for agent in client.agents.list(status="online")]


def only_streamspace(emulator: Emulator) -> dict[str, str]:
    """The variables that point at its StreamSpace."""
    return {name: value for name, value in emulator.env().items() if "STREAMSPACE" in name}


async def run(
    example: Path, folder: Path, environment: Mapping[str, str], *arguments: str
) -> tuple[int | None, bytes, bytes]:
    """Run it with only these VCLOUD_* variables; returns its status, output and errors."""
    async with started(example, folder, environment, *arguments) as process:
        output, errors = await process.communicate()
        return process.returncode, output, errors


@asynccontextmanager
async def started(
    example: Path, folder: Path, environment: Mapping[str, str], *arguments: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """An example that runs, and is killed at the end if it still does."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("VCLOUD_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        str(example),
        *arguments,
        cwd=folder,
        env={**others, **environment, "PYTHONPATH": str(example.parents[1])},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
