"""Helpers of the tests of the published server's sockets: a caller, an agent, and viewers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from attrs import define

from tests.emulator.realtime_raw import until
from vcloud.emulator import Emulator
from vcloud.emulator.streamspace.published.service import PublishedStreamSpace

Json = dict[str, Any]
TIME = "2026-11-27T07:51:51.112514Z"
AGENT = "agent-one"
QUIET = 0.3
"""Seconds in which nothing comes on a socket."""


def envelope(kind: str, **payload: object) -> str:
    return json.dumps({"type": kind, "timestamp": TIME, "payload": payload})


@define
class Published:
    """An emulated server, and one caller: its administrator."""

    emulator: Emulator
    http: aiohttp.ClientSession

    @property
    def service(self) -> PublishedStreamSpace:
        return self.emulator.published_streamspace

    @property
    def panics(self) -> int:
        return self.service.realtime.server.panics

    def bearer(self, user: str | None = None) -> dict[str, str]:
        service = self.service
        token = service.tokens.issue(service.users[user or service.admin])[0]
        return {"Authorization": f"Bearer {token}"}

    def key(self) -> dict[str, str]:
        return {"X-Agent-API-Key": self.service.bootstrap_key}

    def url(self, path: str) -> str:
        return f"{self.emulator.url}/api/v1{path}"

    async def ask(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """The status and the body of an answer; text where it is no JSON."""
        sent = self.bearer() if headers is None else headers
        async with self.http.request(method, self.url(path), json=body, headers=sent) as response:
            text = await response.text()
        if response.content_type == "application/json":
            return response.status, json.loads(text)
        return response.status, text

    async def session(self, name: str) -> Json:
        status, found = await self.ask("GET", f"/sessions/{name}")
        assert status == 200, found
        return dict(found)

    async def create(self, template: str = "firefox-browser", **more: object) -> str:
        status, made = await self.ask(
            "POST", "/sessions", {"user": "admin", "template": template, **more}
        )
        assert status == 202, made
        return str(made["name"])

    async def refused(self, path: str, headers: dict[str, str]) -> int:
        """The status of an upgrade that is refused."""
        try:
            socket = await self.http.ws_connect(self.url(path), headers=headers)
        except aiohttp.WSServerHandshakeError as error:
            return error.status
        await socket.close()
        raise AssertionError(f"{path} was upgraded")

    @asynccontextmanager
    async def agent(self, id: str = AGENT) -> AsyncIterator[Agent]:
        registration = {"agentId": id, "platform": "kubernetes"}
        await self.ask("POST", "/agents/register", registration, self.key())
        async with self.connect(id) as socket:
            agent = Agent(id, socket)
            try:
                yield agent
            finally:
                agent.aclose()

    def connect(self, id: str = AGENT) -> Any:
        return self.http.ws_connect(
            self.url(f"/agents/connect?agent_id={id}"), headers=self.key(), max_msg_size=0
        )

    async def running(self, agent: Agent, template: str = "firefox-browser") -> str:
        """A session that this agent has started."""
        name = await self.create(template)
        await agent.command("start_session", name)
        await agent.status(name, "running")
        await until(lambda: self.service.sessions[name].state == "running")
        return name

    def viewer(self, name: str, **options: Any) -> Any:
        return self.http.ws_connect(
            self.url(f"/vnc/{name}"), headers=self.bearer(), max_msg_size=0, **options
        )


class Agent:
    """A hand-written agent, which reads all the time and so answers pings, and has a heart."""

    def __init__(self, id: str, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.id = id
        self.socket = socket
        self.ended = asyncio.Event()
        self._heard: asyncio.Queue[Json] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._beat())]

    def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def say(self, kind: str, **payload: object) -> None:
        await self.socket.send_str(envelope(kind, **payload))

    async def status(self, name: str, state: str, *, ready: bool = True) -> None:
        await self.say(
            "status",
            sessionId=name,
            state=state,
            vncReady=ready,
            vncPort=5900,
            platformMetadata={"podName": "pod-1"},
        )

    async def show(self, name: str, data: str) -> None:
        """Send text as it is to the session's viewer."""
        await self.say("vnc_data", sessionId=name, data=data)

    async def hear(self) -> Json:
        return await self._heard.get()

    async def command(self, action: str, name: str) -> Json:
        """The next command, which must be this one."""
        heard = await self.hear()
        assert heard["type"] == "command", heard
        command: Json = heard["payload"]
        assert (command["action"], command["payload"]["sessionId"]) == (action, name)
        return command

    async def hears_nothing(self) -> None:
        await asyncio.sleep(QUIET)
        assert self._heard.empty(), self._heard.get_nowait()

    async def _read(self) -> None:
        async for message in self.socket:
            for line in message.data.split("\n"):
                self._heard.put_nowait(json.loads(line))
        self.ended.set()

    async def _beat(self) -> None:
        while not self.socket.closed:
            await asyncio.sleep(10)
            await self.say("heartbeat", status="online", activeSessions=0)


@asynccontextmanager
async def published(**options: Any) -> AsyncIterator[Published]:
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        Emulator(streamspace="published", rate_limits=False, **options) as emulator,
        aiohttp.ClientSession(connector=connector) as http,
    ):
        yield Published(emulator, http)


async def texts(socket: aiohttp.ClientWebSocketResponse) -> list[str]:
    """What comes on a socket until nothing does."""
    found: list[str] = []
    while True:
        try:
            message = await socket.receive(timeout=QUIET)
        except TimeoutError:
            return found
        if message.type is not aiohttp.WSMsgType.TEXT:
            return [*found, message.type.name]
        found.append(message.data)
