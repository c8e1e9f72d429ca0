"""Hostile texts over real sockets: each stays one header, one path segment, one address."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import pytest

from tests.integration.framed_answers import DONE, framed
from tests.integration.raw_http import head, serving
from tests.unit.hostile import ONCE
from tests.unit.test_hostile_arguments import HOSTILE
from vcloud import (
    Auth,
    ConfigurationError,
    DecodeError,
    Endpoint,
    HMACAuth,
    InvalidArgumentError,
    Request,
    StreamSpace,
    VagonComputers,
    VCloudError,
)
from vcloud.emulator import Emulator, Fault

ANSWER = framed(DONE, "length")


async def test_an_id_is_one_segment_of_one_request_whatever_characters_it_has() -> None:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await head(reader))
            writer.write(ANSWER)
            await writer.drain()

    async with (
        serving(answer) as url,
        VagonComputers(Endpoint(url, auth=HMACAuth("ak", "sk"), retry=ONCE)) as cloud,
    ):
        await cloud.machines.ref("100").start()
        usual = heads.pop().split(b"\r\n")
        for text in HOSTILE:
            try:
                await cloud.machines.ref(text).start()
            except InvalidArgumentError:
                assert not heads
                assert text in ("", ".", "..", "\ud800")
                continue
            except VCloudError:
                assert len(text) > 8000, "longer than a request line that a server accepts"
                continue
            lines = heads.pop().split(b"\r\n")
            assert [line.partition(b":")[0] for line in lines[1:]] == [
                line.partition(b":")[0] for line in usual[1:]
            ]
            verb, target, version = lines[0].decode("ascii").split(" ")
            assert (verb, version) == ("POST", "HTTP/1.1")
            assert [unquote(step) for step in target.split("/")] == [
                "",
                "v1",
                "machines",
                text,
                "start",
            ]
            assert not heads


class Careless(Auth):
    """A strategy of the user's that checks nothing."""

    def __init__(self, value: str) -> None:
        self._value = value

    def headers(self, request: Request, path: str, *, now: float, nonce: str) -> Mapping[str, str]:
        return {"X-Token": self._value}


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\nb", "a\x00b"])
async def test_a_header_with_a_line_break_is_never_sent(value: str) -> None:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await head(reader))
        writer.write(ANSWER)
        await writer.drain()

    async with serving(answer) as url:
        async with VagonComputers(Endpoint(url, auth=Careless(value), retry=ONCE)) as cloud:
            with pytest.raises(ConfigurationError, match="refuses this exchange"):
                await cloud.machines.ref("100").start()
        async with VagonComputers(Endpoint(url, auth=Careless("fine"), retry=ONCE)) as cloud:
            await cloud.machines.ref("100").start()
    assert len(heads) == 1


@pytest.mark.parametrize(
    "path",
    ["/vnc\r\nX-Injected: 1", "/vnc x", "/vnc\x00", "/vnc#x", "/vn\u00e9", "/\U0001f642", '/"'],
)
async def test_an_invalid_address_of_the_service_gets_no_token(path: str) -> None:
    async with Emulator() as emulator:
        endpoint = emulator.endpoints()["streamspace"]
        async with StreamSpace(endpoint) as cloud:
            session = await cloud.sessions.create("admin", "firefox-browser")

            def elsewhere(body: dict[str, Any]) -> dict[str, Any]:
                return {**body, "status": {**body["status"], "vnc_url": path}}

            emulator.faults.add("GET */sessions/*", Fault.edit(elsewhere))
            session = await session.refresh()
            with pytest.raises(DecodeError, match="VNC address .* is not valid"):
                await session.connect_url()
            with pytest.raises(DecodeError, match="VNC address .* is not valid"):
                session.open_vnc()
