"""Clients behind a gateway, and the calls that the emulator has recorded."""

from __future__ import annotations

import ssl
from functools import cache
from typing import Any, Final

from tests.secrets.tls import client_context
from tests.seeded import KEY, SECRET
from vcloud import Endpoint, HMACAuth, RetryPolicy, VCloud
from vcloud.emulator import Emulator
from vcloud.emulator.calls import Call

QUICK: Final = RetryPolicy(base=0.02, cap=0.2)
#: The paths of requests that create something that costs money.
CREATES: Final = ("/machines", "/sessions", "/desktop")


@cache
def _trusting() -> ssl.SSLContext:
    """One context for all clients, because making one reads all authorities of the machine."""
    return client_context()


def behind(emulator: Emulator, url: str, *, only: tuple[str, ...] = (), **options: Any) -> VCloud:
    """A client of all providers, or of some, that reaches the emulator through this address.

    The gateway strips the path of the address.
    """
    endpoints: dict[str, Any] = {}
    for name, plain in emulator.endpoints().items():
        assert isinstance(plain, Endpoint)
        path = (plain.base_url or "").removeprefix(emulator.url)
        auth = plain.auth
        if isinstance(auth, HMACAuth):
            auth = HMACAuth(KEY, SECRET, signed_path=path)
        if not only or name in only:
            endpoints[name] = Endpoint(
                url + path,
                auth=auth,
                ssl=_trusting() if url.startswith("https:") else None,
                **{"retry": QUICK, **options},
            )
    return VCloud(**endpoints)


def creates(emulator: Emulator) -> list[Call]:
    """The creates that reached the service; each retry of a gateway is one."""
    return [
        call for call in emulator.calls if call.method == "POST" and call.path.endswith(CREATES)
    ]


def reads(emulator: Emulator) -> list[Call]:
    """The reads that reached the service."""
    return [call for call in emulator.calls if call.method == "GET"]


def done(calls: list[Call]) -> int:
    """How many calls the service carried out: the answer was lost, or is no refusal."""
    return sum(
        call.processed and call.status != 401 and (call.status is None or call.status < 400)
        for call in calls
    )
