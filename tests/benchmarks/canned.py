"""A server that answers every request with one of two canned bodies, as cheaply as asyncio allows.

It runs in a process of its own, so that the client's CPU time is the client's alone.
"""

from __future__ import annotations

import asyncio
import json
import sys

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
    """A machine as the document's list example has it."""
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
PAGE = {"machines": [machine(100 + i) for i in range(20)], "count": 20, "page": 1, "next_page": None} | ENVELOPE


def _packed(value: object) -> bytes:
    body = json.dumps(value, separators=(",", ":")).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


class Canned(asyncio.Protocol):
    """One connection."""

    single = _packed(SINGLE)
    page = _packed(PAGE)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        listing = data.startswith((b"GET /organization-management/v1/machines?", b"GET /organization-management/v1/machines "))
        assert isinstance(self._transport, asyncio.Transport)
        self._transport.write(self.page if listing else self.single)


async def main() -> None:
    """Serve until the parent goes away."""
    server = await asyncio.get_running_loop().create_server(Canned, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
