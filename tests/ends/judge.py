"""What is wrong with how a program ended.

The judge sees the service's records and what a user would see, and none of the client's code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

from tests.ends.cells import Cell, End, Fate

Error = Mapping[str, Any]

#: How log lines name a create without an answer: by its request, or by its method.
_CREATES: Final = {
    "desktops": re.compile(r"POST \S*/desktop\b|launch|create"),
    "streams": re.compile(r"POST \S*(start|assign)-machine\b|start|assign|connect"),
}
_UNKNOWN: Final = re.compile("unknown|may still run|may have|may run")
#: Messages of the interpreter and asyncio about a program or library that does not clean up.
_UNCLEAN: Final = (
    "never awaited",
    "never retrieved",
    "Exception ignored",
    "ignored GeneratorExit",
    "Fatal Python error",
)
_DESTROYED: Final = "was destroyed but it is pending"
_UNCLOSED: Final = "Unclosed"
#: Ends after which no caller gets the operation's error.
_NO_CALLER: Final = frozenset({End.LOOP_CLOSED, End.GENERATOR, End.GENERATOR_CLOSED})


@frozen(kw_only=True)
class Machine:
    """One machine, by the service's records."""

    provider: str
    id: str
    stopped: bool


@frozen(kw_only=True)
class Facts:
    """The facts about one program.

    Attributes:
        reached: whether the moment was reached.
        hung: whether it had to be killed.
        events: what it reported, in order, including its log.
        output: what it wrote, including tracebacks.
        machines: all machines that were made during the run.
        before: requests that change something, until it was asked to end.
        after: those that arrived later, as method and path.
        bought: creates of the bulk run that the service carried out.
        journal: how many items in the journal have each status.
    """

    reached: bool
    hung: bool
    events: Sequence[Mapping[str, Any]]
    output: str = ""
    machines: Sequence[Machine] = ()
    before: Sequence[str] = ()
    after: Sequence[str] = ()
    bought: int = 0
    journal: Mapping[str, int] = field(factory=dict)

    @property
    def logged_errors(self) -> list[Mapping[str, Any]]:
        """What the client logged at ERROR."""
        return [
            event
            for event in self.events
            if event.get("log", "").startswith("vcloud.") and event["level"] == "ERROR"
        ]

    def errors(self, *who: str) -> list[Error]:
        """The errors of these, with groups taken apart."""
        found = [event["error"] for event in self.events if event.get("left") in who]
        return [leaf for error in found if error is not None for leaf in _leaves(error)]


def _leaves(error: Error) -> Iterator[Error]:
    if not error["members"]:
        yield error
    for member in error["members"]:
        yield from _leaves(member)


def flaws(cell: Cell, facts: Facts) -> list[str]:
    """What is wrong. The list is empty if the cell passes."""
    if not facts.reached:
        return [f"the moment was never reached: {_last(facts)}"]
    if facts.hung:
        return [f"it hung: {_last(facts)}"]
    if not any("ended" in event for event in facts.events):
        return [f"the process broke: {_last(facts)}"]
    return [*_fate(cell, facts), *_cleanliness(cell, facts), *_silence(cell, facts)]


def _last(facts: Facts) -> str:
    return f"{facts.output[-800:]} {list(facts.events)[-3:]}"


def _fate(cell: Cell, facts: Facts) -> Iterator[str]:
    match cell.fate:
        case Fate.UNSENT:
            yield from (f"sent after the end: {call}" for call in facts.after)
            yield from (f"{one.id} was made" for one in facts.machines)
            yield from (
                f"logged an error without a cause: {event['text']}" for event in facts.logged_errors
            )
        case Fate.STOPPED:
            yield from _stopped(cell, facts)
        case Fate.NAMED:
            if not facts.machines:
                yield "no machine was made, so this shows nothing"
            for machine in facts.machines:
                yield from _named(cell, facts, machine)
        case Fate.UNKNOWN:
            if not facts.machines:
                yield "no machine was made, so this shows nothing"
            for machine in facts.machines:
                yield from _unknown(cell, facts, machine.provider)
        case Fate.ENDED:
            yield from _ended(facts)
        case Fate.JOURNAL:
            yield from _journal(cell, facts)


def _ended(facts: Facts) -> Iterator[str]:
    """Every machine is stopped or named."""
    for machine in facts.machines:
        if machine.stopped or any(machine.id in event["text"] for event in facts.logged_errors):
            continue
        if not any(_lost(event, machine.provider) for event in facts.logged_errors):
            yield f"{machine.id} still runs, and nothing names it: {facts.logged_errors}"


def _lost(event: Mapping[str, Any], provider: str) -> bool:
    """Whether a line names a create and says that its outcome is unknown."""
    text = event["text"]
    return bool(_CREATES[provider].search(text) and _UNKNOWN.search(text))


def _stopped(cell: Cell, facts: Facts) -> Iterator[str]:
    if not facts.machines:
        yield "no machine was made, so this shows nothing"
    yield from (f"{one.id} still runs" for one in facts.machines if not one.stopped)
    yield from (
        f"logged an error without a cause: {event['text']}" for event in facts.logged_errors
    )
    if cell.end is not End.CLIENT_CLOSED:
        return
    if cell.moment.name == "block":
        if not any("closed" in event for event in facts.events):
            yield "a call of the block succeeded although the client was closed"
        yield from (f"leaving the block raised {error}" for error in facts.errors("operation"))
    elif cell.moment.name in ("create", "starting", "assigning"):
        errors = facts.errors("operation")
        for machine in facts.machines:
            if not any(_mentions(error, machine.id) for error in errors):
                yield f"the error has no id {machine.id}: {errors}"


