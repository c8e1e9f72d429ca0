"""The desktop-action API: every documented operation, as its published source behaves."""

from __future__ import annotations

import asyncio
import base64
import hmac
import uuid
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any, Final

import msgspec
from aiohttp import web
from attrs import define, field, frozen

from vcloud.emulator.clock import Clock
from vcloud.emulator.desktops_backend import (
    Backend,
    CommandCutError,
    CommandFailedError,
    Event,
    SimulatedBackend,
)
from vcloud.emulator.desktops_lifetimes import Lifetimes, Startable
from vcloud.emulator.desktops_schema import (
    ACTION,
    BASH,
    LAUNCH,
    Json,
    SchemaError,
    checked,
    invalid_uuid,
)
from vcloud.emulator.routing import NoRouteError, Routes, WrongMethodError

API_KEY: Final = "ck_emulator"
OWNER: Final = "emulated"
DOCS: Final = "https://docs.cyberdesk.io"

PENDING: Final = 6.0
"""Seconds from a launch until the desktop runs."""
DEFAULT_TIMEOUT: Final = 24 * 60 * 60 * 1000
SHORTEST_TIMEOUT: Final = 60_000
GATEWAY_LIMIT: Final = 30.0
"""Seconds after which the gateway cuts an action."""
MAX_SCROLL: Final = 500
LONGEST_TIMEOUT: Final = 100 * 365 * 24 * 60 * 60 * 1000
"""A century. Undocumented: some end there must be, before dates run out of years."""


class DesktopsError(Exception):
    """A refusal, as the service words it."""

    def __init__(self, status: int, message: str) -> None:
        """Refuse with this HTTP status."""
        super().__init__(status, message)
        self.status = status
        self.message = message


@define(eq=False, kw_only=True)
class Desktop:
    """A desktop. Its status follows from the clock, until it is stopped or told otherwise."""

    id: str
    owner: str
    created_at: float
    timeout_at: float
    stream_url: str = field(repr=False)
    backend: Backend = field(repr=False)
    forced: str | None = None
    """A status that it has whatever the clock says."""
    boots: float = PENDING
    """Seconds for which it is pending by the clock."""
    ready: bool = True
    """Whether what it runs on has started."""

    def status(self, now: float) -> str:
        """Return the status at this time."""
        if self.forced is not None:
            return self.forced
        if now >= self.timeout_at:
            return "terminated"
        return "running" if self.ready and now >= self.created_at + self.boots else "pending"

    @property
    def simulated(self) -> SimulatedBackend:
        """Return the simulated display, for tests to look at and change."""
        if not isinstance(self.backend, SimulatedBackend):
            msg = f"desktop {self.id} runs on {type(self.backend).__name__}, which is not simulated"
            raise TypeError(msg)
        return self.backend

    @property
    def events(self) -> list[Event]:
        """Return what has reached the desktop so far, oldest first."""
        return self.simulated.events


