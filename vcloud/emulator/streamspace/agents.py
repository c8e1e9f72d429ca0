"""The agents, as clients see and change them."""

from __future__ import annotations

from vcloud.emulator.streamspace.api import Route, StreamSpaceRequest, TableEntry
from vcloud.emulator.streamspace.arguments import (
    Json,
    StreamSpaceError,
    one_of,
    paginate,
    query_choice,
)
from vcloud.emulator.streamspace.catalog import AGENT_STATUSES, PLATFORMS
from vcloud.emulator.streamspace.control.fleet import Fleet
from vcloud.emulator.streamspace.control.plane import ControlPlane
from vcloud.emulator.streamspace.views import agent_details, agent_update_view, agent_view


class Agents:
    """``/agents``."""

    def __init__(self, fleet: Fleet, control: ControlPlane) -> None:
        """Serve the agents of `fleet`, some of which are connected to `control`."""
        self._fleet = fleet
        self._control = control

    def routes(self) -> tuple[TableEntry, ...]:
        """Method, path and route of each operation."""
        return (
            ("GET", "/agents", Route(self._list_agents)),
            ("GET", "/agents/stats", Route(self._agent_stats)),
            ("GET", "/agents/{agent_id}", Route(self._get_agent)),
            ("PATCH", "/agents/{agent_id}", Route(self._update_agent)),
        )

    def _list_agents(self, request: StreamSpaceRequest) -> Json:
        wanted = {
            "platform": query_choice(request.query, "platform", PLATFORMS),
            "status": query_choice(request.query, "status", AGENT_STATUSES),
            "region": request.query.get("region"),
        }
        found = [
            agent_view(agent, self._fleet.load(agent), self._fleet.clock)
            for agent in self._fleet.agents.values()
            if all(value in (None, getattr(agent, name)) for name, value in wanted.items())
        ]
        page, where = paginate(found, request.query)
        return {"agents": page, "pagination": where}

    def _get_agent(self, request: StreamSpaceRequest) -> Json:
        agent, now = self._fleet.agent_of(request), self._fleet.clock.now()
        here = [
            session
            for session in self._fleet.busy(agent)
            if self._fleet.may_see(request.user, session)
        ]
        return agent_view(
            agent,
            self._fleet.load(agent),
            self._fleet.clock,
            details=agent_details(agent, here, now),
        )

    def _update_agent(self, request: StreamSpaceRequest) -> Json:
        request.require_admin()
        agent, now = self._fleet.agent_of(request), self._fleet.clock.now()
        status = one_of(request.json(), "status", AGENT_STATUSES)
        if status == "offline":
            agent.last_heartbeat = now
        elif agent.status == "offline":
            if agent.remote and not self._control.connected(agent.agent_id):
                raise StreamSpaceError("AGENT_OFFLINE", f"Agent '{agent.agent_id}' is offline")
            agent.connected_at = now
        agent.status, agent.updated_at = status, now
        return agent_update_view(agent, self._fleet.clock)

    def _agent_stats(self, _: StreamSpaceRequest) -> Json:
        agents = list(self._fleet.agents.values())
        room, load = sum(agent.max_sessions for agent in agents), sum(map(self._fleet.load, agents))
        by_status = {
            status: sum(agent.status == status for agent in agents) for status in AGENT_STATUSES
        }
        return {
            "total_agents": len(agents),
            **{f"{status}_agents": count for status, count in by_status.items()},
            "by_platform": {
                platform: sum(agent.platform == platform for agent in agents)
                for platform in PLATFORMS
            },
            "total_capacity": {"max_sessions": room, "current_sessions": load},
            "utilization": {
                "percentage": round(100.0 * load / room, 1) if room else 0.0,
                "sessions_available": max(0, room - load),
            },
        }
