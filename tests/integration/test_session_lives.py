"""Sessions in both of StreamSpace's dialects, beside a model of their states.

Hypothesis makes lives of sessions from one description of the operations. What each operation does
to a state in which dialect is written down here, from the API document and from what the published
server did, and not taken from the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Final

import pytest
from attrs import frozen
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from vcloud import ConflictError, NotFoundError, UnsupportedError
from vcloud.emulator import Clock, Emulator
from vcloud.providers.dialect import DialectName
from vcloud.providers.streamspace import Session, StreamSpace

TEMPLATE: Final = "firefox-browser"
#: Seconds. Built-in agents need less for anything, and an idle session hibernates later.
SETTLED: Final = 10.0
#: A user's quota of the published server is larger.
MOST: Final = 3


@frozen(kw_only=True)
class Lives:
    """What becomes of a session's state.

    Attributes:
        user: who can have sessions.
        changes: for each operation the states that it leads on from, and to where. In any other
            state it is refused, and changes nothing.
        quiet: the states in which a repeated delete is accepted, and changes nothing.
        settles: what the agent reports in the end.
        tags: whether a session's tags can be set.
    """

    user: str
    changes: Mapping[str, Mapping[str, str]]
    quiet: frozenset[str]
    settles: Mapping[str, str]
    tags: bool


OPERATIONS: Final = ("hibernate", "wake", "terminate")
_ENDING: Final = frozenset({"terminating", "terminated"})
LIVES: Final[dict[DialectName, Lives]] = {
    "documented": Lives(
        user="john.doe",
        changes={
            "hibernate": {"running": "hibernated"},
            "wake": {"hibernated": "running"},
            "terminate": {"running": "terminating", "hibernated": "terminating"},
            "delete": dict.fromkeys(("pending", "running", "hibernated"), "terminating"),
        },
        quiet=_ENDING,
        settles={"pending": "running", "terminating": "terminated"},
        tags=False,
    ),
    "published": Lives(
        user="admin",
        changes={
            "hibernate": {"running": "hibernating"},
            "wake": {"hibernated": "waking"},
            **dict.fromkeys(
                ("terminate", "delete"),
                dict.fromkeys(
                    ("pending", "running", "hibernating", "hibernated", "waking", "failed"),
                    "terminating",
                ),
            ),
        },
        quiet=_ENDING,
        settles={
            "pending": "running",
            "hibernating": "hibernated",
            "waking": "running",
            "terminating": "terminated",
        },
        tags=True,
    ),
}


class SessionLives(RuleBasedStateMachine):
    """A client, an emulator whose time stands, and a model: the state of each session."""

    sessions: Bundle[str] = Bundle("sessions")

    dialect: ClassVar[DialectName]

    def __init__(self) -> None:
        super().__init__()
        dialect = self.dialect
        self.lives = LIVES[dialect]
        self.model: dict[str, str] = {}
        self.runner = asyncio.Runner()
        self.emulator = Emulator(streamspace=dialect, clock=Clock.stopped(), rate_limits=False)
        self.runner.run(self.emulator.__aenter__())
        self.client = StreamSpace(self.emulator.endpoints()["streamspace"])
        self.runner.run(self.client.aopen())
        self.service: Any = (
            self.emulator.streamspace
            if dialect == "documented"
            else self.emulator.published_streamspace
        )

    def teardown(self) -> None:
        self.runner.run(self.client.aclose())
        self.runner.run(self.emulator.__aexit__(None, None, None))
        self.runner.close()

    def wait(self, call: Awaitable[Any]) -> Any:
        async def waited() -> Any:
            return await call

        return self.runner.run(waited())

    @initialize(target=sessions)
    def first(self) -> str:
        id = self._created()
        self.agents_report()
        return id

    @rule(target=sessions, tags=st.lists(st.sampled_from("abc"), max_size=2, unique=True))
    def create(self, tags: list[str]) -> str:
        if len(self.model) >= MOST:
            return next(iter(self.model))
        return self._created(tags)

    def _created(self, tags: list[str] | None = None) -> str:
        made: Session = self.wait(
            self.client.sessions.create(self.lives.user, TEMPLATE, tags=tags or None)
        )
        assert made.state == "pending"
        assert made.tags == tuple(tags or ())
        self.model[made.id] = "pending"
        return made.id

    def _leading_on(self, id: str) -> list[str]:
        """The operations that change this session's state now."""
        return [name for name in OPERATIONS if self.model[id] in self.lives.changes[name]]

    @rule(id=sessions, steps=st.lists(st.integers(0, 2), min_size=2, max_size=4))
    def change(self, id: str, steps: list[int]) -> None:
        for number in steps:
            names = self._leading_on(id)
            if not names:
                return
            name = names[number % len(names)]
            after = self.lives.changes[name][self.model[id]]
            answer = self.wait(getattr(self.client.sessions.ref(id), name)())
            assert (answer.id, answer.state) == (id, after)
            self.model[id] = after
            self.list_is_the_model()
            self.agents_report()

    @rule(id=sessions)
    def refused(self, id: str) -> None:
        for name in set(OPERATIONS).difference(self._leading_on(id)):
            with pytest.raises(ConflictError):
                self.wait(getattr(self.client.sessions.ref(id), name)())

    @rule(id=sessions)
    def delete(self, id: str) -> None:
        self.wait(self.client.sessions.ref(id).delete())
        before = self.model[id]
        if before not in self.lives.quiet:
            self.model[id] = self.lives.changes["delete"][before]

    @rule(id=sessions, tags=st.lists(st.sampled_from("abc"), max_size=2, unique=True))
    def set_tags(self, id: str, tags: list[str]) -> None:
        call = self.client.sessions.ref(id).set_tags(tags)
        if self.lives.tags:
            assert self.wait(call) == tuple(tags)
            return
        sent = len(self.emulator.calls)
        with pytest.raises(UnsupportedError):
            self.wait(call)
        assert len(self.emulator.calls) == sent

    @rule()
    def agents_report(self) -> None:
        self.emulator.clock.advance(SETTLED)
        self.model = {id: self.lives.settles.get(was, was) for id, was in self.model.items()}

    @rule(id=sessions, state=st.sampled_from(["running", "hibernated", "terminated"]))
    def agent_reports(self, id: str, state: str) -> None:
        """An agent reports on its own account: somebody stopped the container, say."""
        self.service.set_state(id, state)
        self.model[id] = state

    @rule(id=sessions)
    def look(self, id: str) -> None:
        handle = self.client.sessions.ref(id)
        session = self.wait(handle.refresh())
        assert (session.id, session.state, session.user) == (id, self.model[id], self.lives.user)
        assert self.wait(handle.wait_until(self.model[id], timeout=0)).state == self.model[id]
        found = self.wait(self.client.sessions.find(session.name))
        assert (found.id, found.state) == (id, self.model[id])
        for state in ("pending", "running", "hibernated", "terminated"):
            listed = self.wait(self.client.sessions.list(state=state).all())
            assert {one.id for one in listed} == {
                id for id, its in self.model.items() if its == state
            }

    @rule()
    def nobody(self) -> None:
        handle = self.client.sessions.ref("770e8400-e29b-41d4-a716-446655440002")
        calls: list[Callable[[], Awaitable[Any]]] = [
            handle.refresh, handle.hibernate, handle.terminate, handle.delete,
        ]  # fmt: skip
        for call in calls:
            with pytest.raises(NotFoundError):
                self.wait(call())

    @invariant()
    def list_is_the_model(self) -> None:
        found = self.wait(self.client.sessions.list(limit=2).all())
        assert {one.id: str(one.state) for one in found} == self.model
        for one in found:
            assert one.user == self.lives.user
            assert one.template == TEMPLATE


class DocumentedLives(SessionLives):
    dialect = "documented"


class PublishedLives(SessionLives):
    dialect = "published"


@pytest.mark.parametrize("lives", [DocumentedLives, PublishedLives])
def test_sessions_live_as_the_model_says(lives: type[SessionLives]) -> None:
    run_state_machine_as_test(
        lives,
        settings=settings(
            max_examples=15,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        ),
    )
