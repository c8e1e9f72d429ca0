"""The sessions of the published StreamSpace."""

from __future__ import annotations

from typing import Final

from vcloud.emulator.streamspace.published import quotas
from vcloud.emulator.streamspace.published.api import (
    Handler,
    PublishedRequest,
    Route,
    TableEntry,
)
from vcloud.emulator.streamspace.published.catalog import NAMESPACE, streaming
from vcloud.emulator.streamspace.published.reading import BodyError, Field, read
from vcloud.emulator.streamspace.published.refusals import Json, PublishedError
from vcloud.emulator.streamspace.published.space import PLATFORM, Space
from vcloud.emulator.streamspace.published.state import (
    CONNECTION,
    Agent,
    Session,
    Template,
)
from vcloud.emulator.streamspace.published.views import (
    new_session_view,
    session_row,
    session_view,
)

LISTED: Final = 30.0
"""For how many simulated seconds answers about sessions are kept."""

_NEW: Final = (
    Field(name="user", go="User", required=True),
    Field(name="template", go="Template"),
    Field(name="applicationId", go="ApplicationId"),
    Field(
        name="resources",
        go="Resources",
        pointer=True,
        inner=(Field(name="memory", go="Memory"), Field(name="cpu", go="CPU")),
    ),
    Field(name="persistentHome", go="PersistentHome", kind="bool", pointer=True),
    Field(name="idleTimeout", go="IdleTimeout"),
    Field(name="maxSessionDuration", go="MaxSessionDuration"),
    Field(name="tags", go="Tags", kind="[]string"),
)
_STATE: Final = (Field(name="state", go="State"),)
_TAGS: Final = (Field(name="tags", go="Tags", kind="[]string", required=True),)
_ASKED: Final = ("running", "hibernated", "terminated")
_FOREIGN_KEY: Final = (
    "Failed to create session in database: failed to create session {name} for user {user} in org "
    'default-org: pq: insert or update on table "sessions" violates foreign key constraint '
    '"sessions_user_id_fkey"'
)
_NO_CONNECTION: Final = (
    'failed to insert connection: pq: insert or update on table "connections" violates foreign key '
    'constraint "connections_user_id_fkey"'
)
_SCAN: Final = (
    "failed to scan sessions: failed to scan session row: "
    "sql: expected 25 destination arguments in Scan, not 28"
)


