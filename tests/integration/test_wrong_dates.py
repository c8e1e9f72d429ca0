"""Answers from a gateway with a wrong ``Date``: a client drops a correction that does not help."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import formatdate
from time import time

import pytest
from aiohttp import ClientSession, web

from vcloud import (
    AuthenticationError,
    BearerAuth,
    Endpoint,
    HMACAuth,
    RateLimitError,
    RetryPolicy,
    VCloud,
)
from vcloud._core.timing.server_clock import TOLERANCE
from vcloud.emulator import Emulator, Fault

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


async def test_a_date_that_is_always_wrong_is_harmless_without_a_refusal() -> None:
    async with behind_a_gateway(refuses=set(), always=True) as (gateway, cloud):
        assert [await outcome(cloud) for _ in range(3)] == ["ok"] * 3
        assert gateway.requests == 3


@pytest.mark.parametrize("always", [False, True], ids=["once", "always"])
async def test_concurrent_calls_succeed_after_one_has_corrected_the_clock(always: bool) -> None:
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


YEARS = 73 * 365 * 86_400.0
MONTH = 30 * 86_400.0


@pytest.mark.parametrize("provider", ["computers", "streams"])
@pytest.mark.parametrize(
    ("offset", "said"),
    [(YEARS, r"2664[45] days, [0-9:]{7,8} behind"), (-MONTH, r"30 days, 0:00:0[0-9] ahead of")],
)
async def test_a_service_whose_clock_is_years_off_is_refused_and_the_error_says_by_how_much(
    provider: str, offset: float, said: str
) -> None:
    async with Emulator(machines=1) as emulator:
        emulator.clock.offset = offset
        async with VCloud(**emulator.endpoints()) as cloud:
            calls: dict[str, Callable[[], Awaitable[object]]] = {
                "computers": lambda: cloud.computers.machines.ref("100").start(),
                "streams": lambda: cloud.streams.applications.list().first(),
            }
            for remembered in (False, True):
                with pytest.raises(AuthenticationError) as caught:
                    await calls[provider]()
                error = caught.value
                assert error.remembered is remembered
                assert not error.outcome_unknown
                assert re.search(
                    rf"this machine's clock is {said} the Date of the answer", f"{error}"
                )
                assert "set this machine's clock" in f"{error}"
                assert len(f"{error}".splitlines()) == 1
                assert error.clock_difference is not None
                assert abs(error.clock_difference.total_seconds() - offset) < 10
                assert "behind" not in error.message, "the service's words stay as they were sent"
                again = pickle.loads(pickle.dumps(error))
                assert f"{again}" == f"{error}"
        assert [call.status for call in emulator.calls] == [401]


@pytest.mark.parametrize("offset", [7 * 3600.0, -7 * 3600.0])
async def test_a_faulty_service_clock_is_corrected_for_hours_but_not_for_years(
    offset: float,
) -> None:
    async with Emulator(machines=1) as emulator, VCloud(**emulator.endpoints()) as cloud:
        emulator.faults.add("GET */machines*", Fault.clock(offset), times=2)
        await cloud.computers.machines.list().all()
        assert [call.status for call in emulator.calls] == [401, 200]
        emulator.calls.clear()
    async with Emulator(machines=1) as emulator, VCloud(**emulator.endpoints()) as cloud:
        emulator.faults.add("GET */machines*", Fault.clock(offset * 1000), times=2)
        with pytest.raises(AuthenticationError, match="more than a day is not corrected"):
            await cloud.computers.machines.list().all()
        assert [call.status for call in emulator.calls] == [401]


async def test_a_gateway_s_date_years_off_does_not_change_the_correction() -> None:
    """A start is signed for this day only, whatever stands between says."""
    signed: list[float] = []

    async def refuse(request: web.BaseRequest) -> web.Response:
        signed.append(int(request.headers["Authorization"].rpartition(":")[2]) / 1000 - time())
        body = {"client_code": 401, "message": "no"}
        date = "Tue, 01 Dec 2099 00:00:00 GMT"
        return web.json_response(body, status=401, headers={"Date": date})

    runner = web.ServerRunner(web.Server(refuse))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        async with VCloud(computers=Endpoint(url, auth=HMACAuth("a key", "a secret"))) as cloud:
            with pytest.raises(AuthenticationError, match="find what sent that Date"):
                await cloud.computers.machines.ref("100").start()
    finally:
        await runner.cleanup()
    assert len(signed) == 1, "no second try where none can help"
    assert abs(signed[0]) < 60


@pytest.mark.parametrize(
    ("date", "is_one"),
    [
        (None, False),
        ("never", False),
        ("9" * 4000, False),
        ("Fri, 31 Dec 9999 23:59:59 -1400", True),
        ("Mon, 01 Jan 0001 00:00:00 +1400", True),
    ],
)
async def test_an_absent_or_absurd_date_does_not_change_the_error(
    date: str | None, is_one: bool
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                body = b'{"client_code":401,"message":"no"}'
                line = b"" if date is None else b"Date: %s\r\n" % date.encode()
                writer.write(b"HTTP/1.1 401 No\r\n%sContent-Length: %d\r\n\r\n" % (line, len(body)))
                writer.write(body)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server, VCloud(computers=Endpoint(url, auth=HMACAuth("a key", "s"))) as cloud:
        with pytest.raises(AuthenticationError) as caught:
            await cloud.computers.machines.list().first()
    assert (caught.value.clock_difference is not None) is is_one


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0, -23 * 3600.0, 23 * 3600.0])
async def test_with_a_wrong_date_a_limit_is_kept_and_no_request_waits_longer_than_a_window(
    ahead: float,
) -> None:
    asked = 0

    async def serve(request: web.BaseRequest) -> web.Response:
        nonlocal asked
        asked += 1
        now = time()
        headers = {
            "Date": formatdate(now if asked == 1 else now + ahead, usegmt=True),
            "X-RateLimit-Limit": "100",
            "X-RateLimit-Remaining": str(max(0, 2 - asked)),
            "X-RateLimit-Reset": str(round(now + 40)),
        }
        page = {"page": 1, "limit": 20, "total": 0, "total_pages": 0}
        return web.json_response({"sessions": [], "pagination": page}, headers=headers)

    runner = web.ServerRunner(web.Server(serve))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1"
    endpoint = Endpoint(url, auth=BearerAuth("a.token"), retry=RetryPolicy(max_retry_after=1))
    try:
        async with VCloud(streamspace=endpoint, streamspace_dialect="documented") as cloud:
            for _ in range(2):
                assert not await cloud.streamspace.sessions.list().all()
            with pytest.raises(RateLimitError, match="nothing was sent") as caught:
                await cloud.streamspace.sessions.list().all()
    finally:
        await runner.cleanup()
    assert asked == 2, "the limit is used up, whatever the clock says"
    assert caught.value.retry_after is not None
    assert caught.value.retry_after <= 60 + TOLERANCE, "StreamSpace counts for a minute"
