"""What happens to each request: hosts, HTTP, administration, faults, and then its service."""

from __future__ import annotations

import asyncio
import logging
from email.utils import formatdate

from aiohttp import web

from vcloud.emulator.admin.routes import Admin, is_administrative
from vcloud.emulator.calls import Call, CallLog
from vcloud.emulator.clock import monotonic
from vcloud.emulator.faults.exchange import FaultContext
from vcloud.emulator.faults.fault import Fault
from vcloud.emulator.faults.named import HEADER, from_header
from vcloud.emulator.faults.play import apply_fault
from vcloud.emulator.faults.rules import Faults
from vcloud.emulator.net.connection import plain
from vcloud.emulator.net.hosts import Hosts
from vcloud.emulator.net.screening import refusal
from vcloud.emulator.services import Services
from vcloud.emulator.tasks import cancel_and_wait

_log = logging.getLogger(__name__)


class Dispatcher:
    """Answers every request to an emulator.

    In this order: a request for a foreign host, or from a foreign web page, is refused. So is a
    request that no HTTP server accepts, or that lacks the administration's token. Any other request
    goes to the administration, or to its service, with the fault that applies to it.
    """

    def __init__(
        self, services: Services, admin: Admin, hosts: Hosts, faults: Faults, calls: CallLog
    ) -> None:
        """Serve these services."""
        self.context: FaultContext | None = None
        """What faults use; None while the emulator does not run, and then no fault applies."""
        self._services = services
        self._admin = admin
        self._hosts = hosts
        self._faults = faults
        self._calls = calls
        self._tasks: set[asyncio.Task[web.StreamResponse]] = set()

    @property
    def faults_in_progress(self) -> int:
        """How many requests have a fault that still lasts."""
        return len(self._tasks)

    async def aclose(self) -> None:
        """End the faults in progress, which may wait forever; may be called again."""
        await cancel_and_wait(*self._tasks)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        at = monotonic()
        path = request.raw_path.partition("?")[0]
        if (refused := self._refused(request, path, at)) is not None:
            return refused
        try:
            if is_administrative(path):
                return await self._admin.answer(request, path)
            return await self._exchange(request, path, at)
        except (ConnectionError, web.RequestPayloadError) as error:
            # Usually the client disconnected while sending, and receives no answer.
            _log.debug("%s %s: the body did not arrive", request.method, path)
            return plain(400, str(error) or "the body is incomplete")

    def _refused(self, request: web.BaseRequest, path: str, at: float) -> web.StreamResponse | None:
        """The refusal of a request that no service or administration may see; None for others."""
        # Not recorded: a web page could push the user's own calls out of the list.
        if (foreign := self._hosts.refusal(request)) is not None:
            return self._dated(foreign)
        administers = is_administrative(path)
        if (refused := refusal(request)) is not None:
            self._dated(refused)
            return refused if administers else self._record(request, at, refused, processed=False)
        if (administers or HEADER in request.headers) and not self._admin.allows(request):
            return self._dated(self._admin.needs_token())
        return None

    async def _exchange(self, request: web.BaseRequest, path: str, at: float) -> web.StreamResponse:
        ordered = request.headers.get(HEADER)
        try:
            fault = (
                self._faults.take(request.method, path) if ordered is None else from_header(ordered)
            )
        except ValueError as error:
            response = web.json_response({"error": f"{HEADER}: {error}"}, status=400)
            return self._record(request, at, response, processed=False)
        if fault is not None and self.context is not None:
            return await self._apply(fault, request, self.context)
        return self._record(request, at, await self._process(request), processed=True)

    def _record(
        self, request: web.BaseRequest, at: float, response: web.StreamResponse, *, processed: bool
    ) -> web.StreamResponse:
        self._calls.note(Call.of(request, at, response.status, processed=processed))
        return response

    async def _apply(
        self, fault: Fault, request: web.BaseRequest, context: FaultContext
    ) -> web.StreamResponse:
        # A separate task, so that closing the emulator can end it at once.
        task = asyncio.create_task(apply_fault(fault, request, self._process, context))
        self._tasks.add(task)
        try:
            await asyncio.wait({task})
        finally:
            await cancel_and_wait(task)
            self._tasks.discard(task)
        return web.Response() if task.cancelled() else task.result()

    async def _process(self, request: web.BaseRequest) -> web.StreamResponse:
        response = await self._services.answer(request)
        # Set before a fault may start to send the answer. A WebSocket's has been sent by now.
        if not response.prepared:
            response.headers["Date"] = self._date()
        return response

    def _dated(self, response: web.Response) -> web.Response:
        response.headers["Date"] = self._date()
        return response

    def _date(self) -> str:
        return formatdate(self._services.clock.wall(), usegmt=True)
