"""A StreamSpace agent: whoever asks the control plane for a session gets a real desktop on this machine, with a terminal.

As it is, it starts the embedded emulator as the control plane, serves it, asks for a session as a user would, looks at its
picture through a VNC tunnel, and ends everything. With VCLOUD_STREAMSPACE_URL, and VCLOUD_STREAMSPACE_TOKEN or
VCLOUD_STREAMSPACE_USERNAME and VCLOUD_STREAMSPACE_PASSWORD, it serves that installation until it is interrupted: then
everybody who may create sessions there runs programs on this machine, as this user.

It needs Linux and a few programs, and says which if they are missing.

    python examples/streamspace_agent.py
    python examples/streamspace_agent.py --id workshop-1 --sessions 3 -- xterm -maximized
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from vcloud import BearerAuth, Endpoint, VCloudError, printable
from vcloud.emulator import Emulator
from vcloud.emulator.x11 import X11Desktop, X11UnavailableError, missing
from vcloud.providers.streamspace import (
    AgentCapacity,
    AgentSession,
    AgentWorker,
    CommandFailed,
    HibernateSession,
    Session,
    SessionResult,
    SessionState,
    StartSession,
    StopSession,
    StreamSpace,
    VNCProxyRequest,
    WakeSession,
)


def say(line: str) -> None:
    """Print a line. What a service says in it neither acts on the terminal nor begins a line."""
    print(printable(line), flush=True)


class DesktopAgent:
    """Carries out the control plane's commands: each session is an X display of its own. Leaving the block ends them all.

    A hibernated session keeps its desktop, so that nothing in it is lost; it is the control plane that lets nobody in. An
    agent with containers would give up the container here, and start it again on the same volume. To the worker such a
    session takes no room any more, so the desktops are counted here too.

    Args:
        command: the program of each desktop, and its arguments.
        most: how many desktops there may be at once, those of hibernated sessions among them.
    """

    def __init__(self, command: Sequence[str] = ("xterm",), most: int = 5) -> None:
        self.desktops: dict[str, X11Desktop] = {}
        self.worker: AgentWorker | None = None
        self._command = tuple(command)
        self._most = most
        # One start or stop at a time: a stop must not overtake the start that it is meant for.
        self._changing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Return the agent itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every desktop."""
        await asyncio.gather(*[desktop.aclose() for desktop in self.desktops.values()])

    async def start_session(self, command: StartSession) -> SessionResult:
        """Start a desktop, and say where it is."""
        async with self._changing:
            if command.session_id not in self.desktops:
                if len(self.desktops) >= self._most:
                    raise CommandFailed(
                        "AGENT_CAPACITY_EXCEEDED",
                        f"this agent has {self._most} desktops, those of hibernated sessions among them",
                    )
                try:
                    self.desktops[command.session_id] = await X11Desktop.start(self._command)
                except X11UnavailableError as error:
                    raise CommandFailed("SESSION_PROVISIONING_FAILED", str(error)) from error
        desktop = self._desktop(command.session_id)
        say(
            f"  [agent] {command.data.name} of {command.data.user} is on display {desktop.display}",
        )
        # No vnc_port: other users of this machine could connect to one.
        return SessionResult(
            pod_ip="127.0.0.1",
            pod_name=f"display-{desktop.display[1:]}",
            started_at=datetime.now(UTC),
        )

    async def hibernate_session(self, command: HibernateSession) -> None:
        """Keep the desktop as it is."""
        self._desktop(command.session_id)

    async def wake_session(self, command: WakeSession) -> None:
        """Nothing was put away, so there is nothing to fetch."""
        self._desktop(command.session_id)

    async def stop_session(self, command: StopSession) -> None:
        """End the desktop with everything in it."""
        async with self._changing:
            if desktop := self.desktops.pop(command.session_id, None):
                await desktop.aclose()
                say(f"  [agent] display {desktop.display} is gone")

    async def vnc_address(self, request: VNCProxyRequest) -> Path:
        """The Unix socket of the desktop's VNC server, which no other user can reach."""
        return self._desktop(request.session_id).vnc_path

    async def reconcile(self, sessions: Sequence[AgentSession]) -> None:
        """Compare the desktops with what the control plane believes, after a restart of either.

        A desktop that it does not know would run for ever: it is ended. A session that has no desktop any more would seem to
        run for ever: it is reported. Others are left to their commands, which wait until this returns.
        """
        known = {session.id: session for session in sessions if session.id is not None}
        for session_id in self.desktops.keys() - known.keys():
            orphan = self.desktops.pop(session_id)
            say(f"  [agent] nobody knows display {orphan.display} any more: it is ended")
            await orphan.aclose()
        for session_id, session in known.items():
            desktop = self.desktops.get(session_id)
            gone = desktop is None or not desktop.alive
            if gone and session.state in (SessionState.RUNNING, SessionState.HIBERNATED):
                say(f"  [agent] {session.name} has no desktop here: it is reported as failed")
                assert self.worker is not None
                self.worker.report_failed(session_id, "its desktop is gone")

    def _desktop(self, session_id: str) -> X11Desktop:
        desktop = self.desktops.get(session_id)
        if desktop is None or not desktop.alive:
            raise CommandFailed(
                "SESSION_NOT_FOUND", "this agent has no desktop for the session, or it has ended"
            )
        return desktop


