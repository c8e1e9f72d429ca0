"""Answers whose ``Date`` is wrong, from a gateway: what a client learns from them, it unlearns."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from email.utils import formatdate
from time import time

import pytest
from aiohttp import ClientSession, web

from vcloud import AuthenticationError, Endpoint, VCloud
from vcloud.emulator import Emulator

#: Seconds by which the gateway's clock is ahead; the service tolerates 300.
AHEAD = 1200
HOP_BY_HOP = {
    "connection",
    "content-encoding",
    "content-length",
    "date",
    "host",
    "keep-alive",
    "transfer-encoding",
}


class Gateway:
    """Passes requests on to the emulator, refuses some, and has a clock of its own.

    Args:
        emulator: the service behind it.
        refuses: which requests it refuses itself, counted from 1, with its own ``Date``.
        always: whether each answer has its ``Date``.
    """

    def __init__(self, emulator: Emulator, *, refuses: set[int], always: bool) -> None:
        self.emulator = emulator
        self.refuses = refuses
        self.always = always
        self.requests = 0

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        self.requests += 1
        wrong = formatdate(time() + AHEAD, usegmt=True)
        if self.requests in self.refuses:
            body = {"client_code": 401, "message": "try again"}
            return web.json_response(body, status=401, headers={"Date": wrong})
        headers = {
            name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP
        }
        async with (
            ClientSession(auto_decompress=False) as session,
            session.request(
                request.method, self.emulator.url + request.path_qs, headers=headers
            ) as answer,
        ):
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in HOP_BY_HOP
            }
            kept["Date"] = wrong if self.always else answer.headers["Date"]
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)


@contextlib.asynccontextmanager
async def behind_a_gateway(
    *, refuses: set[int], always: bool
) -> AsyncIterator[tuple[Gateway, VCloud]]:
    async with Emulator(machines=1) as emulator:
        gateway = Gateway(emulator, refuses=refuses, always=always)
        runner = web.ServerRunner(web.Server(gateway))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        known = emulator.endpoints()["computers"]
        path = (known.base_url or "").removeprefix(emulator.url)
        url = f"http://127.0.0.1:{runner.addresses[0][1]}{path}"
        try:
            async with VCloud(computers=Endpoint(url, auth=known.auth)) as cloud:
                yield gateway, cloud
        finally:
            await runner.cleanup()


async def outcome(cloud: VCloud) -> str:
    try:
        await cloud.computers.machines.ref("100").refresh()
    except AuthenticationError as error:
        return "remembered" if error.remembered else "refused"
    return "ok"


@pytest.mark.parametrize("always", [False, True], ids=["once", "always"])
async def test_a_clock_that_did_not_help_is_dropped(always: bool) -> None:
    async with behind_a_gateway(refuses={2}, always=always) as (gateway, cloud):
        assert [await outcome(cloud) for _ in range(5)] == ["ok", "refused", "ok", "ok", "ok"]
        assert gateway.requests == 6, "the refused one was signed once more"


async def test_a_date_that_is_always_wrong_harms_nobody_who_is_not_refused() -> None:
    async with behind_a_gateway(refuses=set(), always=True) as (gateway, cloud):
        assert [await outcome(cloud) for _ in range(3)] == ["ok"] * 3
        assert gateway.requests == 3


@pytest.mark.parametrize("always", [False, True], ids=["once", "always"])
async def test_calls_beside_the_one_that_learnt_a_wrong_clock_go_through(always: bool) -> None:
    async with behind_a_gateway(refuses={2}, always=always) as (_, cloud):
        assert await outcome(cloud) == "ok"

        async def several() -> list[str]:
            return [await outcome(cloud) for _ in range(5)]

        ended = [
            one for many in await asyncio.gather(*[several() for _ in range(8)]) for one in many
        ]
        assert ended.count("refused") <= 1
        assert "remembered" not in ended
        assert await outcome(cloud) == "ok"
