"""The emulated desktop-action API over its real socket: what it refuses, and what it answers without running anything."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
from attrs import frozen
from yarl import URL

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
KEY = {"x-api-key": "ck_emulator"}
JSON = {**KEY, "Content-Type": "application/json"}


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(clock=Clock.stopped(START)) as emulator:
        yield emulator


@pytest.fixture
async def desktops(emulator: Emulator) -> AsyncIterator[Desktops]:
    endpoint = Endpoint(
        f"{emulator.url}/v1", auth=APIKeyAuth("ck_emulator"), retry=RetryPolicy(base=0.001)
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


async def test_a_body_without_content_type_is_read_as_empty(
    api: Raw, emulator: Emulator, seeded: Desktop
) -> None:
    launched = await api("POST", "/v1/desktop", {"timeout_ms": 1}, headers=KEY)
    assert launched.status == 200
    made = emulator.desktops.desktops[launched.body["id"]]
    assert made.timeout_at - made.created_at == 24 * 3600
    answer = await api(
        "POST", f"/v1/desktop/{seeded.id}/bash-action", {"command": "pwd"}, headers=KEY
    )
    assert (answer.status, answer.body["error"]["issues"][0]["message"]) == (400, "Required")


@pytest.mark.parametrize("timeout_ms", [59_999, 0, -5])
async def test_a_timeout_below_a_minute_is_answered_with_502(api: Raw, timeout_ms: int) -> None:
    assert (await api("POST", "/v1/desktop", {"timeout_ms": timeout_ms})).status == 502


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


async def test_what_is_no_json_is_refused(api: Raw, seeded: Desktop) -> None:
    for raw in (b"{", b"\xff", b'{"command": "\\ud800"}', b"[" * 100_000):
        answer = await api("POST", f"/v1/desktop/{seeded.id}/bash-action", raw=raw)
        assert (answer.status, answer.body["status"]) == (400, "error")


async def test_numbers_beyond_all_measure_break_nothing(api: Raw, seeded: Desktop) -> None:
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


async def test_wheel_clicks_are_clamped_and_one_coordinate_alone_is_ignored(
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


async def test_an_action_over_30_seconds_is_cut_by_the_gateway(
    api: Raw, emulator: Emulator, seeded: Desktop
) -> None:
    before = emulator.clock.now()
    answer = await api(
        "POST", f"/v1/desktop/{seeded.id}/computer-action", {"type": "wait", "ms": 31_000}
    )
    assert answer.status == 502
    assert emulator.clock.now() - before == pytest.approx(30)


def test_equal_seeds_give_equal_desktops() -> None:
    def ids(seed: int) -> list[str]:
        service = Service(Clock.stopped(START), seed=seed)
        return [service.add_desktop().id for _ in range(3)]

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)


async def test_another_backend_can_stand_in_for_the_simulated_one(
    emulator: Emulator, desktops: Desktops
) -> None:
    class Loud(SimulatedBackend):
        async def bash(self, command: str) -> Ran:
            return Ran(stdout=command.upper())

    seeded = emulator.desktops.add_desktop()
    seeded.backend = Loud(clock=emulator.clock)
    assert await desktops.ref(seeded.id).bash("echo") == "ECHO"


# -- the shell, and what else could be behind it ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("echo 'Hello, World!'", "Hello, World!\n"),
        ('echo -n "a  b"', "a  b"),
        ("pwd", "/home/user\n"),
        ("whoami", "user\n"),
        ("uname", "Linux\n"),
        ("uname -a", "Linux desktop 6.1.0 x86_64 GNU/Linux\n"),
        ("uname -q", "uname: invalid option -q\n"),
        ("date", "Mon Feb  2 02:40:00 UTC 2026\n"),
        ("ls", "welcome.txt\n"),
        ("ls /", "etc\nhome\n"),
        ("ls ~/welcome.txt", "~/welcome.txt\n"),
        ("ls /nowhere", "ls: cannot access '/nowhere': No such file or directory\n"),
        ("cat welcome.txt", "Welcome to your desktop.\n"),
        ("cat /etc/passwd", "cat: /etc/passwd: No such file or directory\n"),
        ("true && echo yes || echo no", "yes\n"),
        ("false && echo yes || echo no", "no\n"),
        ("echo a; echo b;", "a\nb\n"),
        ("echo 'a|b' | cat | cat", "a|b\n"),
        ("nosuch --flag", "bash: nosuch: command not found\n"),
        ("/bin/sh -c 'touch /tmp/x'", "bash: /bin/sh: command not found\n"),
        ("echo hi > /tmp/x", "bash: >: not supported by the emulator\n"),
        ("echo $(id)", "bash: (: not supported by the emulator\n"),
        ("echo 'open", "bash: unexpected EOF while looking for matching quote\n"),
        ("| cat", "bash: syntax error near unexpected token `|'\n"),
        ("echo a |", "bash: syntax error: unexpected end of file\n"),
        ("sleep", "sleep: invalid time interval\n"),
        ("sleep 2; echo slept", "slept\n"),
        (" ", ""),
    ],
)
async def test_the_shell_answers_from_what_it_knows_and_runs_nothing(
    desktop: DesktopRef, command: str, output: str
) -> None:
    assert await desktop.bash(command) == output
