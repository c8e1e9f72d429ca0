"""Registers an agent at the published server, and waits until an administrator approves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen

from vcloud._core.connections.options import TransportOptions
from vcloud._core.decoding.plain_json import UNREADABLE, loads
from vcloud._core.request import Request, Response, json_body
from vcloud._core.session import Session
from vcloud.errors import DecodeError, PermissionDeniedError
from vcloud.providers.streamspace.agent.ending import AgentRejectedError, ApprovalTimeoutError
from vcloud.providers.streamspace.agent.published.whole_requests import WholeRequests

__all__ = ["Approval", "register"]

#: Seconds between two registrations while an administrator has not decided. Each of them marks the
#: agent as online for 90 seconds (from the server's source), in which it is given sessions that it
#: cannot start.
ASK_AGAIN: Final = 120.0


@frozen
class Approval:
    """How an agent waits for its approval.

    Attributes:
        on_pending: is called after each registration that was answered with "pending".
        timeout: seconds for all of it; None: no limit.
    """

    on_pending: Callable[[], None]
    timeout: float | None


async def register(
    session: Session,
    agent_id: str,
    fields: dict[str, Any],
    approval: Approval,
    requests: WholeRequests,
) -> None:
    """Register, and again until an administrator has approved.  ``POST /agents/register``

    Args:
        session: sends with the agent's key.
        agent_id: its name.
        fields: what it sends about itself.
        approval: how it waits.
        requests: sends each registration to its end.

    Raises:
        AgentRejectedError: an administrator has rejected it.
        ApprovalTimeoutError: nobody has approved it in time.
        VCloudError: as for any request.
    """
    body = json_body(fields)
    until = None if approval.timeout is None else session.clock() + approval.timeout
    while not await requests.send(_registered(session, agent_id, body)):
        approval.on_pending()
        left = ASK_AGAIN if until is None else min(ASK_AGAIN, until - session.clock())
        if left > 0:
            await asyncio.sleep(left)
        if until is not None and session.clock() >= until:
            raise ApprovalTimeoutError(
                f"no administrator approved agent {agent_id} within {approval.timeout:g} s: "
                f"approve it (agents.ref({agent_id!r}).approve()), and start it again"
            )


class _Kept:
    """An exchange that keeps the answer: errors have no place for these fields of a refusal."""

    def __init__(self, session: Session) -> None:
        self._exchange = session.transport.exchange
        self.fields: dict[str, Any] = {}

    async def __call__(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        options: TransportOptions,
    ) -> Response:
        """Send the request, and keep what its answer says."""
        response = await self._exchange(method, url, headers, body, options)
        try:
            found = loads(response.body)
        except UNREADABLE:
            found = None
        self.fields = found if isinstance(found, dict) else {}
        return response


async def _registered(session: Session, agent_id: str, body: bytes) -> bool:
    """Register once; whether the agent is approved. One with a key of its own always is."""
    request = Request("POST", "/agents/register", body=body, slot=False, repeatable=True)
    kept = _Kept(session)
    try:
        response = await session.send(request, exchange=kept)
    except PermissionDeniedError:
        if kept.fields.get("approvalStatus") != "rejected":
            raise
        raise AgentRejectedError(
            f"an administrator rejected agent {agent_id}: register with another agent_id, or have "
            "it approved"
        ) from None
    if "agent" not in kept.fields and "agentId" not in kept.fields:
        raise DecodeError(
            f"the registration of agent {agent_id} was answered with {response.status}, and with "
            "something other than an agent"
        )
    return kept.fields.get("approvalStatus") not in ("pending", "rejected")
