"""Any header value or message of an agent is understood, ignored or a typed error."""

from __future__ import annotations

import math
import pickle
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from tests.unit.hostile import DATES, HEADERS, LITERALS, NUMBERS, STEADY, TEXTS, spoiled
from vcloud._core.decoding.plain_json import MAX_DEPTH
from vcloud._core.limits.allowance import Allowance
from vcloud._core.limits.headers import limits, retry_after
from vcloud._core.timing.server_clock import server_time
from vcloud.providers.streamspace.agent.messages import (
    KINDS,
    UnknownMessage,
    UnreadableMessage,
)
from vcloud.providers.streamspace.agent.parsing import MAX_SCANS, MAX_UNREADABLE, read_messages

NOW = 1_771_000_000.0


@settings(STEADY, max_examples=250)
@given(HEADERS)
def test_any_headers_give_finite_numbers_or_none(headers: dict[str, str]) -> None:
    given = CIMultiDict(headers)
    wait = retry_after(given, now=NOW)
    assert wait is None or 0 <= wait < math.inf
    at = server_time(given)
    assert at is None or math.isfinite(at)
    seen = limits(given, now=NOW)
    if seen is not None:
        assert seen.remaining >= 0
        assert seen.reset_in is None or 0 <= seen.reset_in < math.inf


@settings(STEADY, max_examples=100)
@given(st.lists(st.tuples(HEADERS, st.booleans()), min_size=1, max_size=6))
def test_an_allowance_accepts_any_sequence_of_events(
    answers: list[tuple[dict[str, str], bool]],
) -> None:
    allowance = Allowance()
    for now, (headers, refused) in enumerate(answers):
        given = CIMultiDict(headers)
        allowance.sent(float(now))
        if refused:
            allowance.pause(retry_after(given, now=NOW) or 0.0, given, float(now), NOW)
        else:
            allowance.note(given, float(now), NOW)
        allowance.ended(float(now))
        assert allowance.delay(float(now)) >= 0


@settings(STEADY, max_examples=300)
@given(DATES | NUMBERS | TEXTS | st.text("0123456789 :,+-GMTOctWed", max_size=40))
def test_any_date_is_a_time_or_none(text: str) -> None:
    for headers in ({"Date": text}, {"Retry-After": text}, {"Retry-After": text, "Date": text}):
        server_time(headers)
        retry_after(headers, now=NOW)


@pytest.mark.parametrize("value", ["9" * 13, "9" * 30, "9" * 5000])
def test_a_retry_after_too_long_to_reckon_with_is_not_undercut(value: str) -> None:
    for name in ("Retry-After", "Retry-After-Ms"):
        assert (retry_after({name: value}, now=NOW) or 0) > 1e9


# -- messages --------------------------------------------------------------------------------------

#: A message of each kind, with what any of them may have.
MESSAGES = [
    {
        "type": name, "command_type": command, "command_id": "c", "session_id": "s",
        "agent_id": "a", "proxy_id": "p", "status": "completed",
        "platform": "docker", "region": "eu", "heartbeat_interval": "30s",
        "timestamp": "2023-09-15T06:42:36Z", "error": "e",
        "capacity": {"max_cpu": 8, "current_sessions": 1}, "metadata": {"a": [1]},
        "state": "failed", "message": "gone",
        "result": {"session_id": "s", "vnc_port": 5900, "started_at": "2023-09-15T06:42:36Z"},
        "data": {
            "name": "n", "user": "u", "template": "t", "environment": {"A": "b"}, "timeout": "30s",
            "resources": {"cpu": "1"},
            "vnc": {"port": 5900}, "graceful": True,
        },
    }
    for name, command in KINDS
]  # fmt: skip


def test_the_unchanged_messages_are_valid() -> None:
    import json

    for message in MESSAGES:
        (found,) = read_messages(
            json.dumps({key: value for key, value in message.items() if value is not None})
        )
        assert not isinstance(found, UnknownMessage | UnreadableMessage)


@settings(STEADY, max_examples=300)
@given(
    st.sampled_from(MESSAGES).flatmap(spoiled).map(bytes.decode)
    | LITERALS
    | st.text(st.characters(codec=None), max_size=30)
)
def test_any_text_on_an_agents_socket_is_messages_some_of_them_unreadable(text: str) -> None:
    for message in read_messages(text):
        assert repr(pickle.loads(pickle.dumps(message))) == repr(message)
        assert 0 < len(str(message)) < 5000 or not isinstance(message, UnreadableMessage)


def test_a_message_that_is_nested_too_deep_is_unreadable() -> None:
    for levels, fits in ((MAX_DEPTH - 2, True), (MAX_DEPTH, False), (400, False), (100_000, False)):
        text = '{"type":"news","more":' + "[" * levels + "]" * levels + "}"
        (found,) = read_messages(text)
        assert isinstance(found, UnknownMessage) is fits
        if not fits:
            assert isinstance(found, UnreadableMessage)
            assert re.search("nested|not JSON", found.problem)


def test_many_messages_in_one_frame_are_read_in_one_pass() -> None:
    # With a copy of the rest for each of them, this would take minutes.
    assert len(read_messages('{"type":"x"}\n' * 50_000)) == 50_000
    # Each of these may be read to the frame's end, so there is a bound to how many are.
    assert len(read_messages('{"type":\n' * 50_000)) <= MAX_SCANS + 1
    assert len(read_messages("{x\n" * 50_000)) == MAX_UNREADABLE + 1
