"""Every endpoint of all providers, in each of their dialects, as a target of faults.

A target has a call and its effect.

The endpoints are those of the documents (``tests/contract/documents``), and the calls are those of
``tests/contract/*_calls.py``. Added here is what no document says: how often the effect of a call
exists in the service, and what a repeated call finds.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from tests.contract.contract_harness import PROVIDERS, Provider
from tests.contract.desktops_calls import ACTIONS, UUID
from tests.contract.streamspace_calls import AGENT, SESSION
from tests.faults import worlds
from tests.faults.internals import connect_agent, connect_published_agent, live_tokens
from vcloud.emulator import Emulator
from vcloud.emulator.calls import Call as Ledgered
from vcloud.emulator.computers.machine import Machine
from vcloud.providers.desktops import Wait

Call = Callable[[Any], Awaitable[object]]
Count = Callable[[Emulator], int]
_PLACEHOLDER = re.compile(r"\{[^/]+\}")


class Answer(Enum):
    """The kind of the regular answer."""

    OBJECT = "a JSON object"
    PAGE = "a page of a list"
    LIST = "a whole list"
    NOTHING = "no body"
    SOCKET = "a WebSocket"


@frozen(kw_only=True)
class Target:
    """One endpoint.

    Attributes:
        api: the provider, or its dialect: a key of ``PROVIDERS``.
        name: its name in the document.
        method: the HTTP method.
        path: its path in requests, with the document's placeholders.
        call: makes the call.
        requests: how many requests a call takes without faults.
        answer: the kind of its answer.
        effect: how often the effect exists in the service; None: it changes nothing.
        counted: each repetition has an effect of its own; otherwise a second one is not visible.
        repeatable: a repetition does no harm, by RFC 9110 or by the service's documents.
        gone: a repetition finds nothing any more.
        settled: a repetition is refused because it was done, and the call takes that for done.
        prepare: prepares the emulator.
    """

    api: str
    name: str
    method: str
    path: str
    call: Call = field(repr=False)
    requests: int = 1
    answer: Answer = Answer.OBJECT
    effect: Count | None = field(default=None, repr=False)
    counted: bool = False
    repeatable: bool
    gone: bool = False
    settled: bool = False
    prepare: Callable[[Emulator], object] = field(default=lambda emulator: None, repr=False)

    @property
    def provider(self) -> Provider:
        """Its provider."""
        return PROVIDERS[self.api]

    @property
    def as_agent(self) -> bool:
        """Whether it takes the key of an agent, not a user's token."""
        return self.name == "agents.connect"

    @property
    def id(self) -> str:
        """Its name in tables."""
        return f"{self.api}:{self.name}"

    @property
    def route(self) -> str:
        """The pattern of its requests, as in the emulator's rules."""
        return f"{self.method} {_PLACEHOLDER.sub('*', self.path)}"

    def sees(self, call: Ledgered) -> bool:
        """Whether a recorded request was sent to this endpoint."""
        return fnmatchcase(f"{call.method} {call.path}", self.route)


# -- calls that replace the documents' examples -------------------------------------------------

#: Some examples read one page of a list. Faults of lists need two.
LISTS: dict[str, Call] = {
    "computers:machines.list": lambda c: c.machines.list(per_page=1).all(),
    "computers:machines.tasks.list": lambda c: (
        c.machines.ref(worlds.MACHINE).tasks.list(per_page=1).all()
    ),
    "streams:applications.list": lambda c: c.applications.list(per_page=2).all(),
    "streams:streams.list": lambda c: c.streams.list("11421", per_page=1).all(),
    "streams:streams.machines.list": lambda c: c.streams.ref("1364").machines(per_page=2).all(),
    "streams:machines.list": lambda c: c.machines.list(stream_id="1381", per_page=2).all(),
    "streams:sessions.list": lambda c: c.sessions.list(per_page=1).all(),
    "streamspace:agents.list": lambda c: c.agents.list(limit=1).all(),
    "streamspace:sessions.list": lambda c: c.sessions.list(limit=1).all(),
    "streamspace:templates.list": lambda c: c.templates.list(limit=1).all(),
    "streamspace:users.list": lambda c: c.users.list(limit=1).all(),
}


async def _vnc_viewer(client: Any) -> object:
    async with client.sessions.ref(SESSION).open_vnc() as tunnel:
        return await tunnel.read()


async def _published_viewer(client: Any) -> object:
    async with client.sessions.ref(SESSION).open_vnc(first_bytes=FIRST_BYTES) as tunnel:
        return await tunnel.read()


async def _follow_logs(client: Any) -> object:
    async with client.sessions.ref(SESSION).logs(follow=True) as lines:
        return await anext(aiter(lines))


SOCKETS: dict[str, Call] = {
    "streamspace:vnc_viewer": _vnc_viewer,
    "streamspace:vnc": _published_viewer,
    "streamspace:agents.connect": connect_published_agent,
    "streamspace:sessions.logs.follow": _follow_logs,
    "streamspace:agent.ws": connect_agent,
}

