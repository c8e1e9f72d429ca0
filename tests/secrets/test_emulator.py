"""The emulator's own protection: which clients reach it, and how it compares secrets."""

from __future__ import annotations

import asyncio
import hmac
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.seeded import KEY, SEED
from vcloud import (
    APIKeyAuth,
    AuthenticationError,
    BearerAuth,
    Endpoint,
    HMACAuth,
    RetryPolicy,
    VCloud,
)
from vcloud.emulator import Emulator
from vcloud.emulator.credentials import ADMIN

WRONG = {
    "signature": lambda cloud: cloud.computers.machines.list().first(),
    "signature of the other API": lambda cloud: cloud.streams.machines.list().first(),
    "API key": lambda cloud: cloud.desktops.launch(),
    "password": lambda cloud: cloud.streamspace.login(ADMIN, "wrong-password"),
    "token": lambda cloud: cloud.streamspace.agents.stats(),
}


async def test_it_listens_on_loopback_by_default() -> None:
    async with Emulator(seed=SEED) as emulator:
        assert set(emulator.stats().addresses) == {"127.0.0.1"}
    for host in ("0.0.0.0", "::", "192.168.0.1", "example.com"):
        with pytest.raises(ValueError, match="not a loopback address"):
            Emulator(host=host)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "vcloud.emulator",
        "--host",
        "0.0.0.0",
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode != 0
    assert b"loopback" in said


@pytest.mark.parametrize("call", WRONG.values(), ids=[name.replace(" ", "_") for name in WRONG])
async def test_secrets_are_compared_in_constant_time(
    call: Callable[[VCloud], Awaitable[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[object, object]] = []
    compare = hmac.compare_digest

    def counting(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    async with Emulator(seed=SEED) as emulator:
        url = emulator.url
        token = (await _token(emulator))[:-4] + "AAAA"
        ends: dict[str, Any] = {
            "computers": Endpoint(url + emulator.computers.prefix, auth=HMACAuth(KEY, "wrong")),
            "streams": Endpoint(url + emulator.streams.prefix, auth=HMACAuth(KEY, "wrong")),
            "desktops": Endpoint(url + emulator.desktops.prefix, auth=APIKeyAuth("wrong")),
            "streamspace": Endpoint(
                url + emulator.streamspace.prefix,
                auth=BearerAuth(token),
                retry=RetryPolicy(attempts=1),
            ),
        }
        monkeypatch.setattr(hmac, "compare_digest", counting)
        async with VCloud(**ends) as cloud:
            with pytest.raises(AuthenticationError):
                await call(cloud)
        assert compared
        assert all(isinstance(one, bytes) and isinstance(other, bytes) for one, other in compared)


async def _token(emulator: Emulator) -> str:
    async with VCloud(streamspace=emulator.endpoints()["streamspace"]) as cloud:
        return (await cloud.streamspace.login()).token
