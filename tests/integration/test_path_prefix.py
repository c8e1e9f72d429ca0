"""Real gateways that strip a path prefix: StreamSpace's WebSockets, and Vagon's signatures."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.integration.realtime_plane import ready
from tests.lacking import untested
from tests.seeded import ADMIN_PASSWORD, KEY, SECRET, SEED
from vcloud import (
    AuthenticationError,
    BearerAuth,
    ConfigurationError,
    Endpoint,
    HMACAuth,
    NotFoundError,
    VagonComputers,
    VCloud,
    VCloudError,
)
from vcloud.emulator import Emulator
from vcloud.providers.streamspace import StreamSpace

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
PREFIX = "/desktops"
COMPUTERS = "/organization-management/v1"
NGINX = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {servers}
}}
"""
#: As in most examples on the web: nginx decodes the path, and encodes it differently.
DECODING = """
server {
    listen 127.0.0.1:8000;
    location /desktops/ { proxy_pass http://127.0.0.1:8080/; }
}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
    timeout tunnel 10s
"""


def documented(language: str) -> str:
    """The README's configuration for a gateway."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return str(found)


def require(program: str) -> str:
    """The path of a program. Where it is missing, skip the test, or fail in CI."""
    # Debian's directory for it is not always on the path.
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        reason = f"there is no {program} (Debian: apt-get install {program})"
        untested(reason)
    assert found is not None
    return found


@asynccontextmanager
async def behind(program: str, emulator: Emulator, folder: Path, part: str) -> AsyncIterator[str]:
    """Run a gateway before the emulator with this part of a configuration; yield its address."""
    executable = require(program)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    part = part.replace(":8000", f":{port}").replace(":8080", f":{urlsplit(emulator.url).port}")
    file = folder / f"{program}.conf"
    if program == "nginx":
        file.write_text(NGINX.format(folder=folder, servers=part))
        command = [executable, "-p", str(folder), "-c", str(file), "-e", str(folder / "error.log")]
    else:
        file.write_text(HAPROXY + part)
        command = [executable, "-db", "-f", str(file)]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        while True:
            assert process.returncode is None, "the gateway ended"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            break
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


@pytest.fixture(params=["nginx", "haproxy"])
async def gateway(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Emulator, str]]:
    program: str = request.param
    async with (
        Emulator(machines=2, speed=300, seed=SEED) as emulator,
        behind(program, emulator, tmp_path, documented(program)) as url,
    ):
        yield emulator, url


def signing(url: str, signed_path: str | None) -> Endpoint:
    return Endpoint(
        f"{url}{PREFIX}{COMPUTERS}", auth=HMACAuth(KEY, SECRET, signed_path=signed_path)
    )


async def test_websockets_of_streamspace_stay_below_the_prefix(
    gateway: tuple[Emulator, str],
) -> None:
    emulator, url = gateway
    endpoint = Endpoint(f"{url}{PREFIX}/api/v1", auth=BearerAuth.login("admin", ADMIN_PASSWORD))
    async with StreamSpace(endpoint) as cloud:
        session = await cloud.sessions.create("admin", "firefox-browser")
        session = await session.wait_until("running", poll=0.01)
        assert session.vnc_url.startswith(f"ws://{urlsplit(url).netloc}{PREFIX}/vnc-viewer/")
        async with session.open_vnc() as tunnel:
            assert await tunnel.read() == b"RFB 003.008\n"
        async with session.logs(follow=True, tail=1) as lines:
            assert await anext(lines)
        registered = asyncio.Event()
        async with cloud.serve_agent(
            "behind-a-prefix",
            platform="kubernetes",
            handler=ready(),
            on_registered=lambda _: registered.set(),
        ):
            await registered.wait()
    assert not [call for call in emulator.calls if call.status == 404]


async def test_the_signed_path_is_the_one_that_the_service_sees(
    gateway: tuple[Emulator, str],
) -> None:
    emulator, url = gateway
    async with VagonComputers(signing(url, COMPUTERS)) as computers:
        assert len(await computers.machines.list(per_page=1).all()) == 2
        await computers.machines.create(1, region="dublin")
        with pytest.raises(NotFoundError):
            await computers.machines.get("a/b c")
        assert emulator.calls[-1].path == f"{COMPUTERS}/machines/a%2Fb%20c"
    async with VagonComputers(signing(url, None)) as computers:
        with pytest.raises(AuthenticationError):
            await computers.machines.list().all()
    variables = {
        "VCLOUD_COMPUTERS_KEY": KEY,
        "VCLOUD_COMPUTERS_SECRET": SECRET,
        "VCLOUD_COMPUTERS_URL": f"{url}{PREFIX}{COMPUTERS}",
        "VCLOUD_COMPUTERS_SIGNED_PATH": f"{COMPUTERS}/",
    }
    async with VCloud.from_env(variables) as cloud:
        assert len(await cloud.computers.machines.list().all()) == 3


async def test_a_gateway_that_decodes_paths_breaks_signatures(tmp_path: Path) -> None:
    async with (
        Emulator(machines=2, seed=SEED) as emulator,
        behind("nginx", emulator, tmp_path, DECODING) as url,
        VagonComputers(signing(url, COMPUTERS)) as computers,
    ):
        assert len(await computers.machines.list().all()) == 2
        with pytest.raises(VCloudError):
            await computers.machines.get("a/b")
        assert emulator.calls[-1].path == f"{COMPUTERS}/machines/a/b"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "organization-management/v1",
        "/a?b",
        "/a#b",
        "/a b",
        "/a/../b",
        "//a",
        "/\u00e9",
        1,
        "https://host/a",
    ],
)
def test_an_invalid_signed_path_is_refused(path: object) -> None:
    with pytest.raises(ConfigurationError, match="signed_path must be"):
        HMACAuth(KEY, SECRET, signed_path=path)  # type: ignore[arg-type]


def test_a_signed_path_belongs_to_one_base_url() -> None:
    auth = HMACAuth(KEY, SECRET, signed_path="/")
    VCloud(computers=Endpoint("https://host.example/a", auth=auth))
    with pytest.raises(ConfigurationError, match="signed_path belongs to one base URL"):
        VCloud(computers=Endpoint("https://host.example/b", auth=auth))
