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
from vcloud.providers.streamspace.agent.answers import Answers
from vcloud.providers.streamspace.agent.handler import AgentHandler, CommandFailed, carry_out, words
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
from vcloud.providers.streamspace.agent.room import Room
from vcloud.providers.streamspace.models import SessionState

__all__ = ["Commands"]

#: Characters of a reason that are sent, and of its code.
MAX_REASON: Final = 4096
MAX_CODE: Final = 100


class Commands:
    """Carries out what an agent is told.

    Args:
        agent_id: the agent's name.
        handler: does the work.
        outbox: takes the answers.
        trouble: is told what a handler raised.
        max_sessions: how many sessions it takes at once; None: it declared no number.
    """

    def __init__(
        self,
        agent_id: str,
        handler: AgentHandler,
        outbox: Outbox,
        trouble: Callable[[Exception], None],
        max_sessions: int | None,
    ) -> None:
        self._agent_id = agent_id
        self._handler = handler
        self._outbox = outbox
        self._trouble = trouble
        self._open: set[str] = set()
        self._answers = Answers()
        #: Apart, so that no number of refusals makes it forget what it has carried out.
        self._refusals = Answers()
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = Room(max_sessions)
        #: Whether it refuses new sessions.
        self.draining = False
        #: Whether it refuses all commands.
        self.stopping = False
        #: While it is not set, commands are acknowledged and wait.
        self.may_run = asyncio.Event()
        self.may_run.set()

    @property
    def sessions(self) -> set[str]:
        """The sessions that it started or woke, and neither hibernated nor stopped."""
        return self._room.sessions

    def take(self, command: Command, size: int) -> None:
        """Acknowledge a command and carry it out; one that comes again is answered again.

        Args:
            command: what is to be done.
            size: characters of the message that brought it.
        """
        command_id = command.command_id
        if not self._is_new(command_id):
            return
        if self.stopping or (self.draining and isinstance(command, StartSession)):
            self._turn_away(command_id, "AGENT_DRAINING", "the agent takes no new sessions")
            return
        if (reason := self._room.refusal(command, size)) is not None:
            self._turn_away(command_id, "AGENT_CAPACITY_EXCEEDED", reason)
            return
        self._open.add(command_id)
        self._room.enter(command, size)
        task = asyncio.create_task(self._carry_out(command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Not in the task: one that is cancelled before its first step does nothing.
        task.add_done_callback(lambda task: self._room.leave(command, size))

    def refuse(self, command_id: str, code: str, reason: str) -> None:
        """Acknowledge a command that cannot be carried out, and say why.

        Its id is not remembered: when it comes again, the answer is the same.
        """
        if self._is_new(command_id):
            self._outbox.say(self._failure(command_id, code, reason))

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
                message=shortened(reason, MAX_REASON),
            )
        )

    async def finish(self, grace: float) -> None:
        """Give those under way so many seconds of the loop, cancel the others, and answer them."""
        if self._tasks:
            await wait_running(self._tasks, grace)
        await self.cancel()
        # A command without an answer would be awaited for ever.
        for command_id in sorted(self._open):
            self._fail(command_id, "AGENT_OFFLINE", "the agent stopped before it was done")

    async def cancel(self) -> None:
        """Cancel those under way."""
        await cancel_and_wait(set(self._tasks))

    def _is_new(self, command_id: str) -> bool:
        self._outbox.say(CommandAck(command_id=command_id, agent_id=self._agent_id))
        answer = self._answers.get(command_id) or self._refusals.get(command_id)
        if answer is not None:
            self._outbox.say_again(answer)
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
            self._room.completed(command)
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
        except Exception as error:  # noqa: BLE001 - a class of the user's may do anything when it is read
            self._raised(command, error)

    def _fail(self, command_id: str, code: str, reason: str) -> None:
        self._answer(self._failure(command_id, code, reason))

    def _turn_away(self, command_id: str, code: str, reason: str) -> None:
        refusal = self._failure(command_id, code, reason)
        self._refusals.remember(command_id, self._outbox.say(refusal))

    def _failure(self, command_id: str, code: str, reason: str) -> CommandResult:
        return CommandResult(
            command_id=command_id,
            agent_id=self._agent_id,
            status=CommandStatus.FAILED,
            # A handler may have put other objects in the place of its failure's texts.
            error=shortened(words(reason), MAX_REASON),
            error_code=words(code)[:MAX_CODE],
        )

    def _answer(self, result: CommandResult) -> None:
        said = self._outbox.say(result)
        self._open.discard(result.command_id)
        self._answers.remember(result.command_id, said)


def _checked(result: object, command: Command) -> SessionResult:
    if result is None:
        return SessionResult()
    if isinstance(result, SessionResult):
        return result
    raise InvalidArgumentError(
        "the agent's handler must return a SessionResult or None for "
        f"{command.command_type}, not {type(result).__name__}"
    )
