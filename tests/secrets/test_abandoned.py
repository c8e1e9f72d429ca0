"""What asyncio, aiohttp and Python print of a program that closes nothing and crashes."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest
from aiohttp import web

from tests.secrets.sniffing import CANARY, found_in
from tests.secrets.spelling import shows
from tests.secrets.test_canary import serving

SECRET = f"{CANARY}-0123456789"


async def service(request: web.BaseRequest) -> web.StreamResponse:
    """Repeats what it heard, in headers too; the proxy of plain requests is the same."""
    heard = f"{request.path_qs} {dict(request.headers)} {(await request.read()).decode()}"
    echoed = {
        "X-Heard": heard.replace("\n", " "),
        "Set-Cookie": f"a={request.headers.get('X-API-Key')}",
    }
    if request.headers.get("Upgrade") == "websocket":
        opened = web.WebSocketResponse()
        opened.headers.update(echoed)
        await opened.prepare(request)
        await opened.receive()
        return opened
    if request.path.endswith("stall"):
        answer = web.StreamResponse(headers=echoed)
        await answer.prepare(request)
        await asyncio.sleep(20)
    if request.path.endswith("broken"):
        assert request.transport is not None
        request.transport.write(heard.encode())
        request.transport.close()
    return web.json_response({"status": "error", "error": heard}, status=400, headers=echoed)


@pytest.mark.parametrize("mode", ["-Xdev", "-Wdefault"])
async def test_nothing_that_is_left_open_prints_a_secret(mode: str) -> None:
    root = Path(__file__).parents[2]
    async with serving(service) as url:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            mode,
            "-m",
            "tests.secrets.abandoned",
            cwd=root,
            env={
                **os.environ,
                "PYTHONASYNCIODEBUG": "1",
                "PYTHONPATH": str(root),
                "SECRET_OF_A_TEST": SECRET,
                "URL": url,
                "NO_PROXY": "",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
    said = out.decode("utf-8", "replace")
    assert process.returncode not in (0, 1), said[-2000:]
    # Otherwise this shows nothing.
    for noise in ("Unclosed", "never retrieved", "never closed", "Executing <", "Fatal Python"):
        assert noise in said, said[-3000:]
    assert "Current thread" in said
    assert not found_in(said, "output"), said
    for line in set(re.split(r"[\n>]", said)):
        if "%" in line or "\\" in line or "&" in line or "*" not in line:
            assert not shows(line[:2000], SECRET[:16])
