"""The README's tables of bounds are complete in each row, and have the figures of the code."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from inspect import signature
from pathlib import Path
from typing import Final

import pytest

from vcloud import Endpoint, HMACAuth, RetryPolicy
from vcloud._core import (
    arguments,
    closing,
    codec,
    process_limits,
    refused_credentials,
    request,
    scalars,
    waiting,
)
from vcloud._core.connections import kept_connections, resolver
from vcloud._core.decoding import converter, plain_json, short_fields
from vcloud._core.limits import cooldown, headers
from vcloud._core.limits.shared_budget import counter, redis_store, store_access
from vcloud._core.paging import pages
from vcloud._core.redaction import sent_secrets, spellings
from vcloud._core.timing import clock, running_time, server_clock, timeouts
from vcloud._core.websocket import receiver, socket
from vcloud.auth import bearer
from vcloud.auth.token_store import file_store, sharing, token_file
from vcloud.auth.token_store import store as auth_store
from vcloud.bulk import entry, store
from vcloud.emulator import __main__ as emulator_command
from vcloud.emulator import calls
from vcloud.emulator.admin import routes
from vcloud.emulator.desktops import service
from vcloud.emulator.faults import limits
from vcloud.emulator.net import connection as emulator_connection
from vcloud.emulator.net import hosts
from vcloud.emulator.streamspace.control import rfb
from vcloud.emulator.vagon import service as emulator_vagon
from vcloud.emulator.x11 import desktop, processes, supervisor
from vcloud.emulator.x11 import vnc as x11_vnc
from vcloud.errors import details, text, wording
from vcloud.providers import vagon
from vcloud.providers.desktops import actions, requests, typed_text
from vcloud.providers.desktops import errors as desktops_errors
from vcloud.providers.streamspace.agent import (
    command_limits,
    commands,
    connection,
    connections,
    hooks,
    messages,
    outbox,
    parsing,
    reconnect,
    result_cache,
    session_reports,
    worker,
)
from vcloud.providers.streamspace.agent.documented import vnc_viewers as documented_viewers
from vcloud.providers.streamspace.agent.published import (
    approval,
    vnc_batches,
    vnc_desktop,
    vnc_viewers,
)
from vcloud.providers.streamspace.agent.published import link as published_link
from vcloud.providers.streamspace.agent.remembering import memory, opening
from vcloud.providers.streamspace.realtime import (
    log_overlap,
    log_replay,
    log_stream,
    vnc_admission,
    vnc_forward,
    vnc_published_opening,
    vnc_published_socket,
    vnc_refusal,
    vnc_relay,
)

ROOT: Final = Path(__file__).parents[2]
SECTION: Final = (
    (ROOT / "README.md")
    .read_text(encoding="utf-8")
    .partition("\n## Bounds\n")[2]
    .partition("\n## ")[0]
)
COLUMNS: Final = ("bound", "default", "setting", "beyond it", "reason")
YEAR: Final = 365.25 * 86_400


def rows() -> dict[str, list[str]]:
    """The other cells of each row, by the first one."""
    lines = [line for line in SECTION.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    found = [row for row in cells if row[0] != "bound" and not row[0].startswith("---")]
    assert len({row[0] for row in found}) == len(found), "a bound stands there twice"
    return {row[0]: row[1:] for row in found}


ROWS: Final = rows()


def figure(value: float | Decimal) -> str:
    """A number as the README writes it: ``1 024``."""
    assert value == int(value)
    return f"{int(value):,}".replace(",", " ")


def kib(value: float) -> str:
    return f"{figure(value / 1024)} KiB"


def mib(value: float) -> str:
    return f"{figure(value / 1024**2)} MiB"


ENDPOINT: Final = Endpoint(auth=HMACAuth("a key", "a secret"))
#: What must stand in the column of defaults, by the beginning of the first column.
FIGURES: Final[dict[str, tuple[str, ...]]] = {
    "an answer, in bytes": (mib(ENDPOINT.max_response),),
    "pages that one iteration": (figure(ENDPOINT.max_pages),),
    "one attempt, one connection": (
        f"{figure(ENDPOINT.timeout)}, {figure(ENDPOINT.connect_timeout)}",
    ),
    "a kept connection": (figure(kept_connections.MAX_AGE),),
    "the time of day gets ahead": (figure(clock.SUSPENDED),),
    "names that this process looks up": (figure(resolver.THREADS),),
    "an answer of a [token store]": (
        f"{figure(sharing.STORE_TIMEOUT)}; {figure(file_store.WRITE_WAIT)}",
    ),
    "a process that logs in for others": (figure(auth_store.LOCK_LASTS),),
    "tokens in a file that": (figure(token_file.MAX_TOKENS),),
    "a wait for a file descriptor": (figure(process_limits.MAX_WAIT),),
    "calls that try again at once": (
        figure(process_limits.MAX_RETRIES_AT_ONCE),
        f"{process_limits.RETRY_INTERVAL:g} s",
    ),
    "turns of the event loop": (f"{timeouts.MAX_ITERATIONS}; {figure(timeouts.GRACE * 1000)}",),
    "a wait in the queue": (figure(waiting.LONG), figure(waiting.LOG_INTERVAL)),
    "attempts of one call": (figure(RetryPolicy().attempts),),
    "requests in flight": (figure(ENDPOINT.concurrency),),
    "`Retry-After` that is waited for": (figure(RetryPolicy().max_retry_after),),
    "no answer to the request that goes first": (figure(cooldown.PROBE_TIMEOUT),),
    "all that is to be finished": (figure(ENDPOINT.cleanup_timeout),),
    "what a pause of the process": (f"{running_time.SLICE:g}", f"1/{running_time.SLICES}"),
    "the look after a": (figure(ENDPOINT.timeout),),
    "frames that are read": (figure(receiver.FRAMES_PER_TURN),),
    "connections at a real desktop's VNC port": (figure(x11_vnc.MOST_CONNECTIONS),),
    "the time to which": (f"{datetime.fromtimestamp(routes.LATEST, UTC).year}",),
    "a message, in bytes": (mib(ENDPOINT.max_message),),
    "silence": (figure(ENDPOINT.heartbeat),),
    "a refusal (any status": (kib(request.MAX_REFUSAL),),
    "a refusal under a status of success": (
        kib(request.MAX_REFUSAL / 2),
        figure(short_fields.MAX_TEXT),
    ),
    "levels of JSON": (figure(plain_json.MAX_DEPTH),),
    "errors of one list": (figure(converter.MAX_ERRORS),),
    "items of one page": (figure(codec.MAX_BROKEN),),
    "values of an answer that is not": (figure(plain_json.MAX_COMMAS),),
    "pages in a row": (figure(pages.STALE),),
    "an id of a command": (figure(scalars.MAX_ID),),
    "an id": (figure(scalars.MAX_ID),),
    "ids, amounts and durations": (figure(scalars.MAX_REMEMBERED),),
    "a whole number": (f"{(scalars.MAX_NUMBER + 1).bit_length()} bits",),
    "an amount": (
        f"{(scalars.MAX_NUMBER + 1).bit_length()} bits",
        f"{scalars.MAX_DECIMAL_PLACES} decimal places",
        f"{scalars.MAX_NUMBER_TEXT} characters",
    ),
    "a duration, or a number of attempts": (f"{figure(entry.MAX_SECONDS / YEAR)} years",),
    "a duration": (f"{int(scalars.MAX_DURATION.total_seconds() / YEAR)} years",),
    "an answer, and its headers, that are searched": (kib(sent_secrets.SEARCHED),),
    "a token that a login gives": (kib(bearer.MAX_TOKEN),),
    "encodings within one another": (figure(spellings.DEPTH),),
    "decoded forms": (figure(spellings.TEXTS),),
    "a credential that is searched": (
        f"{sent_secrets.SHORTEST} characters",
        f"from {sent_secrets.SHORTEST_PART}",
    ),
    "the text of any error": (figure(wording.MAX_TEXT),),
    "the service's words": (figure(signature(text.shortened).parameters["most"].default),),
    "ids and states": (figure(text.MAX_WORD),),
    "`error.url`": (figure(wording.MAX_URL),),
    "`error.details`": (
        f"{details.MAX_DETAILS} values",
        f"{figure(details.MAX_DETAIL_TEXT)} characters",
        f"{details.MAX_LEVELS} levels",
    ),
    "an object's key": (figure(converter.MAX_KEY),),
    "violations of a schema": (
        figure(desktops_errors.MAX_ISSUES),
        f"{desktops_errors.MAX_STEPS} steps",
    ),
    "a typed text or a command": (
        f"{desktops_errors.MAX_PART} characters",
        f"{desktops_errors.MAX_WHOLE} of",
    ),
    "a message in which a used nonce": (figure(vagon.MAX_WORDS),),
    "errors that an agent or a forward": (
        figure(hooks.KEPT_ERRORS),
        figure(vnc_forward.KEPT_ERRORS),
    ),
    "one attempt of an action": (figure(requests.TIMEOUT),),
    "`Retry-After` as a number": (f"{figure(headers.MAX_RETRY_AFTER / YEAR)} years",),
    "the end of a rate limit": (f"{figure(headers.MAX_WINDOW / 86_400)} days",),
    "a difference of clocks": (f"{figure(HMACAuth.MAX_OFFSET / 86_400)} day",),
    "refused credentials": (figure(refused_credentials.HOLD),),
    "a [shared budget]": (figure(counter.MAX_CONCURRENT),),
    "a process that waits in that store": (figure(redis_store.GRACE),),
    "that store does not answer": (
        figure(counter.STORE_TIMEOUT),
        figure(store_access.SHORT_STORE_TIMEOUT),
    ),
    "closing the connections": (figure(closing.CONNECTIONS),),
    "a typed text in one request": (figure(typed_text.MAX_CHARACTERS),),
    "a wait of a desktop": (figure(requests.MAX_WAIT),),
    "a number that is given for an id": (f"{arguments.MAX_DIGITS} digits",),
    "another program": (figure(store.BUSY_TIMEOUT),),
    "the answer to a close": (
        figure(socket.CLOSE_TIMEOUT),
        figure(receiver.CLOSE_TIMEOUT),
        figure(vnc_relay.FLUSH_TIMEOUT),
    ),
    "an account's balance": (figure(emulator_vagon.MOST),),
    "a desktop's lifetime": (f"{figure(service.LONGEST_TIMEOUT / (365 * 86_400_000))} years",),
    "the end of a real desktop": (figure(desktop.CLOSING),),
    "clicks": (figure(actions.MAX_CLICKS),),
    "what waits unread": (figure(receiver.MAX_MESSAGES),),
    "a peer that takes nothing": (figure(socket.STALL_TIMEOUT),),
    "log lines asked for": (figure(log_replay.EXTRA_LINES), figure(log_replay.MAX_REMEMBERED)),
    "where a time is looked for": (
        f"{log_replay.STAMP} characters",
        f"{log_replay.LOOKED_BACK} lines",
    ),
    "log lines remembered": (figure(log_replay.MAX_REMEMBERED), figure(log_overlap.DIGEST_ABOVE)),
    "silence after which lines of a log": (figure(log_stream.QUIET_PERIOD),),
    "log text held": (mib(log_stream.MAX_BUFFERED),),
    "log lines looked at": (figure(log_stream.LINES_PER_TURN),),
    "what waits unread in a tunnel": (
        mib(vnc_published_socket.MAX_UNREAD),
        figure(receiver.MAX_MESSAGES),
    ),
    "silence in a tunnel": (
        figure(vnc_published_socket.FIRST_QUESTION),
        f"every {figure(vnc_published_socket.NEXT_QUESTION)}",
    ),
    "a viewer of a published server": (figure(vnc_published_opening.SILENCE),),
    "desktops that an agent": (figure(vnc_viewers.MAX_DESKTOPS),),
    "what a viewer sends": (mib(vnc_desktop.MAX_WAITING),),
    "a picture in one message": (kib(vnc_batches.MAX_MESSAGE),),
    "viewers of `forward_vnc`": (figure(vnc_admission.MAX_SILENT),),
    "time until a viewer": (figure(vnc_admission.SILENCE_TIMEOUT),),
    "the reason that a viewer": (figure(vnc_refusal.MAX_REASON),),
    "such a viewer": (figure(vnc_relay.VERSION_TIMEOUT),),
    "commands in flight": (
        figure(command_limits.MAX_IN_FLIGHT),
        mib(command_limits.MAX_IN_FLIGHT_SIZE),
    ),
    "an agent's connection that counts": (figure(reconnect.STABLE_AFTER),),
    "connections of an agent in a row": (figure(reconnect.DUPLICATE_AFTER),),
    "a message of a published server": (mib(published_link.MAX_MESSAGE),),
    "commands that an agent of a published": (figure(memory.MAX_COMMANDS),),
    "sessions whose last states": (
        f"{figure(session_reports.MAX_SESSIONS)}, and {figure(session_reports.MAX_OVER)} that",
    ),
    "changes that wait while": (figure(memory.MAX_UNWRITTEN),),
    "something else uses the file of": (
        figure(opening.BUSY_TIMEOUT),
        figure(memory.CLOSE_TIMEOUT),
    ),
    "a pending agent asks again": (figure(approval.ASK_AGAIN),),
    "an agent's connection to a published": (
        f"{figure(published_link.SHORT_LIVED)}; {figure(reconnect.DUPLICATE_AFTER)}",
    ),
    "a pause that a published server": (figure(connections.MAX_PAUSE),),
    "a heartbeat is sent before": (figure(connection.DRAINING_TIMEOUT),),
    "answers remembered": (figure(result_cache.MAX_RESULTS), mib(result_cache.MAX_RESULT_BYTES)),
    "pictures delivered": (
        f"{documented_viewers.MAX_PER_SESSION} of one session",
        f"{documented_viewers.MAX_CONNECTIONS} in all",
    ),
    "a VNC server's connection": (figure(documented_viewers.CONNECT_TIMEOUT),),
    "what a service's `Date` shifts": (figure(server_clock.TOLERANCE),),
    "seconds between heartbeats": (
        (
            f"{figure(connection.MIN_HEARTBEAT_INTERVAL)} to "
            f"{figure(connection.MAX_HEARTBEAT_INTERVAL)}"
        ),
        f"{figure(connection.HEARTBEAT_INTERVAL)} when",
    ),
    "the answer to a registration": (figure(connection.REGISTER_TIMEOUT),),
    "commands wait for": (figure(connection.RECONCILE_TIMEOUT),),
    "what waits to be sent": (figure(outbox.MAX_UNSENT), mib(outbox.MAX_UNSENT_SIZE)),
    "one message of an agent": (
        f"{figure(outbox.MAX_MESSAGE / 1024)} Ki",
        figure(commands.MAX_REASON),
        figure(documented_viewers.MAX_REASON),
        f"code {commands.MAX_CODE}",
    ),
    "the name of a message": (figure(messages.MAX_NAME),),
    "unreadable messages": (figure(parsing.MAX_UNREADABLE),),
    "readings of a frame": (f"{parsing.MAX_SCANS} times",),
    "messages taken in a row": (
        figure(connection.MESSAGES_PER_TURN),
        kib(connection.MESSAGES_PER_TURN * connection.CHARACTERS_PER_MESSAGE),
    ),
    "calls of an agent's hooks": (figure(hooks.MAX_HOOK_CALLS),),
    "the last results": (figure(worker.FLUSH_TIMEOUT),),
    "a request's body": (mib(emulator_connection.MAX_BODY),),
    "a fault's body": (f"{figure(limits.MOST_SIZE / limits.MEGABYTE)} MB",),
    "levels of `Fault.deep`": (figure(limits.MOST_LEVELS),),
    "a value of `Fault.unknown_values`": (figure(limits.LONGEST_VALUE),),
    "how long a fault": (figure(limits.LONGEST),),
    "seconds that an answer speaks of": (figure(limits.FARTHEST),),
    "the body of an order": (mib(routes.MOST_BYTES),),
    "rules": (
        f"{figure(routes.MOST_RULES)} at once",
        f"{figure(routes.LONGEST_ROUTE)} characters",
    ),
    "what a refusal quotes": (figure(hosts.SHOWN),),
    "calls in the ledger": (figure(emulator_command.KEEP_CALLS),),
    "a body in the ledger": (figure(calls.LONGEST_BODY),),
    "events that a desktop's screen": (figure(rfb.EVENTS),),
    "a text that a viewer pastes": (mib(rfb.MAX_TEXT),),
    "a command on a real desktop": (kib(processes.LONGEST_ARGUMENT),),
    "what a command on a real desktop prints": (mib(supervisor.OUTPUT_LIMIT),),
}


def beginning(bound: str) -> str | None:
    """The longest beginning of a bound's name that has figures."""
    return max((one for one in FIGURES if bound.startswith(one)), key=len, default=None)


@pytest.mark.parametrize("bound", ROWS)
def test_a_row_has_all_columns_and_the_figures_of_the_code(bound: str) -> None:
    cells = ROWS[bound]
    assert len(cells) == len(COLUMNS) - 1
    assert all(cells), "an empty cell"
    for said in FIGURES.get(beginning(bound) or "", ()):
        alone = rf"(?<!\d)(?<!\d ){re.escape(said)}(?!\d| \d{{3}})"
        assert re.search(alone, cells[0]), f"{said} is not in {cells[0]!r}"


def test_every_figure_has_its_row() -> None:
    assert {beginning(bound) for bound in ROWS} - {None} == set(FIGURES)


def test_a_row_without_figures_is_that_of_aiohttp_or_of_no_constant() -> None:
    assert {bound for bound in ROWS if beginning(bound) is None} == {
        "sessions that an agent starts or wakes at once",
        "one call with all its repeats",
        "the head of an answer",
        "a numeric code of a refusal",
        "redirects",
        "a wait that that store asks for",
        "readings of the kernel's table of sockets",
    }
