"""Reports an agent's connection and its errors: to the user's functions, and to the log."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from inspect import iscoroutinefunction
from typing import Final, TypeVar

import attrs

from vcloud._core.hooks import Hook, call_hook
from vcloud._core.log import printable_logger
from vcloud._core.tasks import cancel_and_wait
from vcloud._core.timing.running_time import wait_running
from vcloud.errors import InvalidArgumentError, VCloudError
from vcloud.providers.streamspace.agent.handler import CommandFailed, text_of
from vcloud.providers.streamspace.agent.published.approval import ASK_AGAIN
from vcloud.providers.streamspace.models import AgentSession

__all__ = ["AgentHooks", "Reporter"]

T = TypeVar("T")

LOG: Final = printable_logger("vcloud.streamspace.agent")
#: How many errors are kept.
KEPT_ERRORS: Final = 16
#: How many calls of hooks may be running. Errors beyond them are logged only.
MAX_HOOK_CALLS: Final = 64


@attrs.frozen(kw_only=True)
class AgentHooks:
    """The user's functions that are called about an agent; see :meth:`StreamSpace.serve_agent`."""

    on_registered: Hook[Sequence[AgentSession]] | None = None
    on_lost: Hook[Exception] | None = None
    on_error: Hook[Exception] | None = None
    on_pending: Hook[str] | None = None

    def __attrs_post_init__(self) -> None:
        for part in attrs.fields(type(self)):
            hook = getattr(self, part.name)
            if hook is not None and not callable(hook):
                raise InvalidArgumentError(f"{part.name} must be a function, not {hook!r}")


class Reporter:
    """Keeps an agent's errors, writes them to the log, and calls the hooks.

    Args:
        agent_id: the agent's name.
        hooks: the user's.
    """

    def __init__(self, agent_id: str, hooks: AgentHooks) -> None:
        self._agent_id = agent_id
        self._hooks = hooks
        self._calls: set[asyncio.Task[Exception | None]] = set()
        #: The last errors, the newest at the end.
        self.errors: deque[Exception] = deque(maxlen=KEPT_ERRORS)

    @property
    def reconciles(self) -> bool:
        """Whether the user wants to know which sessions the control plane has on the agent."""
        return self._hooks.on_registered is not None

    def registered(self, interval: float) -> None:
        """Report that the agent is registered, with a heartbeat every ``interval`` seconds."""
        LOG.info("agent %s is registered, with heartbeats every %g s", self._agent_id, interval)

    async def assigned(self, sessions: Sequence[AgentSession]) -> None:
        """Report the sessions that the control plane has on the agent."""
        if self._hooks.on_registered is None:
            return
        error = await call_hook(
            self._hooks.on_registered, sessions, self._name_of("on_registered"), LOG
        )
        if error is not None:
            self._keep(error)

    def connection_lost(self, error: VCloudError, pause: float, *, was_registered: bool) -> None:
        """Report that the connection was lost, or not made."""
        LOG.warning("agent %s: %s; it connects again in %.1f s", self._agent_id, error, pause)
        self._keep(error)
        if was_registered:
            self._call("on_lost", self._hooks.on_lost, error)

    def pending(self) -> asyncio.Task[Exception | None] | None:
        """Report that the agent waits for an administrator's approval.

        Returns:
            the call of the user's coroutine function; None if there is none.
        """
        LOG.warning(
            "agent %s waits for an administrator to approve it, and asks again every %g s",
            self._agent_id,
            ASK_AGAIN,
        )
        call = self._call("on_pending", self._hooks.on_pending, self._agent_id)
        return call if iscoroutinefunction(self._hooks.on_pending) else None

    def other_platform(self, platform: str) -> None:
        """Report that the control plane may give this agent no sessions."""
        LOG.warning(
            "agent %s registers as %s: the published server gives sessions only to agents of its"
            " own PLATFORM, which is kubernetes unless it was set otherwise",
            self._agent_id,
            platform,
        )

    def cannot_reconcile(self) -> None:
        """Report that ``on_registered`` is not called: the agent does not know all sessions."""
        LOG.warning(
            "agent %s: on_registered is not called, because no path of the published server lists"
            " the sessions of an agent: give serve_agent(remember=PATH), so that the agent knows"
            " those that it started",
            self._agent_id,
        )

    def duplicate_suspected(self, times: int, seconds: float) -> None:
        """Report that so many connections in a row each ended within so many seconds."""
        LOG.warning(
            "agent %s was registered %d times in a row and lost each connection within %g s:"
            " another agent of this name seems to be running (an older process, a second"
            " container). Stop it, or give each agent an agent_id of its own",
            self._agent_id,
            times,
            seconds,
        )

    def error(self, error: Exception) -> None:
        """Report an error after which the agent continues."""
        # The traceback of an unexpected exception shows where the user's handler raised it.
        expected = isinstance(error, VCloudError | OSError | CommandFailed)
        trace = None if expected else error
        text = text_of(error) or type(error).__name__
        LOG.warning("agent %s: %s", self._agent_id, text, exc_info=trace)
        self._keep(error)

    def ended(self, error: Exception) -> None:
        """Report the error that ended the agent."""
        LOG.error("agent %s ends: %s", self._agent_id, error)

    async def cancel(self) -> None:
        """Cancel the hooks that still run."""
        await cancel_and_wait(set(self._calls))

    async def finish(self, grace: float) -> None:
        """Wait for the hooks that still run, for so many seconds in which the loop runs."""
        if self._calls:
            await wait_running(self._calls, grace)

    def _keep(self, error: Exception) -> None:
        self.errors.append(error.with_traceback(None))
        self._call("on_error", self._hooks.on_error, error)

    def _call(
        self, name: str, hook: Hook[T] | None, value: T
    ) -> asyncio.Task[Exception | None] | None:
        """Call a hook in a task; None if there is no hook, or too many calls run."""
        if hook is None or len(self._calls) >= MAX_HOOK_CALLS:
            return None
        task = asyncio.create_task(call_hook(hook, value, self._name_of(name), LOG))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return task

    def _name_of(self, hook: str) -> str:
        return f"{hook} of agent {self._agent_id}"
