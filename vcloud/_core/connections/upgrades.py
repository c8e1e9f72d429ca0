"""The aiohttp session through which WebSockets are opened."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType

from vcloud._core.connections.bodies import beginning
from vcloud._core.connections.options import NO_TIMEOUT
from vcloud._core.connections.refused import RefusedError, refusal_headers
from vcloud._core.connections.responses import UpgradeResponse
from vcloud._core.connections.sending import send_once
from vcloud._core.request import MAX_REFUSAL, Response
from vcloud._core.timing.attempt_timeout import AttemptTimeouts

#: The time limit for connecting of the upgrade that is sent here; None: that of the whole upgrade.
CONNECT_TIMEOUTS: Final[ContextVar[AttemptTimeouts | None]] = ContextVar(
    "vcloud_connect_timeouts", default=None
)


def upgrading_session(session: aiohttp.ClientSession) -> aiohttp.ClientSession:
    """A session that shares the connections, because ``ws_connect`` takes no middlewares."""
    upgrading = aiohttp.ClientSession(
        connector=session.connector,
        connector_owner=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=session.headers,
        timeout=NO_TIMEOUT,
        middlewares=(_upgrade,),
        response_class=UpgradeResponse,
    )
    # Instrumentations of aiohttp add theirs to every session, and record URLs with tokens.
    upgrading.trace_configs.clear()
    return upgrading


async def _upgrade(
    request: aiohttp.ClientRequest, handler: ClientHandlerType
) -> aiohttp.ClientResponse:
    # aiohttp drops the body of a refusal, which has the service's reason, and follows redirects.
    answer = await send_once(request, handler, connecting=CONNECT_TIMEOUTS.get())
    if answer.status != 101:
        headers = refusal_headers(answer)
        body, cut = await beginning(answer, MAX_REFUSAL)
        raise RefusedError(Response(answer.status, headers, body, cut))
    return answer
