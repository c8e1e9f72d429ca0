"""The emulator over TLS: clients, WebSockets, large answers, cancellations, and its files."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from vcloud import (
    APIKeyAuth,
    ConfigurationError,
    ConnectError,
    Desktops,
    Endpoint,
    RetryPolicy,
    VCloud,
)
from vcloud.emulator import Emulator, Fault

LOOPS = ["asyncio"] if sys.platform == "win32" else ["asyncio", "uvloop"]
ONCE = RetryPolicy(attempts=1)
GREETING = b"RFB 003.008\n"
LARGE = 16 * 1024**2


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Emulator, VCloud]]:
    async with Emulator(machines=3, speed=300, tls=True) as emulator:
        assert emulator.url.startswith("https://127.0.0.1:")
        async with VCloud(**emulator.endpoints()) as cloud:
            yield emulator, cloud


async def calls_of_all_providers() -> None:
    async with opened() as (_, cloud):
        assert len(await cloud.computers.machines.list(per_page=1).prefetch(4).all()) == 3
        assert await cloud.streams.applications.list().first() is not None
        desktop = await (await cloud.desktops.launch()).wait_until("running", poll=0.005)
        assert (await desktop.screenshot()).data.startswith(b"\xff\xd8")
        assert await cloud.streamspace.templates.list().all()


async def web_sockets() -> None:
    async with opened() as (_, cloud):
        session = await cloud.streamspace.sessions.create("admin", "firefox-browser")
        session = await session.wait_until("running", poll=0.005)
        assert session.vnc_url.startswith("wss://")
        async with session.open_vnc() as tunnel:
            assert await tunnel.read() == GREETING
        async with session.forward_vnc() as forward:
            reader, writer = await asyncio.open_connection(forward.host, forward.port)
            assert await reader.readexactly(len(GREETING)) == GREETING
            writer.close()
            await writer.wait_closed()
        async with session.logs(follow=True, tail=1) as lines:
            assert await anext(lines)


async def large_answers() -> None:
    async with opened() as (emulator, cloud):
        emulator.faults.add("GET */machines", Fault.huge_body(LARGE), times=1)
        emulator.faults.add("GET */machines", Fault.huge_body(LARGE, chunked=True), times=1)
        for _ in range(2):
            assert len(await cloud.computers.machines.list().all()) == 3
        assert [call.fault for call in emulator.calls] == ["huge_body"] * 2


async def one_connection_for_one_call_after_another() -> None:
    async with opened() as (emulator, cloud):
        for _ in range(20):
            await cloud.computers.machines.list().first()
        assert emulator.run(emulator.stats).connections == 1


async def cancelled_calls() -> None:
    async with opened() as (emulator, cloud):
        for _ in range(3):
            lists = [asyncio.create_task(cloud.computers.machines.list().all()) for _ in range(60)]
            so_far = len(emulator.calls)
            while len(emulator.calls) == so_far:  # noqa: ASYNC110 - the ledger has no event for it
                await asyncio.sleep(0)
            for task in lists:
                task.cancel()
            await asyncio.wait(lists)
        assert len(await cloud.computers.machines.list().all()) == 3


async def cut_large_answers() -> None:
    """A call that is cancelled during its answer leaves no bytes for the next one."""
    async with opened() as (emulator, cloud):
        emulator.faults.add("GET */machines", Fault.huge_body(LARGE), times=3)
        for _ in range(3):
            so_far = len(emulator.calls)
            task = asyncio.create_task(cloud.computers.machines.list().first())
            while len(emulator.calls) == so_far and not task.done():  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.wait({task})
            assert (await cloud.computers.machines.get("100")).id == "100"


async def resets_and_refusals() -> None:
    async with opened() as (emulator, cloud):
        emulator.faults.add("GET */machines", Fault.reset_after(), times=1)
        assert len(await cloud.computers.machines.list().all()) == 3
        async with emulator.refusing():
            with pytest.raises(ConnectError):
                async with VCloud(
                    desktops=Endpoint(
                        f"{emulator.url}/v1",
                        auth=APIKeyAuth("key"),
                        ssl=emulator.ssl_context(),
                        retry=ONCE,
                    )
                ) as other:
                    await other.desktops.launch()
        assert len(await cloud.computers.machines.list().all()) == 3


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "scenario",
    [
        calls_of_all_providers,
        web_sockets,
        large_answers,
        one_connection_for_one_call_after_another,
        cancelled_calls,
        cut_large_answers,
        resets_and_refusals,
    ],
    ids=lambda scenario: scenario.__name__,
)
def test_works_over_tls(loop: str, scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario()

    factory = None
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


async def test_client_without_the_authority_is_not_served() -> None:
    async with (
        Emulator(tls=True) as emulator,
        Desktops(Endpoint(f"{emulator.url}/v1", auth=APIKeyAuth("key"), retry=ONCE)) as desktops,
    ):
        with pytest.raises(ConnectError, match="certificate"):
            await desktops.launch()
        assert not emulator.calls


async def test_each_run_has_an_authority_of_its_own() -> None:
    async with Emulator(tls=True) as one, Emulator(tls=True) as other:
        address = urlsplit(other.url)
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(address.hostname, address.port, ssl=one.ssl_context())


async def test_the_authority_is_a_private_file_without_a_key_and_is_removed() -> None:
    emulator = Emulator(tls=True)
    with pytest.raises(RuntimeError, match="not running"):
        _ = emulator.ca_file
    async with emulator:
        file = emulator.ca_file
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert [path.name for path in file.parent.iterdir()] == ["ca.pem"]
        assert "CERTIFICATE" in file.read_text()
        assert "KEY" not in file.read_text()
    assert not file.parent.exists()


def test_no_file_is_left_when_the_port_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Emulator() as emulator:
        port = urlsplit(emulator.url).port
        assert port is not None
        with pytest.raises(OSError, match="in use"):
            asyncio.run(Emulator(tls=True, port=port).start())
    assert not list(tmp_path.iterdir())


async def test_other_names_than_loopback_are_certified_if_given() -> None:
    for names in ((), ("desktops.test",)):
        async with Emulator(tls=True, tls_names=names) as emulator:
            address = urlsplit(emulator.url)
            connecting = asyncio.open_connection(
                address.hostname,
                address.port,
                ssl=emulator.ssl_context(),
                server_hostname="desktops.test",
            )
            if not names:
                with pytest.raises(ssl.SSLCertVerificationError):
                    await connecting
                continue
            _, writer = await connecting
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize("host", ["::1", "localhost", "0.0.0.0"])
async def test_every_host_is_certified(host: str) -> None:
    try:
        emulator = await Emulator(tls=True, host=host, allow_remote=host == "0.0.0.0").__aenter__()
    except OSError:
        pytest.skip(f"this machine has no {host}")
    try:
        url = emulator.url.replace("0.0.0.0", "127.0.0.1")
        endpoint = Endpoint(f"{url}/v1", auth=APIKeyAuth("key"), ssl=emulator.ssl_context())
        async with Desktops(endpoint) as desktops:
            with pytest.raises(Exception, match="Invalid API key"):
                await desktops.launch()
    finally:
        await emulator.aclose()


def test_names_without_tls_are_refused() -> None:
    with pytest.raises(ValueError, match="tls=True"):
        Emulator(tls_names=["desktops.test"])


def test_without_trustme_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(ModuleNotFoundError, match=r"vcloud-sdk\[tls\]"):
        Emulator(tls=True)


def test_without_tls_there_is_no_file() -> None:
    with Emulator() as emulator:
        assert "VCLOUD_CA_FILE" not in emulator.env()
        with pytest.raises(RuntimeError, match="tls=True"):
            emulator.ssl_context()


async def test_printed_variables_work_for_from_env_and_for_other_programs() -> None:
    command = (sys.executable, "-m", "vcloud.emulator", "--tls", "--port", "0", "--machines", "2")
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        url = (await process.stdout.readline()).decode().removeprefix("# ").strip()
        variables: dict[str, str] = {}
        while "VCLOUD_STREAMS_URL" not in variables:
            line = (await process.stdout.readline()).decode().strip()
            name, _, value = line.removeprefix("export ").partition("=")
            variables[name] = value
        async with VCloud.from_env(variables) as cloud:
            assert len(await cloud.computers.machines.list().all()) == 2
        file = Path(variables["VCLOUD_CA_FILE"])
        if curl := shutil.which("curl"):
            asking = (curl, "--silent", "--show-error", "--cacert", str(file), f"{url}/_emulator")
            asked = await asyncio.create_subprocess_exec(*asking, stdout=subprocess.PIPE)
            assert b"faults" in (await asked.communicate())[0]
    finally:
        process.terminate()
        await process.communicate()
    assert process.returncode == 0
    assert not os.access(file, os.F_OK)


@pytest.mark.vcloud_emulator(machines=1, tls=True)
async def test_the_fixtures_serve_tls_if_the_marker_says_so(
    vcloud_emulator: Emulator, vcloud_env: dict[str, str]
) -> None:
    assert vcloud_env["VCLOUD_COMPUTERS_URL"].startswith("https://")
    async with VCloud.from_env() as cloud:
        assert len(await cloud.computers.machines.list().all()) == 1
    assert len(vcloud_emulator.calls) == 1


def test_from_env_trusts_the_authority_only_for_urls_of_the_environment(
    tmp_path: Path,
) -> None:
    with Emulator(tls=True) as emulator:
        variables = {
            "VCLOUD_CA_FILE": str(emulator.ca_file),
            "VCLOUD_COMPUTERS_KEY": "key",
            "VCLOUD_COMPUTERS_SECRET": "secret",
            "VCLOUD_DESKTOPS_API_KEY": "key",
            "VCLOUD_DESKTOPS_URL": f"{emulator.url}/v1",
        }
        given = {
            name: client._session.transport_options.extra.get("ssl")  # noqa: SLF001 - not public
            for name, client in VCloud.from_env(variables)._clients.items()  # noqa: SLF001
        }
        assert given["computers"] is None
        assert given["desktops"] is not None
        assert given["desktops"].verify_mode is ssl.CERT_REQUIRED
    nothing = tmp_path / "nothing.pem"
    for content in (None, "no certificate"):
        if content is not None:
            nothing.write_text(content)
        with pytest.raises(ConfigurationError, match=r"VCLOUD_CA_FILE must name .*nothing\.pem"):
            VCloud.from_env({**variables, "VCLOUD_CA_FILE": os.fspath(nothing)})
