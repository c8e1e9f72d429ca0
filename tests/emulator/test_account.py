"""Configuring the emulated Vagon account: arguments, the command line, and admin routes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from tests.emulator.faults_raw import Caller, calling
from vcloud import InsufficientFundsError, InvalidRequestError, VCloud
from vcloud.emulator import Clock, Emulator
from vcloud.emulator.__main__ import main
from vcloud.emulator.vagon.account import Account

STREAM = "1381"


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    async with calling(clock=Clock.stopped(), balance="30.00", visitors=["a@example.com"]) as one:
        yield one


async def test_arguments_configure_the_account() -> None:
    options: dict[str, Any] = {
        "balance": Decimal("60.00"),
        "default_region": "oregon",
        "visitors": ["visitor@vendor.com", ""],
        "clock": Clock.stopped(),
    }
    async with Emulator(**options) as emulator, VCloud(**emulator.endpoints()) as cloud:
        made = await cloud.computers.machines.create(1, quantity=2)
        assert {machine.region for machine in made} == {"oregon"}
        with pytest.raises(InsufficientFundsError):
            await cloud.computers.machines.create(1)
        emails = {id_: user.email for id_, user in emulator.streams.users.items()}
        assert list(emails.values()) == ["visitor@vendor.com", None]
        emulator.streams.add_machine(1381)
        visitor = next(iter(emails))
        stream = cloud.streams.streams.ref(STREAM)
        assert (await stream.assign_machine("dublin", visitor)).machine.id


@pytest.mark.parametrize(
    "options",
    [
        {"balance": "much"},
        {"balance": "NaN"},
        {"balance": "1e99"},
        {"default_region": "atlantis"},
    ],
)
def test_an_invalid_account_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"balance|region"):
        Emulator(**options)


@contextlib.asynccontextmanager
async def serving(*arguments: str) -> AsyncIterator[dict[str, str]]:
    """What `python -m vcloud.emulator` prints, while it serves."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "vcloud.emulator", "--port", "0", *arguments, stdout=PIPE
    )
    assert process.stdout is not None
    try:
        lines = [(await process.stdout.readline()).decode() for _ in range(12)]
        yield dict(
            line.removeprefix("export ").strip().split("=", 1) for line in lines if "=" in line
        )
    finally:
        process.send_signal(signal.SIGINT)
        await process.communicate()


