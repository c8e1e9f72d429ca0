"""What a type checker knows in a test that uses the pytest plugin. mypy and pyright read this."""

from __future__ import annotations

from typing import assert_type

import pytest

from vcloud import VCloud
from vcloud.emulator import Call, Emulator, Fault


@pytest.mark.vcloud_emulator(machines=3, speed=60)
async def of_a_user(vcloud_emulator: Emulator, vcloud_env: dict[str, str]) -> None:
    vcloud_emulator.faults.add("*", Fault.empty())
    assert_type(vcloud_env["VCLOUD_COMPUTERS_KEY"], str)
    async with VCloud(**vcloud_emulator.endpoints()) as cloud:
        assert_type(cloud, VCloud)
    async with VCloud.from_env() as of_environment:
        assert_type(of_environment, VCloud)
    for call in vcloud_emulator.calls:
        assert_type(call, Call)