def _named(cell: Cell, facts: Facts, machine: Machine) -> Iterator[str]:
    lines = [event for event in facts.logged_errors if machine.id in event["text"]]
    if not lines:
        yield f"{machine.id} is not named at ERROR: {facts.logged_errors}"
    yield from _wrong_loggers(lines, machine.provider)
    errors = _for_callers(cell, facts)
    if errors is None:
        return
    if not any(_gives_id(error, machine.id) for error in errors):
        yield f"{machine.id} is in no error that the caller gets: {errors}"
    yield from _malformed(errors, machine.provider)


def _unknown(cell: Cell, facts: Facts, provider: str) -> Iterator[str]:
    lines = [event for event in facts.logged_errors if _lost(event, provider)]
    if not lines:
        yield f"its create is not named at ERROR: {facts.logged_errors}"
    yield from _wrong_loggers(lines, provider)
    errors = _for_callers(cell, facts)
    if errors is None:
        return
    if not any(error["outcome_unknown"] for error in errors):
        yield f"no error that the caller gets has outcome_unknown: {errors}"
    yield from _malformed(errors, provider)


def _wrong_loggers(lines: Sequence[Mapping[str, Any]], provider: str) -> Iterator[str]:
    for line in lines:
        if line["log"] != f"vcloud.{provider}":
            yield f"logged by {line['log']}"


def _for_callers(cell: Cell, facts: Facts) -> list[Error] | None:
    """The errors that a caller gets; None: there is no caller."""
    if cell.end in _NO_CALLER:
        return None
    if cell.end is End.CLIENT_CLOSED:
        return facts.errors("operation", "close")
    errors = facts.errors("caller") or facts.errors("operation")
    if cell.end is End.SIGINT_TWICE and any("KeyboardInterrupt" in one["kinds"] for one in errors):
        return None  # the second signal replaced the error
    return errors


def _mentions(error: Error, id: str) -> bool:
    return id in error["ids"] or id in error["text"] or any(id in note for note in error["notes"])


def _gives_id(error: Error, id: str) -> bool:
    """Whether a caller gets the id. The notes of a CancelledError are never seen."""
    if "CleanupError" in error["kinds"]:
        return id in error["ids"]
    return "CancelledError" not in error["kinds"] and _mentions(error, id)


def _malformed(errors: Sequence[Error], provider: str) -> Iterator[str]:
    for error in errors:
        if "CleanupError" not in error["kinds"]:
            continue
        if "VCloudError" not in error["kinds"]:
            yield "CleanupError is no VCloudError"
        if error["provider"] != provider:
            yield f"CleanupError names the provider {error['provider']!r}"
        if error["cause"] is None:
            yield "CleanupError has no cause"


def _journal(cell: Cell, facts: Facts) -> Iterator[str]:
    known = facts.journal.get("done", 0) + facts.journal.get("unknown", 0)
    sent = sum(call.endswith("/machines") for call in [*facts.before, *facts.after])
    if facts.bought > known:
        yield f"{facts.bought} were bought, and the journal has {dict(facts.journal)}"
    # As after a kill: a run that is interrupted while it ends cannot take back an intent.
    if known > sent and cell.end not in (End.LOOP_CLOSED, End.SIGINT_TWICE):
        yield f"{sent} creates were sent, and the journal has {dict(facts.journal)}"
    if len(facts.after) > 0:
        yield f"sent after the end: {facts.after}"


def _unclean(end: End) -> Iterator[str]:
    """The messages that must not appear."""
    yield from _UNCLEAN
    if end is not End.LOOP_CLOSED:
        yield _DESTROYED
        # A second Ctrl-C raises wherever the program is, also while it closes its client.
        if end is not End.SIGINT_TWICE:
            yield _UNCLOSED


def _cleanliness(cell: Cell, facts: Facts) -> Iterator[str]:
    """What was not awaited or retrieved, and errors that nothing could catch."""
    if cell.fate is Fate.ENDED:
        return  # signals at random times also raise inside of asyncio and aiohttp
    words = list(_unclean(cell.end))
    for event in facts.events:
        for word in words:
            if "log" in event and word in event["text"]:
                yield f"it logged {word!r}: {event['text'][-600:]}"
    for trace in re.split(r"(?m)^(?=Exception ignored|\S+:\d+: \w+Warning)", facts.output):
        if not _excused(cell.end, trace) and any(word in trace for word in words):
            yield f"it wrote {trace[-600:]!r}"


def _excused(end: End, trace: str) -> bool:
    """Whether the error is not the client's."""
    if end is End.SIGINT_TWICE and re.search(r"'\w*Loop\.shutdown_", trace):
        return True  # the second signal came while the runner closed the loop
    if "Exception ignored" not in trace:
        return False
    if end is End.SIGINT_TWICE and "KeyboardInterrupt" in trace:
        return True
    ours = "/vcloud/" in trace or "ignored GeneratorExit" in trace
    return end is End.LOOP_CLOSED and not ours


def _silence(cell: Cell, facts: Facts) -> Iterator[str]:
    """After the loop was closed, nothing can be sent any more."""
    if cell.end is End.LOOP_CLOSED:
        yield from (f"sent after the end: {call}" for call in facts.after)
