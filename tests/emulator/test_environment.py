"""The emulator's printed variables work for `VCloud.from_env`, in real processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from vcloud import VCloud
from vcloud.emulator import Emulator

CLIENT = """
import asyncio, logging
from vcloud import VCloud

async def main():
    async with VCloud.from_env() as cloud:
        for some in (cloud.computers.machines, cloud.streams.applications, cloud.streamspace.users):
            await some.list().first()
        print((await cloud.desktops.launch(lifetime=3600)).id)

logging.basicConfig(format="%(levelname)s %(name)s %(message)s")
asyncio.run(main())
"""


@contextmanager
def printing(*arguments: str) -> Iterator[str]:
    """What `python -m vcloud.emulator` prints, while it serves."""
    command = [sys.executable, "-m", "vcloud.emulator", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        try:
            for line in process.stdout:
                lines.append(line)
                if "VCLOUD_STREAMSPACE_URL" in line:
                    break
            yield "".join(lines)
        finally:
            process.terminate()


def evaluated(lines: str) -> subprocess.CompletedProcess[str]:
    """Run a client in a shell that has read the lines."""
    script = f'{lines}\nexec "$0" -c "$1"\n'
    return subprocess.run(
        ["/bin/sh", "-euc", script, sys.executable, CLIENT],
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_printed_variables_point_a_client_at_the_emulator(host: str) -> None:
    remote = host != "127.0.0.1"
    with printing("--host", host, *(["--allow-remote"] if remote else [])) as lines:
        assert ("export VCLOUD_ALLOW_HTTP=1\n" in lines) is remote
        assert ("# That is every address of this machine" in lines) is remote
        done = evaluated(lines)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 1
    warned = done.stderr.splitlines()
    assert len(warned) == remote, done.stderr
    if remote:
        assert warned[0].startswith("WARNING vcloud VCLOUD_ALLOW_HTTP=1: credentials")
        assert f" to {host} (streams, computers, streamspace, desktops)" in warned[0]


async def test_endpoints_of_a_remote_emulator_work_too() -> None:
    async with Emulator(host="0.0.0.0", allow_remote=True, machines=1) as emulator:
        async with VCloud(**emulator.endpoints()) as cloud:
            assert await cloud.computers.machines.list().first()
