"""What a type checker knows of the emulator and its faults. mypy and pyright read this only."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import assert_type

from vcloud import VCloud
from vcloud.emulator import (
    Arrival,
    Call,
    CallLog,
    Clock,
    Credentials,
    Emulator,
    EmulatorStats,
    Endpoints,
    Fault,
    Faults,
    Ran,
    Refusing,
    Rule,
)


async def emulator() -> None:
    with Emulator(machines=3, speed=60, rate_limits=False) as threaded:
        assert_type(threaded, Emulator)
    async with Emulator() as emulator:
        assert_type(emulator, Emulator)
        assert_type(await emulator.start(), None)
        assert_type(emulator.url, str)
        assert_type(emulator.ca_file, Path)
        assert_type(emulator.admin_token, str | None)
        assert_type(emulator.ssl_context(), ssl.SSLContext)
        assert_type(emulator.env(), dict[str, str])
        assert_type(emulator.endpoints(), Endpoints)
        assert_type(emulator.endpoints(timeout=5), Endpoints)
        assert_type(VCloud(**emulator.endpoints()), VCloud)
        assert_type(emulator.stats(), EmulatorStats)
        assert_type(emulator.calls, CallLog)
        assert_type(emulator.calls.matching("POST *"), CallLog)
        assert_type(emulator.calls.last, Call)
        assert_type(emulator.calls.last.params, dict[str, str])
        assert_type(emulator.advance(timedelta(hours=1)), None)
        emulator.desktops.on_bash(lambda command: "text" if command else None)
        emulator.desktops.on_bash(lambda command: Ran(stderr=command, code=1, seconds=2))
        assert_type(emulator.faults, Faults)
        assert_type(emulator.clock, Clock)
        assert_type(emulator.credentials, Credentials)
        assert_type(emulator.run(lambda: 1), int)
        assert_type(emulator.refusing(), Refusing)
        async with emulator.refusing():
            assert_type(await emulator.refuse_for(1), None)
        assert_type(await emulator.accept(), None)
        assert_type(await emulator.aclose(), None)


async def clocks(clock: Clock) -> None:
    assert_type(Clock.stopped(0.0), Clock)
    assert_type(clock.now(), float)
    assert_type(clock.wall(), float)
    assert_type(clock.advance(60), None)
    assert_type(await clock.sleep(1), None)
    assert_type(clock.iso(0.0), str)
    with clock.shifted(60):
        pass


def faults(faults: Faults) -> None:
    rule = faults.add("POST *", Fault.server_error(503, retry_after=1), times=2)
    assert_type(rule, Rule)
    assert_type(rule.route, str)
    assert_type(rule.fault, Fault)
    assert_type(rule.fault.name, str)
    assert_type(rule.times, int | None)
    assert_type(rule.skip, int)
    assert_type(rule.every, int)
    assert_type(rule.probability, float)
    assert_type(rule.hits, int)
    assert_type(rule.seen, int)
    assert_type(rule.spent, bool)
    assert_type(rule.remove(), None)
    assert_type(faults.rules, tuple[Rule, ...])
    assert_type(faults.clear(), None)


def kinds() -> None:
    assert_type(Fault.refuse(), Fault)
    assert_type(Fault.reset_before(), Fault)
    assert_type(Fault.reset_after(), Fault)
    assert_type(Fault.delay(1), Fault)
    assert_type(Fault.stall_headers(), Fault)
    assert_type(Fault.stall_body(), Fault)
    assert_type(Fault.drip(), Fault)
    assert_type(Fault.reply(200, "{}"), Fault)
    assert_type(Fault.reply(401, {"error": "no"}), Fault)
    assert_type(Fault.reply(200, {"client_code": 200, "machines": []}), Fault)
    assert_type(Fault.too_many(2, "date"), Fault)
    assert_type(Fault.server_error(), Fault)
    assert_type(Fault.html(), Fault)
    assert_type(Fault.redirect(), Fault)
    assert_type(Fault.truncate(1), Fault)
    assert_type(Fault.huge_body(), Fault)
    assert_type(Fault.gzip_bomb(), Fault)
    assert_type(Fault.content_type(), Fault)
    assert_type(Fault.empty(), Fault)
    assert_type(Fault.invalid_json(), Fault)
    assert_type(Fault.not_utf8(), Fault)
    assert_type(Fault.not_an_object(), Fault)
    assert_type(Fault.deep(), Fault)
    assert_type(Fault.edit(lambda answer: answer), Fault)
    assert_type(Fault.nulls("id"), Fault)
    assert_type(Fault.missing("id"), Fault)
    assert_type(Fault.wrong_types("id"), Fault)
    assert_type(Fault.unknown_values("status"), Fault)
    assert_type(Fault.duplicate_pages(), Fault)
    assert_type(Fault.endless_pages(), Fault)
    assert_type(Fault.wrong_totals(), Fault)
    assert_type(Fault.clock(60), Fault)
    assert_type(Fault.catalogue(), dict[str, Fault])


def drawn() -> None:
    assert_type(Credentials.drawn("seed"), Credentials)


def call_fields(value: Call) -> None:
    assert_type(value.method, str)
    assert_type(value.path, str)
    assert_type(value.query, str)
    assert_type(value.status, int | None)
    assert_type(value.processed, bool)
    assert_type(value.fault, str | None)
    assert_type(value.at, float)


def arrival_fields(value: Arrival) -> None:
    assert_type(value.method, str)
    assert_type(value.path, str)
    assert_type(value.query, str)
    assert_type(value.headers, Mapping[str, str])
    assert_type(value.body, bytes)


def emulator_stats_fields(value: EmulatorStats) -> None:
    assert_type(value.addresses, tuple[str, ...])
    assert_type(value.connections, int)
    assert_type(value.websockets, int)
    assert_type(value.unsent, int)
    assert_type(value.faults, int)


def credentials_fields(value: Credentials) -> None:
    assert_type(value.computers_key, str)
    assert_type(value.computers_secret, str)
    assert_type(value.streams_key, str)
    assert_type(value.streams_secret, str)
    assert_type(value.streamspace_username, str)
    assert_type(value.streamspace_password, str)
    assert_type(value.streamspace_token, str | None)
    assert_type(value.streamspace_bootstrap_key, str)
    assert_type(value.desktops_api_key, str)
    assert_type(value.emulator_token, str)


def state(emulator: Emulator) -> None:
    Emulator(machines=3, status="ready", idle=timedelta(hours=1), sessions=1, desktops=1)
    computer = emulator.computers.machines["100"]
    assert_type(computer.status, str)
    assert_type(computer.idle, float | None)
    assert_type(computer.name, str)
    assert_type(computer.auto_stop_threshold, int)
    computer.status, computer.idle, computer.user = "ready", timedelta(hours=1), "a@example.com"
    computer.auto_stop_threshold = timedelta(hours=1)
    computer.add_session(ago=60, lasted=timedelta(minutes=5))
    machine = emulator.streams.machines["94683"]
    assert_type(machine.status, str)
    machine.status = "connected"
    session = emulator.streamspace.sessions["id"]
    assert_type(session.state, str)
    session.state = "hibernated"
    emulator.streamspace.agents["a"].status = "draining"
    assert_type(emulator.desktops.add_desktop(lifetime=timedelta(hours=1)).id, str)
    desktop = emulator.desktops.desktops["id"]
    assert_type(desktop.status, str)
    desktop.status = "error"
    emulator.computers.add_machine(id=7, status="ready", user="a@example.com")
    emulator.streams.add_stream("1143", capacities={"dublin": 1})
    emulator.streamspace.add_session(state="pending", tags=("a",))
    published = Emulator(streamspace="published", sessions=1).published_streamspace
    assert_type(published.add_session(state="pending", tags=["a"]).state, str)
    assert_type(published.sessions["name"].active_connections(0), int)
    published.agents["a"].reports_only_running = True
    published.add_user("ann", "password", full_name="Ann", role="operator").active = False
    published.caching = published.database_away = published.tokens.with_dashes = True
    assert_type(Fault.end_logins(), Fault)
    assert_type(Fault.kept_answer(), Fault)
    assert_type(Fault.database_away(), Fault)
    assert_type(Fault.other_replica(), Fault)
    assert_type(Fault.repeat_commands(), Fault)
