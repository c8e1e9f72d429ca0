"""Counts of what a client is doing at one moment: for health checks, and for tests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs

from vcloud._core.model import Model
from vcloud._core.observe import WaitReason


@attrs.frozen
class Stats(Model):
    """How busy a client is at one moment.

    Clients that share credentials and connections (``with_options``) share these numbers.

    Attributes:
        in_flight: requests that were sent, or are being sent, and have no complete answer yet. An
            open WebSocket's upgrade is over once it is open.
        waiting: requests in the queue, which are sent as soon as a slot is free and the rate limits
            allow it.
        waiting_for: the same requests, counted by what they wait for; reasons for which none waits
            are left out.
        free: slots, of ``Endpoint(concurrency=...)``, that no request uses.
        paused_until: until when the service has asked for a pause (429, or 503 with
            ``Retry-After``), by this machine's clock. While the first request after a pause has no
            answer: when the next one is sent without it. The latest such time if the provider has
            several limits. None: nothing is paused.
    """

    in_flight: int
    waiting: int
    waiting_for: Mapping[WaitReason, int]
    free: int
    paused_until: datetime | None
