"""A simulated desktop and a real one, to which the same requests are sent."""

from __future__ import annotations

import json
import re
from typing import Any

import aiohttp
from attrs import frozen

from vcloud.emulator import Emulator
from vcloud.emulator.desktops.backend import SimulatedBackend

Answer = tuple[int, Any]


@frozen
class Side:
    """One desktop of one of the two emulators."""

    emulator: Emulator
    id: str
    http: aiohttp.ClientSession

    async def post(self, path: str, body: dict[str, Any]) -> Answer:
        url = f"{self.emulator.url}/v1/desktop/{self.id}/{path}"
        key = self.emulator.env()["VCLOUD_DESKTOPS_API_KEY"]
        headers = {"x-api-key": key, "Content-Type": "application/json"}
        async with self.http.post(url, data=json.dumps(body), headers=headers) as response:
            return response.status, await response.json()

    async def act(self, **action: Any) -> Answer:
        return await self.post("computer-action", action)

    async def bash(self, command: str) -> Answer:
        return await self.post("bash-action", {"command": command})

    @property
    def screen(self) -> SimulatedBackend:
        return self.emulator.desktops.desktops[self.id].simulated


@frozen
class Both:
    simulated: Side
    real: Side

    async def act(self, **action: Any) -> Answer:
        """Do it on both; the answer of both."""
        return self._same(await self.simulated.act(**action), await self.real.act(**action), action)

    async def bash(self, command: str) -> Answer:
        return self._same(
            await self.simulated.bash(command), await self.real.bash(command), command
        )

    def _same(self, simulated: Answer, real: Answer, what: object) -> Answer:
        assert unnumbered(simulated) == unnumbered(real), what
        return simulated


def unnumbered(answer: Answer) -> Answer:
    """An answer without the numbers of windows, which differ."""
    status, body = answer
    return status, json.loads(re.sub(r"(WINDOW=|window:)\d+", r"\1", json.dumps(body)))


def failed(code: int) -> str:
    return f"Unexpected error during action execution: Command failed with code {code}"


async def location(both: Both) -> str:
    _, body = await both.act(type="get_cursor_position")
    return " ".join(body["output"].splitlines()[:2])
