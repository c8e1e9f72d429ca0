"""The messages that an agent of the published server reads: a strange one harms no other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.published_plane import command, published_plane
from tests.integration.realtime_plane import ready
from tests.integration.realtime_server import settled
from vcloud.providers.streamspace.agent.messages import (
    Command,
    StartSession,
    UnknownMessage,
    UnreadableMessage,
)
from vcloud.providers.streamspace.agent.parsing import iter_messages
from vcloud.providers.streamspace.agent.published.envelope import read
from vcloud.providers.streamspace.agent.published.vnc_messages import VNCClose, VNCData

STRANGE: list[Any] = [
    None, True, 0, -1, 10**30, 1.5, "", " ", "\ud83d", "a/b%c", "über", "x" * 100_000,
    [], [1], [[[]]], {}, {"a": None}, {"spec": 7}, {"spec": {"vnc": 7, "baseImage": []}},
]  # fmt: skip
FIELDS = (
    "sessionId", "user", "template", "templateManifest", "namespace", "memory", "cpu",
    "persistentHome", "idleTimeout", "maxSessionDuration", "tags",
)  # fmt: skip


def found(message: Any) -> Any:
    ((one, size),) = iter_messages(json.dumps(message), read=read)
    assert size >= 0
    return one


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("field", FIELDS)
def test_a_field_may_hold_anything(field: str, value: Any) -> None:
    read_ = found(command("start_session", "c1", **{field: value}))
    assert isinstance(read_, StartSession | UnreadableMessage)
    if isinstance(read_, UnreadableMessage):
        assert read_.raw["command_id"] == "c1"
        assert str(read_).startswith("start_session: ")


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("field", ["commandId", "action", "payload"])
def test_so_may_a_command(field: str, value: Any) -> None:
    message = command("stop_session", "c1")
    message["payload"][field] = value
    assert isinstance(found(message), Command | UnreadableMessage | UnknownMessage)


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("field", ["type", "payload", "timestamp"])
def test_so_may_an_envelope(field: str, value: Any) -> None:
    message = command("stop_session", "c1") | {field: value}
    assert isinstance(found(message), Command | UnreadableMessage | UnknownMessage)


@pytest.mark.parametrize("value", STRANGE, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("field", ["sessionId", "data", "reason"])
@pytest.mark.parametrize("kind", ["vnc_data", "vnc_close"])
def test_so_may_what_is_said_of_viewers(kind: str, field: str, value: Any) -> None:
    payload = {"sessionId": "s1", "data": "QUJD", "reason": "client_disconnect"} | {field: value}
    read_ = found({"type": kind, "timestamp": "x", "payload": payload})
    assert isinstance(read_, VNCData | VNCClose | UnreadableMessage)


def test_a_manifest_that_is_too_deep_or_no_json_is_left_out() -> None:
    for text in ("[" * 100_000, "{not json", '{"a":' * 1000 + "1" + "}" * 1000, "[1]"):
        read_ = found(command("start_session", "c1", templateManifest=text))
        assert isinstance(read_, StartSession)
        assert (read_.data.manifest, read_.data.image, read_.data.vnc) == (None, None, None)


async def test_strange_messages_do_not_end_the_connection() -> None:
    handler = ready()
    async with published_plane() as control, control.agent(handler):
        for value in STRANGE:
            await control.send({"type": "command", "payload": value}, {"type": value})
            await control.send(command("stop_session", "c0", sessionId=value))
        await control.sockets[-1].send_str("nonsense\n{" + "[" * 1000)
        await control.command("start_session", "c1")
        await settled(lambda: "c1" in control.ended())
        assert len(control.sockets) == 1
