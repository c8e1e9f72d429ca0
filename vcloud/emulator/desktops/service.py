"""The desktop-action API: every documented operation, as its published source behaves."""

from __future__ import annotations

import hmac
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final

import msgspec
from aiohttp import web
from attrs import frozen

from vcloud.emulator.clock import Clock
from vcloud.emulator.credentials import Seed, generator, new_uuid
from vcloud.emulator.desktops.backend import (
    GATEWAY_LIMIT,
    Backend,
    BashFunction,
    GatewayError,
    Ran,
    SimulatedBackend,
)
from vcloud.emulator.desktops.commands import command_of
from vcloud.emulator.desktops.lifetimes import Lifetimes, Startable
from vcloud.emulator.desktops.refusal import NotSimulatedError
from vcloud.emulator.desktops.schema import (
    ACTION,
    BASH,
    LAUNCH,
    Json,
    SchemaError,
    checked,
    invalid_uuid,
)
from vcloud.emulator.desktops.state import PENDING, STATUSES, Desktop
from vcloud.emulator.net.routing import NoRouteError, Routes, WrongMethodError
from vcloud.emulator.settable import known_word, seconds_of
from vcloud.emulator.state_loop import StateLoop

OWNER: Final = "emulated"
DOCS: Final = "https://docs.cyberdesk.io/docs/api-reference/"

DEFAULT_TIMEOUT: Final = 24 * 60 * 60 * 1000
SHORTEST_TIMEOUT: Final = 60_000
LONGEST_TIMEOUT: Final = 100 * 365 * 24 * 60 * 60 * 1000
"""A century. Undocumented: a limit is needed, because dates end with the year 9999."""

#: The only form that the service's schema library accepts, and those that its database accepts.
_UUID: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE
)
_UUID_OF_DATABASE: Final = re.compile(
    r"(\{)?[0-9a-f]{4}(?:-?[0-9a-f]{4}){7}(?(1)\})", re.IGNORECASE
)
_JSON_TYPE: Final = re.compile(r"application/([a-z0-9.-]+\+)?json", re.IGNORECASE)
_BLANK: Final = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""The characters that JavaScript trims."""

NOT_SIMULATED: Final = (
    "vcloud.emulator does not simulate this (its log says what): answer commands with "
    "emulator.desktops.on_bash, or use Emulator(backend='x11', allow_exec=True)"
)
"""It repeats nothing of what was sent, because clients hide errors that do."""

_log = logging.getLogger(__name__)


class DesktopsError(Exception):
    """A refusal in the service's form."""

    def __init__(self, status: int, message: str) -> None:
        """Refuse with this HTTP status."""
        super().__init__(status, message)
        self.status: int = status
        self.message: str = message


