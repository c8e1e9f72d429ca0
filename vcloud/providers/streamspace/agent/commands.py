"""The commands of an agent: each is acknowledged, carried out once, and answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from vcloud._core.arguments import identifier
from vcloud._core.tasks import cancel_and_wait
from vcloud._core.timing.running_time import wait_running
from vcloud.errors import InvalidArgumentError
from vcloud.errors.text import shortened
from vcloud.providers.streamspace.agent.command_limits import CommandLimits
from vcloud.providers.streamspace.agent.handler import (
    AgentHandler,
    CommandFailed,
    carry_out,
    text_of,
)
from vcloud.providers.streamspace.agent.link import Viewers
from vcloud.providers.streamspace.agent.messages import (
    Command,
    CommandAck,
    CommandResult,
    CommandStatus,
    HibernateSession,
    Register,
    SessionReport,
    SessionResult,
    StartSession,
    StopSession,
)
from vcloud.providers.streamspace.agent.outbox import Outbox
from vcloud.providers.streamspace.agent.remembering.memory import STOPPED, CommandMemory
from vcloud.providers.streamspace.agent.result_cache import ResultCache
from vcloud.providers.streamspace.agent.session_reports import SessionReports
from vcloud.providers.streamspace.models import AgentSession, SessionState

__all__ = ["CommandRunner"]

#: Characters of a reason that are sent, and of its code.
MAX_REASON: Final = 4096
MAX_CODE: Final = 100


class CommandRunner:
    """Carries out an agent's commands.

    Args:
        register: what the agent sends about itself.
        handler: carries out each command.
        outbox: takes the acknowledgements and results.
        on_error: is called with what a handler raised.
    """

    def __init__(
        self,
        register: Register,
        handler: AgentHandler,
        outbox: Outbox,
        on_error: Callable[[Exception], None],
    ) -> None:
        self._agent_id = register.agent_id
        self._handler = handler
        self._outbox = outbox
        self._on_error = on_error
        #: The commands in flight.
        self._in_flight: dict[str, Command] = {}
        self._memory: CommandMemory | None = None
        self._reports: SessionReports | None = None
        self._viewers: Viewers | None = None
        self._results = ResultCache()
        #: Separate, so that no number of refusals drops the result of a command that was carried
        #: out.
        self._refusals = ResultCache()
        self._tasks: set[asyncio.Task[None]] = set()
        capacity = register.capacity
        self._limits = CommandLimits(None if capacity is None else capacity.max_sessions)
        #: Whether it refuses new sessions.
        self.draining: bool = False
        #: Whether it refuses all commands.
        self.stopping: bool = False
        #: While it is not set, commands are acknowledged and wait.
        self.may_run: asyncio.Event = asyncio.Event()
        self.may_run.set()

    @property
    def sessions(self) -> set[str]:
        """The sessions that it started or woke, and neither hibernated nor stopped."""
        return self._limits.sessions

    def remember(self, memory: CommandMemory) -> None:
        """Repeat no command that it knows, from an earlier process either."""
        self._memory = memory

    def report_states(self, reports: SessionReports, viewers: Viewers) -> None:
        """Report each session's state, because the results of commands do not change it.

        Args:
            reports: keeps the last one of each session.
            viewers: get each.
        """
        self._reports = reports
        self._viewers = viewers

    def report_all(self) -> None:
        """Report the last state of each session: commands may have been lost meanwhile."""
        for report in self.known_sessions():
            self._outbox.put(report)

    def known_sessions(self) -> Sequence[SessionReport]:
        """The last report of each session, where states are reported."""
        return self._reports.all() if self._reports is not None else ()

    def receive(self, command: Command, size: int) -> None:
        """Acknowledge a command and carry it out. One that comes again is answered again.

        Args:
            command: the command.
            size: characters of the message that brought it.
        """
        if not self._acknowledge(command):
            return
        if self.stopping or (self.draining and isinstance(command, StartSession)):
            self._reject(command, "AGENT_DRAINING", "the agent takes no new sessions")
            return
        if (reason := self._limits.refusal(command, size)) is not None:
            self._reject(command, "AGENT_CAPACITY_EXCEEDED", reason)
            return
        self._in_flight[self._key(command)] = command
        self._limits.started(command, size)
        task = asyncio.create_task(self._carry_out(command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Not in the task: one that is cancelled before its first step does nothing.
        task.add_done_callback(lambda task: self._limits.ended(command, size))

    def refuse(
        self, command_id: str, code: str, reason: str, session_id: str | None = None
    ) -> None:
        """Acknowledge a command that cannot be carried out, and answer why.

        Its id is not remembered: when it comes again, the answer is the same.

        Args:
            command_id: the command.
            code: of the failure.
            reason: for people.
            session_id: the session that it was for; None: that cannot be read either.
        """
        self._outbox.put(CommandAck(command_id=command_id, agent_id=self._agent_id))
        if self._repeat(command_id):
            return
        failure = self._failure(command_id, code, reason)
        self._outbox.put(failure)
        if self._reports is not None and session_id is not None:
            self._put_report(self._reports.after_unreadable(session_id, failure))

    def report_failed(self, session_id: AgentSession | str, reason: str) -> None:
        """Report that a session has ended although no command ended it.

        Raises:
            InvalidArgumentError: ``session_id`` is not an id, or ``reason`` is not a string.
        """
        known = identifier(session_id, "session_id", AgentSession)
        if not isinstance(reason, str):
            raise InvalidArgumentError(f"reason must be a string, not {type(reason).__name__}")
        self.sessions.discard(known)
        report = SessionReport(
            agent_id=self._agent_id,
            session_id=known,
            state=SessionState.FAILED,
            message=shortened(reason, MAX_REASON),
        )
        if self._memory is not None:
            self._memory.keep(report)
        self._put_report(report)

    async def finish(self, grace: float) -> None:
        """Wait for the commands in flight, cancel those that take longer, and answer them.

        Args:
            grace: seconds in which the loop runs.
        """
        if self._tasks:
            await wait_running(self._tasks, grace)
        await self.cancel()
        # The control plane would wait for an answer forever.
        for key in sorted(self._in_flight):
            self._fail(self._in_flight[key], "AGENT_OFFLINE", STOPPED)

    async def cancel(self) -> None:
        """Cancel the commands in flight."""
        await cancel_and_wait(set(self._tasks))

    def _acknowledge(self, command: Command) -> bool:
        """Acknowledge a command; repeat its result if there is one; return whether it is new."""
        self._outbox.put(CommandAck(command_id=command.command_id, agent_id=self._agent_id))
        key = self._key(command)
        if key in self._in_flight:
            return False
        if not self._repeat(key):
            outcome = None if self._memory is None else self._memory.outcome(command)
            if outcome is None:
                return True
            self._outbox.put(self._earlier_result(command, completed=outcome))
        if self._reports is not None and (last := self._reports.get(command.session_id)):
            self._outbox.put(last)
        return False

    def _repeat(self, key: str) -> bool:
        """Repeat the result of a command; return whether it has one, or is in flight."""
        text = self._results.get(key) or self._refusals.get(key)
        if text is not None:
            self._outbox.put_text(text)
        return text is not None or key in self._in_flight

    def _key(self, command: Command) -> str:
        """What tells commands apart.

        The published server's ids have eight hexadecimal digits, so two commands may have the same.
        """
        if self._reports is None:
            return command.command_id
        return f"{command.command_id}\n{command.command_type}\n{command.session_id}"

    def _earlier_result(self, command: Command, *, completed: bool) -> CommandResult:
        if not completed:
            reason = "it was carried out before, and failed"
            return self._failure(command.command_id, "INTERNAL_ERROR", reason)
        return CommandResult(
            command_id=command.command_id,
            agent_id=self._agent_id,
            status=CommandStatus.COMPLETED,
            result=SessionResult(session_id=command.session_id),
        )

    async def _carry_out(self, command: Command) -> None:
        await self.may_run.wait()
        if self._memory is not None:
            # Before, so that it is not repeated if this process is killed.
            await self._memory.begin(command)
        if self._viewers is not None and isinstance(command, StopSession | HibernateSession):
            self._viewers.session_ending(command.session_id)
        try:
            result = await carry_out(self._handler, command)
        except CommandFailed as failure:
            self._fail(command, failure.code, failure.message)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # The command was not cancelled, but a task that the handler awaited.
            self._raised(command, error)
        except Exception as error:  # noqa: BLE001 - the text of a user's exception is not sent
            self._raised(command, error)
        else:
            self._limits.succeeded(command)
            self._complete(command, result)

    def _raised(self, command: Command, error: BaseException) -> None:
        reason = f"the agent's handler raised {type(error).__name__}"
        # Answered first: reporting the error needs its text, and reading that may raise as well.
        self._fail(command, "INTERNAL_ERROR", reason)
        self._on_error(error if isinstance(error, Exception) else RuntimeError(reason))

    def _complete(self, command: Command, result: object) -> None:
        """Answer with what the handler returned, which may be anything."""
        try:
            self._answer(
                command,
                CommandResult(
                    command_id=command.command_id,
                    agent_id=self._agent_id,
                    status=CommandStatus.COMPLETED,
                    result=attrs.evolve(_checked(result, command), session_id=command.session_id),
                ),
            )
        except InvalidArgumentError as error:
            self._fail(command, "INTERNAL_ERROR", str(error))
            self._on_error(error)
        except Exception as error:  # noqa: BLE001 - a class of the user's may do anything when it is read
            self._raised(command, error)

    def _fail(self, command: Command, code: str, reason: str) -> None:
        self._answer(command, self._failure(command.command_id, code, reason))

    def _reject(self, command: Command, code: str, reason: str) -> None:
        refusal = self._failure(command.command_id, code, reason)
        self._refusals.add(self._key(command), self._outbox.put(refusal))
        self._report(command, refusal)

    def _failure(self, command_id: str, code: str, reason: str) -> CommandResult:
        return CommandResult(
            command_id=command_id,
            agent_id=self._agent_id,
            status=CommandStatus.FAILED,
            # A handler may have put other objects in the place of its failure's texts.
            error=shortened(text_of(reason), MAX_REASON),
            error_code=text_of(code)[:MAX_CODE],
        )

    def _answer(self, command: Command, result: CommandResult) -> None:
        text = self._outbox.put(result)
        key = self._key(command)
        self._in_flight.pop(key, None)
        self._results.add(key, text)
        report = self._report(command, result)
        if self._memory is not None:
            completed = result.status == CommandStatus.COMPLETED
            self._memory.end(command, report, completed=completed)

    def _report(self, command: Command, result: CommandResult) -> SessionReport | None:
        """Report the state of a command's session, where its result does not change it."""
        if self._reports is None:
            return None
        report = self._reports.after(command, result)
        self._put_report(report)
        return report

    def _put_report(self, report: SessionReport) -> None:
        if self._reports is not None:
            self._reports.keep(report)
        self._outbox.put(report)
        if self._viewers is not None:
            self._viewers.session_changed(report)


def _checked(result: object, command: Command) -> SessionResult:
    if result is None:
        return SessionResult()
    if isinstance(result, SessionResult):
        return result
    raise InvalidArgumentError(
        "the agent's handler must return a SessionResult or None for "
        f"{command.command_type}, not {type(result).__name__}"
    )