async def test_the_command_line_configures_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    said = ("--balance", "29", "--default-region", "tokyo", "--visitors", "a@example.com", "")
    async with serving("--machines", "0", *said) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        async with VCloud.from_env() as cloud:
            (machine,) = await cloud.computers.machines.create(1)
            assert machine.region == "tokyo"
            with pytest.raises(InsufficientFundsError):
                await cloud.computers.machines.create(1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--balance", "much"], "balance"), (["--default-region", "atlantis"], "unknown region")],
)
def test_the_command_line_reports_an_invalid_account(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--port", "0", *arguments]) == 1
    assert said in capsys.readouterr().err


async def test_the_routes_show_and_set_the_account(caller: Caller) -> None:
    assert (await caller.admin("GET", "/account")).json == {
        "balance": "30.00",
        "default_region": None,
    }
    async with VCloud(**caller.emu.endpoints()) as cloud:
        with pytest.raises(InvalidRequestError):
            await cloud.computers.machines.create(1)
        set_ = await caller.admin("PATCH", "/account", {"default_region": "oregon"})
        assert set_.json == {"balance": "30.00", "default_region": "oregon"}
        await cloud.computers.machines.create(1)
        assert (await caller.admin("GET", "/account")).json["balance"] == "1.00"
        await caller.admin("PATCH", "/account", {"balance": "500.50"})
        await cloud.computers.machines.create(1)
        gone = await caller.admin("PATCH", "/account", {"balance": 0, "default_region": None})
        assert gone.json == {"balance": "0.00", "default_region": None}


async def test_the_routes_register_visitors_and_begin_and_end_visits(caller: Caller) -> None:
    (first,) = (await caller.admin("GET", "/visitors")).json["visitors"]
    assert first["email"] == "a@example.com"
    assert (await caller.admin("POST", "/visitors", {"email": ""})).json["email"] is None
    assert len((await caller.admin("GET", "/visitors")).json["visitors"]) == 2
    machine = {"machine": str(caller.emu.streams.add_machine(1381, status="available").id)}
    async with VCloud(**caller.emu.endpoints()) as cloud:
        early = await caller.admin("POST", "/visits", machine)
        assert (early.status, "not assigned" in early.json["error"]) == (400, True)
        stream = cloud.streams.streams.ref(STREAM)
        await stream.configure(idle_duration="1_min", collect_info=True)
        await stream.assign_machine("dublin", first["id"])
        assert (await caller.admin("POST", "/visits", {**machine, "city": "Köln"})).status == 201
        await caller.admin("POST", "/clock/advance", {"seconds": 50})
        assert (await caller.admin("POST", "/visits/activity", machine)).status == 200
        await caller.admin("POST", "/clock/advance", {"seconds": 50})
        (visit,) = await cloud.streams.sessions.list().all()
        assert (visit.end_at, visit.city, visit.customer) == (None, "Köln", "a@example.com")
        assert (await caller.admin("POST", "/visits/end", machine)).status == 200
        (visit,) = await cloud.streams.sessions.list().all()
        assert visit.end_at is not None


async def test_the_routes_use_a_computer_and_give_it_usage(caller: Caller) -> None:
    id_ = caller.emu.computers.add_machine(usage_source="machine").id
    given = await caller.admin("POST", f"/computers/{id_}/usage", {"minutes": 60})
    assert given.json == {"id": id_, "minutes": 60}
    async with VCloud(**caller.emu.endpoints()) as cloud:
        machine = cloud.computers.machines.ref(id_)
        await machine.start()
        caller.emu.clock.advance(25 + 890)
        assert (await caller.admin("POST", f"/computers/{id_}/activity", {})).status == 200
        caller.emu.clock.advance(890)
        assert (await machine.refresh()).friendly_status == "ready"
        caller.emu.clock.advance(10)
        assert (await machine.refresh()).friendly_status == "graceful_stopping"


@pytest.mark.parametrize(
    ("method", "route", "body", "status"),
    [
        ("PATCH", "/account", {"balance": "much"}, 400),
        ("PATCH", "/account", {"default_region": "atlantis", "balance": "1"}, 400),
        ("PATCH", "/account", {"money": 1}, 400),
        ("POST", "/visits", {"machine": "1"}, 404),
        ("POST", "/visits/end", {}, 400),
        ("POST", "/computers/1/activity", {}, 404),
        ("POST", "/computers/1/usage", {"minutes": -1}, 404),
    ],
)
async def test_the_routes_refuse_invalid_requests(
    caller: Caller, method: str, route: str, body: object, status: int
) -> None:
    assert (await caller.admin(method, route, body)).status == status
    assert (await caller.admin("GET", "/account")).json["balance"] == "30.00"


async def test_the_index_lists_these_routes(caller: Caller) -> None:
    routes = (await caller.admin("GET", "")).json["routes"]
    for route in ("PATCH /_emulator/account", "POST /_emulator/visits"):
        assert routes[route]


@pytest.mark.parametrize("seed", range(20))
def test_a_balance_does_not_depend_on_how_often_it_is_read(seed: int) -> None:
    """Many small steps give the same balance as one large step."""

    def play(steps: int) -> tuple[Decimal, list[float]]:
        chance, clock, over = random.Random(seed), Clock.stopped(0.0), list[float]()
        account = Account(Decimal(50), clock)
        for _ in range(8):
            start, length = chance.randrange(0, 3600 * 8), chance.choice([None, 1800, 7200])
            account.draw(
                Decimal(chance.randrange(1, 9)),
                start,
                None if length is None else start + length,
                over.append,
            )
        for _ in range(steps):
            clock.advance(86_400 / steps)
            account.settle(clock.now())
        return account.balance, over

    once, often = play(1), play(96)
    assert abs(once[0] - often[0]) < Decimal("0.000001")
    assert once[1] == pytest.approx(often[1])
