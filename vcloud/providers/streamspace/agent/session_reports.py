"""The last report of each session of an agent."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import attrs

from vcloud.providers.streamspace.agent.messages import (
    Command,
    CommandResult,
    CommandStatus,
    HibernateSession,
    SessionReport,
    StartSession,
    StopSession,
    WakeSession,
)
from vcloud.providers.streamspace.models import TERMINAL_STATES, SessionState

__all__ = ["SessionReports"]

#: How many sessions that are over are kept: the report of their end may have been lost.
MAX_OVER: Final = 256
#: How many of the others.
MAX_SESSIONS: Final = 2048
#: The state that a session has after a command succeeded.
_AFTER: Final = {
    StartSession: SessionState.RUNNING,
    WakeSession: SessionState.RUNNING,
    HibernateSession: SessionState.HIBERNATED,
    StopSession: SessionState.TERMINATED,
}
#: The state that it has after a command failed, if the agent does not know a better one. Before,
#: the control plane said "on the way", and it would say so forever.
_AFTER_FAILURE: Final = {
    StartSession: SessionState.FAILED,
    WakeSession: SessionState.HIBERNATED,
    HibernateSession: SessionState.RUNNING,
    StopSession: SessionState.RUNNING,
}


class SessionReports:
    """Makes reports of results, and keeps the last one of each session.

    Args:
        agent_id: the agent's name.
        known: the last reports of an earlier process.
    """

    def __init__(self, agent_id: str, known: Iterable[SessionReport] = ()) -> None:
        self._agent_id = agent_id
        self._reports: OrderedDict[str, SessionReport] = OrderedDict()
        self._over: OrderedDict[str, SessionReport] = OrderedDict()
        for report in known:
            self.keep(report)

    def get(self, session_id: str) -> SessionReport | None:
        """The last report of a session."""
        return self._reports.get(session_id) or self._over.get(session_id)

    def all(self) -> list[SessionReport]:
        """The last report of each session."""
        return [*self._over.values(), *self._reports.values()]

    def keep(self, report: SessionReport) -> None:
        """Keep one more report."""
        session_id = report.session_id
        self._reports.pop(session_id, None)
        self._over.pop(session_id, None)
        over = report.state in TERMINAL_STATES
        kept, limit = (self._over, MAX_OVER) if over else (self._reports, MAX_SESSIONS)
        kept[session_id] = report
        if len(kept) > limit:
            kept.popitem(last=False)

    def after(self, command: Command, result: CommandResult) -> SessionReport:
        """The report of a session after a command was carried out, or failed."""
        before = self.get(command.session_id)
        if result.status != CommandStatus.COMPLETED:
            return self._after_failure(command, result, before)
        found = result.result
        report = SessionReport(
            agent_id=self._agent_id,
            session_id=command.session_id,
            state=_AFTER[type(command)],
            pod_name=found.pod_name if found is not None else None,
            vnc_port=found.vnc_port if found is not None else None,
        )
        if before is None:
            return report
        # Only a start has to say where the session is.
        return attrs.evolve(
            report,
            pod_name=report.pod_name or before.pod_name,
            vnc_port=report.vnc_port or before.vnc_port,
        )

    def after_unreadable(self, session_id: str, result: CommandResult) -> SessionReport:
        """The report of a session after a command that cannot be read: its last, or ``failed``."""
        return self.get(session_id) or SessionReport(
            agent_id=self._agent_id,
            session_id=session_id,
            state=SessionState.FAILED,
            message=result.error,
        )

    def _after_failure(
        self, command: Command, result: CommandResult, before: SessionReport | None
    ) -> SessionReport:
        state = _AFTER_FAILURE[type(command)]
        if result.error_code == "SESSION_NOT_FOUND":
            state = SessionState.FAILED
        elif before is not None and (
            not isinstance(command, StartSession) or before.state not in TERMINAL_STATES
        ):
            return before
        report = before or SessionReport(
            agent_id=self._agent_id, session_id=command.session_id, state=state
        )
        return attrs.evolve(report, state=state, message=result.error)