#: Seconds in which a viewer must get its first byte.
FIRST_BYTES = 3.0
#: Endpoints at the host's root.
ROOTED = frozenset({"vnc_viewer", "agent.ws"})

#: The document's example has an id that the service rejects, and one endpoint has nine actions.
DESKTOPS: dict[str, Call] = {
    "desktop.stop": lambda c: c.ref(UUID).stop(),
    "desktop.bash_action": lambda c: c.ref(UUID).bash("touch /tmp/here"),
}


def _perform(action: Any) -> Call:
    return lambda c: c.ref(UUID).perform(action)


def _actions() -> dict[str, Call]:
    # The document's example waits for a second, which is too long here.
    first = {action.tag: action for action in (*reversed(ACTIONS), Wait(0.001))}
    return {
        f"desktop.computer_action.{tag}": _perform(action) for tag, action in sorted(first.items())
    }


# -- effects --------------------------------------------------------------------------------------


def _machine(see: Callable[[Machine], bool]) -> Count:
    return lambda emulator: see(emulator.computers.machines[worlds.MACHINE])


def _set_off(emulator: Emulator) -> None:
    emulator.computers.set_status(worlds.MACHINE, "ready")


def _assigned(emulator: Emulator) -> int:
    now = emulator.clock.now()
    # One is from the start.
    return (
        sum(machine.status_at(now) == "assigned" for machine in emulator.streams.machines.values())
        - 1
    )


def _state(emulator: Emulator) -> str:
    session: Any = worlds.streamspace(emulator).sessions[SESSION]
    return str(session.state_at(emulator.clock.now()))


def _agent(see: Callable[[Any], bool]) -> Count:
    return lambda emulator: see(worlds.streamspace(emulator).agents[AGENT])


def _events(name: str) -> Count:
    return lambda emulator: sum(
        event.name == name for event in emulator.desktops.desktops[UUID].events
    )


def _tasks(uid: str) -> Count:
    return _machine(lambda machine: any(task.uid == uid for task in machine.tasks))


#: How often the effect exists. In the first table each repetition has an effect of its own.
COUNTED: dict[str, Count] = {
    "computers:machines.create": lambda e: len(e.computers.machines) - 2,
    "computers:machines.access": lambda e: len(e.computers.access_links),
    "streams:streams.create": lambda e: len(e.streams.streams) - 4,
    "streams:streams.start_machine": lambda e: sum(
        m.status_at(e.clock.now()) == "waiting" for m in e.streams.machines.values()
    ),
    "streams:streams.assign_machine": _assigned,
    "streams:users.create": lambda e: len(e.streams.users) - 1,
    "streamspace:sessions.create": lambda e: len(worlds.streamspace(e).sessions) - 2,
    "streamspace:agents.command": lambda e: len(e.published_streamspace.commands),
    "desktops:desktop.create": lambda e: len(e.desktops.desktops) - 1,
    "desktops:desktop.bash_action": _events("bash"),
    "desktops:desktop.computer_action.click_mouse": _events("click"),
    "desktops:desktop.computer_action.drag_mouse": _events("button_down"),
    "desktops:desktop.computer_action.get_cursor_position": _events("pointer"),
    "desktops:desktop.computer_action.move_mouse": _events("move"),
    "desktops:desktop.computer_action.press_keys": _events("press"),
    "desktops:desktop.computer_action.screenshot": _events("screenshot"),
    "desktops:desktop.computer_action.scroll": _events("scroll"),
    "desktops:desktop.computer_action.type": _events("type"),
}
SEEN: dict[str, Count] = {
    "computers:machines.update": _machine(
        lambda m: (m.auto_stop_threshold, m.usage_source) == (900, "machine")
    ),
    "computers:machines.start": _machine(lambda m: m.started),
    "computers:machines.stop": lambda e: (
        e.computers.machines[worlds.MACHINE].status_at(e.clock.now()) != "ready"
    ),
    "computers:machines.machine_type": _machine(lambda m: m.machine_type.id == 15),
    "computers:machines.reset": _machine(lambda m: not m.deleted_uids),
    "computers:machines.permissions": _machine(lambda m: m.permissions["clipboard_enabled"]),
    "computers:machines.tasks.create": _tasks("task-012"),
    "computers:machines.tasks.delete": lambda e: not _tasks("project-alpha")(e),
    "streams:applications.update": lambda e: (
        e.streams.applications[worlds.APPLICATION].name == "Test Application"
    ),
    "streams:streams.update": lambda e: (
        e.streams.streams[worlds.STREAM].settings["microphone"] == "off"
    ),
    "streams:streams.stop_machine": lambda e: (
        e.streams.machines[worlds.RUNNING].end_at(e.clock.now()) is not None
    ),
    "streams:users.delete": lambda e: worlds.VISITOR not in e.streams.users,
    "streamspace:auth.login": lambda e: live_tokens(e) > 0,
    "streamspace:auth.logout": lambda e: live_tokens(e) == 0,
    "streamspace:auth.refresh": lambda e: live_tokens(e) > 1,
    "streamspace:agents.update": _agent(lambda agent: agent.status == "draining"),
    "streamspace:agents.delete": lambda e: AGENT not in e.published_streamspace.agents,
    "streamspace:agents.approve": _agent(lambda agent: agent.approval == "approved"),
    "streamspace:agents.reject": _agent(lambda agent: agent.approval == "rejected"),
    "streamspace:agents.generate_key": _agent(lambda agent: agent.key is not None),
    "streamspace:agents.rotate_key": _agent(lambda agent: agent.key != worlds.AGENT_KEY),
    "streamspace:sessions.update": lambda e: _state(e) == "hibernated",
    "streamspace:sessions.hibernate": lambda e: _state(e) != "running",
    "streamspace:sessions.wake": lambda e: _state(e) != "hibernated",
    "streamspace:sessions.delete": lambda e: _state(e) != "running",
    "streamspace:sessions.set_tags": lambda e: bool(e.published_streamspace.sessions[SESSION].tags),
    "streamspace:templates.create": lambda e: (
        "firefox-browser" in e.published_streamspace.templates
    ),
    "streamspace:users.create": lambda e: (
        not {"john.doe", "john-doe"}.isdisjoint(worlds.streamspace(e).users)
    ),
    "desktops:desktop.stop": lambda e: e.desktops.desktops[UUID].forced == "terminated",
}
#: A wait has no effect.
TRACELESS = frozenset({"desktops:desktop.computer_action.wait"})

