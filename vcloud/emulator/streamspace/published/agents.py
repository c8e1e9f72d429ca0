"""The agents of the published StreamSpace, as administrators see them."""

from __future__ import annotations

from typing import Final

from vcloud.emulator.streamspace.published.api import PublishedRequest, Route, TableEntry
from vcloud.emulator.streamspace.published.catalog import ACTIONS
from vcloud.emulator.streamspace.published.reading import BodyError, Field, read
from vcloud.emulator.streamspace.published.refusals import (
    Json,
    PublishedError,
    agent_not_found,
)
from vcloud.emulator.streamspace.published.space import Space
from vcloud.emulator.streamspace.published.state import Agent
from vcloud.emulator.streamspace.published.times import exact
from vcloud.emulator.streamspace.published.views import agent_view, command_view

ADMIN: Final = ("admin",)

_COMMAND: Final = (
    Field(name="action", go="Action", required=True),
    Field(name="sessionId", go="SessionID"),
    Field(name="payload", go="Payload", kind="map"),
)
_LONGEST_ID: Final = 100
_IN_USE: Final = (
    'pq: update or delete on table "agents" violates foreign key constraint '
    '"sessions_agent_id_fkey" on table "sessions"'
)


class Agents:
    """``/admin/agents``."""

    def __init__(self, space: Space) -> None:
        """Serve the agents of `space`."""
        self._space = space

    def routes(self) -> tuple[TableEntry, ...]:
        """Method, path and route of each operation."""
        one = "/admin/agents/{agent_id}"
        return (
            ("GET", "/admin/agents", Route(handler=self._list, roles=ADMIN)),
            ("GET", one, Route(handler=self._get, roles=ADMIN)),
            ("DELETE", one, Route(handler=self._delete, roles=ADMIN)),
            ("POST", f"{one}/approve", Route(handler=self._approve, roles=ADMIN)),
            ("POST", f"{one}/reject", Route(handler=self._reject, roles=ADMIN)),
            ("POST", f"{one}/generate-key", Route(handler=self._generate_key, roles=ADMIN)),
            ("POST", f"{one}/rotate-key", Route(handler=self._rotate_key, roles=ADMIN)),
            ("POST", f"{one}/command", Route(handler=self._command, status=201, roles=ADMIN)),
        )

    def _list(self, request: PublishedRequest) -> Json:
        wanted = {name: request.query.get(name) for name in ("platform", "status", "region")}
        found = [
            one
            for one in self._space.agents.values()
            if all(not value or getattr(one, name) == value for name, value in wanted.items())
        ]
        found.sort(key=lambda one: one.created_at, reverse=True)
        views = [agent_view(one, self._space.clock, listed=True) for one in found]
        return {"agents": views, "total": len(views)}

    def _get(self, request: PublishedRequest) -> Json:
        return agent_view(self._found(request), self._space.clock)

    def _delete(self, request: PublishedRequest) -> Json:
        agent = self._found(request)
        if any(one.agent_id == agent.agent_id for one in self._space.sessions.values()):
            raise PublishedError(500, "Failed to deregister agent", details=_IN_USE)
        del self._space.agents[agent.agent_id]
        return {"agentId": agent.agent_id, "message": "Agent deregistered successfully"}

    def _approve(self, request: PublishedRequest) -> Json:
        agent = self._decided(request, "approved")
        agent.key = self._new_key()
        return {
            "agentId": agent.agent_id,
            "apiKey": agent.key,
            "message": "Agent approved successfully",
            "warning": "Provide this API key to the agent - it will not be shown again",
        }

    def _reject(self, request: PublishedRequest) -> Json:
        agent = self._decided(request, "rejected")
        return {"agentId": agent.agent_id, "message": "Agent rejected"}

    def _decided(self, request: PublishedRequest, approval: str) -> Agent:
        """The agent in the path, approved or rejected, which is done once only."""
        agent = self._space.agents.get(request.params["agent_id"])
        if agent is None or agent.approval != "pending":
            raise PublishedError(404, "Agent not found or not in pending status")
        now = self._space.clock.now()
        agent.approval, agent.approved_at, agent.updated_at = approval, now, now
        agent.approved_by = request.user.id
        return agent

    def _generate_key(self, request: PublishedRequest) -> Json:
        return self._keyed(self._found(request), "API key generated successfully")

    def _rotate_key(self, request: PublishedRequest) -> Json:
        agent = self._found(request)
        rotated = agent.key is not None
        message = "API key generated successfully"
        if rotated:
            message = "API key rotated successfully - old key is now invalid"
        return dict(sorted({**self._keyed(agent, message), "rotated": rotated}.items()))

    def _keyed(self, agent: Agent, message: str) -> Json:
        now = self._space.clock.now()
        agent.key, agent.updated_at = self._new_key(), now
        return {
            "agentId": agent.agent_id,
            "apiKey": agent.key,
            "createdAt": exact(now, self._space.clock),
            "message": message,
            "usage": {"header": "X-Agent-API-Key", "value": agent.key},
            "warning": "SAVE THIS KEY NOW - it will not be shown again",
        }

    def _new_key(self) -> str:
        return self._space.random.randbytes(32).hex()

    def _command(self, request: PublishedRequest) -> Json:
        try:
            body = read(request.content, "handlers.SendCommandRequest", _COMMAND)
        except BodyError as error:
            raise PublishedError(400, "Invalid request format", details=str(error)) from error
        session_id = body["sessionId"] or ""
        wrong = {}
        if body["action"] not in ACTIONS:
            wrong["action"] = f"Must be one of: {' '.join(ACTIONS)}"
        if len(session_id) > _LONGEST_ID:
            wrong["sessionid"] = f"Must be at most {_LONGEST_ID} characters"
        if wrong:
            raise PublishedError(400, "Validation failed", fields=wrong)
        agent, space = self._found(request), self._space
        if not space.connected(agent.agent_id):
            raise PublishedError(
                503,
                "Agent not connected",
                details="Agent must be connected via WebSocket to receive commands",
                agentId=agent.agent_id,
                status=agent.status,
            )
        command = space.send_command(
            f"cmd-{space.new_id()}", agent.agent_id, session_id, body["action"], body["payload"]
        )
        return command_view(command, space.clock)

    def _found(self, request: PublishedRequest) -> Agent:
        agent = self._space.agents.get(request.params["agent_id"])
        if agent is None:
            raise agent_not_found(request.params["agent_id"])
        return agent