class Sessions:
    """``/sessions``."""

    def __init__(self, space: Space) -> None:
        """Serve the sessions of `space`."""
        self._space = space

    def routes(self) -> tuple[TableEntry, ...]:
        """Method, path and route of each operation."""
        one = "/sessions/{name}"
        return (
            ("GET", "/sessions", Route(handler=self._list, cached=LISTED)),
            ("POST", "/sessions", _changing(self._create)),
            ("GET", "/sessions/by-tags", Route(handler=self._by_tags, cached=LISTED)),
            ("GET", one, Route(handler=self._get, cached=LISTED)),
            ("PATCH", one, _changing(self._patch)),
            ("DELETE", one, _changing(self._delete)),
            ("PUT", f"{one}/hibernate", _changing(self._hibernate)),
            ("PUT", f"{one}/wake", _changing(self._wake)),
            ("PATCH", f"{one}/tags", _changing(self._set_tags, 200)),
            ("GET", f"{one}/connect", Route(handler=self._connect)),
            ("POST", f"{one}/disconnect", Route(handler=self._disconnect)),
        )

    # -- creating ----------------------------------------------------------------------------------

    def _create(self, request: PublishedRequest) -> Json:
        try:
            body = read(request.content, "", _NEW)
        except BodyError as error:
            raise PublishedError(400, str(error)) from error
        space = self._space
        template = self._template(body)
        given = body["resources"] or {}
        resources = {
            "memory": given.get("memory") or quotas.MEMORY,
            "cpu": given.get("cpu") or quotas.CPU,
        }
        self._check_quota(body["user"], resources)
        agent = space.choose_agent()
        session = self._new(body, template, resources, agent)
        if space.user_with_id(session.user) is None:
            message = _FOREIGN_KEY.format(name=session.name, user=session.user)
            raise PublishedError(500, "Failed to create session", message=message)
        space.sessions[session.name] = session
        command = space.command(
            agent.agent_id, session.name, "start_session", _start(session, template, body["tags"])
        )
        space.changes.notify()
        return new_session_view(session, command, body["tags"])

    def _template(self, body: Json) -> Template:
        if body["applicationId"]:
            message = f"No application found with ID: {body['applicationId']}"
            raise PublishedError(404, "Application not found", message=message)
        name = body["template"]
        if not name:
            raise PublishedError(
                400,
                "Missing required field",
                message="Either 'applicationId' or 'template' must be provided",
            )
        template = self._space.templates.get(name)
        if template is None:
            raise PublishedError(
                404,
                "Template not found",
                message=f"Template '{name}' does not exist in the catalog",
            )
        return template

    def _check_quota(self, user: str, resources: dict[str, str]) -> None:
        """Refuse what exceeds the quota, which is that of the user of this name."""
        wanted = quotas.Resources.of(resources)
        if self._space.user_named(user) is None:
            raise quotas.unknown_user()
        theirs = [one for one in self._space.sessions.values() if one.user == user]
        quotas.check(wanted, theirs, self._space.clock.now())

    def _new(
        self, body: Json, template: Template, resources: dict[str, str], agent: Agent
    ) -> Session:
        space = self._space
        now, user = space.clock.now(), body["user"]
        protocol, port, path = streaming(template.manifest)
        session = Session(
            name=f"{user}-{template.name}-{space.new_id()[:8]}",
            service=space,
            number=space.new_number(),
            user=user,
            template=template.name,
            platform=PLATFORM,
            agent_id=agent.agent_id,
            resources=resources,
            persistent_home=body["persistentHome"] is not False,
            idle_timeout=body["idleTimeout"] or "",
            max_session_duration=body["maxSessionDuration"] or "",
            protocol=protocol,
            port=port,
            path=path,
            # The server passes them to the agent, and does not keep them.
            tags=None,
            created_at=now,
            updated_at=now,
        )
        session.enter(now, "pending")
        return session

    # -- reading -----------------------------------------------------------------------------------

    def _list(self, request: PublishedRequest) -> Json:
        user = request.query.get("user", "")
        found = [one for one in self._space.sessions.values() if not user or one.user == user]
        found.sort(key=lambda one: (one.created_at, one.number), reverse=True)
        views = [session_view(one, self._space.clock) for one in found]
        return {"sessions": views, "total": len(views)}

    def _by_tags(self, request: PublishedRequest) -> Json:
        tags = request.queries.get("tags")
        if not tags:
            raise PublishedError(400, "At least one tag is required")
        if any(set(tags) & set(one.tags or ()) for one in self._space.sessions.values()):
            # What this build does as soon as it finds one.
            raise PublishedError(500, _SCAN)
        return {"sessions": None, "tags": tags, "total": 0}

    def _get(self, request: PublishedRequest) -> Json:
        name = request.params["name"]
        session = self._space.session(name)
        if session is None:
            raise PublishedError(
                404, "Session not found", message=f"No session found with ID: {name}"
            )
        return session_view(session, self._space.clock)

    def _connect(self, request: PublishedRequest) -> Json:
        user_id = request.query.get("user")
        if not user_id:
            raise PublishedError(400, "user parameter required")
        session, now = self._bare(request), self._space.clock.now()
        if self._space.user_with_id(user_id) is None:
            raise PublishedError(500, _NO_CONNECTION)
        connection_id = self._space.new_id()
        session.connections[connection_id] = now + CONNECTION
        session.connected_at = now
        phase = session.phase_at(now)
        waits = {
            "hibernated": " Session is waking from hibernation - please wait.",
            "pending": " Session is starting up - please wait.",
        }
        rest = "" if phase.url else " Waiting for session endpoint - please wait."
        why = waits.get(phase.state, rest)
        return {
            "connectionId": connection_id,
            "message": f"Connection established.{why}",
            "ready": not why,
            "sessionUrl": phase.url,
            "state": phase.state,
        }

    def _disconnect(self, request: PublishedRequest) -> Json:
        connection_id = request.query.get("connectionId")
        if not connection_id:
            raise PublishedError(400, "connectionId parameter required")
        session = self._space.session(request.params["name"])
        left = 0
        if session is not None:
            session.connections.pop(connection_id, None)
            left = session.active_connections(self._space.clock.now())
        return {"activeConnections": left, "message": "Connection closed"}

    # -- changing ----------------------------------------------------------------------------------

    def _hibernate(self, request: PublishedRequest) -> Json:
        return self._move(request, "hibernate", "running", "hibernating")

    def _wake(self, request: PublishedRequest) -> Json:
        return self._move(request, "wake", "hibernated", "waking")

    def _move(self, request: PublishedRequest, verb: str, before: str, after: str) -> Json:
        session = self._assigned(request, verb)
        state = session.state
        if state != before:
            message = f"Session must be in '{before}' state to {verb}, currently: {state}"
            raise PublishedError(409, "Invalid session state", message=message)
        what, how = {
            "hibernate": ("hibernation", "scale down"),
            "wake": ("wake", "scale up"),
        }[verb]
        message = f"Session {what} requested, agent will {how} resources"
        return self._command(session, f"{verb}_session", after, message)

    def _delete(self, request: PublishedRequest) -> Json:
        session = self._assigned(request, "terminate")
        state = session.state
        if state in {"terminating", "terminated"}:
            message = f"Session is already in {state} state"
            raise PublishedError(409, "Session already terminating", message=message)
        message = "Session termination requested, agent will delete resources"
        return self._command(session, "stop_session", "terminating", message)

    def _command(self, session: Session, action: str, state: str, message: str) -> Json:
        space = self._space
        session.enter(space.clock.now(), state)
        payload = {"sessionId": session.name, "namespace": NAMESPACE}
        command = space.command(session.agent_id, session.name, action, payload)
        space.changes.notify()
        return {"commandId": command.command_id, "message": message, "name": session.name}

    def _patch(self, request: PublishedRequest) -> Json:
        """Say that a state is on its way. Nothing acts on it."""
        try:
            state = read(request.content, "", _STATE)["state"]
        except BodyError as error:
            raise PublishedError(400, str(error)) from error
        if state not in _ASKED:
            raise PublishedError(400, "Invalid state. Must be: running, hibernated, or terminated")
        return {
            "message": "State change requested, waiting for controller",
            "name": self._bare(request).name,
            "state": state,
        }

    def _set_tags(self, request: PublishedRequest) -> Json:
        try:
            tags = read(request.content, "", _TAGS)["tags"]
        except BodyError as error:
            raise PublishedError(400, str(error)) from error
        session = self._bare(request)
        session.tags, session.updated_at = tags, self._space.clock.now()
        return session_row(session, self._space.clock)

    def _bare(self, request: PublishedRequest) -> Session:
        """The session in the path; the refusal has no message."""
        session = self._space.session(request.params["name"])
        if session is None:
            raise PublishedError(404, "Session not found")
        return session

    def _assigned(self, request: PublishedRequest, verb: str) -> Session:
        """The session in the path, which must have been given to an agent."""
        session = self._space.session(request.params["name"])
        if session is None:
            raise PublishedError(
                404, "Session not found", message="The specified session does not exist"
            )
        if not session.agent_id:
            rest = (
                "have been terminated" if verb == "wake" else "still be pending or failed to start"
            )
            message = f"Session has no agent assigned - cannot {verb}. Session may {rest}."
            raise PublishedError(409, "Session not ready", message=message)
        return session


def _changing(handler: Handler, status: int = 202) -> Route:
    return Route(handler=handler, status=status, changes=True)


def _start(session: Session, template: Template, tags: list[str] | None) -> Json:
    """What an agent is told to start a session."""
    return {
        "sessionId": session.name,
        "user": session.user,
        "template": session.template,
        "templateManifest": template.manifest,
        "namespace": session.namespace,
        "memory": session.resources["memory"],
        "cpu": session.resources["cpu"],
        "persistentHome": session.persistent_home,
        "idleTimeout": session.idle_timeout,
        "maxSessionDuration": session.max_session_duration,
        "tags": tags,
    }