@frozen
class _Request:
    """An authenticated request, as a handler sees it."""

    owner: str
    params: Mapping[str, str]
    method: str
    content: bytes
    content_type: str

    def json(self) -> Any:
        """Return the body. One that is not announced as JSON counts as empty."""
        if not self.content or self.content_type != "application/json":
            return {}
        try:
            return msgspec.json.decode(self.content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise DesktopsError(400, "Malformed JSON in request body") from None


_Handler = Callable[[_Request], Awaitable[Json]]


class Desktops:
    """The service and its state, which tests may read and change: `desktops`, and `keys` with their owners."""

    prefix = "/v1"

    def __init__(
        self,
        clock: Clock,
        *,
        backend: Callable[[Clock], Backend] | None = None,
        seed: int = 0,
        key: str = API_KEY,
    ) -> None:
        """Serve without any desktop; `backend` makes what each runs on, equal seeds give equal ids, `key` opens it."""
        self.clock = clock
        self.desktops: dict[str, Desktop] = {}
        self.keys: dict[str, str] = {key: OWNER}
        self._lifetimes = Lifetimes(clock)
        self._backend = backend or (lambda clock: SimulatedBackend(clock=clock))
        self._random = Random(seed)
        self._routes: Routes[_Handler] = Routes(self.prefix)
        for method, template, handler in (
            ("POST", "/desktop", self._launch),
            ("GET", "/desktop/{id}", self._get),
            ("POST", "/desktop/{id}/stop", self._stop),
            ("POST", "/desktop/{id}/computer-action", self._computer_action),
            ("POST", "/desktop/{id}/bash-action", self._bash_action),
        ):
            self._routes.add(method, template, handler)

    def add_desktop(
        self,
        *,
        status: str | None = "running",
        owner: str = OWNER,
        timeout_ms: int = DEFAULT_TIMEOUT,
    ) -> Desktop:
        """Add a desktop; with None for its status it becomes running by the clock, as a launched one does."""
        now = self.clock.now()
        id_ = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        desktop = Desktop(
            id=id_,
            owner=owner,
            created_at=now,
            timeout_at=now + min(timeout_ms, LONGEST_TIMEOUT) / 1000,
            stream_url=f"https://stream.cyberdesk.io/vnc/{id_}?token={self._random.getrandbits(64):016x}",
            backend=self._backend(self.clock),
        )
        # One that is to run at once was launched some time ago, and still ends when its time is up.
        if status == "running":
            desktop.created_at -= PENDING
        elif status is not None:
            desktop.forced = status
        if isinstance(desktop.backend, Startable) and desktop.forced is None:
            self._lifetimes.begin(desktop, desktop.backend)
        self.desktops[id_] = desktop
        return desktop

    async def aclose(self) -> None:
        """End what real desktops run on; may be called again."""
        await self._lifetimes.aclose()

    def set_status(self, id: str, status: str) -> None:
        """Put a desktop into any status, known or not, for good."""
        self.desktops[id].forced = status

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Answer one request; refusals are answers, too."""
        try:
            return _respond(200, await self._answer(request, body))
        except SchemaError as error:
            return _respond(
                400, {"success": False, "error": {"issues": error.issues, "name": "ZodError"}}
            )
        except DesktopsError as error:
            return _respond(error.status, {"status": "error", "error": error.message, "docs": DOCS})
        except (NoRouteError, WrongMethodError):
            return _nothing_here()

    async def _answer(self, request: web.BaseRequest, body: bytes) -> Json:
        key = request.headers.get("x-api-key")
        if not key:
            # As it is: a missing key looks like a missing page.
            raise NoRouteError(request.raw_path)
        owner = self._owner(key)
        if owner is None:
            raise DesktopsError(401, "Unauthorized: invalid API key")
        found = self._routes.find(request.method, request.raw_path.partition("?")[0])
        content_type = request.content_type if "Content-Type" in request.headers else ""
        return await found.handler(
            _Request(owner, found.params, request.method, body, content_type)
        )

    def _owner(self, key: str) -> str | None:
        # Each is compared, and each for as long as the other, so that time tells nobody how much of a key is right.
        sent = key.encode(errors="surrogateescape")
        owners = [
            owner for known, owner in self.keys.items() if hmac.compare_digest(known.encode(), sent)
        ]
        return owners[0] if owners else None

    async def _launch(self, request: _Request) -> Json:
        timeout_ms = int(checked(request.json(), LAUNCH).get("timeout_ms", DEFAULT_TIMEOUT))
        if timeout_ms < SHORTEST_TIMEOUT:
            raise DesktopsError(502, f"Failed to launch the desktop: timeout of {timeout_ms} ms")
        desktop = self.add_desktop(status=None, owner=request.owner, timeout_ms=timeout_ms)
        return {"id": desktop.id, "status": desktop.status(self.clock.now())}

    async def _get(self, request: _Request) -> Json:
        desktop = self._desktop(request)
        status = desktop.status(self.clock.now())
        return {
            "id": desktop.id,
            "status": status,
            "created_at": self.clock.iso(desktop.created_at),
            "timeout_at": self.clock.iso(desktop.timeout_at),
            "stream_url": None if status == "pending" else desktop.stream_url,
        }

    async def _stop(self, request: _Request) -> Json:
        desktop = self._desktop(request)
        desktop.forced = "terminated"
        await self._lifetimes.end(desktop.id)
        return {"status": "terminated"}

    async def _computer_action(self, request: _Request) -> Json:
        action = checked(request.json(), ACTION)
        desktop = self._running(request)
        try:
            return await self._perform(desktop.backend, action)
        except CommandFailedError as error:
            raise DesktopsError(500, f"Failed to perform {action['type']}: {error}") from None

    async def _bash_action(self, request: _Request) -> Json:
        command = checked(request.json(), BASH)["command"]
        desktop = self._running(request)
        try:
            ran = await desktop.backend.bash(command)
        except CommandFailedError as error:
            raise DesktopsError(500, f"Failed to execute bash action: {error}") from None
        except CommandCutError:
            raise _cut() from None
        await self._pass(ran.seconds)
        return {"status": "success", "output": ran.stdout or ran.stderr}

    async def _perform(self, backend: Backend, action: Json) -> Json:
        match action["type"]:
            case "click_mouse":
                await _click(backend, action)
            case "scroll":
                await backend.scroll(
                    action["direction"], max(1, min(int(action["amount"]), MAX_SCROLL))
                )
            case "move_mouse":
                await backend.move(int(action["x"]), int(action["y"]))
            case "drag_mouse":
                await backend.move(int(action["start"]["x"]), int(action["start"]["y"]))
                await backend.hold_button("left", down=True)
                await backend.move(int(action["end"]["x"]), int(action["end"]["y"]))
                await backend.hold_button("left", down=False)
            case "type":
                await backend.type(action["text"])
            case "press_keys":
                keys = (
                    action["keys"] if isinstance(action["keys"], str) else "+".join(action["keys"])
                )
                kind = action.get("key_action_type", "press")
                await (
                    backend.press_keys(keys)
                    if kind == "press"
                    else backend.hold_keys(keys, down=kind == "down")
                )
            case "wait":
                # Bounded before it is divided: JSON knows numbers that a float does not hold.
                await self._pass(min(int(action["ms"]), LONGEST_TIMEOUT) / 1000)
            case "screenshot":
                return {"base64_image": base64.b64encode(await backend.screenshot()).decode()}
            case "get_cursor_position":
                at = await backend.pointer()
                return {"output": f"X={at.x}\nY={at.y}\nSCREEN={at.screen}\nWINDOW={at.window}"}
        return {"output": ""}

    async def _pass(self, seconds: float) -> None:
        """Let simulated time pass, as far as the gateway does."""
        lasts = min(max(0.0, seconds), GATEWAY_LIMIT)
        if self.clock.speed > 0:
            await asyncio.sleep(lasts / self.clock.speed)
        elif lasts:
            # A clock that stands is moved by whoever uses it, so by this request, too.
            self.clock.advance(lasts)
        if seconds > GATEWAY_LIMIT:
            raise _cut()

    def _running(self, request: _Request) -> Desktop:
        desktop = self._desktop(request)
        status = desktop.status(self.clock.now())
        if status != "running":
            raise DesktopsError(409, f"Desktop is not running (status: {status})")
        return desktop

    def _desktop(self, request: _Request) -> Desktop:
        id_ = request.params["id"]
        try:
            id_ = str(uuid.UUID(id_))
        except ValueError:
            if request.method == "GET":
                raise invalid_uuid("id") from None
            raise DesktopsError(500, "invalid input syntax for type uuid") from None
        desktop = self.desktops.get(id_)
        if desktop is None or desktop.owner != request.owner:
            raise DesktopsError(404, "Desktop not found")
        return desktop


def _cut() -> DesktopsError:
    return DesktopsError(502, "Gateway timeout: the action took longer than 30 seconds")


async def _click(backend: Backend, action: Json) -> None:
    # One coordinate alone is ignored.
    if "x" in action and "y" in action:
        await backend.move(int(action["x"]), int(action["y"]))
    button = action.get("button", "left")
    match action.get("click_type", "click"):
        case "click":
            await backend.click(button, int(action.get("num_of_clicks", 1)))
        case kind:
            await backend.hold_button(button, down=kind == "down")


def _respond(status: int, payload: Json) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(payload), content_type="application/json"
    )


def _nothing_here() -> web.Response:
    return web.Response(status=404, text="404 Not Found", content_type="text/plain")