@frozen
class _Request:
    """An authenticated request as handlers receive it."""

    owner: str
    params: Mapping[str, str]
    method: str
    content: bytes
    content_type: str

    @property
    def announces_json(self) -> bool:
        """Whether the content type says that the body is JSON."""
        return _JSON_TYPE.fullmatch(self.content_type) is not None

    def json(self) -> Any:
        """The body. One without the content type of JSON counts as empty."""
        if not self.announces_json:
            return {}
        try:
            return msgspec.json.decode(self.content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise DesktopsError(400, "Malformed JSON in request body") from None

    def launch_json(self) -> Any:
        """The body of a launch, which is read whatever its content type.

        The service answers 400 to a request without a body and with a JSON type. Its document calls
        the body optional, so that is accepted here.
        """
        if not self.content:
            return {}
        if self.announces_json:
            return self.json()
        try:
            return msgspec.json.decode(self.content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}


_Handler = Callable[[_Request], Awaitable[Json]]


class Desktops:
    """The service and its state, which tests may read and change.

    The state is in `desktops`, by id, and `keys`, which map API keys to their owners.
    """

    prefix: str = "/v1"

    def __init__(
        self,
        clock: Clock,
        *,
        home: StateLoop | None = None,
        backend: Callable[[Clock], Backend] | None = None,
        seed: Seed | None = None,
        key: str,
    ) -> None:
        """Begin without desktops; `backend` makes what each runs on.

        Equal seeds give equal ids. `key` is the API key.
        """
        self.clock: Clock = clock
        self._home = home or StateLoop()
        self.desktops: dict[str, Desktop] = {}
        self.keys: dict[str, str] = {key: OWNER}
        self._lifetimes = Lifetimes(clock)
        self._functions: list[BashFunction] = []
        self._simulated = backend is None
        self._backend = backend or (
            lambda clock: SimulatedBackend(clock=clock, functions=self._functions)
        )
        self._random = generator(seed)
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
        lifetime: timedelta | float | None = None,
        timeout_ms: int = DEFAULT_TIMEOUT,
    ) -> Desktop:
        """Add a desktop, from any thread. With None for its status, it runs after a while.

        It ends after its `lifetime` (seconds, timedelta), or `timeout_ms`, the API's own word.
        """
        known_word(status or STATUSES[0], STATUSES, "status")
        if lifetime is not None:
            timeout_ms = round(seconds_of(lifetime, "lifetime") * 1000)
        return self._home.run(lambda: self._add_desktop(status, owner, timeout_ms))

    def _add_desktop(self, status: str | None, owner: str, timeout_ms: int) -> Desktop:
        now = self.clock.now()
        id_ = new_uuid(self._random)
        desktop = Desktop(
            id=id_,
            clock=self.clock,
            home=self._home,
            owner=owner,
            created_at=now,
            timeout_at=now + min(timeout_ms, LONGEST_TIMEOUT) / 1000,
            stream_url=f"https://stream.cyberdesk.io/vnc/{id_}?token={self._random.getrandbits(64):016x}",
            backend=self._backend(self.clock),
        )
        # To run at once, it must have been launched before; it still ends at its timeout.
        if status == "running":
            desktop.created_at -= PENDING
        elif status is not None:
            desktop.forced = status
        if isinstance(desktop.backend, SimulatedBackend):
            desktop.backend.ended = desktop.timeout_at
        if isinstance(desktop.backend, Startable) and desktop.forced is None:
            self._lifetimes.begin(desktop, desktop.backend)
        self.desktops[id_] = desktop
        return desktop

    def on_bash(self, function: BashFunction) -> BashFunction:
        """Let a function answer the commands of `desktop.bash()`, on all simulated desktops.

        It is called with each command and returns the output, a `Ran` (with `stderr`, an exit
        `code`, the `seconds` that it takes), or None for a command that it does not know. Then the
        function before it is asked, and at last the simulated shell. Commands that only call
        `xdotool` go to the simulated screen. It runs in the emulator's event loop, so it must not
        block. Also a decorator: `@emulator.desktops.on_bash`. It returns the function.

        Raises:
            RuntimeError: the desktops are real.
        """
        if not callable(function):
            raise TypeError(f"on_bash takes a function of the command, not {function!r:.80}")
        if not self._simulated:
            raise RuntimeError("on_bash is for simulated desktops: real ones run their commands")
        self._functions.append(function)
        return function

    async def aclose(self) -> None:
        """End all real desktops; may be called again."""
        await self._lifetimes.aclose()

    def set_status(self, id: str, status: str) -> None:
        """Put a desktop into any status, known or not, permanently."""
        self._home.run(partial(self.desktops[id].force, status))

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Answer one request, also one that is refused."""
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
        except NotSimulatedError as error:
            path = request.raw_path.partition("?")[0]
            _log.warning("%s %s: not simulated: %s", request.method, path, error)
            return _respond(422, {"status": "error", "error": NOT_SIMULATED})

    async def _answer(self, request: web.BaseRequest, body: bytes) -> Json:
        key = request.headers.get("x-api-key")
        if not key:
            # As on the service: a missing key is answered as a missing page.
            raise NoRouteError(request.raw_path)
        owner = self._owner(key)
        if owner is None:
            raise DesktopsError(401, "Invalid API key")
        found = self._routes.find(request.method, request.raw_path.partition("?")[0])
        content_type = request.content_type if "Content-Type" in request.headers else ""
        return await found.handler(
            _Request(owner, found.params, request.method, body, content_type)
        )

    def _owner(self, key: str) -> str | None:
        # All keys are compared, in constant time, so that timing does not reveal parts of a key.
        sent = key.encode(errors="surrogateescape")
        owners = [
            owner for known, owner in self.keys.items() if hmac.compare_digest(known.encode(), sent)
        ]
        return owners[0] if owners else None

    async def _launch(self, request: _Request) -> Json:
        body = request.launch_json()
        try:
            timeout_ms = int(checked(body, LAUNCH).get("timeout_ms", DEFAULT_TIMEOUT))
        except SchemaError as error:
            if request.announces_json:
                raise
            # The service's handler finds this one, and its errors have another form.
            raise DesktopsError(400, f"Validation failed: {error.text}") from None
        if timeout_ms < SHORTEST_TIMEOUT:
            raise DesktopsError(502, "Failed to provision via Gateway: Unprocessable Entity")
        desktop = self.add_desktop(status=None, owner=request.owner, timeout_ms=timeout_ms)
        return {"id": desktop.id, "status": desktop.status_at(self.clock.now())}

    async def _get(self, request: _Request) -> Json:
        if not _UUID.fullmatch(request.params["id"]):
            raise invalid_uuid("id")
        desktop = self._desktop(request)
        status = desktop.status_at(self.clock.now())
        return {
            "id": desktop.id,
            "status": status,
            "created_at": self.clock.iso(desktop.created_at),
            "timeout_at": self.clock.iso(desktop.timeout_at),
            "stream_url": desktop.stream_url if desktop.streams and status != "pending" else None,
        }

    async def _stop(self, request: _Request) -> Json:
        desktop = self._desktop(request)
        now = self.clock.now()
        desktop.streams = desktop.streams and desktop.status_at(now) != "pending"
        desktop.force("terminated")
        await self._lifetimes.end(desktop.id)
        return {"status": "terminated"}

    async def _computer_action(self, request: _Request) -> Json:
        action = checked(request.json(), ACTION)
        backend = self._running(request, "perform action").backend
        command = command_of(action, backend.screen_file)
        try:
            ran = await self._through_gateway(backend.act(command))
        except GatewayError as error:
            raise DesktopsError(502, f"Action execution failed via gateway: {error}") from None
        if ran.code:
            message = f"Command failed with code {ran.code}"
            raise DesktopsError(500, f"Unexpected error during action execution: {message}")
        if action["type"] == "screenshot":
            return {"base64_image": "".join(ran.stdout.split())}
        return {"output": _printed(ran.stdout)}

    async def _bash_action(self, request: _Request) -> Json:
        command = checked(request.json(), BASH)["command"]
        backend = self._running(request, "execute command").backend
        try:
            ran = await self._through_gateway(_observed(backend.bash(command)))
        except GatewayError as error:
            message = f"Bash command execution failed via gateway: {error}"
            raise DesktopsError(502, message) from None
        output = _printed(ran.stdout) or _printed(ran.stderr)
        return {"status": "success", "output": output}

    async def _through_gateway(self, running: Awaitable[Ran]) -> Ran:
        """Run a command. After the gateway's limit it continues, but its answer is lost."""
        ran = await running
        await self._pass(min(ran.seconds, GATEWAY_LIMIT))
        if ran.seconds > GATEWAY_LIMIT:
            raise GatewayError(504)
        return ran

    async def _pass(self, seconds: float) -> None:
        """Wait for simulated time."""
        if self.clock.speed > 0:
            await self.clock.sleep(seconds)
        elif seconds:
            # A stopped clock only moves when it is advanced, so this request advances it.
            self.clock.advance(seconds)

    def _running(self, request: _Request, purpose: str) -> Desktop:
        desktop = self._desktop(request)
        status = desktop.status_at(self.clock.now())
        if status != "running":
            message = f"Instance is not running (status: {status}). Cannot {purpose}."
            raise DesktopsError(409, message)
        return desktop

    def _desktop(self, request: _Request) -> Desktop:
        id_ = request.params["id"]
        if not _UUID_OF_DATABASE.fullmatch(id_):
            raise DesktopsError(500, "An unexpected internal server error occurred.")
        desktop = self.desktops.get(str(uuid.UUID(id_)))
        if desktop is None or desktop.owner != request.owner:
            raise DesktopsError(404, "Desktop instance not found or user not authorized.")
        return desktop


async def _observed(running: Awaitable[Ran]) -> Ran:
    """Run a command; a function of `on_bash` may fail in any way."""
    try:
        return await running
    except (GatewayError, NotSimulatedError):
        raise
    except Exception as error:
        _log.exception("a function of on_bash failed")
        message = f"the function of on_bash raised {type(error).__name__}: see the emulator's log"
        raise DesktopsError(500, message) from error


def _printed(output: str) -> str:
    """An output as the service returns it: text, without white space at both ends."""
    # Binary files are kept with surrogates for their bytes.
    return output.encode(errors="surrogateescape").decode(errors="replace").strip(_BLANK)


def _respond(status: int, payload: Json) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(payload), content_type="application/json"
    )


def _nothing_here() -> web.Response:
    return web.Response(status=404, text="404 Not Found", content_type="text/plain")
