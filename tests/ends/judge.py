"""What is wrong with how a program ended. It sees the service's books, and what a user would see; no code of the client."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from attrs import field, frozen

from tests.ends.cells import Cell, End, Fate

Error = Mapping[str, Any]

#: A create whose answer never came, in the words of the log: the request, or the method's name.
_CREATES: Final = {
    "desktops": re.compile(r"POST \S*/desktop\b|launch|create"),
    "streams": re.compile(r"POST \S*(start|assign)-machine\b|start|assign|connect"),
}
_UNKNOWN: Final = re.compile("unknown|may still run|may have|may run")
#: What the interpreter and asyncio say of a program, or a library, that is not clean.
_UNCLEAN: Final = (
    "never awaited",
    "never retrieved",
    "Exception ignored",
    "ignored GeneratorExit",
    "Fatal Python error",
)
_DESTROYED: Final = "was destroyed but it is pending"
_UNCLOSED: Final = "Unclosed"
#: Where nobody waits for the operation's own error.
_NO_CALLER: Final = frozenset({End.LOOP_CLOSED, End.GENERATOR, End.GENERATOR_CLOSED})


@frozen(kw_only=True)
class Machine:
    """One machine, by the service's books."""

    provider: str
    id: str
    stopped: bool


@frozen(kw_only=True)
class Facts:
    """What became of one program.

    Attributes:
        reached: whether the moment came.
        hung: whether it had to be killed.
        events: what it told, in order: its log among them.
        output: what it wrote, tracebacks among it.
        machines: all that were made during the run.
        before: requests that change something, when it was told to end.
        after: those that came since, as method and path.
        bought: creates of the bulk run that the service carried out.
        journal: statuses in the journal, and how many items have each.
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
    def alarms(self) -> list[Mapping[str, Any]]:
        """The client's lines at ERROR."""
        return [
            event
            for event in self.events
            if event.get("log", "").startswith("vcloud.") and event["level"] == "ERROR"
        ]

    def errors(self, *who: str) -> list[Error]:
        """How those ended who failed, groups taken apart."""
        found = [event["error"] for event in self.events if event.get("left") in who]
        return [leaf for error in found if error is not None for leaf in _leaves(error)]


def _leaves(error: Error) -> Iterator[Error]:
    if not error["members"]:
        yield error
    for member in error["members"]:
        yield from _leaves(member)


def flaws(cell: Cell, facts: Facts) -> list[str]:
    """What is wrong; nothing, if the cell passes."""
    if not facts.reached:
        return [f"the moment never came: {_last(facts)}"]
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
            yield from (f"alarmed about nothing: {event['text']}" for event in facts.alarms)
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
    """Stopped or named, one way or the other."""
    for machine in facts.machines:
        if machine.stopped or any(machine.id in event["text"] for event in facts.alarms):
            continue
        if not any(_lost(event, machine.provider) for event in facts.alarms):
            yield f"{machine.id} still runs, and nothing names it: {facts.alarms}"


def _lost(event: Mapping[str, Any], provider: str) -> bool:
    """Whether a line names a create, and says that its outcome is unknown."""
    text = event["text"]
    return bool(_CREATES[provider].search(text) and _UNKNOWN.search(text))


def _stopped(cell: Cell, facts: Facts) -> Iterator[str]:
    if not facts.machines:
        yield "no machine was made, so this shows nothing"
    yield from (f"{one.id} still runs" for one in facts.machines if not one.stopped)
    yield from (f"alarmed about nothing: {event['text']}" for event in facts.alarms)
    if cell.end is not End.CLIENT_CLOSED:
        return
    if cell.moment.name == "block":
        if not any("closed" in event for event in facts.events):
            yield "a call of the block went on although the client was closed"
        yield from (f"leaving the block raised {error}" for error in facts.errors("operation"))
    elif cell.moment.name in ("create", "starting", "assigning"):
        errors = facts.errors("operation")
        for machine in facts.machines:
            if not any(_mentions(error, machine.id) for error in errors):
                yield f"the error has no id {machine.id}: {errors}"


