"""Where these tests run: the emulator, always, and a published server of one's own, if it is named.

Everything that a test makes on a server is removed after it, whatever became of the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import json
import os
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from attrs import define, field, frozen

from tests.lacking import unnamed
from vcloud import Attempt, BearerAuth, Endpoint, Observer, RetryPolicy
from vcloud.emulator import Emulator
from vcloud.providers.streamspace import (
    CommandFailed,
    HibernateSession,
    SessionResult,
    StartSession,
    StopSession,
    StreamSpace,
    VNCProxyRequest,
    WakeSession,
)

Json = dict[str, Any]
NAMES = (
    "VCLOUD_TEST_STREAMSPACE_URL",
    "VCLOUD_TEST_STREAMSPACE_USERNAME",
    "VCLOUD_TEST_STREAMSPACE_PASSWORD",
    "VCLOUD_TEST_STREAMSPACE_BOOTSTRAP_KEY",
)
#: A command that restarts the server, for the one test that needs it.
RESTART = "VCLOUD_TEST_STREAMSPACE_RESTART"
QUICKLY = RetryPolicy(base=0.05, cap=0.5)
VNC = {
    "spec": {"baseImage": "registry.example.com/desktop-vnc:1", "ports": [{"containerPort": 5900}]}
}
WEB = {"spec": {"baseImage": "lscr.io/linuxserver/desktop:1", "ports": [{"containerPort": 3000}]}}

_numbers = itertools.count(1)


def new(kind: str) -> str:
    """A name that nothing has: of this run, and within it."""
    return f"vcloud-test-{secrets.token_hex(3)}-{kind}{next(_numbers)}"


class Requests(Observer):
    """The requests that a client sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def started(self, attempt: Attempt) -> None:
        self.sent.append(attempt.operation)


