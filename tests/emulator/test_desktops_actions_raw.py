"""The emulated desktop-action API: how long actions take, held keys, backends, the shell."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.emulator.desktops_raw import (
    START,
    Answer,
    Raw,
    seen,
)
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
from vcloud.emulator.desktops.programs import Ran
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
    # The new text is entered between the characters of the one in progress.
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
        ("date", "Mon Feb  2 02:40:00 UTC 2026"),
        ("ls", "welcome.txt"),
        ("ls ~/welcome.txt", "/home/user/welcome.txt"),
        ("ls /nowhere", "ls: cannot access '/nowhere': No such file or directory"),
        ("cat welcome.txt", "Welcome to your desktop."),
        ("true && echo yes || echo no", "yes"),
        ("false && echo yes || echo no", "no"),
        ("echo a; echo b;", "a\nb"),
        ("echo 'a|b' | cat | cat", "a|b"),
        ("nosuch --flag", "bash: line 1: nosuch: command not found"),
        ("/bin/sh -c 'touch /tmp/x'", "bash: line 1: /bin/sh: command not found"),
        ("echo 'open", "bash: unexpected EOF while looking for matching quote"),
        ("| cat", "bash: syntax error near unexpected token `|'"),
        ("echo a |", "bash: syntax error: unexpected end of file"),
        ("sleep", "sleep: invalid time interval"),
        ("sleep 2; echo slept", "slept"),
        (" ", ""),
    ],
)
async def test_the_simulated_shell_runs_no_program(
    desktop: DesktopRef, seeded: Desktop, command: str, output: str
) -> None:
    seeded.simulated.absent |= {"nosuch", "/bin/sh"}
    assert await desktop.bash(command) == output
