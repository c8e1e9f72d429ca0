"""The commands that agents receive, and what their results change."""

from __future__ import annotations

import asyncio

from vcloud.emulator.streamspace.arguments import Json
from vcloud.emulator.streamspace.control.fleet import Fleet
from vcloud.emulator.streamspace.control.links import Command, Link
from vcloud.emulator.streamspace.control.messages import (
    MessageError,
    command,
    name_data,
    start_data,
    stop_data,
)
from vcloud.emulator.streamspace.control.results import complete, fail
from vcloud.emulator.streamspace.state import Session


class Commands:
    """Sends commands to the agents of sessions, and waits for their results.

    A command that is not answered in time fails. One for an agent that is offline is sent when the
    agent is back.
    """

    def __init__(self, fleet: Fleet, links: dict[str, Link]) -> None:
        """Send to these links, by the ids of their agents."""
        self.timeout: float = 60.0
        """How long an agent may take for a command, in real seconds."""
        self.unanswered: dict[str, Command] = {}
        """The commands without a result, by their ids."""
        self._fleet = fleet
        self._links = links

    def start(self, session: Session) -> None:
        """Have a new session started by its agent."""
        template = self._fleet.templates[session.template]
        self._send(session, "start_session", start_data(session, template))

    def move(self, session: Session, state: str) -> None:
        """Have a session hibernated, woken or stopped by its agent."""
        now = self._fleet.clock.now()
        if state == "hibernated":
            session.enter(now, "hibernating")
            self._send(session, "hibernate_session", name_data(session))
        elif state == "running":
            session.enter(now, "waking")
            self._send(session, "wake_session", name_data(session))
        else:
            session.enter(now, "terminating")
            self.stop(session, graceful=True)

    def stop(self, session: Session, *, graceful: bool) -> None:
        """Have a session stopped by its agent, whatever its state."""
        self._send(session, "stop_session", stop_data(session, graceful=graceful))

    def send_again(self, link: Link) -> None:
        """Send the unanswered commands of an agent that has connected again."""
        for given in self.unanswered.values():
            if given.agent_id == link.agent_id:
                link.send(given.message)

    def acknowledged(self, link: Link, message: Json) -> None:
        """Take an agent's acknowledgement of a command."""
        given = self._of(link, message)
        if given is not None:
            given.acknowledged = True

    def result(self, link: Link, message: Json) -> None:
        """Take an agent's result of a command."""
        given = self._of(link, message)
        if given is None:
            return
        status = message.get("status")
        if status not in {"completed", "failed"}:
            raise MessageError("a command_result is completed or failed")
        del self.unanswered[given.id]
        given.timer.cancel()
        if status == "completed":
            self._completed(given, message.get("result"))
        else:
            error = str(message.get("error") or f"{given.kind} failed")
            self._failed(given, error, message.get("error_code"))
        self._fleet.changes.notify()

    def forget(self) -> None:
        """Drop all commands and their timers."""
        for waiting in self.unanswered.values():
            waiting.timer.cancel()
        self.unanswered.clear()

    def _send(self, session: Session, kind: str, data: Json) -> None:
        id_ = self._fleet.new_token("cmd")
        message = command(id_, kind, session.id, data)
        timer = asyncio.get_running_loop().call_later(self.timeout, self._timed_out, id_)
        self.unanswered[id_] = Command(message, kind, session.agent_id, session, timer)
        link = self._links.get(session.agent_id)
        if link is not None:
            link.send(message)

    def _of(self, link: Link, message: Json) -> Command | None:
        """The command that a message answers; None if it has a result, or is another agent's."""
        given = self.unanswered.get(str(message.get("command_id")))
        return given if given is not None and given.agent_id == link.agent_id else None

    def _timed_out(self, command_id: str) -> None:
        given = self.unanswered.pop(command_id)
        error = f"{given.kind} was not answered within {self.timeout:g} s"
        self._failed(given, error, "COMMAND_TIMEOUT")
        if given.kind == "start_session":
            # The session may have started all the same, and nothing else would end it.
            self.stop(given.session, graceful=False)
        self._fleet.changes.notify()

    def _completed(self, given: Command, result: object) -> None:
        session, now = given.session, self._fleet.clock.now()
        if complete(session, given.kind, result, now, self._fleet.clock.offset):
            self.move(session, "hibernated")

    def _failed(self, given: Command, error: str, code: object) -> None:
        why = f"{error} ({code})" if code else error
        fail(given.session, given.kind, why, self._fleet.clock.now())
