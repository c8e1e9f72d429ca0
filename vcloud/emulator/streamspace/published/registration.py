"""What agents of the published StreamSpace send over REST: registrations and heartbeats."""

from __future__ import annotations

from typing import Final

from vcloud.emulator.streamspace.published.api import (
    PublishedRequest,
    Reply,
    Route,
    TableEntry,
)
from vcloud.emulator.streamspace.published.catalog import HEARTBEAT_STATUSES, PLATFORMS
from vcloud.emulator.streamspace.published.reading import BodyError, Field, read
from vcloud.emulator.streamspace.published.refusals import (
    Json,
    PublishedError,
    agent_not_found,
)
from vcloud.emulator.streamspace.published.space import Space
from vcloud.emulator.streamspace.published.state import Agent
from vcloud.emulator.streamspace.published.times import exact
from vcloud.emulator.streamspace.published.views import agent_view

_CAPACITY: Final = Field(
    name="capacity",
    go="Capacity",
    struct="AgentCapacity",
    inner=(
        Field(name="maxSessions", go="MaxSessions", kind="int"),
        Field(name="cpu", go="CPU"),
        Field(name="memory", go="Memory"),
        Field(name="storage", go="Storage"),
    ),
)
_REGISTRATION: Final = (
    Field(name="agentId", go="AgentID", required=True),
    Field(name="platform", go="Platform", required=True, one_of=PLATFORMS),
    Field(name="region", go="Region"),
    _CAPACITY,
    Field(name="metadata", go="Metadata", kind="map"),
)
_HEARTBEAT: Final = (
    Field(name="status", go="Status", required=True, one_of=HEARTBEAT_STATUSES),
    Field(name="activeSessions", go="ActiveSessions", kind="int"),
    _CAPACITY,
)
_LENGTHS: Final = (("agentId", 3, 100), ("region", 2, 50))
_WAIT: Final = (
    "Agent registration request received. Waiting for administrator approval. "
    "Please retry registration periodically."
)
_ANSWERS: Final = {
    "approved": (200, "Agent approved. Use your configured API key for subsequent requests."),
    "pending": (202, _WAIT),
    "rejected": (403, "Agent registration has been rejected by administrator."),
}


class Registration:
    """``/agents``."""

    def __init__(self, space: Space) -> None:
        """Register agents in `space`."""
        self._space = space

    def routes(self) -> tuple[TableEntry, ...]:
        """Method, path and route of each operation."""
        beat = "/agents/{agent_id}/heartbeat"
        return (
            ("POST", "/agents/register", Route(handler=self._register, agent=True)),
            ("POST", beat, Route(handler=self._heartbeat, agent=True)),
        )

    def _register(self, request: PublishedRequest) -> Reply:
        try:
            body = read(request.content, "models.AgentRegistrationRequest", _REGISTRATION)
        except BodyError as error:
            raise PublishedError(400, "Invalid request format", details=str(error)) from error
        if wrong := _wrong_lengths(body):
            raise PublishedError(400, "Validation failed", fields=wrong)
        agent, new = self._agent(body)
        view = agent_view(agent, self._space.clock)
        if not request.bootstrap:
            return Reply(201 if new else 200, view)
        # One whose key was made without an approval is neither pending nor approved.
        approval = agent.approval if agent.approval == "pending" or agent.key else "rejected"
        status, message = _ANSWERS[approval]
        return Reply(status, {"agent": view, "approvalStatus": approval, "message": message})

    def _agent(self, body: Json) -> tuple[Agent, bool]:
        """The agent that registers, and whether it is new."""
        space, now = self._space, self._space.clock.now()
        agent = space.agents.get(body["agentId"])
        new = agent is None
        if agent is None:
            agent = space.agents[body["agentId"]] = Agent(
                id=space.new_id(),
                agent_id=body["agentId"],
                platform=body["platform"],
                created_at=now,
                updated_at=now,
            )
        else:
            # Whether it is connected or not, and for as long as it was heard of lately.
            agent.status = "online"
        agent.platform, agent.region = body["platform"], body["region"] or ""
        agent.capacity, agent.metadata = body["capacity"], body["metadata"]
        agent.last_heartbeat = agent.updated_at = now
        return agent, new

    def _heartbeat(self, request: PublishedRequest) -> Json:
        try:
            body = read(request.content, "models.AgentHeartbeatRequest", _HEARTBEAT)
        except BodyError as error:
            raise PublishedError(400, "Invalid request format", details=str(error)) from error
        if (body["activeSessions"] or 0) < 0:
            fields = {"activesessions": "Must be greater than or equal to 0"}
            raise PublishedError(400, "Validation failed", fields=fields)
        agent_id, now = request.params["agent_id"], self._space.clock.now()
        agent = self._space.agents.get(agent_id)
        if agent is None:
            raise agent_not_found(agent_id)
        agent.status, agent.last_heartbeat, agent.updated_at = body["status"], now, now
        if body["capacity"] is not None:
            agent.capacity = body["capacity"]
        return {
            "agentId": agent_id,
            "lastHeartbeat": exact(now, self._space.clock),
            "message": "Heartbeat updated successfully",
            "status": agent.status,
        }


def _wrong_lengths(body: Json) -> dict[str, str]:
    wrong = {}
    for name, least, most in _LENGTHS:
        length = len(body[name] or "")
        if 0 < length < least:
            wrong[name.lower()] = f"Must be at least {least} characters"
        elif length > most:
            wrong[name.lower()] = f"Must be at most {most} characters"
    return wrong
