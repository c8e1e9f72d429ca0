"""The endpoints that lead a client to an emulator, and the options that they take."""

from __future__ import annotations

import pytest

from vcloud import RetryPolicy, ServerError, VCloud
from vcloud.emulator import Emulator, Fault


async def test_its_endpoints_take_the_options_of_an_endpoint() -> None:
    async with Emulator(machines=1) as emulator:
        emulator.faults.add("GET *", Fault.server_error(503), times=None)
        endpoints = emulator.endpoints(retry=RetryPolicy(attempts=1), timeout=5)
        async with VCloud(**endpoints) as cloud:
            with pytest.raises(ServerError):
                await cloud.computers.machines.ref("100").refresh()
        assert len(emulator.calls) == 1
        assert {endpoints["computers"].timeout, endpoints["streamspace"].timeout} == {5}
        with pytest.raises(TypeError, match=r"'retries': did you mean retry\?"):
            emulator.endpoints(retries=1)  # type: ignore[call-arg]


async def test_what_it_serves_over_tls_is_trusted_with_options_too() -> None:
    async with Emulator(machines=1, tls=True) as emulator:
        async with VCloud(**emulator.endpoints(timeout=5)) as cloud:
            assert (await cloud.computers.machines.ref("100").refresh()).id == "100"
