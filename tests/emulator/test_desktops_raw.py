"""The emulated desktop-action API over its socket: its answers, its refusals, its shell."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
from attrs import frozen
from yarl import URL

from tests.seeded import API_KEY, SEED
from vcloud import (
    APIKeyAuth,
    Endpoint,
    RetryPolicy,
)
from vcloud.emulator import Clock, Emulator
from vcloud.emulator.desktops import Desktop
from vcloud.emulator.desktops import Desktops as Service
from vcloud.emulator.desktops.backend import SimulatedBackend
from vcloud.emulator.desktops.bash import Ran
from vcloud.providers.desktops import (
    DesktopRef,
    Desktops,
)

START = 1_770_000_000.0
NOBODY = "00000000-0000-4000-8000-000000000000"
KEY = {"x-api-key": API_KEY}
JSON = {**KEY, "Content-Type": "application/json"}


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


def seen(seeded: Desktop) -> list[tuple[str, dict[str, Any]]]:
    return [(event.name, dict(event.data)) for event in seeded.events]


@frozen
class Answer:
    status: int
    content_type: str
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


@frozen
class Raw:
    url: str
    http: aiohttp.ClientSession

    async def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] = JSON,
        raw: bytes | None = None,
    ) -> Answer:
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        skip = [] if "Content-Type" in headers else ["Content-Type"]
        url = URL(self.url + path, encoded=True)
        async with self.http.request(
            method, url, data=data, headers=headers, skip_auto_headers=skip
        ) as response:
            return Answer(response.status, response.content_type, await response.text())


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


async def test_wheel_clicks_are_clamped_and_a_single_coordinate_is_ignored(
    api: Raw, seeded: Desktop
) -> None:
    path = f"/v1/desktop/{seeded.id}/computer-action"
    for body in (
        {"type": "scroll", "direction": "up", "amount": 501},
        {"type": "scroll", "direction": "up", "amount": -3},
        {"type": "click_mouse", "x": 5},
    ):
        assert (await api("POST", path, body)).body == {"output": ""}
    assert seen(seeded) == [
        ("scroll", {"direction": "up", "clicks": 500}),
        ("scroll", {"direction": "up", "clicks": 1}),
        ("click", {"button": "left", "count": 1, "x": 512, "y": 384}),
    ]


async def test_an_action_over_30_seconds_times_out_at_the_gateway(
    api: Raw, emulator: Emulator, seeded: Desktop
) -> None:
    before = emulator.clock.now()
    answer = await api(
        "POST", f"/v1/desktop/{seeded.id}/computer-action", {"type": "wait", "ms": 31_000}
    )
    gateway = "via gateway: Request failed with status code 504"
    assert (answer.status, answer.body["error"]) == (502, f"Action execution failed {gateway}")
    assert emulator.clock.now() - before == pytest.approx(30)
    answer = await api("POST", f"/v1/desktop/{seeded.id}/bash-action", {"command": "sleep 31"})
    message = f"Bash command execution failed {gateway}"
    assert (answer.status, answer.body["error"]) == (502, message)


async def test_typing_takes_time_and_continues_after_the_gateways_answer(
    api: Raw, emulator: Emulator, seeded: Desktop
) -> None:
    async def type_text(text: str) -> Answer:
        path = f"/v1/desktop/{seeded.id}/computer-action"
        return await api("POST", path, {"type": "type", "text": text})

    before = emulator.clock.now()
    assert (await type_text("a" * 250)).status == 200
    assert 250 * 0.026 <= emulator.clock.now() - before <= 250 * 0.032
    assert seeded.simulated.typed == "a" * 250
    assert (await type_text("b" * 2000)).status == 502
    so_far = seeded.simulated.typed.count("b")
    # The first is there at once.
    assert 30 / 0.032 <= so_far - 1 <= 30 / 0.026
    # What is typed now falls between what is still under way.
    assert (await type_text("c")).status == 200
    emulator.clock.advance(5)
    assert so_far < seeded.simulated.typed.count("b") < 2000
    assert seeded.simulated.typed.rstrip("b").endswith("c")
    emulator.clock.advance(60)
    assert seeded.simulated.typed.count("b") == 2000


async def test_typing_ends_with_the_desktop(api: Raw, emulator: Emulator, seeded: Desktop) -> None:
    path = f"/v1/desktop/{seeded.id}"
    await api("POST", f"{path}/computer-action", {"type": "type", "text": "b" * 2000})
    so_far = seeded.simulated.typed
    await api("POST", f"{path}/stop")
    emulator.clock.advance(60)
    assert seeded.simulated.typed == so_far != "b" * 2000


async def test_clicks_and_wheel_clicks_take_time(
    api: Raw, emulator: Emulator, seeded: Desktop
) -> None:
    """As measured with xdotool: 100 ms for a click, 25 ms for the wheel."""
    path = f"/v1/desktop/{seeded.id}/computer-action"
    for body, status, seconds in (
        ({"type": "click_mouse", "num_of_clicks": 10}, 200, 1.0),
        ({"type": "scroll", "direction": "up", "amount": 9999}, 200, 12.5),
        ({"type": "click_mouse", "num_of_clicks": 400}, 502, 30.0),
    ):
        before = emulator.clock.now()
        assert (await api("POST", path, body)).status == status
        assert emulator.clock.now() - before == pytest.approx(seconds)


async def test_held_keys_are_listed_by_the_names_that_were_sent(api: Raw, seeded: Desktop) -> None:
    async def press(keys: str, kind: str) -> None:
        body = {"type": "press_keys", "keys": keys, "key_action_type": kind}
        path = f"/v1/desktop/{seeded.id}/computer-action"
        assert (await api("POST", path, body)).status == 200

    await press("ctrl+a+Enter", "down")
    assert seeded.simulated.keys == {"ctrl", "a"}
    # The service's release leaves a modifier down. A plain xdotool, with any name, does not.
    await press("ctrl+a", "up")
    assert seeded.simulated.keys == {"ctrl"}
    command = {"command": "DISPLAY=:99 xdotool keyup Control_L"}
    assert (await api("POST", f"/v1/desktop/{seeded.id}/bash-action", command)).status == 200
    assert seeded.simulated.keys == set()
    assert [event.name for event in seeded.events] == ["key_down", "key_up", "bash", "key_up"]


def test_equal_seeds_give_equal_desktops() -> None:
    def ids(seed: int) -> list[str]:
        service = Service(Clock.stopped(START), seed=seed, key="ck")
        return [service.add_desktop().id for _ in range(3)]

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)


async def test_another_backend_can_replace_the_simulated_one(
    emulator: Emulator, desktops: Desktops
) -> None:
    class Loud(SimulatedBackend):
        async def bash(self, command: str) -> Ran:
            return Ran(stdout=command.upper())

    seeded = emulator.desktops.add_desktop()
    seeded.backend = Loud(clock=emulator.clock)
    assert await desktops.ref(seeded.id).bash("echo") == "ECHO"


# -- the shell ---------------------------------------------------


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("echo 'Hello, World!'", "Hello, World!"),
        ('echo -n "a  b"', "a  b"),
        ("pwd", "/home/user"),
        ("whoami", "user"),
        ("uname", "Linux"),
        ("uname -a", "Linux desktop 6.1.0 x86_64 GNU/Linux"),
        ("uname -q", "uname: invalid option -q"),
        ("date", "Mon Feb  2 02:40:00 UTC 2026"),
        ("ls", "welcome.txt"),
        ("ls /", "etc\nhome"),
        ("ls ~/welcome.txt", "~/welcome.txt"),
        ("ls /nowhere", "ls: cannot access '/nowhere': No such file or directory"),
        ("cat welcome.txt", "Welcome to your desktop."),
        ("cat /etc/passwd", "cat: /etc/passwd: No such file or directory"),
        ("true && echo yes || echo no", "yes"),
        ("false && echo yes || echo no", "no"),
        ("echo a; echo b;", "a\nb"),
        ("echo 'a|b' | cat | cat", "a|b"),
        ("nosuch --flag", "bash: line 1: nosuch: command not found"),
        ("/bin/sh -c 'touch /tmp/x'", "bash: line 1: /bin/sh: command not found"),
        ("echo hi > /tmp/x", "bash: >: not supported by the emulator"),
        ("echo $(id)", "bash: (: not supported by the emulator"),
        ("echo 'open", "bash: unexpected EOF while looking for matching quote"),
        ("| cat", "bash: syntax error near unexpected token `|'"),
        ("echo a |", "bash: syntax error: unexpected end of file"),
        ("sleep", "sleep: invalid time interval"),
        ("sleep 2; echo slept", "slept"),
        (" ", ""),
    ],
)
async def test_the_simulated_shell_runs_no_program(
    desktop: DesktopRef, command: str, output: str
) -> None:
    assert await desktop.bash(command) == output
