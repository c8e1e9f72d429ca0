"""Every endpoint of all four providers as something to aim faults at: how to call it, and how to see what it did.

The endpoints are those of the documents (``tests/contract/documents``), the calls those of ``tests/contract/*_calls.py``. What is
added here is what no document says: how often its effect is found in the service, and what a repeat is answered.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from tests.contract.contract_harness import PROVIDERS
from tests.contract.desktops_calls import ACTIONS, UUID
from tests.contract.streamspace_calls import AGENT, SESSION
from tests.faults import worlds
from vcloud import Request
from vcloud.emulator import Emulator
from vcloud.emulator.calls import Call as Ledgered
from vcloud.emulator.computers.state import Machine
from vcloud.providers.desktops import Wait

Call = Callable[[Any], Awaitable[object]]
Count = Callable[[Emulator], int]
_PLACEHOLDER = re.compile(r"\{[^/]+\}")


class Answer(Enum):
    """What the service answers with when all is well."""

    OBJECT = "a JSON object"
    PAGE = "a page of a list"
    NOTHING = "no body"
    SOCKET = "a WebSocket"


@frozen(kw_only=True)
class Target:
    """One endpoint.

    Attributes:
        api: whose.
        name: the document's name for it.
        method: the verb.
        path: its path on the wire, with the documents' placeholders.
        call: makes the call.
        requests: how many it takes when nothing goes wrong.
        answer: what it is answered with.
        effect: how often what was asked for is found in the service; None for what changes nothing.
        counted: each time leaves a trace of its own; else the second time cannot be told from the first by looking.
        repeatable: by RFC 9110 or by the service's own word a repeat does no harm.
        gone: a repeat finds nothing any more.
        prepare: what its world needs besides.
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
    prepare: Callable[[Emulator], object] = field(default=lambda emulator: None, repr=False)

    @property
    def id(self) -> str:
        """Name it in a table."""
        return f"{self.api}:{self.name}"

    @property
    def route(self) -> str:
        """Match its requests, as the emulator's rules do."""
        return f"{self.method} {_PLACEHOLDER.sub('*', self.path)}"

    def sees(self, call: Ledgered) -> bool:
        """Whether a request of the ledger is one to this endpoint."""
        return fnmatchcase(f"{call.method} {call.path}", self.route)


# -- how to call: where the documents' example does not do --------------------------------------------------------------

#: Examples read one page of some lists. No fault of a list shows on a single page.
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


async def _follow_logs(client: Any) -> object:
    async with client.sessions.ref(SESSION).logs(follow=True) as lines:
        return await anext(aiter(lines))


async def _agent(client: Any) -> object:
    # What an agent does first. The agent itself connects again for ever, so that no fault would end its call.
    socket = await client._session.connect(
        Request("GET", "/agent/ws", "agent_id=a&platform=kubernetes"), root=True
    )
    await socket.close()
    return socket


SOCKETS: dict[str, Call] = {
    "streamspace:vnc_viewer": _vnc_viewer,
    "streamspace:sessions.logs.follow": _follow_logs,
    "streamspace:agent.ws": _agent,
}

#: These are at the host's root.
ROOTED = frozenset({"vnc_viewer", "agent.ws"})

#: The document's desktop has an id that the service does not take, and one endpoint does nine things.
DESKTOPS: dict[str, Call] = {
    "desktop.stop": lambda c: c.ref(UUID).stop(),
    "desktop.bash_action": lambda c: c.ref(UUID).bash("touch /tmp/here"),
}


def _perform(action: Any) -> Call:
    return lambda c: c.ref(UUID).perform(action)


def _actions() -> dict[str, Call]:
    # A second, which the document's waits for, is longer than this test has patience.
    first = {action.tag: action for action in (*reversed(ACTIONS), Wait(0.001))}
    return {
        f"desktop.computer_action.{tag}": _perform(action) for tag, action in sorted(first.items())
    }


# -- what came of it ---------------------------------------------------------------------------------------------------


def _machine(see: Callable[[Machine], bool]) -> Count:
    return lambda emulator: see(emulator.computers.machines[worlds.MACHINE])