@define
class Place:
    """An installation of the published server, or the emulator in its place."""

    url: str
    username: str
    password: str = field(repr=False)
    bootstrap_key: str = field(repr=False)
    http: aiohttp.ClientSession
    emulator: Emulator | None
    token: str = field(default="", repr=False)
    templates: list[str] = field(factory=list)
    agents: list[str] = field(factory=list)
    users: list[str] = field(factory=list)
    before: set[str] = field(factory=set)

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def key(self) -> dict[str, str]:
        return {"X-Agent-API-Key": self.bootstrap_key}

    def client(self, *observers: Observer) -> StreamSpace:
        auth = BearerAuth.login(self.username, self.password)
        return StreamSpace(Endpoint(self.url, auth=auth, retry=QUICKLY, observers=observers))

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """The status and the JSON of an answer, without the client.

        The server goes on with a request that was given up, as an agent's last heartbeat may be,
        and may then put its answer into that of another request (seen there): such a request is
        sent once more. So is one whose login has ended, because a session was changed.
        """
        for _ in range(3):
            with contextlib.suppress(aiohttp.ClientPayloadError, UnicodeDecodeError, ValueError):
                status, answer = await self._ask(
                    method, path, body, self.bearer if headers is None else headers
                )
                ended = status == 401 and headers is None
                if not ended and (status >= 300 or isinstance(answer, dict)):
                    return status, answer
                if ended:
                    await self.log_in()
            await asyncio.sleep(0.5)
        raise AssertionError(f"{method} {path} has no readable answer")

    async def _ask(
        self, method: str, path: str, body: object, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        async with self.http.request(
            method, f"{self.url}{path}", json=body, headers=headers
        ) as response:
            text = await response.text()
            is_json = response.content_type == "application/json"
            return response.status, json.loads(text) if is_json else text

    async def log_in(self) -> None:
        body = {"username": self.username, "password": self.password}
        status, answer = await self.ask("POST", "/auth/login", body, headers={})
        assert status == 200, answer
        self.token = answer["token"]

    async def template(self, manifest: Json = VNC) -> str:
        """Make a template, by default one whose sessions show their desktop by VNC."""
        found = (await self.ask("GET", "/templates"))[1]["templates"] or [{"repository_id": 1}]
        name = new("template")
        self.templates.append(name)
        async with self.client() as client:
            await client.templates.create(name, found[0]["repository_id"], manifest=manifest)
        return name

    def agent_id(self) -> str:
        """The name of an agent, which is removed at the end."""
        name = new("agent")
        self.agents.append(name)
        return name

    async def register(self, agent_id: str) -> int:
        """Register an agent with the bootstrap key; the status."""
        body = {"agentId": agent_id, "platform": "kubernetes"}
        return (await self.ask("POST", "/agents/register", body, headers=self.key))[0]

    async def approved(self, agent_id: str) -> str:
        """Register an agent and approve it; its own key."""
        assert await self.register(agent_id) == 202
        async with self.client() as client:
            return str((await client.agents.ref(agent_id).approve()).api_key)

    async def agents_online(self) -> list[str]:
        """The other programs that could be given sessions."""
        found = (await self.ask("GET", "/admin/agents?status=online"))[1]["agents"]
        ours = {"k8s-prod-us-east-1"} if self.emulator else set()
        return [one["agentId"] for one in found if one["agentId"] not in ours]

    async def clean(self) -> None:
        """Remove what was made: sessions, then agents, which they refer to, and the rest."""
        await self.log_in()
        sessions = (await self.ask("GET", "/sessions"))[1]["sessions"]
        ours = [one["name"] for one in sessions if one["name"] not in self.before]
        for name in ours:
            await self.ask("DELETE", f"/sessions/{name}")
        if ours:
            # What takes their rows away. It tells no agent, and so is of no other use.
            body = {"sessionIds": ours}
            _, job = await self.ask("POST", "/batch/sessions/terminate", body)
            while True:
                # 404 as long as its row is not written.
                status, found = await self.ask("GET", f"/batch/jobs/{job['jobId']}")
                if status == 200 and found["status"] != "running":
                    break
                await asyncio.sleep(0.05)
        for name in self.agents:
            status, _ = await self.ask("DELETE", f"/admin/agents/{name}")
            assert status in {200, 404}, f"the agent {name} is still there"
        for name in self.templates:
            await self.ask("DELETE", f"/templates/{name}")
        for id_ in self.users:
            await self.ask("DELETE", f"/users/{id_}")


@asynccontextmanager
async def opened(kind: str) -> AsyncIterator[Place]:
    """The place of this kind: ``emulator`` or ``server``."""
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())
        emulator: Emulator | None = None
        if kind == "emulator":
            emulator = Emulator(streamspace="published", rate_limits=False)
            await stack.enter_async_context(emulator)
            given = emulator.credentials
            told = (
                f"{emulator.url}/api/v1",
                given.streamspace_username,
                given.streamspace_password,
                given.streamspace_bootstrap_key,
            )
        else:
            if any(name not in os.environ for name in NAMES):
                unnamed(f"NO PUBLISHED STREAMSPACE IS TESTED: name one with {', '.join(NAMES)}")
            # One test at a time: they share the agents' turn, and a quota of five sessions.
            await stack.enter_async_context(alone())
            told = (
                os.environ[NAMES[0]],
                os.environ[NAMES[1]],
                os.environ[NAMES[2]],
                os.environ[NAMES[3]],
            )
        place = Place(*told, http, emulator)
        await place.log_in()
        others = await place.agents_online()
        assert not others, f"{others} would be given this test's sessions: stop these agents"
        place.before = {one["name"] for one in (await place.ask("GET", "/sessions"))[1]["sessions"]}
        try:
            yield place
        finally:
            await place.clean()


@asynccontextmanager
async def alone() -> AsyncIterator[None]:
    """Wait for the tests of other processes on the server to end."""
    path = Path(tempfile.gettempdir()) / "vcloud-test-streamspace.lock"
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(0.1)
        yield


async def until(check: Callable[[], object]) -> None:
    """Wait for an effect; the test's own timeout ends the wait."""
    while not check():  # noqa: ASYNC110 - what is looked at wakes nobody
        await asyncio.sleep(0.01)


@frozen
class Desktops:
    """A handler of an agent: it keeps what it was told to do, and has no desktops."""

    done: list[tuple[str, str]] = field(factory=list)
    """What was carried out, and for which session."""
    failing: set[str] = field(factory=set)
    """The names of the actions that fail."""

    def _carry_out(self, action: str, session_id: str) -> None:
        self.done.append((action, session_id))
        if action in self.failing:
            raise CommandFailed("SESSION_PROVISIONING_FAILED", f"{action} fails here")

    async def start_session(self, command: StartSession) -> SessionResult:
        self._carry_out("start", command.session_id)
        return SessionResult(
            pod_ip="127.0.0.1", pod_name=f"pod-{command.session_id}", vnc_port=5900
        )

    async def hibernate_session(self, command: HibernateSession) -> None:
        self._carry_out("hibernate", command.session_id)

    async def wake_session(self, command: WakeSession) -> None:
        self._carry_out("wake", command.session_id)

    async def stop_session(self, command: StopSession) -> None:
        self._carry_out("stop", command.session_id)

    async def vnc_address(self, request: VNCProxyRequest) -> tuple[str, int]:
        raise ConnectionRefusedError(f"there is no desktop of {request.session_id}")
