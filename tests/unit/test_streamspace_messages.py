"""The messages of StreamSpace's agents: every documented one, there and back, and what is not documented."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from vcloud import DecodeError
from vcloud._core.codec import Codec
from vcloud.providers.streamspace.messages import (
    CommandResult,
    CommandStatus,
    HibernateSession,
    RegisterAck,
    SessionResult,
    StartSession,
    StopSession,
    UnknownMessage,
    VNCProxyError,
    decode_message,
    encode_message,
)

DOCUMENT = Path(__file__).parents[1] / "contract/documents/streamspace.json"
MESSAGES: list[dict[str, Any]] = json.loads(DOCUMENT.read_text(encoding="utf-8"))["messages"]
STRICT = Codec(strict=True)


@pytest.mark.parametrize(
    "message", [pytest.param(message["body"], id=message["name"]) for message in MESSAGES]
)
def test_a_documented_message_is_known_in_every_field_and_written_as_it_was(
    message: dict[str, Any],
) -> None:
    (decoded,) = decode_message(json.dumps(message), codec=STRICT)
    assert not isinstance(decoded, UnknownMessage)
    assert json.loads(encode_message(decoded)) == message
    assert decode_message(encode_message(decoded)) == [decoded]


def test_every_kind_of_documented_message_has_its_own_class() -> None:
    kinds = [type(decode_message(json.dumps(message["body"]))[0]) for message in MESSAGES]
    # A result and a failure are one message with two outcomes.
    assert len(set(kinds)) == len(MESSAGES) - 1


def test_durations_are_go_s_text_both_ways() -> None:
    (ack,) = decode_message(
        '{"type":"register_ack","agent_id":"a","status":"registered","heartbeat_interval":"1m30s"}'
    )
    assert isinstance(ack, RegisterAck)
    assert ack.heartbeat_interval == timedelta(seconds=90)
    assert json.loads(encode_message(ack))["heartbeat_interval"] == "1m30s"
    short = RegisterAck(
        agent_id="a", status="registered", heartbeat_interval=timedelta(milliseconds=20)
    )
    assert json.loads(encode_message(short))["heartbeat_interval"] == "20ms"
    assert decode_message(encode_message(short)) == [short]


def test_several_messages_may_share_a_frame() -> None:
    stop, hibernate = (
        message["body"]
        for message in MESSAGES
        if message["name"].startswith(("terminate", "hibernate"))
    )
    found = decode_message(f"{json.dumps(stop)}\n{json.dumps(hibernate, indent=2)}\n")
    assert {type(message) for message in found} == {StopSession, HibernateSession}
    assert decode_message(" \n") == []


@pytest.mark.parametrize(
    "raw",
    [{"type": "upgrade", "to": 3}, {"type": "command", "command_type": "dance"}, {"type": 1}, {}],
)
def test_an_unknown_message_is_kept_as_it_came(raw: dict[str, Any]) -> None:
    (message,) = decode_message(json.dumps(raw))
    assert message == UnknownMessage(raw=raw)
    assert json.loads(encode_message(message)) == raw


def test_unknown_fields_of_a_known_message_do_no_harm() -> None:
    (message,) = decode_message(
        '{"type":"vnc_proxy_error","proxy_id":"p","session_id":"s","error":"gone","more":1}'
    )
    assert message == VNCProxyError(proxy_id="p", session_id="s", error="gone")


@pytest.mark.parametrize("text", ["{", "[1]", '"text"', '{"type":"register_ack"} x', "\x00"])
def test_what_is_no_message_is_a_decode_error(text: str) -> None:
    with pytest.raises(DecodeError, match="agent's socket|contract"):
        decode_message(text)


def test_a_broken_command_is_named_and_its_contents_are_not_shown() -> None:
    broken = '{"type":"command","command_type":"start_session","data":{"environment":{"PASSWORD":"hunter2"}}}'
    with pytest.raises(DecodeError, match="^command: ") as caught:
        decode_message(broken)
    assert "hunter2" not in str(caught.value)


def test_camel_case_as_the_published_server_writes_is_understood() -> None:
    (start,) = decode_message(
        '{"type":"command","command_type":"start_session","commandId":"c","sessionId":"s",'
        '"data":{"name":"n","user":"u","template":"t","persistentHome":true}}'
    )
    assert isinstance(start, StartSession)
    assert (start.command_id, start.session_id, start.data.persistent_home) == ("c", "s", True)


def test_what_is_none_is_not_sent() -> None:
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
