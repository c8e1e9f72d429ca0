"""A server that answers with canned machines, as cheaply as asyncio allows.

It runs in a process of its own, so that the measured CPU time is the client's alone. The path
before ``/machines`` does not matter, except for a prefix: ``/30ms/...`` is answered after 30 ms,
``/hold/...`` only after a request of ``/release``. ``/held`` returns how many requests wait.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from functools import cache
from typing import ClassVar

from tests.benchmarks.canned_sessions import answered

PAGES = 50
PER_PAGE = 20
PERMISSIONS = {
    "public_internet_access": True,
    "can_download_from_vagon_workstation": True,
    "can_upload_to_workstation": True,
    "analytics_collection_enabled": True,
    "clipboard_enabled": True,
    "screen_recording_enabled": True,
    "input_recording_enabled": True,
}


def machine(number: int) -> dict[str, object]:
    """A machine as in the list example of the document."""
    return {
        "id": str(number),
        "type": "machine",
        "attributes": {
            "name": f"Computer #{number}",
            "last_session_start_at": "2026-01-23T11:02:41.902Z",
            "auto_stop_threshold": 900,
            "file_storage_size": 25,
            "disk_size": 75,
            "network_credit": 10233505675,
            "assigned_image_id": 990,
            "assigned_image_name": "Template #990",
            "region": "dublin",
            "machine_type": "Planet",
            "remaining_usage": number,
            "deposited_usage": 0,
            "friendly_status": "off",
            "user": {
                "id": "f1592625-edd0-48df-9bc0-de14910ec936",
                "type": "user",
                "attributes": {"email": "user@vagon.io", "name": "Computer User"},
            },
            "permissions": PERMISSIONS,
            "usage_source": "machine",
            "task": {"id": 42, "uid": "Project-Alpha", "created_at": "2026-04-20T09:15:00Z"},
            "latest_image_status": "ready",
        },
    }


ENVELOPE = {"client_code": 200, "message": "OK", "timestamp": "2026-02-05T10:08:09Z"}
SINGLE = machine(100) | ENVELOPE


def page(number: int) -> dict[str, object]:
    """One page of a list of 1 000."""
    first = 100 + (number - 1) * PER_PAGE
    return {
        "machines": [machine(first + index) for index in range(PER_PAGE)],
        "count": PAGES * PER_PAGE,
        "page": number,
        "next_page": number + 1 if number < PAGES else None,
    } | ENVELOPE


PAGE = page(1)


def packed(value: object) -> bytes:
    body = json.dumps(value, separators=(",", ":")).encode()
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % len(body)
        + body
    )


class Canned(asyncio.Protocol):
    """One connection of a client."""

    single: ClassVar = packed(SINGLE)
    pages: ClassVar = [packed(page(number)) for number in range(1, PAGES + 1)]
    held: ClassVar[list[tuple[asyncio.Transport, bytes]]] = []

    @staticmethod
    @cache
    def sessions(target: bytes) -> bytes | None:
        """The answer to a request for StreamSpace's sessions; None: it is for something else."""
        found = answered(target)
        return None if found is None else packed(found)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        # No client here uses pipelining, and a request fits into one segment.
        target = data.split(b" ", 2)[1]
        if target == b"/held":
            self._transport.write(packed(len(self.held)))
            return
        if target == b"/release":
            self._transport.write(packed(len(self.held)))
            for transport, answer in self.held:
                transport.write(answer)
            self.held.clear()
            return
        answer = self.single
        if target.partition(b"?")[0].endswith(b"/machines"):
            found = re.search(rb"[?&]page=(\d+)", target)
            answer = self.pages[int(found[1]) - 1 if found else 0]
        if (sessions := self.sessions(target)) is not None:
            answer = sessions
        if target.startswith(b"/hold/"):
            self.held.append((self._transport, answer))
        elif later := re.match(rb"/(\d+)ms/", target):
            asyncio.get_running_loop().call_later(
                int(later[1]) / 1000, self._transport.write, answer
            )
        else:
            self._transport.write(answer)


def allow_files() -> int:
    """Raise this process's limit of open files and sockets to the maximum, and return it."""
    import resource  # POSIX only, and other tests use the machines above everywhere

    _, maximum = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (maximum, maximum))
    return maximum


async def main() -> None:
    """Serve until the parent closes the standard input."""
    allow_files()
    server = await asyncio.get_running_loop().create_server(Canned, "127.0.0.1", 0, backlog=8192)
    print(server.sockets[0].getsockname()[1], flush=True)
    parent = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    # Never sleep: waking a sleeping process costs the sender more than sending, and a slow client
    # would find this process asleep more often.
    while not parent.done():  # noqa: ASYNC110 - it must not wait for an event
        await asyncio.sleep(0)


if __name__ == "__main__":
    asyncio.run(main())
