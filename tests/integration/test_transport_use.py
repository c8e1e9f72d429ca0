"""Opening, closing, event loops and sessions of the user, over real sockets."""

from __future__ import annotations

import asyncio
import gc
import warnings

import aiohttp
import pytest

from tests.integration.raw_http import AUTH, OK, ONCE, head, serving
from vcloud import (
    ConfigurationError,
    ConnectError,
    Endpoint,
    HMACAuth,
    NotFoundError,
    TransportError,
    VagonComputers,
    VCloud,
)

pytestmark = pytest.mark.usefixtures("aiohttp_parts")


# -- opening and closing ---------------------------------------------------------------------------


async def test_use_before_opening_and_after_closing_says_what_to_do() -> None:
    cloud = VCloud(computers=Endpoint("http://127.0.0.1:9/v1", auth=AUTH))
    with pytest.raises(ConfigurationError, match="async with"):
        await cloud.computers.machines.get("100")
    async with cloud:
        pass
    await cloud.aclose()
    with pytest.raises(ConfigurationError, match="closed: make a new one"):
        await cloud.computers.machines.get("100")
    with pytest.raises(ConfigurationError, match="cannot be opened again"):
        await cloud.aopen()


def test_a_client_of_one_loop_refuses_to_work_in_another() -> None:
    cloud = VCloud(computers=Endpoint("http://127.0.0.1:9/v1", auth=AUTH, retry=ONCE))

    async def use() -> None:
        await cloud.aopen()
        with pytest.raises(ConnectError):
            await cloud.computers.machines.get("100")

    async def use_elsewhere() -> None:
        with pytest.raises(ConfigurationError, match="another event loop"):
            await cloud.computers.machines.get("100")
        await cloud.aclose()

    asyncio.run(use())
    asyncio.run(use_elsewhere())


def test_a_forgotten_await_is_pythons_own_warning() -> None:
    cloud = VCloud(computers=Endpoint("http://127.0.0.1:9/v1", auth=AUTH))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cloud.computers.machines.ref("100").start()  # type: ignore[unused-coroutine]
        gc.collect()
    assert "never awaited" in str(caught[0].message)


async def test_a_session_of_the_users_own_is_used_and_never_closed() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await head(reader)
            writer.write(OK)

    async with serving(answer) as url, aiohttp.ClientSession() as own:
        async with VCloud(computers=Endpoint(url, auth=AUTH), client_session=own) as cloud:
            await cloud.computers.machines.ref("100").start()
        assert not own.closed
        async with VagonComputers(Endpoint(url, auth=AUTH), client_session=own) as computers:
            await computers.machines.ref("100").start()
            await own.close()
            with pytest.raises(ConfigurationError, match="was closed"):
                await computers.machines.ref("100").start()


async def test_a_session_that_raises_for_status_does_not_hide_what_the_service_says() -> None:
    async def missing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await head(reader)
            body = b'{"client_code":404,"message":"Machine not found"}'
            writer.write(
                b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            )

    async with serving(missing) as url, aiohttp.ClientSession(raise_for_status=True) as own:
        async with VagonComputers(Endpoint(url, auth=AUTH), client_session=own) as computers:
            with pytest.raises(NotFoundError, match="Machine not found"):
                await computers.machines.get("100")


async def test_no_credential_is_anywhere_in_a_transport_error() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")

    async with (
        serving(nonsense) as url,
        VagonComputers(Endpoint(url, auth=HMACAuth("ak_canary", "sk"), retry=ONCE)) as computers,
    ):
        with pytest.raises(TransportError) as caught:
            await computers.machines.get("100")
    error: BaseException | None = caught.value
    while error is not None:
        assert "canary" not in repr(error) + str(vars(error))
        error = error.__cause__ or error.__context__


async def test_cancelled_requests_release_every_connection() -> None:
    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await head(reader)
            await asyncio.sleep(0.01)
            writer.write(OK)

    async with (
        serving(slowly) as url,
        VagonComputers(Endpoint(url, auth=AUTH, concurrency=20, retry=ONCE)) as computers,
    ):
        ref = computers.machines.ref("100")
        for pause in (0, 0, 0.005, 0.015):
            tasks = [asyncio.create_task(ref.start()) for _ in range(500)]
            await asyncio.sleep(pause)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*[ref.start() for _ in range(40)])
        assert len(asyncio.all_tasks()) <= 1 + 20, (
            "the server's connections and this test, nothing of ours"
        )


async def test_a_client_session_of_another_loop_is_refused_before_anything_is_sent() -> None:
    async def make() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    elsewhere = asyncio.new_event_loop()
    session = await asyncio.to_thread(elsewhere.run_until_complete, make())
    try:
        endpoint = Endpoint("http://127.0.0.1:9", auth=AUTH)
        async with VagonComputers(endpoint, client_session=session) as computers:
            for _ in range(2):
                with pytest.raises(ConfigurationError, match="made in another event loop"):
                    await computers.machines.list().first()
    finally:
        await asyncio.to_thread(elsewhere.run_until_complete, session.close())
        elsewhere.close()
