"""The judge of the matrix of ends, with invented facts: it passes good ones and finds each flaw."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from tests.ends.cells import MOMENTS, Cell, End
from tests.ends.judge import Facts, Machine, flaws

ID = "7c65c1e5"
ENDED = {"ended": None}


def cell(moment: str, end: End = End.TIMEOUT) -> Cell:
    return Cell(next(one for one in MOMENTS if one.name == moment), end, "asyncio")


def error(kind: str = "CleanupError", **more: Any) -> dict[str, Any]:
    kinds = [kind, "VCloudError", "Exception"] if kind == "CleanupError" else [kind, "Exception"]
    plain = {
        "kinds": kinds,
        "text": "",
        "notes": [],
        "provider": "desktops",
        "ids": [],
        "outcome_unknown": False,
        "cause": "RequestTimeout",
        "members": [],
    }
    return {**plain, **more}


def log_line(text: str, log: str = "vcloud.desktops", level: str = "ERROR") -> dict[str, Any]:
    return {"log": log, "level": level, "text": text}


def left(who: str, how: dict[str, Any] | None) -> dict[str, Any]:
    return {"left": who, "error": how}


def facts(*events: dict[str, Any], stopped: bool = False, **more: Any) -> Facts:
    machine = Machine(provider="desktops", id=ID, stopped=stopped)
    return Facts(
        reached=True,
        hung=False,
        events=[*events, ENDED],
        **{"machines": [machine], **more},
    )


UNKNOWN = "POST /desktop was cancelled, and its outcome is unknown"

TOLD = (left("operation", error(ids=[ID])), left("caller", error(ids=[ID])))
NAMED = facts(log_line(f"desktop {ID} may still run"), *TOLD)
LOST = facts(log_line(UNKNOWN), left("caller", error(outcome_unknown=True)))
GROUPED = facts(
    log_line(f"desktop {ID} may still run"),
    left("caller", error("ExceptionGroup", members=[error("MainError"), error(ids=[ID])])),
)
NOTED = facts(
    log_line(f"desktop {ID} may still run"), left("caller", error("WaitTimeout", notes=[f"{ID} …"]))
)
STOPPED = facts(left("caller", error("TimeoutError")), stopped=True)
CLOSED = facts({"closed": "closed"}, left("operation", None), left("close", None), stopped=True)
LATE = facts(left("operation", error("ConfigurationError", text=f"… {ID}")), stopped=True)
BOUGHT = facts(
    machines=[],
    bought=3,
    before=["POST /machines"] * 4,
    journal={"done": 2, "unknown": 2},
)


@pytest.mark.parametrize(
    ("which", "right"),
    [
        (cell("queue.slot"), facts(machines=[])),
        (cell("block"), STOPPED),
        (cell("block", End.CLIENT_CLOSED), CLOSED),
        (cell("create", End.CLIENT_CLOSED), LATE),
        (cell("block", End.LOOP_CLOSED), facts(log_line(f"{ID} may still run"))),
        (cell("block.unanswered", End.GENERATOR), facts(log_line(f"{ID} may still run"))),
        (cell("block.unanswered"), NAMED),
        (cell("block.unanswered", End.TASK_GROUP), GROUPED),
        (cell("block.unanswered"), NOTED),
        (
            cell("block.unanswered", End.SIGINT_TWICE),
            facts(log_line(ID), left("caller", error("KeyboardInterrupt"))),
        ),
        (cell("create.lost"), LOST),
        (cell("bulk"), BOUGHT),
    ],
    ids=str,
)
def test_good_facts_pass(which: Cell, right: Facts) -> None:
    assert flaws(which, right) == []


CANCELLED = error("CancelledError", notes=[f"{ID} could not be stopped"])


@pytest.mark.parametrize(
    ("which", "wrong", "words"),
    [
        (cell("queue.slot"), facts(machines=[], after=["POST /desktop"]), "sent after the end"),
        (cell("queue.slot"), facts(), "was made"),
        (cell("queue.slot"), facts(log_line("?"), machines=[]), "logged an error without a cause"),
        (cell("block"), facts(left("caller", error("TimeoutError"))), "still runs"),
        (cell("block"), facts(log_line(f"{ID}"), stopped=True), "logged an error without a cause"),
        (cell("block"), facts(machines=[]), "shows nothing"),
        (cell("block"), evolve(STOPPED, hung=True), "it hung"),
        (cell("block"), evolve(STOPPED, reached=False), "never reached"),
        (cell("block"), evolve(STOPPED, events=[]), "the process broke"),
        (cell("block"), evolve(STOPPED, output="x was never awaited"), "never awaited"),
        (
            cell("block"),
            facts(log_line("Task was destroyed but it is pending", "asyncio"), stopped=True),
            "destroyed",
        ),
        (cell("block", End.CLIENT_CLOSED), evolve(CLOSED, events=[ENDED]), "succeeded although"),
        (
            cell("block", End.CLIENT_CLOSED),
            facts({"closed": ""}, left("operation", error("ConnectError")), stopped=True),
            "leaving the block raised",
        ),
        (
            cell("create", End.CLIENT_CLOSED),
            facts(left("operation", error("ConfigurationError")), stopped=True),
            "the error has no id",
        ),
        (
            cell("block", End.LOOP_CLOSED),
            facts(log_line(ID), after=["POST /desktop/7/stop"]),
            "sent after the end",
        ),
        (cell("block", End.LOOP_CLOSED), facts(), "not named at ERROR"),
        (cell("block.unanswered"), evolve(NAMED, events=NAMED.events[1:]), "not named at ERROR"),
        (
            cell("block.unanswered"),
            facts(log_line(ID, level="WARNING"), *TOLD),
            "not named at ERROR",
        ),
        (cell("block.unanswered"), facts(log_line(ID, "vcloud.streams"), *TOLD), "logged by"),
        (cell("block.unanswered"), facts(log_line(ID), left("caller", CANCELLED)), "in no error"),
        (cell("block.unanswered"), facts(log_line(ID), left("caller", None)), "in no error"),
        (
            cell("block.unanswered", End.SIGINT),
            facts(log_line(ID), left("caller", error("KeyboardInterrupt"))),
            "in no error",
        ),
        (cell("block.unanswered"), facts(log_line(ID), left("caller", error())), "in no error"),
        (
            cell("block.unanswered"),
            facts(log_line(ID), left("caller", error(ids=[ID], cause=None))),
            "has no cause",
        ),
        (
            cell("block.unanswered"),
            facts(log_line(ID), left("caller", error(ids=[ID], provider=None))),
            "names the provider",
        ),
        (
            cell("create.lost"),
            facts(log_line(UNKNOWN), left("caller", error())),
            "has outcome_unknown",
        ),
        (cell("create.lost"), evolve(LOST, events=LOST.events[1:]), "create is not named"),
        (cell("bulk"), evolve(BOUGHT, journal={"done": 2}), "were bought, and the journal"),
        (cell("bulk"), evolve(BOUGHT, journal={"unknown": 9}), "creates were sent"),
        (cell("bulk"), evolve(BOUGHT, after=["POST /machines"]), "sent after the end"),
    ],
    ids=str,
)
def test_each_flaw_is_found(which: Cell, wrong: Facts, words: str) -> None:
    found = flaws(which, wrong)
    assert any(words in flaw for flaw in found), found
