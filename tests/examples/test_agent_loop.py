"""The agent of `examples/agent_loop.py`, tested with the pytest plugin as a user would test it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from examples.agent_loop import Decision, Goal, Policy, Seen, agent, greet, main
from vcloud import AuthenticationError, InvalidArgumentError, VCloud
from vcloud.emulator import Emulator, Fault
from vcloud.providers.desktops import ClickMouse, DesktopRef, PressKeys, Scroll, TypeText
from vcloud.testing import make_screenshot

ACTIONS = "POST */computer-action"
COMMANDS = "POST */bash-action"


def following(*decisions: Decision) -> tuple[Policy, list[Seen]]:
    """A policy that takes these decisions, and the list of what it saw."""
    seen: list[Seen] = []
    way: Iterator[Decision] = iter(decisions)

    def policy(now: Seen) -> Decision:
        seen.append(now)
        return next(way)

    return policy, seen


@pytest.fixture
async def desktop(vcloud_emulator: Emulator) -> AsyncIterator[DesktopRef]:
    """A desktop that runs for an hour."""
    running = vcloud_emulator.desktops.add_desktop(lifetime=3600)
    async with VCloud(**vcloud_emulator.endpoints()) as cloud:
        yield cloud.desktops.ref(running.id)


async def test_the_agent_acts_until_its_goal(
    vcloud_emulator: Emulator, desktop: DesktopRef
) -> None:
    vcloud_emulator.desktops.on_bash(lambda command: "3 files" if command == "count" else None)
    policy, seen = following(
        ClickMouse(x=5, y=6),
        TypeText("hi"),
        PressKeys("ctrl+s"),
        Scroll("down", 3),
        "count",
        Goal("3"),
    )
    record = await agent(desktop, policy)
    assert record.answer == "3"
    assert [step.action["type"] for step in record.steps] == [
        "click_mouse",
        "type",
        "press_keys",
        "scroll",
        "bash",
    ]
    assert seen[-1].said == record.steps[-1].said == "3 files"
    assert seen[0].picture.startswith(b"\xff\xd8")
    sent = [call.json for call in vcloud_emulator.calls.matching(ACTIONS)]
    assert [body["type"] for body in sent if body["type"] != "screenshot"] == [
        "click_mouse",
        "type",
        "press_keys",
        "scroll",
    ]
    assert vcloud_emulator.calls.matching(COMMANDS).last.json == {"command": "count"}


async def test_it_takes_no_more_steps_than_it_may(
    vcloud_emulator: Emulator, desktop: DesktopRef
) -> None:
    record = await agent(desktop, lambda seen: "echo on and on", steps=4)
    assert (len(record.steps), record.answer) == (4, None)
    assert len(vcloud_emulator.calls.matching(COMMANDS)) == 4


async def test_it_hears_what_went_wrong_and_decides_anew(
    vcloud_emulator: Emulator, desktop: DesktopRef
) -> None:
    vcloud_emulator.faults.add(COMMANDS, Fault.server_error(500))
    policy, seen = following("whoami", "whoami", Goal("done"))
    record = await agent(desktop, policy)
    assert record.answer == "done"
    assert [step.failed for step in record.steps] == [True, False]
    assert seen[1].failed
    assert seen[1].said.startswith("The service has a problem at the moment.")
    assert "http" not in seen[1].said


async def test_an_action_whose_answer_was_lost_is_not_repeated(
    vcloud_emulator: Emulator, desktop: DesktopRef
) -> None:
    vcloud_emulator.faults.add(COMMANDS, Fault.reset_after())
    policy, _ = following("echo paid", Goal("done"))
    record = await agent(desktop, policy)
    assert [step.outcome_unknown for step in record.steps] == [True]
    assert len(vcloud_emulator.calls.matching(COMMANDS)) == 1


async def test_it_ends_when_the_desktop_has_ended(
    vcloud_emulator: Emulator, desktop: DesktopRef
) -> None:
    def slow(seen: Seen) -> Decision:
        vcloud_emulator.advance(timedelta(minutes=30))
        return "echo still here"

    record = await agent(desktop, slow)
    assert record.answer is None
    assert [step.failed for step in record.steps] == [False, True, True, True]
    assert record.steps[-1].said.startswith("Instance is not running")


async def test_refused_credentials_end_it(vcloud_emulator: Emulator, desktop: DesktopRef) -> None:
    vcloud_emulator.faults.add(ACTIONS, Fault.reply(401, {"status": "error", "error": "no"}))
    with pytest.raises(AuthenticationError):
        await agent(desktop, greet)


def test_the_policy_corrects_a_key_without_any_service() -> None:
    picture = make_screenshot().data
    with pytest.raises(InvalidArgumentError, match="not a key name"):
        greet(Seen(4, picture))
    assert greet(Seen(5, picture, "that is no key", failed=True)) == PressKeys("ctrl+s")
    assert isinstance(greet(Seen(7, picture, "saved")), Goal)


@pytest.mark.vcloud_emulator(speed=60)
async def test_the_program_leaves_a_record_and_no_desktop(
    vcloud_emulator: Emulator,
    vcloud_env: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("VCLOUD_EXAMPLE_BUY", "1")
    record = tmp_path / "steps.jsonl"
    assert await main(["--minutes", "5", "--record", str(record)]) == 0
    steps = [json.loads(line) for line in record.read_text().splitlines()]
    assert [step["failed"] for step in steps] == [False, False, False, True, False, False]
    assert "Good morning" not in record.read_text()
    assert vcloud_emulator.calls.matching("POST */desktop").last.json == {"timeout_ms": 300_000}
    [desktop] = vcloud_emulator.desktops.desktops.values()
    assert desktop.status == "terminated"


@pytest.mark.vcloud_emulator(speed=60)
async def test_a_policy_that_breaks_leaves_no_desktop_either(
    vcloud_emulator: Emulator, vcloud_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VCLOUD_EXAMPLE_BUY", "1")

    def broken(seen: Seen) -> Decision:
        raise RuntimeError("the model is away")

    with pytest.raises(RuntimeError, match="the model is away"):
        await main([], broken)
    [desktop] = vcloud_emulator.desktops.desktops.values()
    assert desktop.status == "terminated"


async def test_without_permission_nothing_is_bought(
    vcloud_emulator: Emulator, vcloud_env: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await main([]) == 1
    assert "VCLOUD_EXAMPLE_BUY=1" in capsys.readouterr().out
    assert not vcloud_emulator.calls
