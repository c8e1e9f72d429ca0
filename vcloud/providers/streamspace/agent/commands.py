"""The commands of an agent: each is acknowledged, carried out once, and answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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
from vcloud.providers.streamspace.agent.messages import (
    Command,
    CommandAck,
    CommandResult,
    CommandStatus,
    SessionReport,
    SessionResult,
    StartSession,
)
from vcloud.providers.streamspace.agent.outbox import Outbox
from vcloud.providers.streamspace.agent.result_cache import ResultCache
from vcloud.providers.streamspace.models import AgentSession, SessionState

__all__ = ["CommandRunner"]

#: Characters of a reason that are sent, and of its code.
MAX_REASON: Final = 4096
MAX_CODE: Final = 100


class CommandRunner:
    """Carries out an agent's commands.

    Args:
        agent_id: the agent's name.
        handler: carries out each command.
        outbox: takes the acknowledgements and results.
        on_error: is called with what a handler raised.
        max_sessions: how many sessions it takes at once; None: it declared no number.
    """

    def __init__(
        self,
        agent_id: str,
        handler: AgentHandler,
        outbox: Outbox,
        on_error: Callable[[Exception], None],
        max_sessions: int | None,
    ) -> None:
        self._agent_id = agent_id
        self._handler = handler
        self._outbox = outbox
        self._on_error = on_error
        #: The ids of the commands in flight.
        self._in_flight: set[str] = set()
        self._results = ResultCache()
        #: Separate, so that no number of refusals drops the result of a command that was carried
        #: out.
        self._refusals = ResultCache()
        self._tasks: set[asyncio.Task[None]] = set()
        self._limits = CommandLimits(max_sessions)
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

    def receive(self, command: Command, size: int) -> None:
        """Acknowledge a command and carry it out. One that comes again is answered again.

        Args:
            command: the command.
            size: characters of the message that brought it.
        """
        command_id = command.command_id
        if not self._acknowledge(command_id):
            return
        if self.stopping or (self.draining and isinstance(command, StartSession)):
            self._reject(command_id, "AGENT_DRAINING", "the agent takes no new sessions")
            return
        if (reason := self._limits.refusal(command, size)) is not None:
            self._reject(command_id, "AGENT_CAPACITY_EXCEEDED", reason)
            return
        self._in_flight.add(command_id)
        self._limits.started(command, size)
        task = asyncio.create_task(self._carry_out(command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Not in the task: one that is cancelled before its first step does nothing.
        task.add_done_callback(lambda task: self._limits.ended(command, size))

    def refuse(self, command_id: str, code: str, reason: str) -> None:
        """Acknowledge a command that cannot be carried out, and answer why.

        Its id is not remembered: when it comes again, the answer is the same.
        """
        if self._acknowledge(command_id):
            self._outbox.put(self._failure(command_id, code, reason))

    def report_failed(self, session_id: AgentSession | str, reason: str) -> None:
        """Report that a session has ended although no command ended it.

        Raises:
            InvalidArgumentError: ``session_id`` is not an id, or ``reason`` is not a string.
        """
        known = identifier(session_id, "session_id", AgentSession)
        if not isinstance(reason, str):
            raise InvalidArgumentError(f"reason must be a string, not {type(reason).__name__}")
        self.sessions.discard(known)
        self._outbox.put(
            SessionReport(
                agent_id=self._agent_id,
                session_id=known,
                state=SessionState.FAILED,
                message=shortened(reason, MAX_REASON),
            )
        )

    async def finish(self, grace: float) -> None:
        """Wait for the commands in flight, cancel those that take longer, and answer them.

        Args:
            grace: seconds in which the loop runs.
        """
        if self._tasks:
            await wait_running(self._tasks, grace)
        await self.cancel()
        # The control plane would wait for an answer forever.
        for command_id in sorted(self._in_flight):
            self._fail(command_id, "AGENT_OFFLINE", "the agent stopped before it was done")

    async def cancel(self) -> None:
        """Cancel the commands in flight."""
        await cancel_and_wait(set(self._tasks))

    def _acknowledge(self, command_id: str) -> bool:
        """Acknowledge a command; repeat its result if there is one; return whether it is new."""
        self._outbox.put(CommandAck(command_id=command_id, agent_id=self._agent_id))
        result = self._results.get(command_id) or self._refusals.get(command_id)
        if result is not None:
            self._outbox.put_text(result)
        return result is None and command_id not in self._in_flight

    async def _carry_out(self, command: Command) -> None:
        await self.may_run.wait()
        try:
            result = await carry_out(self._handler, command)
        except CommandFailed as failure:
            self._fail(command.command_id, failure.code, failure.message)
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
        self._fail(command.command_id, "INTERNAL_ERROR", reason)
        self._on_error(error if isinstance(error, Exception) else RuntimeError(reason))

    def _complete(self, command: Command, result: object) -> None:
        """Answer with what the handler returned, which may be anything."""
        try:
            self._answer(
                CommandResult(
                    command_id=command.command_id,
                    agent_id=self._agent_id,
                    status=CommandStatus.COMPLETED,
                    result=attrs.evolve(_checked(result, command), session_id=command.session_id),
                )
            )
        except InvalidArgumentError as error:
            self._fail(command.command_id, "INTERNAL_ERROR", str(error))
            self._on_error(error)
        except Exception as error:  # noqa: BLE001 - a class of the user's may do anything when it is read
            self._raised(command, error)

    def _fail(self, command_id: str, code: str, reason: str) -> None:
        self._answer(self._failure(command_id, code, reason))

    def _reject(self, command_id: str, code: str, reason: str) -> None:
        refusal = self._failure(command_id, code, reason)
        self._refusals.add(command_id, self._outbox.put(refusal))

    def _failure(self, command_id: str, code: str, reason: str) -> CommandResult:
        return CommandResult(
            command_id=command_id,
            agent_id=self._agent_id,
            status=CommandStatus.FAILED,
            # A handler may have put other objects in the place of its failure's texts.
            error=shortened(text_of(reason), MAX_REASON),
            error_code=text_of(code)[:MAX_CODE],
        )

    def _answer(self, result: CommandResult) -> None:
        text = self._outbox.put(result)
        self._in_flight.discard(result.command_id)
        self._results.add(result.command_id, text)


def _checked(result: object, command: Command) -> SessionResult:
    if result is None:
        return SessionResult()
    if isinstance(result, SessionResult):
        return result
    raise InvalidArgumentError(
        "the agent's handler must return a SessionResult or None for "
        f"{command.command_type}, not {type(result).__name__}"
    )
