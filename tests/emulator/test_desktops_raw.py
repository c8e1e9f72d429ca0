"""The emulated desktop-action API over its socket: its answers and its refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.emulator.desktops_raw import (
    JSON,
    KEY,
    NOBODY,
    START,
    Answer,
    Raw,
)
from tests.seeded import API_KEY, SEED
from vcloud import (
    APIKeyAuth,
    Endpoint,
    RetryPolicy,
)
from vcloud.emulator import Clock, Emulator
from vcloud.emulator.desktops import Desktop
from vcloud.providers.desktops import (
    DesktopRef,
    Desktops,
)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(clock=Clock.stopped(START), seed=SEED) as emulator:
        yield emulator


@pytest.fixture
async def desktops(emulator: Emulator) -> AsyncIterator[Desktops]:
    endpoint = Endpoint(
        f"{emulator.url}/v1", auth=APIKeyAuth(API_KEY), retry=RetryPolicy(base=0.001)
    )
    async with Desktops(endpoint) as desktops:
        yield desktops


@pytest.fixture
def seeded(emulator: Emulator) -> Desktop:
    return emulator.desktops.add_desktop()


@pytest.fixture
def desktop(desktops: Desktops, seeded: Desktop) -> DesktopRef:
    return desktops.ref(seeded.id)


@pytest.fixture
async def api(emulator: Emulator) -> AsyncIterator[Raw]:
    async with aiohttp.ClientSession() as http:
        yield Raw(emulator.url, http)


async def test_a_request_without_a_key_is_answered_in_plain_text(api: Raw) -> None:
    for headers in ({}, {"x-api-key": ""}):
        answer = await api("POST", "/v1/desktop", headers=headers)
        assert (answer.status, answer.content_type) == (404, "text/plain")
    assert (await api("GET", "/v1/nowhere")).content_type == "text/plain"
    assert (await api("DELETE", "/v1/desktop")).status == 404
    wrong = await api("GET", f"/v1/desktop/{NOBODY}", headers={"x-api-key": "ck_wrong"})
    assert (wrong.status, set(wrong.body)) == (401, {"status", "error", "docs"})


#: Whether the service reads this content type as JSON. Seen with hono 4, zod-openapi 0.14.
TYPES = {
    "application/json": True,
    "application/json; charset=utf-8": True,
    "application/problem+json": True,
    "text/plain": False,
    "": False,
}


def typed(content_type: str) -> dict[str, str]:
    return {**KEY, "Content-Type": content_type} if content_type else KEY


@pytest.mark.parametrize(("content_type", "is_json"), TYPES.items())
async def test_actions_and_commands_of_another_type_are_read_as_empty(
    api: Raw, seeded: Desktop, content_type: str, is_json: bool
) -> None:
    for path, body in (
        ("bash-action", {"command": "pwd"}),
        ("computer-action", {"type": "move_mouse", "x": 1, "y": 2}),
    ):
        answer = await api(
            "POST", f"/v1/desktop/{seeded.id}/{path}", body, headers=typed(content_type)
        )
        assert answer.status == (200 if is_json else 400)
        if not is_json:
            assert answer.body["error"]["name"] == "ZodError"
    empty = await api(
        "POST", f"/v1/desktop/{seeded.id}/bash-action", headers=typed(content_type), raw=b""
    )
    assert empty.status == 400
    assert isinstance(empty.body["error"], str) is is_json, "malformed JSON, or no command"
    assert bool(seeded.events) is is_json


@pytest.mark.parametrize(("content_type", "is_json"), TYPES.items())
async def test_a_launch_reads_its_body_whatever_the_type_says(
    api: Raw, emulator: Emulator, content_type: str, is_json: bool
) -> None:
    async def launch(raw: bytes) -> Answer:
        return await api("POST", "/v1/desktop", headers=typed(content_type), raw=raw)

    launched = await launch(b'{"timeout_ms": 70000}')
    made = emulator.desktops.desktops[launched.body["id"]]
    assert made.timeout_at - made.created_at == 70
    # The document calls the body optional.
    launched = await launch(b"")
    made = emulator.desktops.desktops[launched.body["id"]]
    assert made.timeout_at - made.created_at == 24 * 3600
    assert (await launch(b"{bad")).status == (400 if is_json else 200)
    wrong = await launch(b'{"timeout_ms": "x"}')
    assert wrong.status == 400
    if is_json:
        assert wrong.body["error"]["issues"][0]["path"] == ["timeout_ms"]
    else:
        message = "Validation failed: timeout_ms: Expected number, received string"
        assert wrong.body["error"] == message


@pytest.mark.parametrize("timeout_ms", [59_999, 0, -5])
async def test_a_timeout_below_a_minute_is_answered_with_502(api: Raw, timeout_ms: int) -> None:
    answer = await api("POST", "/v1/desktop", {"timeout_ms": timeout_ms})
    assert answer.status == 502
    assert answer.body["error"] == "Failed to provision via Gateway: Unprocessable Entity"


async def test_refusals_have_the_messages_of_the_service(
    api: Raw, emulator: Emulator, seeded: Desktop
) -> None:
    """Wire-facts, section 4."""

    async def refused(
        method: str, path: str, body: object = None, **options: Any
    ) -> tuple[int, str]:
        answer = await api(method, f"/v1/desktop/{path}", body, **options)
        assert answer.body["docs"] == "https://docs.cyberdesk.io/docs/api-reference/"
        assert answer.body["status"] == "error"
        return answer.status, answer.body["error"]

    wrong = {**JSON, "x-api-key": "ck_wrong"}
    assert await refused("GET", NOBODY, headers=wrong) == (401, "Invalid API key")
    nobody = (404, "Desktop instance not found or user not authorized.")
    unexpected = (500, "An unexpected internal server error occurred.")
    calls: tuple[tuple[str, object, str], ...] = (
        ("/computer-action", {"type": "screenshot"}, "perform action"),
        ("/bash-action", {"command": "pwd"}, "execute command"),
    )
    other = emulator.desktops.add_desktop(owner="somebody else")
    assert await refused("GET", NOBODY) == nobody
    assert await refused("POST", f"{other.id}/stop") == nobody
    assert await refused("POST", "desktop_12345/stop") == unexpected
    for path, body, purpose in calls:
        assert await refused("POST", f"{other.id}{path}", body) == nobody
        assert await refused("POST", f"desktop_12345{path}", body) == unexpected
        for status in ("pending", "terminated", "error", "completed"):
            emulator.desktops.set_status(seeded.id, status)
            message = f"Instance is not running (status: {status}). Cannot {purpose}."
            assert await refused("POST", f"{seeded.id}{path}", body) == (409, message)


async def test_other_forms_of_an_id_are_refused_by_get_only(api: Raw, seeded: Desktop) -> None:
    plain = seeded.id.replace("-", "")
    for spelling, of_database in (
        (seeded.id.upper(), True),
        (plain, True),
        (f"%7B{seeded.id}%7D", True),
        (f"urn:uuid:{seeded.id}", False),
        (f"%7B{seeded.id}", False),
    ):
        got = await api("GET", f"/v1/desktop/{spelling}")
        assert got.status == (200 if "-" in spelling and len(spelling) == 36 else 400)
        if got.status == 400:
            assert got.body["error"]["issues"][0]["message"] == "Invalid uuid"
        action = {"type": "get_cursor_position"}
        moved = await api("POST", f"/v1/desktop/{spelling}/computer-action", action)
        assert moved.status == (200 if of_database else 500)


async def test_a_desktop_that_was_stopped_while_pending_has_no_stream(
    api: Raw, emulator: Emulator
) -> None:
    for boots, has_one in ((0, False), (6, True)):
        launched = (await api("POST", "/v1/desktop")).body["id"]
        emulator.clock.advance(boots)
        for _ in range(2):
            assert (await api("POST", f"/v1/desktop/{launched}/stop")).body == {
                "status": "terminated"
            }
        emulator.clock.advance(100)
        stopped = (await api("GET", f"/v1/desktop/{launched}")).body
        assert (stopped["status"], bool(stopped["stream_url"])) == ("terminated", has_one)


@pytest.mark.parametrize(
    ("body", "issue"),
    [
        ({}, (["type"], "Invalid discriminator value. Expected 'click_mouse' |")),
        ([], ([], "Expected object, received array")),
        (5, ([], "Expected object, received number")),
        ({"type": "dance"}, (["type"], "Invalid discriminator value")),
        ({"type": "move_mouse", "x": 1}, (["y"], "Required")),
        ({"type": "move_mouse", "x": 1, "y": None}, (["y"], "Expected number, received null")),
        ({"type": "move_mouse", "x": 1, "y": 1.5}, (["y"], "Expected integer, received float")),
        ({"type": "move_mouse", "x": True, "y": 1}, (["x"], "Expected number, received boolean")),
        (
            {"type": "click_mouse", "num_of_clicks": -1},
            (["num_of_clicks"], "Number must be greater than or equal to 0"),
        ),
        (
            {"type": "click_mouse", "button": "thumb"},
            (["button"], "Invalid enum value. Expected 'left' |"),
        ),
        (
            {"type": "click_mouse", "button": 5},
            (["button"], "Expected 'left' | 'right' | 'middle', received number"),
        ),
        (
            {"type": "drag_mouse", "start": {"x": 1}, "end": {"x": 1, "y": 1}},
            (["start", "y"], "Required"),
        ),
        (
            {"type": "drag_mouse", "start": 1, "end": {"x": 1, "y": 1}},
            (["start"], "Expected object, received number"),
        ),
        ({"type": "scroll", "direction": "up"}, (["amount"], "Required")),
        ({"type": "type", "text": ["a"]}, (["text"], "Expected string, received array")),
        ({"type": "press_keys"}, (["keys"], "Required")),
        ({"type": "press_keys", "keys": [1]}, (["keys"], "Invalid input")),
        ({"type": "wait", "ms": {}}, (["ms"], "Expected number, received object")),
    ],
)
async def test_a_body_that_breaks_the_schema_is_refused_by_field(
    api: Raw, seeded: Desktop, body: object, issue: tuple[list[str], str]
) -> None:
    answer = await api("POST", f"/v1/desktop/{seeded.id}/computer-action", body)
    assert answer.status == 400
    assert (answer.body["success"], answer.body["error"]["name"]) == (False, "ZodError")
    path, message = issue
    (first,) = answer.body["error"]["issues"]
    assert first["path"] == path
    assert first["message"].startswith(message)
    assert seeded.events == []


async def test_invalid_json_is_refused(api: Raw, seeded: Desktop) -> None:
    for raw in (b"{", b"\xff", b'{"command": "\\ud800"}', b"[" * 100_000):
        answer = await api("POST", f"/v1/desktop/{seeded.id}/bash-action", raw=raw)
        assert (answer.status, answer.body["status"]) == (400, "error")


async def test_huge_numbers_are_answered(api: Raw, seeded: Desktop) -> None:
    huge = "1" + "0" * 400
    path = f"/v1/desktop/{seeded.id}/computer-action"
    for body in (
        f'{{"type":"move_mouse","x":{huge},"y":-{huge}}}',
        f'{{"type":"wait","ms":{huge}}}',
        '{"type":"wait","ms":1e300}',
    ):
        assert (await api("POST", path, raw=body.encode())).status in (200, 400, 502)
    assert (await api("POST", "/v1/desktop", raw=f'{{"timeout_ms":{huge}}}'.encode())).status in (
        200,
        400,
    )
    assert (await api("POST", "/v1/desktop", raw=b'{"timeout_ms":1e18}')).status == 200
