"""A StreamSpace agent: each session gets a real desktop on this machine, with a terminal.

By default it starts the embedded emulator as the control plane, serves it, creates a session as a
user would, connects to it through a VNC tunnel, and ends everything. Set VCLOUD_STREAMSPACE_URL to
serve that installation until it is interrupted, and VCLOUD_STREAMSPACE_TOKEN, or _USERNAME and
_PASSWORD; for a published server _BOOTSTRAP_KEY instead (the agent's own key will do). Then
everybody who may create sessions there can run programs on this machine, as this user.

It needs Linux and a few programs, and prints which of them are missing.

    python examples/streamspace_agent.py
    python examples/streamspace_agent.py --id workshop-1 --sessions 3 -- xterm -maximized
    python examples/streamspace_agent.py --id workshop-1 --remember workshop-1.db
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

from vcloud import VCloudError, printable
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

KEY = "VCLOUD_STREAMSPACE_BOOTSTRAP_KEY"


def say(line: str) -> None:
    """Print a line. Control characters from the service are escaped."""
    print(printable(line), flush=True)


class DesktopAgent:
    """Carries out the commands of the control plane. Each session is an X display of its own.

    Leaving the block ends all desktops. A hibernated session keeps its desktop, so that its data is
    not lost; the control plane refuses connections to it. An agent with containers would stop the
    container here, and start it again with the same volume. The worker does not count hibernated
    sessions, so their desktops are counted here too.

    Args:
        command: the program of each desktop, and its arguments.
        max_desktops: how many desktops there may be at once, including those of hibernated
            sessions.
    """

    def __init__(self, command: Sequence[str] = ("xterm",), max_desktops: int = 5) -> None:
        self.desktops: dict[str, X11Desktop] = {}
        self.worker: AgentWorker | None = None
        self._command = tuple(command)
        self._max_desktops = max_desktops
        # One start or stop at a time: a stop must not overtake the start of its session.
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
        """Start a desktop, and return its address."""
        async with self._changing:
            if command.session_id not in self.desktops:
                if len(self.desktops) >= self._max_desktops:
                    raise CommandFailed(
                        "AGENT_CAPACITY_EXCEEDED",
                        f"this agent has {self._max_desktops} desktops, "
                        "including those of hibernated sessions",
                    )
                try:
                    self.desktops[command.session_id] = await X11Desktop.start(self._command)
                except X11UnavailableError as error:
                    raise CommandFailed("SESSION_PROVISIONING_FAILED", str(error)) from error
        desktop = self._desktop(command.session_id)
        say(
            f"  [agent] {command.data.name} of {command.data.user} is on display {desktop.display}",
        )
        # No vnc_port: other users of this machine could connect to a port.
        return SessionResult(
            pod_ip="127.0.0.1",
            pod_name=f"display-{desktop.display[1:]}",
            started_at=datetime.now(UTC),
        )

    async def hibernate_session(self, command: HibernateSession) -> None:
        """Keep the desktop as it is."""
        self._desktop(command.session_id)

    async def wake_session(self, command: WakeSession) -> None:
        """Do nothing: the desktop was kept."""
        self._desktop(command.session_id)

    async def stop_session(self, command: StopSession) -> None:
        """End the desktop with everything in it."""
        async with self._changing:
            if desktop := self.desktops.pop(command.session_id, None):
                await desktop.aclose()
                say(f"  [agent] display {desktop.display} is gone")

    async def vnc_address(self, request: VNCProxyRequest) -> Path:
        """The Unix socket of the desktop's VNC server. No other user can connect to it."""
        return self._desktop(request.session_id).vnc_path

    async def reconcile(self, sessions: Sequence[AgentSession]) -> None:
        """Compare the desktops with the control plane's sessions, after a restart of either.

        A desktop without a session would run forever, so it is ended. A session without a desktop
        would seem to run forever, so it is reported as failed. Commands wait until this returns.
        """
        known = {session.id: session for session in sessions if session.id is not None}
        for session_id in self.desktops.keys() - known.keys():
            orphan = self.desktops.pop(session_id)
            say(f"  [agent] display {orphan.display} has no session any more: it is ended")
            await orphan.aclose()
        for session_id, session in known.items():
            desktop = self.desktops.get(session_id)
            ended = desktop is None or not desktop.alive
            if ended and session.state in (SessionState.RUNNING, SessionState.HIBERNATED):
                say(f"  [agent] {session.name} has no desktop here: it is reported as failed")
                assert self.worker is not None
                self.worker.report_failed(session_id, "its desktop has ended")

    def _desktop(self, session_id: str) -> X11Desktop:
        desktop = self.desktops.get(session_id)
        if desktop is None or not desktop.alive:
            raise CommandFailed(
                "SESSION_NOT_FOUND", "this agent has no desktop for the session, or it has ended"
            )
        return desktop


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--id",
        default=f"x11-{socket.gethostname()}",
        help="the name to register with (default: %(default)s)",
    )
    parser.add_argument("--region", help="the region to register with")
    parser.add_argument(
        "--platform",
        default="kubernetes",
        help="what to register as; a published server gives sessions to agents of its own platform "
        "only (default: %(default)s)",
    )
    parser.add_argument(
        "--remember", help="a file for what was carried out, for a restart on a published server"
    )
    parser.add_argument(
        "--sessions", type=int, default=5, help="how many sessions at once (default: %(default)s)"
    )
    parser.add_argument(
        "command", nargs="*", default=["xterm"], help="what runs on each desktop (default: xterm)"
    )
    return parser.parse_args()


