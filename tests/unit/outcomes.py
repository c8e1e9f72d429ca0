"""What the tests of outcomes have in common: a scripted session, and answers in each form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.scripted import Script, Time
from vcloud import (
    Auth,
    Endpoint,
    HMACAuth,
    Request,
    Response,
    VCloudError,
)
from vcloud._core.call.sources import Sources
from vcloud._core.service import Service
from vcloud._core.session import Session
from vcloud.errors.wording import UNKNOWN
from vcloud.providers.vagon import VagonService

VAGON = VagonService("computers")


POST, PUT, DELETE = (Request(method, "/machines") for method in ("POST", "PUT", "DELETE"))


PAGE = b"<html><body>502 Bad Gateway</body></html>"


def session(
    script: Script,
    time: Time,
    service: Service = VAGON,
    auth: Auth | None = None,
    boottime: Time | None = None,
    **options: Any,
) -> Session:
    endpoint = Endpoint("https://host.test/v1", auth=auth or HMACAuth("ak", "sk"), **options)
    return Session(
        service,
        endpoint,
        "https://host.test/v1",
        script,
        sources=Sources(clock=time, wall=time, boottime=boottime, entropy=lambda: 0.5),
    )


async def ended(
    script: Script, time: Time, request: Request, service: Service = VAGON, **options: Any
) -> VCloudError:
    with pytest.raises(VCloudError) as caught:
        await session(script, time, service, **options).send(request)
    error = caught.value
    assert (UNKNOWN in str(error)) is error.outcome_unknown, "the text says what the attribute says"
    return error


def says(status: int, body: object, **headers: str) -> Response:
    return Response(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


def code(client_code: int, status: int = 400) -> Response:
    return says(status, {"client_code": client_code, "message": "no"})


def streamspace(http_status: int, **more: object) -> Response:
    return says(http_status, {"error": "no", **more})


def desktops(status: int, error: object = "no", **more: object) -> Response:
    return says(status, {"status": "error", "error": error, **more})


REPLAYED = says(401, {"client_code": 401, "message": "nonce 'x' already used"})


#: Two hours from the clock of the tests, which a strategy could learn from.
OTHER_TIME = "Thu, 01 Jan 1970 02:00:00 GMT"