def _named(cell: Cell, facts: Facts, machine: Machine) -> Iterator[str]:
    lines = [event for event in facts.alarms if machine.id in event["text"]]
    if not lines:
        yield f"{machine.id} is not named at ERROR: {facts.alarms}"
    yield from _wrong_loggers(lines, machine.provider)
    errors = _for_callers(cell, facts)
    if errors is None:
        return
    if not any(_tells(error, machine.id) for error in errors):
        yield f"{machine.id} is in no error that the caller gets: {errors}"
    yield from _malformed(errors, machine.provider)


def _unknown(cell: Cell, facts: Facts, provider: str) -> Iterator[str]:
    lines = [event for event in facts.alarms if _lost(event, provider)]
    if not lines:
        yield f"its create is not named at ERROR: {facts.alarms}"
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
    """The errors that somebody gets; None where nobody is left to get one."""
    if cell.end in _NO_CALLER:
        return None
    if cell.end is End.CLIENT_CLOSED:
        return facts.errors("operation", "close")
    errors = facts.errors("caller") or facts.errors("operation")
    if cell.end is End.SIGINT_TWICE and any("KeyboardInterrupt" in one["kinds"] for one in errors):
        return None  # the second one replaced the error, wherever it was by then
    return errors


def _mentions(error: Error, id: str) -> bool:
    return id in error["ids"] or id in error["text"] or any(id in note for note in error["notes"])


def _tells(error: Error, id: str) -> bool:
    """Whether a caller learns the id: of a CancelledError nobody sees the notes."""
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
    # As after a kill: who is interrupted in leaving the run cannot take back an intent.
    if known > sent and cell.end not in (End.LOOP_CLOSED, End.SIGINT_TWICE):
        yield f"{sent} creates were sent, and the journal has {dict(facts.journal)}"
    if len(facts.after) > 0:
        yield f"sent after the end: {facts.after}"


def _unclean(end: End) -> Iterator[str]:
    """The words that must not be said."""
    yield from _UNCLEAN
    if end is not End.LOOP_CLOSED:
        yield _DESTROYED
        # A second Ctrl-C is an exception wherever the program is, in closing its client too.
        if end is not End.SIGINT_TWICE:
            yield _UNCLOSED


def _cleanliness(cell: Cell, facts: Facts) -> Iterator[str]:
    """What was not awaited, not retrieved, or went wrong where nobody could catch it."""
    if cell.fate is Fate.ENDED:
        return  # an exception that is raised anywhere is raised in asyncio and aiohttp, too
    words = list(_unclean(cell.end))
    for event in facts.events:
        for word in words:
            if "log" in event and word in event["text"]:
                yield f"it logged {word!r}: {event['text'][-600:]}"
    for trace in re.split(r"(?m)^(?=Exception ignored|\S+:\d+: \w+Warning)", facts.output):
        if not _excused(cell.end, trace) and any(word in trace for word in words):
            yield f"it said {trace[-600:]!r}"


def _excused(end: End, trace: str) -> bool:
    """Whether it went wrong where the client has no say."""
    if end is End.SIGINT_TWICE and re.search(r"'\w*Loop\.shutdown_", trace):
        return True  # the second one came while the runner closed the loop
    if "Exception ignored" not in trace:
        return False
    if end is End.SIGINT_TWICE and "KeyboardInterrupt" in trace:
        return True
    ours = "/vcloud/" in trace or "ignored GeneratorExit" in trace
    return end is End.LOOP_CLOSED and not ours


def _silence(cell: Cell, facts: Facts) -> Iterator[str]:
    """Over a loop that is closed, nothing can be sent any more."""
    if cell.end is End.LOOP_CLOSED:
        yield from (f"sent after the end: {call}" for call in facts.after)