GONE = frozenset(
    {"computers:machines.tasks.delete", "streams:users.delete", "streamspace:agents.delete"}
)
#: "Stop a running desktop" may be repeated, by the service's published source; tags are set whole.
REPEATABLE = frozenset({"desktops:desktop.stop", "streamspace:sessions.set_tags"})
#: A repetition would be refused for what the first one did.
ONCE = frozenset({"streamspace:sessions.hibernate", "streamspace:sessions.wake"})
SETTLED = frozenset({"streamspace-published:sessions.delete"})
SAFE = frozenset({"GET", "PUT", "DELETE"})

PREPARED: dict[str, Callable[[Emulator], object]] = {
    "computers:machines.stop": _set_off,
    "streamspace:users.create": lambda e: worlds.streamspace(e).users.pop("john.doe", None),
    "streamspace:agents.approve": worlds.asks_for_approval,
    "streamspace:agents.reject": worlds.asks_for_approval,
    "streamspace:agents.generate_key": worlds.without_key,
    "streamspace:agents.delete": worlds.without_sessions,
    "streamspace:agents.connect": worlds.with_remote_agent,
    "streamspace:sessions.wake": worlds.hibernated,
    "streamspace:templates.create": lambda e: e.published_streamspace.templates.pop(
        "firefox-browser"
    ),
}

#: Endpoints that are in no document, but in what the vendors published.
PUBLISHED: dict[str, tuple[str, str, str, Call]] = {
    "computers:machines.get": (
        "computers",
        "GET",
        "/machines/{id}",
        lambda c: c.machines.get(worlds.MACHINE),
    ),
    "streamspace:auth.refresh": (
        "streamspace",
        "POST",
        "/auth/refresh",
        lambda c: c.refresh_token(),
    ),
}


def _made(api: str, name: str, method: str, path: str, call: Call) -> Target:
    # Both dialects of a provider have one table.
    key, whole = f"{PROVIDERS[api].api}:{name}", PROVIDERS[api].dialect == "published"
    effect = COUNTED.get(key) or SEEN.get(key)
    answer = (
        (Answer.LIST if whole else Answer.PAGE)
        if key in LISTS
        else Answer.SOCKET
        if key in SOCKETS
        else Answer.NOTHING
        if f"{api}:{name}" == "streamspace:sessions.delete"
        else Answer.OBJECT
    )
    return Target(
        api=api,
        name=name,
        method=method,
        path=path,
        call=call,
        requests=2 if answer is Answer.PAGE else 1,
        answer=answer,
        effect=effect,
        counted=key in COUNTED,
        repeatable=(method in SAFE or key in REPEATABLE) and key not in ONCE,
        gone=key in GONE,
        settled=f"{api}:{name}" in SETTLED,
        prepare=PREPARED.get(key, lambda emulator: None),
    )


def targets() -> tuple[Target, ...]:
    """Every endpoint, in the documents' order."""
    made: list[Target] = []
    for api, provider in PROVIDERS.items():
        base = urlsplit(provider.document["base_url"]).path
        for operation in provider.document["operations"]:
            name, method, path = operation["id"], operation["method"], operation["path"]
            if name == "desktop.computer_action":
                made += [
                    _made(api, one, method, base + path, call) for one, call in _actions().items()
                ]
                continue
            call = (
                LISTS.get(f"{provider.api}:{name}")
                or SOCKETS.get(f"{provider.api}:{name}")
                or DESKTOPS.get(name)
                or provider.calls[name][0]
            )
            made.append(_made(api, name, method, path if name in ROOTED else base + path, call))
        for id, (whose, method, path, call) in PUBLISHED.items():
            if whose == api:
                made.append(_made(api, id.partition(":")[2], method, base + path, call))
    return tuple(made)


TARGETS = targets()