def _set_off(emulator: Emulator) -> None:
    emulator.computers.set_status(worlds.MACHINE, "ready")


def _assigned(emulator: Emulator) -> int:
    now = emulator.clock.now()
    # One is from the start.
    return (
        sum(machine.status(now) == "assigned" for machine in emulator.streams.machines.values()) - 1
    )


def _state(emulator: Emulator) -> str:
    return emulator.streamspace.sessions[SESSION].state(emulator.clock.now())


def _events(name: str) -> Count:
    return lambda emulator: sum(
        event.name == name for event in emulator.desktops.desktops[UUID].events
    )


def _tasks(uid: str) -> Count:
    return _machine(lambda machine: any(task.uid == uid for task in machine.tasks))


#: How often what was asked for is found. Those of the first table leave a trace each time.
COUNTED: dict[str, Count] = {
    "computers:machines.create": lambda e: len(e.computers.machines) - 2,
    "computers:machines.access": lambda e: len(e.computers.access_links),
    "streams:streams.create": lambda e: len(e.streams.streams) - 4,
    "streams:streams.start_machine": lambda e: sum(
        m.status(e.clock.now()) == "waiting" for m in e.streams.machines.values()
    ),
    "streams:streams.assign_machine": _assigned,
    "streams:users.create": lambda e: len(e.streams.users) - 1,
    "streamspace:sessions.create": lambda e: len(e.streamspace.sessions) - 2,
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
        e.computers.machines[worlds.MACHINE].status(e.clock.now()) != "ready"
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
    "streamspace:auth.login": lambda e: len(e.streamspace.tokens._live) > 0,
    "streamspace:auth.logout": lambda e: not e.streamspace.tokens._live,
    "streamspace:auth.refresh": lambda e: len(e.streamspace.tokens._live) > 1,
    "streamspace:agents.update": lambda e: e.streamspace.agents[AGENT].status == "draining",
    "streamspace:sessions.update": lambda e: _state(e) == "hibernated",
    "streamspace:sessions.delete": lambda e: _state(e) != "running",
    "streamspace:users.create": lambda e: "john.doe" in e.streamspace.users,
    "desktops:desktop.stop": lambda e: e.desktops.desktops[UUID].forced == "terminated",
}
#: Nothing is left of having waited.
TRACELESS = frozenset({"desktops:desktop.computer_action.wait"})

GONE = frozenset({"computers:machines.tasks.delete", "streams:users.delete"})
#: "Stop a running desktop" may be repeated, by the service's published source.
REPEATABLE = frozenset({"desktops:desktop.stop"})
SAFE = frozenset({"GET", "PUT", "DELETE"})

PREPARED: dict[str, Callable[[Emulator], object]] = {
    "computers:machines.stop": _set_off,
    "streamspace:users.create": lambda e: e.streamspace.users.pop("john.doe"),
}

#: Endpoints that are in no document, but in what the vendors published: the client has them too.
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
    id = f"{api}:{name}"
    effect = COUNTED.get(id) or SEEN.get(id)
    answer = (
        Answer.PAGE
        if id in LISTS
        else Answer.SOCKET
        if id in SOCKETS
        else Answer.NOTHING
        if id == "streamspace:sessions.delete"
        else Answer.OBJECT
    )
    return Target(
        api=api,
        name=name,
        method=method,
        path=path,
        call=call,
        requests=2 if id in LISTS else 1,
        answer=answer,
        effect=effect,
        counted=id in COUNTED,
        repeatable=method in SAFE or id in REPEATABLE,
        gone=id in GONE,
        prepare=PREPARED.get(id, lambda emulator: None),
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
                LISTS.get(f"{api}:{name}")
                or SOCKETS.get(f"{api}:{name}")
                or DESKTOPS.get(name)
                or provider.calls[name][0]
            )
            made.append(_made(api, name, method, path if name in ROOTED else base + path, call))
        for id, (whose, method, path, call) in PUBLISHED.items():
            if whose == api:
                made.append(_made(api, id.partition(":")[2], method, base + path, call))
    return tuple(made)


TARGETS = targets()
