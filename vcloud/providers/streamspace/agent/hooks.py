"""Who hears of an agent's connection and its troubles: its owner's functions, and the log."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

import attrs

from vcloud._core.hooks import Hook, call_hook
from vcloud._core.log import printable_logger
from vcloud._core.tasks import cancel_and_wait
from vcloud._core.timing.running_time import wait_running
from vcloud.errors import InvalidArgumentError, VCloudError
from vcloud.providers.streamspace.agent.handler import CommandFailed, words
from vcloud.providers.streamspace.models import AgentSession

__all__ = ["AgentHooks", "Reporter"]

LOG: Final = printable_logger("vcloud.streamspace.agent")
#: How many errors are kept.
KEPT_ERRORS: Final = 16
#: How many calls of hooks may be under way. What goes wrong beyond them stands in the log alone.
MAX_TELLING: Final = 64


@attrs.frozen(kw_only=True)
class AgentHooks:
    """The functions of an agent's owner that are told of its connection; see :meth:`StreamSpace.serve_agent`."""

    on_registered: Hook[Sequence[AgentSession]] | None = None
    on_lost: Hook[Exception] | None = None
    on_error: Hook[Exception] | None = None

    def __attrs_post_init__(self) -> None:
        for part in attrs.fields(type(self)):
            hook = getattr(self, part.name)
            if hook is not None and not callable(hook):
                raise InvalidArgumentError(f"{part.name} must be a function, not {hook!r}")


class Reporter:
    """Keeps what went wrong with an agent, and says it to the log and to the hooks.

    Args:
        agent_id: the agent's name.
        hooks: its owner's.
    """

    def __init__(self, agent_id: str, hooks: AgentHooks) -> None:
        self._agent_id = agent_id
        self._hooks = hooks
        self._telling: set[asyncio.Task[Exception | None]] = set()
        #: The last errors, the newest at the end.
        self.errors: deque[Exception] = deque(maxlen=KEPT_ERRORS)

    @property
    def reconciles(self) -> bool:
        """Whether the owner wants to know what the control plane believes to run on the agent."""
        return self._hooks.on_registered is not None

    def registered(self, interval: float) -> None:
        """The control plane knows the agent, and hears of it every ``interval`` seconds."""
        LOG.info("agent %s is registered, with heartbeats every %g s", self._agent_id, interval)

    async def assigned(self, sessions: Sequence[AgentSession]) -> None:
        """The control plane believes that these run on the agent."""
        if self._hooks.on_registered is None:
            return
        error = await call_hook(
            self._hooks.on_registered, sessions, self._named("on_registered"), LOG
        )
        if error is not None:
            self._note(error)

    def lost(self, error: VCloudError, pause: float, *, known: bool) -> None:
        """The connection is lost, or was not made. ``known``: the agent was registered on it."""
        LOG.warning("agent %s: %s; it connects again in %.1f s", self._agent_id, error, pause)
        self._note(error)
        if known:
            self._tell("on_lost", self._hooks.on_lost, error)

    def displaced(self, times: int, seconds: float) -> None:
        """So often in a row, the control plane ended a connection before so many seconds."""
        LOG.warning(
            "agent %s was registered %d times in a row and lost each connection within %g s:"
            " another agent of this name seems to be running (an older process, a second"
            " container). Stop it, or give each agent an agent_id of its own",
            self._agent_id,
            times,
            seconds,
        )

    def trouble(self, error: Exception) -> None:
        """Something went wrong, and the agent goes on."""
        # The traceback of an unexpected exception shows where the owner's handler raised it.
        expected = isinstance(error, VCloudError | OSError | CommandFailed)
        trace = None if expected else error
        said = words(error) or type(error).__name__
        LOG.warning("agent %s: %s", self._agent_id, said, exc_info=trace)
        self._note(error)

    def ended(self, error: Exception) -> None:
        """The agent cannot go on."""
        LOG.error("agent %s ends: %s", self._agent_id, error)

    async def cancel(self) -> None:
        """End the hooks that still run."""
        await cancel_and_wait(set(self._telling))

    async def finish(self, grace: float) -> None:
        """Give the hooks that still run so many seconds of the loop."""
        if self._telling:
            await wait_running(self._telling, grace)

    def _note(self, error: Exception) -> None:
        self.errors.append(error.with_traceback(None))
        self._tell("on_error", self._hooks.on_error, error)

    def _tell(self, name: str, hook: Hook[Exception] | None, error: Exception) -> None:
        if hook is not None and len(self._telling) < MAX_TELLING:
            task = asyncio.create_task(call_hook(hook, error, self._named(name), LOG))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    def _named(self, name: str) -> str:
        return f"{name} of agent {self._agent_id}"
