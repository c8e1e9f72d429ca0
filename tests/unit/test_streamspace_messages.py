"""The messages of StreamSpace's agents: every documented one, encoded and decoded, and others."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from vcloud._core.codec import Codec
from vcloud.providers.streamspace.agent.messages import (
    CommandResult,
    CommandStatus,
    HibernateSession,
    RegisterAck,
    SessionResult,
    StartSession,
    StopSession,
    UnknownMessage,
    UnreadableMessage,
    VNCProxyError,
)
from vcloud.providers.streamspace.agent.parsing import read_messages, readable_id
from vcloud.providers.streamspace.agent.writing import encode_message

DOCUMENT = Path(__file__).parents[1] / "contract/documents/streamspace.json"
MESSAGES: list[dict[str, Any]] = json.loads(DOCUMENT.read_text(encoding="utf-8"))["messages"]
STRICT = Codec(strict=True)


@pytest.mark.parametrize(
    "message", [pytest.param(message["body"], id=message["name"]) for message in MESSAGES]
)
def test_a_documented_message_is_known_in_every_field_and_written_as_it_was(
    message: dict[str, Any],
) -> None:
    (decoded,) = read_messages(json.dumps(message), codec=STRICT)
    assert not isinstance(decoded, UnknownMessage | UnreadableMessage)
    assert json.loads(encode_message(decoded)) == message
    assert read_messages(encode_message(decoded)) == [decoded]


def test_every_kind_of_documented_message_has_its_own_class() -> None:
    kinds = [type(read_messages(json.dumps(message["body"]))[0]) for message in MESSAGES]
    # A result and a failure are one message with two outcomes.
    assert len(set(kinds)) == len(MESSAGES) - 1


def test_durations_are_go_s_text_both_ways() -> None:
    (ack,) = read_messages(
        '{"type":"register_ack","agent_id":"a","status":"registered","heartbeat_interval":"1m30s"}'
    )
    assert isinstance(ack, RegisterAck)
    assert ack.heartbeat_interval == timedelta(seconds=90)
    assert json.loads(encode_message(ack))["heartbeat_interval"] == "1m30s"
    short = RegisterAck(
        agent_id="a", status="registered", heartbeat_interval=timedelta(milliseconds=20)
    )
    assert json.loads(encode_message(short))["heartbeat_interval"] == "20ms"
    assert read_messages(encode_message(short)) == [short]


def test_several_messages_may_share_a_frame() -> None:
    stop, hibernate = (
        message["body"]
        for message in MESSAGES
        if message["name"].startswith(("terminate", "hibernate"))
    )
    found = read_messages(f"{json.dumps(stop)}\n{json.dumps(hibernate, indent=2)}\n")
    assert {type(message) for message in found} == {StopSession, HibernateSession}
    assert read_messages(" \n") == []


@pytest.mark.parametrize(
    "raw",
    [{"type": "upgrade", "to": 3}, {"type": "command", "command_type": "dance"}, {"type": 1}, {}],
)
def test_an_unknown_message_is_kept_as_it_came(raw: dict[str, Any]) -> None:
    (message,) = read_messages(json.dumps(raw))
    assert message == UnknownMessage(raw=raw)
    assert json.loads(encode_message(message)) == raw


def test_unknown_fields_of_a_known_message_do_no_harm() -> None:
    (message,) = read_messages(
        '{"type":"vnc_proxy_error","proxy_id":"p","session_id":"s","error":"gone","more":1}'
    )
    assert message == VNCProxyError(proxy_id="p", session_id="s", error="gone")


@pytest.mark.parametrize("text", ["{", "[1]", '"text"', "\x00", "nonsense\nand more of it"])
def test_data_that_is_not_a_message_is_unreadable(text: str) -> None:
    (message,) = read_messages(text)
    assert isinstance(message, UnreadableMessage)
    assert re.search("not JSON|no object", str(message))
    assert message.raw == {}


def test_the_rest_of_a_frame_is_read_after_an_unreadable_message() -> None:
    stop = {
        "type": "command",
        "command_type": "stop_session",
        "command_id": "c1",
        "session_id": "s1",
        "data": {"name": "n"},
    }
    frame = [
        "nonsense {",
        json.dumps(stop),
        json.dumps({"type": "register_ack"}) + " x",
        json.dumps(stop | {"data": None}, indent=1),
        '{"type": "news", "cut off": ',
        json.dumps(stop | {"command_id": "c2"}, indent=2),
        "[1]",
    ]
    found = read_messages("\n".join(frame))
    assert [type(message) for message in found] == [
        UnreadableMessage,
        StopSession,
        UnreadableMessage,
        UnreadableMessage,
        UnreadableMessage,
        UnreadableMessage,
        StopSession,
        UnreadableMessage,
    ]


COMMAND = {
    "type": "command",
    "command_type": "stop_session",
    "command_id": "c1",
    "session_id": "s1",
    "data": {"name": "n", "timeout": "30s"},
}


@pytest.mark.parametrize(
    ("spoiled", "problem"),
    [
        ({"data": ...}, "data is missing"),
        ({"data": None}, "data: expected an object"),
        ({"data": "hunter2"}, "data: expected an object"),
        ({"data": {}}, "data.name is missing"),
        ({"data": {"name": "n", "timeout": 30}}, "data.timeout: expected a duration such as 30m"),
        (
            {"data": {"name": "n", "timeout": "hunter2"}},
            "data.timeout: expected a duration such as 30m",
        ),
        ({"session_id": ...}, "session_id is missing"),
        ({"session_id": {}}, "session_id: expected text"),
        (
            {
                "command_type": "start_session",
                "data": {"name": "n", "user": "u", "template": "t", "vnc": {"port": "hunter2"}},
            },
            "data.vnc.port: expected a whole number",
        ),
        (
            {"command_type": "start_session", "data": {"environment": {"PASSWORD": "hunter2"}}},
            "data.name is missing; data.user is missing; data.template is missing",
        ),
    ],
)
def test_a_broken_command_names_the_field_and_shows_no_value(
    spoiled: dict[str, Any], problem: str
) -> None:
    raw = {name: value for name, value in (COMMAND | spoiled).items() if value is not ...}
    (message,) = read_messages(json.dumps(raw))
    assert isinstance(message, UnreadableMessage)
    assert str(message) == f"{raw['command_type']}: {problem}"
    assert "hunter2" not in repr(message)
    assert readable_id(message.raw, "command_id") == "c1"


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ({"command_id": "c1"}, "c1"),
        ({"commandId": "c1"}, "c1"),
        ({"command_id": 7}, "7"),
        ({"command_id": True}, None),
        ({"command_id": ""}, None),
        ({"command_id": None}, None),
        ({"command_id": "x" * 2000}, None),
        ({"command_id": "\ud83d"}, "\ud83d"),
        ({}, None),
    ],
)
def test_an_id_is_read_wherever_it_can_be_used_in_an_answer(
    raw: dict[str, Any], found: str | None
) -> None:
    assert readable_id(raw, "command_id") == found


@pytest.mark.parametrize("interval", [10, "soon", None, [], "9" * 500 + "h"])
def test_a_heartbeat_interval_that_cannot_be_read_counts_as_not_given(interval: object) -> None:
    ack = {"type": "register_ack", "agent_id": "a", "status": "registered"}
    (message,) = read_messages(json.dumps(ack | {"heartbeat_interval": interval}))
    assert message == RegisterAck(agent_id="a", status="registered", heartbeat_interval=None)


def test_invalid_unicode_is_escaped_and_the_rest_is_kept() -> None:
    error = VNCProxyError(proxy_id="p", session_id="s", error="no such file: caf\udce9")
    assert json.loads(encode_message(error))["error"] == "no such file: caf\\udce9"


def test_camel_case_as_the_published_server_writes_is_understood() -> None:
    (start,) = read_messages(
        '{"type":"command","command_type":"start_session","commandId":"c","sessionId":"s",'
        '"data":{"name":"n","user":"u","template":"t","persistentHome":true}}'
    )
    assert isinstance(start, StartSession)
    assert (start.command_id, start.session_id, start.data.persistent_home) == ("c", "s", True)


def test_none_is_not_sent() -> None:
    result = CommandResult(
        command_id="c",
        agent_id="a",
        status=CommandStatus.COMPLETED,
        result=SessionResult(vnc_port=5900),
    )
    assert json.loads(encode_message(result)) == {
        "type": "command_result",
        "command_id": "c",
        "agent_id": "a",
        "status": "completed",
        "result": {"vnc_port": 5900},
    }
