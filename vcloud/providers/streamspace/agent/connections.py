"""Keeps an agent connected: finds out how to talk to the installation, and connects again."""

from __future__ import annotations

import asyncio
from typing import Final

from vcloud.errors import RateLimitError, VCloudError
from vcloud.providers.streamspace.agent.choosing import LinkOptions, link_and_viewers
from vcloud.providers.streamspace.agent.commands import CommandRunner
from vcloud.providers.streamspace.agent.connection import AgentConnection
from vcloud.providers.streamspace.agent.ending import PERMANENT_ERRORS, DuplicateAgentError
from vcloud.providers.streamspace.agent.link import Link, Viewers
from vcloud.providers.streamspace.agent.messages import SessionReport
from vcloud.providers.streamspace.agent.options import AgentOptions
from vcloud.providers.streamspace.agent.reconnect import DUPLICATE_AFTER, ReconnectBackoff
from vcloud.providers.streamspace.agent.remembering.memory import CommandMemory
from vcloud.providers.streamspace.agent.session_reports import SessionReports

__all__ = ["Connections"]

#: Seconds of a pause that the control plane may ask for.
MAX_PAUSE: Final = 600.0


class Connections:
    """The connections of an agent.

    Args:
        link_options: what the agent is made of.
        options: the user's.
        commands: carries out commands.
        registered: is set while the agent is registered.
    """

    def __init__(
        self,
        link_options: LinkOptions,
        options: AgentOptions,
        *,
        commands: CommandRunner,
        registered: asyncio.Event,
    ) -> None:
        self._link_options = link_options
        self._options = options
        self._session = link_options.session
        self._agent_id = link_options.register.agent_id
        self._outbox = link_options.outbox
        self._reporter = link_options.reporter
        self._commands = commands
        self._registered = registered
        self._connection: AgentConnection | None = None
        self._link: Link | None = None
        self._viewers: Viewers | None = None
        self._memory: CommandMemory | None = None

    async def run(self) -> None:
        """Stay connected.

        Raises:
            DuplicateAgentError: a second agent of this name seems to be running.
            VCloudError: one of the errors after which the next connection would fail too.
        """
        backoff = ReconnectBackoff(self._options.retry)
        while True:
            connection = self._connection
            try:
                connection = connection or await self._prepare()
                await connection.run()
            except PERMANENT_ERRORS:
                raise
            except VCloudError as error:
                registered_for = None if connection is None else connection.registered_for
                short_lived = 0.0 if connection is None else connection.short_lived
                duplicate = backoff.connection_lost(registered_for, short_lived=short_lived)
                if backoff.displaced:
                    raise _displaced(self._agent_id, short_lived) from error
                pause = max(backoff.delay(self._session.entropy()), _asked_pause(error))
                self._reporter.connection_lost(
                    error, pause, was_registered=registered_for is not None
                )
                if duplicate:
                    self._reporter.duplicate_suspected(DUPLICATE_AFTER, backoff.stable_after)
                await asyncio.sleep(pause)

    async def _prepare(self) -> AgentConnection:
        """Find out how to talk to the installation, and what was carried out before."""
        link, viewers = await link_and_viewers(self._link_options)
        self._link, self._viewers = link, viewers
        known = await self._recall(reports_states=link.reports_states)
        if link.reports_states:
            self._commands.report_states(SessionReports(self._agent_id, known), viewers)
            for report in known:
                viewers.session_changed(report)
        self._outbox.write_with(link.encode)
        self._connection = AgentConnection(
            self._session,
            self._agent_id,
            link=link,
            viewers=viewers,
            registered=self._registered,
            outbox=self._outbox,
            commands=self._commands,
            reporter=self._reporter,
            retry=self._options.retry,
        )
        return self._connection

    async def _recall(self, *, reports_states: bool) -> list[SessionReport]:
        """Read what an earlier process carried out, if the agent remembers it."""
        path = self._options.remember
        if path is None and not reports_states:
            # The document's control plane sends a command again only while it has no answer.
            return []
        memory = self._memory = CommandMemory(path, self._agent_id, self._reporter.error)
        known = await memory.open()
        self._commands.remember(memory)
        return known

    def drain(self) -> None:
        """Say at once that the agent takes no new sessions, where that needs a request."""
        if self._connection is not None:
            self._connection.drain()

    async def end_viewers(self) -> None:
        """End the viewers' connections."""
        if self._viewers is not None:
            await self._viewers.cancel()

    async def aclose(self) -> None:
        """End the last requests, and close the file of the commands that were carried out."""
        try:
            if self._link is not None:
                await self._link.finish_requests()
        finally:
            if self._memory is not None:
                await self._memory.aclose()


def _displaced(agent_id: str, seconds: float) -> DuplicateAgentError:
    return DuplicateAgentError(
        f"agent {agent_id} was connected {DUPLICATE_AFTER} times in a row and lost each connection "
        f"within {seconds:g} s: another process probably uses this agent_id. Stop it, or give each "
        "agent an agent_id of its own"
    )


def _asked_pause(error: VCloudError) -> float:
    """Seconds that the control plane wants to be left alone for."""
    asked = error.retry_after if isinstance(error, RateLimitError) else None
    return min(asked or 0.0, MAX_PAUSE)
