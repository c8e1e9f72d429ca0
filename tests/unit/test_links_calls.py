"""Links that calls return: only those that are safe to open."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.unit.streamspace_samples import ID, SESSION, STATUS
from vcloud import (
    APIKeyAuth,
    BearerAuth,
    DecodeError,
    Endpoint,
    HMACAuth,
    VCloud,
)
from vcloud.emulator import Emulator, Fault

CANARY = "canary-7f3a91"


HOSTILE = [
    f"javascript:{CANARY}",
    f"https://user:{CANARY}@host/",
    f"http://host/{CANARY}",
    f"https://host/{CANARY}\n",
    f"{CANARY} javascript:alert(1)",
    f"https://{CANARY}\\@evil/",
]


@asynccontextmanager
async def cloud_saying(link: Callable[[], str], **options: Any) -> AsyncIterator[VCloud]:
    """All four providers at a server that gives this link wherever it gives one."""
    computer = {"client_code": 200, "id": "1", "type": "access"}
    desktop = {"id": "d", "status": "running", "created_at": None, "timeout_at": None}
    machine = {"id": "7", "type": "machine", "attributes": {"friendly_status": "ready"}}

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("/access"):
            attributes = {"expires_at": None, "connection_link": link()}
            return web.json_response({**computer, "attributes": attributes})
        if request.path.endswith("/assign-machine"):
            return web.json_response(
                {"client_code": 200, "connection_link": link(), "machine": machine}
            )
        if request.path.startswith("/desktop/"):
            return web.json_response({**desktop, "stream_url": link()})
        broken = {**SESSION, "status": {**STATUS, "vnc_url": link()}}
        whole = {**SESSION, "id": "other", "status": {**STATUS, "vnc_url": "/vnc-viewer/other"}}
        if request.path.endswith("/sessions"):
            return web.json_response({"sessions": [broken, whole], "total": 2})
        return web.json_response(broken)

    loop = asyncio.get_running_loop()
    server = await loop.create_server(web.Server(answer), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        async with VCloud(
            computers=Endpoint(url, auth=HMACAuth("key", "secret"), **options),
            streams=Endpoint(url, auth=HMACAuth("key", "secret"), **options),
            desktops=Endpoint(url, auth=APIKeyAuth("key"), **options),
            streamspace=Endpoint(url, auth=BearerAuth("token"), **options),
            streamspace_dialect="documented",
        ) as cloud:
            yield cloud
    finally:
        server.close()


async def access_link(cloud: VCloud) -> str:
    return (
        await cloud.computers.machines.ref("1").create_access_link(timedelta(hours=1))
    ).connection_link


async def assignment(cloud: VCloud) -> str:
    return (await cloud.streams.streams.ref("1").assign_machine("dublin")).connection_link


async def vnc_address(cloud: VCloud) -> str:
    return (await cloud.streamspace.sessions.get(ID)).vnc_url


WAYS: dict[str, Callable[[VCloud], Awaitable[str]]] = {
    "access link": access_link,
    "computer": lambda cloud: cloud.computers.machines.ref("1").connect_url(),
    "assignment": assignment,
    "desktop": lambda cloud: cloud.desktops.ref("d").connect_url(),
}


@pytest.mark.parametrize("link", HOSTILE)
@pytest.mark.parametrize("way", WAYS)
async def test_a_link_that_is_not_safe_to_open_is_refused_by_an_error_that_keeps_it_secret(
    way: str, link: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with cloud_saying(lambda: link) as cloud:
            with pytest.raises(DecodeError, match="not safe to open") as caught:
                await WAYS[way](cloud)
    error = caught.value
    frames = traceback.TracebackException.from_exception(error, capture_locals=True)
    texts = [str(error), repr(error), *frames.format(), caplog.text, str(pickle.dumps(error))]
    # The test's own frame has it.
    texts = [text for text in texts if Path(__file__).name not in text]
    assert not [text for text in texts if CANARY in text]
    assert error.outcome_unknown == (way != "desktop")


@pytest.mark.parametrize("link", [link for link in HOSTILE if "://" in link])
async def test_a_picture_s_address_that_is_not_safe_to_open_is_refused_when_it_is_read(
    link: str,
) -> None:
    async with cloud_saying(lambda: link) as cloud:
        session = await cloud.streamspace.sessions.get(ID)
        with pytest.raises(DecodeError, match="vnc_url for session .* not safe to open") as caught:
            _ = session.vnc_url
    assert CANARY not in str(caught.value)
    assert session.status is not None
    # What the service sent is data.
    assert session.status.vnc_url == link


async def test_a_link_that_is_not_safe_spoils_no_page_and_no_fetch() -> None:
    async with cloud_saying(lambda: f"javascript://host/{CANARY}") as cloud:
        broken, whole = await cloud.streamspace.sessions.list().all()
        assert whole.vnc_url.endswith("/vnc-viewer/other")
        assert broken.status is not None
        assert broken.status.vnc_url == f"javascript://host/{CANARY}"
        assert CANARY not in repr(broken)
        desktop = await cloud.desktops.get("d")
        assert desktop.stream_url == f"javascript://host/{CANARY}"
        assert CANARY not in repr(desktop)


@pytest.mark.parametrize("way", [*WAYS, "picture"])
async def test_plain_http_links_follow_allow_http_of_their_endpoint(way: str) -> None:
    work = {**WAYS, "picture": vnc_address}[way]
    link = "http://host.example/x?token=t"
    async with cloud_saying(lambda: link) as cloud:
        with pytest.raises(DecodeError, match="allow_http"):
            await work(cloud)
    async with cloud_saying(lambda: link, allow_http=True) as cloud:
        assert (await work(cloud)).endswith("://host.example/x?token=t")


async def test_a_connection_whose_link_is_refused_names_the_machine_that_may_be_assigned() -> None:
    async with Emulator() as emulator, VCloud(**emulator.endpoints()) as cloud:
        emulator.faults.add(
            "POST *assign-machine",
            Fault.edit(lambda said: {**said, "connection_link": f"javascript:{CANARY}"}),
            times=None,
        )
        stream = cloud.streams.streams.ref("1381")
        connecting = asyncio.create_task(stream.connect("dublin", poll=0.01))
        async with asyncio.timeout(30):
            while not emulator.streams.machines:  # noqa: ASYNC110 - the emulator tells nobody
                await asyncio.sleep(0.01)
        # The time that a machine takes to start.
        emulator.clock.advance(15)
        with pytest.raises(DecodeError, match="not safe to open") as caught:
            await connecting
        notes = getattr(caught.value, "__notes__", [])
        assert ["may be assigned and running" in note for note in notes] == [True]
        assert CANARY not in f"{caught.value}{notes}"