def missing_programs(program: str) -> list[str]:
    """What must be installed first."""
    found = shutil.which(program)
    return missing() + (
        []
        if found
        else [f"the program {program}" + " (Debian: apt-get install xterm)" * (program == "xterm")]
    )


def installation() -> StreamSpace | None:
    """A client of the installation that the environment names; None if it names none."""
    if "VCLOUD_STREAMSPACE_URL" not in os.environ:
        return None
    if KEY in os.environ:
        return StreamSpace(os.environ["VCLOUD_STREAMSPACE_URL"])
    return StreamSpace.from_env()


def worker_for(
    client: StreamSpace, handler: DesktopAgent, options: argparse.Namespace
) -> AgentWorker:
    """The worker, which stays connected to the control plane."""
    worker = client.serve_agent(
        options.id,
        platform=options.platform,
        region=options.region,
        capacity=AgentCapacity(max_sessions=options.sessions),
        handler=handler,
        api_key=os.environ.get(KEY),
        remember=options.remember,
        on_registered=handler.reconcile,
        on_error=lambda error: say(f"  [agent] goes on after an error: {error}"),
        on_pending=lambda name: say(
            f"  [agent] waits until an administrator approves it: agents.ref({name!r}).approve()"
        ),
    )
    handler.worker = worker
    return worker


async def serve(client: StreamSpace, options: argparse.Namespace) -> None:
    """Run the agent until SIGINT or SIGTERM."""
    async with client, DesktopAgent(options.command, options.sessions) as handler:
        worker = worker_for(client, handler, options)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, worker.stop)
        say(
            f"Agent {worker.agent_id} serves {client!r} until it is interrupted. "
            "Then its sessions end too.",
        )
        try:
            await worker.run()
        except VCloudError as error:
            raise SystemExit(f"the control plane does not accept this agent: {error}") from error


async def look(session: Session) -> None:
    """Connect to the session's VNC server, and read the size of its screen."""
    async with session.open_vnc() as tunnel:
        received = bytearray()

        async def take(count: int) -> bytes:
            while len(received) < count:
                if not (more := await tunnel.read()):
                    raise ConnectionError("the VNC server closed the connection")
                received.extend(more)
            taken = bytes(received[:count])
            del received[:count]
            return taken

        greeting = await take(12)
        say(f"  its VNC server greets with {greeting.decode(errors='replace').strip()}")
        await tunnel.write(greeting)
        types = await take((await take(1))[0])
        say(
            f"  it offers the security types {', '.join(map(str, types))}; "
            "1 is none, because the token has already authorised the viewer"
        )
        await tunnel.write(b"\x01")
        if await take(4) != bytes(4):
            raise ConnectionError("the VNC server refused the connection")
        # Shared: other viewers may stay connected.
        await tunnel.write(b"\x01")
        screen = await take(24)
        width, height = (int.from_bytes(screen[at : at + 2], "big") for at in (0, 2))
        say(f"  its screen has {width} x {height} pixels")


async def demonstrate(options: argparse.Namespace) -> None:
    """Run a control plane, the agent and a user in one program."""
    async with (
        Emulator() as emulator,
        StreamSpace(emulator.endpoints()["streamspace"]) as client,
        DesktopAgent(options.command, options.sessions) as handler,
        worker_for(client, handler, options) as worker,
    ):
        say(f"Agent {worker.agent_id} is registered at the embedded emulator.")
        session = await client.sessions.create("admin", "firefox-browser")
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
    """Serve the configured control plane, or else the emulator."""
    options = arguments()
    if needed := missing_programs(options.command[0]):
        say(
            "This agent gives each session a real desktop on this machine, and some programs for "
            "that are missing."
        )
        say("It needs:")
        for each in needed:
            say(f"  - {each}")
        say("On Debian or Ubuntu, as root:")
        say(
            "  apt-get install --no-install-recommends "
            "tigervnc-standalone-server xdotool scrot xterm"
        )
        say("Nothing was done.")
    elif client := installation():
        await serve(client, options)
    else:
        await demonstrate(options)


if __name__ == "__main__":
    asyncio.run(main())
