"""A program that closes nothing, in asyncio's debug mode, and then crashes: all that it prints.

Its secrets are in the environment, as the tests put them there.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

from vcloud import (
    APIKeyAuth,
    BearerAuth,
    Bulk,
    Endpoint,
    HMACAuth,
    RetryPolicy,
    VCloud,
)

PRINTED = (
    aiohttp.ClientResponse,
    aiohttp.ClientSession,
    aiohttp.ClientWebSocketResponse,
    aiohttp.BaseConnector,
    aiohttp.connector.Connection,
    aiohttp.client_proto.ResponseHandler,
    asyncio.Handle,
    asyncio.Task,
    asyncio.BaseTransport,
    asyncio.BaseProtocol,
)
ONCE = RetryPolicy(attempts=1)


def client(url: str, secret: str, proxy: str | None) -> VCloud:
    auths: dict[str, Any] = {
        "computers": HMACAuth("ak", f"{secret}-hmac"),
        "streams": HMACAuth("ak", f"{secret}-hmac"),
        "streamspace": BearerAuth(f"{secret}-token"),
        "desktops": APIKeyAuth(f"{secret}-key"),
    }
    return VCloud(
        **{
            name: Endpoint(url, auth=auth, retry=ONCE, proxy=proxy, timeout=5)
            for name, auth in auths.items()
        }  # type: ignore[arg-type]
    )


async def abandon(url: str, secret: str, proxy: str | None) -> None:
    """Open whatever can be opened, and let go of it."""
    cloud = client(url, secret, proxy)
    await cloud.aopen()
    session = cloud.streamspace.sessions.ref("1")
    tunnel = session.open_vnc()
    await tunnel.aopen()
    stream = session.logs(follow=True)
    await stream.__aenter__()
    following = asyncio.create_task(anext(aiter(stream)))
    tasks = [
        # Never awaited: asyncio logs what they raised.
        asyncio.create_task(cloud.desktops.get("refused")),
        asyncio.create_task(cloud.computers.machines.get("refused")),
        asyncio.create_task(cloud.streams.machines.get(f"{secret}-uid")),
        asyncio.create_task(cloud.streamspace.login("admin", f"{secret}-password")),
        asyncio.create_task(cloud.desktops.get("broken")),
        # Under way until the loop ends.
        asyncio.create_task(cloud.desktops.get("stall")),
        asyncio.create_task(cloud.computers.machines.get("stall")),
        following,
    ]
    await asyncio.sleep(0.5)
    faulthandler.dump_traceback(all_threads=True)
    for task in tasks:
        task.print_stack(file=sys.stderr)
        print(task, file=sys.stderr)
    for thing in gc.get_objects():
        # What aiohttp and asyncio print in their own messages, closed or not.
        if isinstance(thing, PRINTED):
            print(repr(thing), file=sys.stderr)
    with tempfile.TemporaryDirectory() as directory:

        async def fail(id: str) -> None:
            await cloud.desktops.get(id)

        async with Bulk(["refused", "broken"], fail, journal=f"{directory}/journal") as run:
            print([outcome async for outcome in run], file=sys.stderr)
        # Nothing else runs meanwhile.
        sys.stderr.buffer.write(Path(directory, "journal").read_bytes())  # noqa: ASYNC240
    sys.stderr.flush()


async def main() -> None:
    loop = asyncio.get_running_loop()
    assert loop.get_debug()
    # Then every callback is a slow one, and is logged with its arguments.
    loop.slow_callback_duration = 0.0
    url, secret = os.environ["URL"], os.environ["SECRET_OF_A_TEST"]
    await abandon(url, secret, None)
    gc.collect()
    await asyncio.sleep(0.1)
    await abandon(url, secret, url.replace("//", f"//me:{secret}-proxy@"))
    gc.collect()


if __name__ == "__main__":
    logging.basicConfig(level=1, stream=sys.stderr)
    faulthandler.enable()
    asyncio.run(main())
    gc.collect()
    sys.stderr.flush()
    os.abort()