def arguments() -> argparse.Namespace:
    """What can be said on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--id",
        default=f"x11-{socket.gethostname()}",
        help="the name to register with (default: %(default)s)",
    )
    parser.add_argument("--region", help="where the agent says that it is")
    parser.add_argument(
        "--sessions", type=int, default=5, help="how many sessions at once (default: %(default)s)"
    )
    parser.add_argument(
        "command", nargs="*", default=["xterm"], help="what runs on each desktop (default: xterm)"
    )
    return parser.parse_args()


def lacking(program: str) -> list[str]:
    """What must be installed first."""
    found = shutil.which(program)
    return missing() + (
        []
        if found
        else [f"the program {program}" + " (Debian: apt-get install xterm)" * (program == "xterm")]
    )


def installation() -> Endpoint | None:
    """The control plane that the environment names."""
    url, token = (
        os.environ.get("VCLOUD_STREAMSPACE_URL"),
        os.environ.get("VCLOUD_STREAMSPACE_TOKEN"),
    )
    username, password = (
        os.environ.get(f"VCLOUD_STREAMSPACE_{name}", "") for name in ("USERNAME", "PASSWORD")
    )
    if not url:
        return None
    return Endpoint(url, auth=BearerAuth(token) if token else BearerAuth.login(username, password))


def worker_for(
    client: StreamSpace, handler: DesktopAgent, options: argparse.Namespace
) -> AgentWorker:
    """What stays connected to the control plane."""
    worker = client.serve_agent(
        options.id,
        platform="docker",
        region=options.region,
        capacity=AgentCapacity(max_sessions=options.sessions),
        handler=handler,
        on_registered=handler.reconcile,
        on_error=lambda error: say(f"  [agent] copes with: {error}"),
    )
    handler.worker = worker
    return worker


async def serve(where: Endpoint, options: argparse.Namespace) -> None:
    """Be an agent until SIGINT or SIGTERM."""
    async with (
        StreamSpace(where) as client,
        DesktopAgent(options.command, options.sessions) as handler,
    ):
        worker = worker_for(client, handler, options)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, worker.stop)
        say(
            f"Agent {worker.agent_id} serves {where.base_url} until it is interrupted, which ends its sessions too.",
        )
        try:
            await worker.run()
        except VCloudError as error:
            raise SystemExit(f"this cannot be an agent there: {error}") from error


async def look(session: Session) -> None:
    """Shake hands with the session's VNC server, as far as it takes to learn how large the screen is."""
    async with session.open_vnc() as tunnel:
        received = bytearray()

        async def take(count: int) -> bytes:
            while len(received) < count:
                if not (more := await tunnel.read()):
                    raise ConnectionError("the VNC server hung up")
                received.extend(more)
            taken = bytes(received[:count])
            del received[:count]
            return taken

        greeting = await take(12)
        say(f"  its VNC server says {greeting.decode(errors='replace').strip()}")
        await tunnel.write(greeting)
        ways = await take((await take(1))[0])
        say(
            f"  it offers the security types {', '.join(map(str, ways))}; 1 is none: the token was the key"
        )
        await tunnel.write(b"\x01")
        if await take(4) != bytes(4):
            raise ConnectionError("the VNC server lets nobody in")
        # Shared: whoever else looks may stay.
        await tunnel.write(b"\x01")
        screen = await take(24)
        width, height = (int.from_bytes(screen[at : at + 2], "big") for at in (0, 2))
        say(f"  its screen has {width} x {height} pixels")


async def demonstrate(options: argparse.Namespace) -> None:
    """Be the control plane, the agent and a user at once."""
    async with (
        Emulator() as emulator,
        StreamSpace(emulator.endpoints()["streamspace"]) as client,
        DesktopAgent(options.command, options.sessions) as handler,
        worker_for(client, handler, options) as worker,
    ):
        say(f"Agent {worker.agent_id} is registered at the embedded emulator.")
        session = await client.sessions.create("john.doe", "firefox-browser", platform="docker")
        session = await session.wait_until("running", timeout=30, poll=0.02)
        say(f"Session {session.name} is {session.state} on {session.agent_id}:")
        await look(session)
        await session.hibernate()
        session = await session.wait_until("hibernated", timeout=30, poll=0.02)
        say(f"Session {session.name} is {session.state}, and its desktop is kept.")
        await session.terminate()
        session = await session.wait_until("terminated", timeout=30, poll=0.02)
        say(
            f"Session {session.name} is {session.state}; {len(handler.desktops)} desktops are left."
        )


async def main() -> None:
    """The main job: serve who is there to be served."""
    options = arguments()
    if needed := lacking(options.command[0]):
        say(
            "This agent gives each session a real desktop on this machine, and something for that is missing."
        )
        say("It needs:")
        for each in needed:
            say(f"  - {each}")
        say("On Debian or Ubuntu, as root:")
        say(
            "  apt-get install --no-install-recommends tigervnc-standalone-server xdotool scrot xterm"
        )
        say("Nothing was done.")
    elif where := installation():
        await serve(where, options)
    else:
        await demonstrate(options)


if __name__ == "__main__":
    asyncio.run(main())
