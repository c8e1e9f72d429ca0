"""Registers an agent at the published server, and waits until an administrator approves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import frozen

from vcloud._core.connections.options import TransportOptions
from vcloud._core.decoding.plain_json import object_of
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
        on_pending: is called after each registration that was answered with "pending". It returns
            the call of the user's coroutine function, which may approve the agent, if there is one.
        timeout: seconds for all of it; None: no limit.
    """

    on_pending: Callable[[], asyncio.Task[Exception | None] | None]
    timeout: float | None


async def register(
    session: Session,
    agent_id: str,
    fields: dict[str, Any],
    approval: Approval,
    requests: WholeRequests,
) -> None:
    """Register, and again until an administrator has approved.  ``POST /agents/register``

    It asks again after a while, and besides as soon as the user's coroutine function has returned.

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

    async def registered() -> bool:
        return await requests.send(_registered(session, agent_id, body))

    until = None if approval.timeout is None else session.clock() + approval.timeout
    while not await registered():
        again = session.clock() + ASK_AGAIN
        if until is not None:
            again = min(again, until)
        hook = approval.on_pending()
        if hook is not None:
            await asyncio.wait({hook}, timeout=max(0.0, again - session.clock()))
            if _succeeded(hook) and await registered():
                return
        if (left := again - session.clock()) > 0:
            await asyncio.sleep(left)
        if until is not None and session.clock() >= until:
            raise ApprovalTimeoutError(
                f"no administrator approved agent {agent_id} within {approval.timeout:g} s: "
                f"approve it (agents.ref({agent_id!r}).approve()), and start it again"
            )


def _succeeded(hook: asyncio.Task[Exception | None]) -> bool:
    return hook.done() and not hook.cancelled() and hook.result() is None


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
        self.fields = object_of(response.body)
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
