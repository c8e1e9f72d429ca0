"""The emulated StreamSpace API over its socket, without the client."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
from attrs import define
from yarl import URL

from tests.seeded import ADMIN_PASSWORD, SEED
from vcloud.emulator import Clock, Emulator
from vcloud.emulator.credentials import ADMIN

pytestmark = pytest.mark.asyncio

PREFIX = "/api/v1"
JSON = {"Content-Type": "application/json"}


@define
class Api:
    emu: Emulator
    http: aiohttp.ClientSession
    token: str = ""

    async def send(
        self,
        method: str,
        route: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any, Any]:
        url = URL(self.emu.url + PREFIX + route, encoded=True)
        async with self.http.request(method, url, data=body, headers=headers) as response:
            raw = await response.read()
            return response.status, json.loads(raw) if raw else None, response.headers.copy()

    async def __call__(self, method: str, route: str, body: object = None) -> tuple[int, Any, Any]:
        raw = None if body is None else json.dumps(body).encode()
        return await self.send(
            method, route, raw, {**JSON, "Authorization": f"Bearer {self.token}"}
        )


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with Emulator(clock=Clock.stopped(), seed=SEED) as emu, aiohttp.ClientSession() as http:
        api = Api(emu, http)
        body = json.dumps({"username": ADMIN, "password": ADMIN_PASSWORD}).encode()
        _, answer, _ = await api.send("POST", "/auth/login", body, JSON)
        api.token = answer["token"]
        yield api


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_token_is_a_jwt_with_owner_and_expiry(api: Api) -> None:
    header, claims, _ = api.token.split(".")
    decoded = [
        json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        for text in (header, claims)
    ]
    assert decoded[0] == {"alg": "HS256", "typ": "JWT"}
    assert decoded[1]["username"] == ADMIN
    assert decoded[1]["exp"] == pytest.approx(api.emu.clock.wall() + 86400, abs=1)


@pytest.mark.parametrize(
    ("forge", "code"),
    [
        (lambda token: None, "AUTH_TOKEN_MISSING"),
        (lambda token: token, "AUTH_TOKEN_INVALID"),
        (lambda token: f"Basic {token}", "AUTH_TOKEN_INVALID"),
        (lambda token: "Bearer ", "AUTH_TOKEN_INVALID"),
        (lambda token: "Bearer a.b.c", "AUTH_TOKEN_INVALID"),
        (lambda token: f"Bearer {token[:-2]}xx", "AUTH_TOKEN_INVALID"),
        (
            lambda token: f"Bearer {part({'alg': 'none'})}.{token.split('.')[1]}.",
            "AUTH_TOKEN_INVALID",
        ),
        (
            lambda token: f"Bearer {part({'alg': 'none'})}.{token.split('.', 1)[1]}",
            "AUTH_TOKEN_INVALID",
        ),
    ],
)
async def test_forged_token_is_refused_before_unknown_paths(
    api: Api, forge: Any, code: str
) -> None:
    header = forge(api.token)
    for route in ("/agents/stats", "/nowhere"):
        status, body, _ = await api.send(
            "GET", route, headers={} if header is None else {"Authorization": header}
        )
        assert (status, body["code"]) == (401, code)


async def test_token_expires_and_ends_with_its_user(api: Api) -> None:
    api.emu.streamspace.users[ADMIN].active = False
    assert (await api("GET", "/agents"))[1]["code"] == "AUTH_TOKEN_INVALID"
    api.emu.streamspace.users[ADMIN].active = True
    api.emu.clock.advance(86399)
    assert (await api("GET", "/agents"))[0] == 200
    api.emu.clock.advance(1)
    assert (await api("GET", "/agents"))[1]["code"] == "AUTH_TOKEN_EXPIRED"


async def test_refusal_has_the_documented_form(api: Api) -> None:
    status, body, headers = await api("GET", "/agents/x%2Fy")
    assert status == 404
    assert list(body) == ["error", "message", "code", "details", "timestamp", "request_id"]
    assert body["message"] == "No agent with ID 'x/y' exists"
    assert headers["X-Request-ID"] == body["request_id"]


GOOD = {"user": "john.doe", "template": "firefox-browser"}


@pytest.mark.parametrize(
    ("body", "code", "details"),
    [
        ({"template": "x"}, "MISSING_REQUIRED_FIELD", {"user": "is required"}),
        ({"user": "john.doe"}, "MISSING_REQUIRED_FIELD", {"template": "is required"}),
        ({**GOOD, "user": 7}, "VALIDATION_FAILED", {"user": "must be a non-empty string"}),
        (
            {**GOOD, "user": "nobody"},
            "VALIDATION_FAILED",
            {"user": "is not the name of a user: 'nobody'"},
        ),
        (
            {**GOOD, "platform": "vmware"},
            "VALIDATION_FAILED",
            {"platform": "must be one of kubernetes, docker"},
        ),
        (
            {**GOOD, "state": "terminated"},
            "VALIDATION_FAILED",
            {"state": "must be one of running, hibernated"},
        ),
        ({**GOOD, "state": ["running"]}, "VALIDATION_FAILED", None),
        ({**GOOD, "resources": "2Gi"}, "VALIDATION_FAILED", {"resources": "must be an object"}),
        ({**GOOD, "resources": {"memory": "2 gigs"}}, "VALIDATION_FAILED", None),
        (
            {**GOOD, "resources": {"gpu": "1"}},
            "VALIDATION_FAILED",
            {"resources.gpu": "is not known"},
        ),
        (
            {**GOOD, "persistent_home": "yes"},
            "VALIDATION_FAILED",
            {"persistent_home": "must be true or false"},
        ),
        (
            {**GOOD, "idle_timeout": 30},
            "VALIDATION_FAILED",
            {"idle_timeout": "must be a duration such as 30m"},
        ),
        ({**GOOD, "idle_timeout": "soon"}, "VALIDATION_FAILED", None),
        (
            {**GOOD, "tags": "a,b"},
            "VALIDATION_FAILED",
            {"tags": "must be a list of non-empty strings"},
        ),
        ({**GOOD, "template": "half a \ud800"}, "VALIDATION_FAILED", None),
        ({**GOOD, "template": "invalid"}, "TEMPLATE_NOT_FOUND", {}),
        ([GOOD], "VALIDATION_FAILED", None),
    ],
)
async def test_invalid_create_is_refused_with_its_fields(
    api: Api, body: Any, code: str, details: Any
) -> None:
    status, answer, _ = await api("POST", "/sessions", body)
    assert (status, answer["code"]) == (404 if code == "TEMPLATE_NOT_FOUND" else 400, code)
    assert details is None or answer["details"] == details
    assert not api.emu.streamspace.sessions


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 100_000])
async def test_invalid_json_is_refused(api: Api, raw: bytes) -> None:
    authorization = {"Authorization": f"Bearer {api.token}"}
    assert (await api.send("POST", "/sessions", raw, {**JSON, **authorization}))[1][
        "code"
    ] == "VALIDATION_FAILED"
    assert (await api.send("POST", "/users", b"{}", authorization))[1][
        "code"
    ] == "VALIDATION_FAILED"
    assert (await api.send("POST", "/auth/login", raw, JSON))[0] == 400


@pytest.mark.parametrize(
    "route",
    [
        "/sessions?page=0",
        "/sessions?limit=101",
        "/sessions?limit=1e3",
        "/sessions?state=melting",
        "/sessions?sort=name",
        "/sessions?order=up",
        "/sessions?platform=vmware",
        "/agents?status=asleep",
        "/templates?limit=-1",
        "/users?role=root",
        "/sessions/{id}/logs?tail=0",
        "/sessions/{id}/logs?timestamps=maybe",
        "/sessions/{id}/logs?follow=true",
    ],
)
async def test_bad_parameter_is_refused(api: Api, route: str) -> None:
    status, body, _ = await api("GET", route.replace("{id}", api.emu.streamspace.add_session().id))
    assert (status, body["code"]) == (400, "INVALID_PARAMETER")


async def test_unknown_paths_and_methods_are_refused(api: Api) -> None:
    assert (await api("GET", "/nowhere"))[0] == 404
    status, body, headers = await api("PUT", "/sessions", {})
    assert (status, body["code"], headers["Allow"]) == (405, "METHOD_NOT_ALLOWED", "GET, POST")
    id_ = api.emu.streamspace.add_session().id
    assert (await api("PATCH", f"/sessions/{id_}", {"state": "melting"}))[1][
        "code"
    ] == "VALIDATION_FAILED"
    assert (await api("DELETE", f"/sessions/{id_}?force=maybe"))[1]["code"] == "INVALID_PARAMETER"


async def test_answers_have_the_remaining_requests_and_the_next_is_refused_for_a_minute(
    api: Api,
) -> None:
    for left in range(99, -1, -1):
        status, _, headers = await api("GET", "/nowhere" if left % 2 else "/agents/stats")
        assert status == (404 if left % 2 else 200)
        assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == (
            "100",
            str(left),
        )
        assert 58 <= int(headers["X-RateLimit-Reset"]) - time.time() <= 62
    api.emu.clock.advance(15)
    status, body, headers = await api("GET", "/agents/stats")
    assert (status, body["code"], body["retry_after"]) == (429, "RATE_LIMIT_EXCEEDED", 45)
    assert body["message"] == "Too many requests. Please try again in 45 seconds."
    assert headers["X-RateLimit-Remaining"] == "0"
    assert (await api("POST", "/sessions", GOOD))[0] == 202
    api.emu.clock.advance(45)
    assert (await api("GET", "/agents/stats"))[0] == 200


async def test_requests_without_a_token_are_counted_by_address(api: Api) -> None:
    _, _, stranger = await api.send("GET", "/agents")
    _, _, admin = await api("GET", "/agents")
    assert stranger["X-RateLimit-Remaining"] == admin["X-RateLimit-Remaining"] == "99"


async def test_resets_are_in_the_clients_time_at_any_speed() -> None:
    async with Emulator(speed=30, seed=SEED) as emu, aiohttp.ClientSession() as http:
        _, _, headers = await Api(emu, http).send("GET", "/agents")
        # Finer than the document's whole seconds, because a minute passes in two of them.
        assert 0 <= float(headers["X-RateLimit-Reset"]) - time.time() <= 2


async def test_equal_emulators_give_equal_ids() -> None:
    async def ids() -> list[str]:
        async with Emulator(clock=Clock.stopped(1.8e9), seed=SEED) as emu:
            return [emu.streamspace.add_session().id for _ in range(3)]

    assert await ids() == await ids()
