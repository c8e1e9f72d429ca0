"""The commands of an agent: each is acknowledged, carried out once, and answered."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import attrs

from vcloud._core.arguments import identifier
from vcloud._core.cleanup import end
from vcloud.errors import InvalidArgumentError
from vcloud.providers.streamspace.agent.outbox import Outbox
from vcloud.providers.streamspace.handler import AgentHandler, CommandFailed, carry_out
from vcloud.providers.streamspace.messages import (
    Command,
    CommandAck,
    CommandResult,
    CommandStatus,
    SessionReport,
    SessionResult,
    StartSession,
    WakeSession,
)
from vcloud.providers.streamspace.models import SessionState

__all__ = ["Commands"]

#: How many answers are remembered for commands that come again.
REMEMBERED: Final = 1024


class Commands:
    """Carries out what an agent is told.

    Args:
        agent_id: the agent's name.
        handler: does the work.
        outbox: takes the answers.
        trouble: is told what a handler raised.
    """

    def __init__(
        self,
        agent_id: str,
        handler: AgentHandler,
        outbox: Outbox,
        trouble: Callable[[Exception], None],
    ) -> None:
        self._agent_id = agent_id
        self._handler = handler
        self._outbox = outbox
        self._trouble = trouble
        self._open: set[str] = set()
        self._answers: OrderedDict[str, CommandResult] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        #: The sessions that it started or woke, and neither hibernated nor stopped.
        self.sessions: set[str] = set()
        #: Whether it refuses new sessions.
        self.draining = False
        #: Whether it refuses all commands.
        self.stopping = False
        #: While it is not set, commands are acknowledged and wait.
        self.may_run = asyncio.Event()
        self.may_run.set()

    def take(self, command: Command) -> None:
        """Acknowledge a command and carry it out; one that comes again is answered again."""
        if not self._is_new(command.command_id):
            return
        if self.stopping or (self.draining and isinstance(command, StartSession)):
            self._fail(command.command_id, "AGENT_DRAINING", "the agent takes no new sessions")
            return
        self._open.add(command.command_id)
        task = asyncio.create_task(self._carry_out(command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def refuse(self, command_id: str, code: str, reason: str) -> None:
        """Acknowledge a command that cannot be carried out, and say why."""
        if self._is_new(command_id):
            self._fail(command_id, code, reason)

    def report_failed(self, session_id: str, reason: str) -> None:
        """Say that a session is over though no command ended it.

        Raises:
            InvalidArgumentError: ``session_id`` is no id, or ``reason`` is no text.
        """
        session_id = identifier(session_id, "session_id")
        if not isinstance(reason, str):
            raise InvalidArgumentError(f"reason must be a text, not {type(reason).__name__}")
        self.sessions.discard(session_id)
        self._outbox.say(
            SessionReport(
                agent_id=self._agent_id,
                session_id=session_id,
                state=SessionState.FAILED,
                message=reason,
            )
        )

    async def finish(self, grace: float) -> None:
        """Give those under way so many seconds, cancel the others, and answer them."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        await self.cancel()
        # A command without an answer would be awaited for ever.
        for command_id in sorted(self._open):
            self._fail(command_id, "AGENT_OFFLINE", "the agent stopped before it was done")

    async def cancel(self) -> None:
        """Cancel those under way."""
        await end(set(self._tasks))

    def _is_new(self, command_id: str) -> bool:
        self._outbox.say(CommandAck(command_id=command_id, agent_id=self._agent_id))
        if (answer := self._answers.get(command_id)) is not None:
            self._outbox.say(answer)
        return answer is None and command_id not in self._open

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
            # Nobody cancelled the command: a task was that the handler awaited.
            self._raised(command, error)
        except Exception as error:  # noqa: BLE001 - the handler is the user's; its words and lines are not for the wire
            self._raised(command, error)
        else:
            self._count(command)
            self._complete(command, result)

    def _raised(self, command: Command, error: BaseException) -> None:
        reason = f"the agent's handler raised {type(error).__name__}"
        # Answered first: the trouble is told with words of the error, which may raise as well.
        self._fail(command.command_id, "INTERNAL_ERROR", reason)
        self._trouble(error if isinstance(error, Exception) else RuntimeError(reason))

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
            self._trouble(error)

    def _count(self, command: Command) -> None:
        if isinstance(command, StartSession | WakeSession):
            self.sessions.add(command.session_id)
        else:
            self.sessions.discard(command.session_id)

    def _fail(self, command_id: str, code: str, reason: str) -> None:
        self._answer(
            CommandResult(
                command_id=command_id,
                agent_id=self._agent_id,
                status=CommandStatus.FAILED,
                # A handler may have put other objects in the place of its failure's texts.
                error=str(reason),
                error_code=str(code),
            )
        )

    def _answer(self, result: CommandResult) -> None:
        self._outbox.say(result)
        self._open.discard(result.command_id)
        self._answers[result.command_id] = result
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)


def _checked(result: object, command: Command) -> SessionResult:
    if result is None:
        return SessionResult()
    if isinstance(result, SessionResult):
        return result
    raise InvalidArgumentError(
        "the agent's handler must return a SessionResult or None for "
        f"{command.command_type}, not {type(result).__name__}"
    )
