"""Answers without some fields: a call needs only its own, and both decoders agree."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.contract_harness import PROVIDERS, CannedTransport
from tests.unit.fields import fields
from tests.unit.hostile import STEADY, Case, answered, cases
from vcloud import DecodeError, VCloudError
from vcloud._core.codec import Codec
from vcloud._core.decoding.spelled import Spelled, is_spelled

CODEC = Codec()
#: What each call is made for, by the path in its answer; of a list, the items and the ids by which
#: one acts on them.
NEEDED = {
    "computers": {
        "machines.list": {"machines", "machines[].id"},
        "machines.create": {"machines", "machines[].id"},
        "machines.update": {"id"},
        "machines.available_machine_types": {"machine_types", "machine_types[].id"},
        "machines.access": {"attributes.connection_link", "attributes"},
        "machines.sessions.list": {"sessions", "sessions[].id"},
        "machines.tasks.list": {"tasks", "tasks[].id"},
        "machines.tasks.create": {"task", "task.id"},
        "machines.tasks.delete": {"task.id"},
        "software.list": {"software", "software[].id"},
        "machines.permission_fields": {"permission_fields", "permission_fields[].name"},
    },
    "streams": {
        "applications.list": {"applications", "applications[].id"},
        "applications.update": {"id"},
        "streams.list": {"streams", "streams[].id"},
        "streams.create": {"id"},
        "streams.get": {"id"},
        "streams.update": {"id"},
        "streams.machines.list": {"machines", "machines[].id"},
        "streams.start_machine": {"id"},
        "streams.assign_machine": {"connection_link", "machine", "machine.id"},
        "users.create": {"id"},
        "machines.list": {"machines", "machines[].id"},
        "machines.get": {"id"},
        "sessions.list": {"sessions", "sessions[].id"},
    },
    "streamspace": {
        "auth.login": {"token"},
        # Nothing else shows that it was the service that answered.
        "auth.logout": {"message"},
        "agents.list": {"agents", "agents[].agent_id"},
        "agents.get": {"agent_id"},
        "agents.update": {"agent_id", "status"},
        "agents.stats": {"total_agents"},
        "sessions.list": {"sessions"},
        "sessions.update": {"state", "id"},
        "sessions.logs": {"logs"},
        "sessions.create": {"id"},
        "sessions.get": {"id"},
        "templates.list": {"templates", "templates[].name"},
        "templates.get": {"name"},
        "users.list": {"users", "users[].id"},
        "users.create": {"id"},
    },
    "streamspace-published": {
        "auth.login": {"token"},
        "auth.refresh": {"token"},
        "agents.list": {"agents", "agents[].id", "agents[].agentId"},
        "agents.get": {"id", "agentId"},
        # Nothing else shows that it was the service that answered.
        "agents.delete": {"message", "agentId"},
        "agents.reject": {"message", "agentId"},
        "agents.approve": {"agentId", "apiKey"},
        "agents.generate_key": {"agentId", "apiKey"},
        "agents.rotate_key": {"agentId", "apiKey"},
        "agents.command": {"id", "commandId"},
        "sessions.list": {"sessions", "sessions[].name"},
        "sessions.create": {"name"},
        "sessions.get": {"name"},
        "sessions.hibernate": {"name"},
        "sessions.wake": {"name"},
        "sessions.delete": {"name"},
        "sessions.set_tags": {"id"},
        "templates.list": {"templates", "templates[].id", "templates[].name"},
        "templates.get": {"id", "name"},
        "templates.create": {"id", "name"},
        "users.list": {"users", "users[].id"},
        "users.create": {"id"},
        "users.me": {"id"},
    },
    "desktops": {
        "desktop.get": {"id", "status"},
        "desktop.create": {"id"},
        "desktop.stop": {"status"},
        # Nothing else shows that it was the service that answered, and it always says this.
        "desktop.computer_action": {"output", "base64_image"},
    },
}
#: Of a success, the envelope's own key: what it says is not for the decoder.
DIALECTS = "client_code"


class Noting(Codec):
    """Keeps what is to be decoded, and decodes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.wires: list[type[Any]] = []

    def decode(self, body: bytes, wire: type[Any], *, sensitive: bool = False) -> Any:
        self.wires.append(wire)
        raise DecodeError("noted")


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def outcome(runner: asyncio.Runner, case: Case, answer: object, codec: Codec | None = None) -> Any:
    """What comes of a documented call that gets this answer."""
    body = json.dumps(answer).encode()
    # Logging in and out changes a client, and a codec that notes is another one.
    if codec is not None or case.operation.startswith("auth."):
        client, _ = answered(case.provider, 200, {}, body, codec=codec)
    else:
        client, transport = shared(case.provider.name)
        transport.body = body

    async def call() -> object:
        try:
            return await case.call(client)
        except VCloudError as error:
            return error

    return runner.run(call())


@cache
def shared(api: str) -> tuple[Any, CannedTransport]:
    """One client for all calls to a provider; each is given its answer."""
    return answered(PROVIDERS[api], 200, {}, b"")


def wire(runner: asyncio.Runner, case: Case, answer: object) -> type[Any] | None:
    """The class that this answer is decoded into."""
    codec = Noting()
    outcome(runner, case, answer, codec)
    return codec.wires[0] if codec.wires else None


def places(value: Any, path: str = "") -> Iterator[tuple[dict[str, Any], str, str]]:
    """Every field of an answer: its object, its name, and its path as in ``NEEDED``."""
    if isinstance(value, dict):
        for name, inner in list(value.items()):
            below = f"{path}.{name}" if path else name
            yield value, name, below
            yield from places(inner, below)
    elif isinstance(value, list):
        for inner in value:
            yield from places(inner, f"{path}[]")


def without(answer: Any, paths: dict[str, str]) -> Any:
    """The answer without these fields: ``absent`` or ``null``."""
    changed = json.loads(json.dumps(answer))
    for holder, name, path in list(places(changed)):
        if paths.get(path) == "absent":
            holder.pop(name, None)
        elif paths.get(path) == "null" and name in holder:
            holder[name] = None
    return changed


def successes(runner: asyncio.Runner, *apis: str) -> list[tuple[Case, Any]]:
    """The documented answers that are successes, with the call that they belong to."""
    return [
        (case, answer["body"])
        for case in cases(*apis)
        for operation in case.provider.operations
        if operation["id"] == case.operation
        for answer in operation["responses"]
        if answer["status"] < 300
        and answer["body"]
        and not isinstance(outcome(runner, case, answer["body"]), VCloudError)
    ]


def needed(case: Case) -> set[str]:
    return {DIALECTS} | NEEDED[case.provider.name].get(case.operation, set())


@pytest.mark.parametrize("how", ["absent", "null"])
@pytest.mark.parametrize("api", PROVIDERS)
def test_an_answer_may_leave_out_whatever_the_call_is_not_made_for(
    api: str, how: str, runner: asyncio.Runner
) -> None:
    for case, answer in successes(runner, api):
        for path in {path for _, _, path in places(answer)} - needed(case):
            got = outcome(runner, case, without(answer, {path: how}))
            assert not isinstance(got, VCloudError), (case.operation, path, got)


@pytest.mark.parametrize("api", PROVIDERS)
def test_an_answer_without_what_the_call_is_made_for_is_a_decode_error_that_names_it(
    api: str, runner: asyncio.Runner
) -> None:
    # A session of StreamSpace's published server has its name for an id.
    named = {"id", "sessions[].id"} if api == "streamspace" else set()
    for case, answer in successes(runner, api):
        for path in needed(case) - {DIALECTS}:
            if path not in {found for _, _, found in places(answer)}:
                continue
            spared = {"name": "absent"} if path in named else {}
            got = outcome(runner, case, without(answer, {path: "absent", **spared}))
            assert isinstance(got, DecodeError), (case.operation, path, got)
            # What carries a secret shows no details.
            assert path.rpartition(".")[2] in str(got) or "not shown" in str(got)


@pytest.mark.parametrize("api", PROVIDERS)
def test_the_fast_decoder_reads_what_leaves_fields_out_as_the_lenient_one_does(
    api: str, runner: asyncio.Runner
) -> None:
    known = [
        (case, answer, kind)
        for case, answer in successes(runner, api)
        if case.operation not in case.provider.drift
        and (kind := wire(runner, case, answer)) is not None
    ]

    @settings(STEADY, max_examples=150)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        case, answer, kind = data.draw(st.sampled_from(known))
        # The lenient one alone reads a resource without attributes, takes a name for an id, and
        # skips another list's items.
        paths = sorted(
            {path for _, _, path in places(answer) if not path.endswith("attributes")}
            - needed(case)
            - {"sessions[].id", "templates[].id", "id", "base_images[].id"}
        )
        chosen = data.draw(
            st.dictionaries(st.sampled_from(paths), st.sampled_from(["absent", "null"]))
            if paths
            else st.just({})
        )
        body = json.dumps(without(answer, chosen)).encode()
        fast = CODEC.decode_fast(body, kind)
        assert repr(fields(fast)) == repr(fields(CODEC.decode_leniently(body, kind)))

    check()


#: What the documents themselves leave out in some answers, or do not promise, by the end of its
#: path.
LEFT_OUT = {
    "computers": {
        "type", "count", "page", "next_page", "message", "timestamp", "usage_source",
        "user.attributes.name",
        "size", "default",
    },
    "streams": {
        "type", "count", "page", "next_page", "message", "timestamp", "attributes.id", "enterprise",
        "pro", "images",
        "capacities", "texts", "audio_input", "audio_output", "audio_state", "city", "country",
        "customer", "device_type",
        "duration", "end_at", "os", "ping", "readable_duration",
    },
    "streamspace": {
        "user", "message", "agents", "sessions", "templates", "users", "pagination", "metadata",
        "uptime_seconds",
        "idle_timeout", "namespace", "persistent_home", "tags", "last_activity",
        "platform_metadata", "pod_ip", "vnc_url",
        "pod_name", "container_id", "started_at", "environment", "icon_url", "color_depth",
        "resolution", "last_login",
    },
    "streamspace-published": {
        "agents", "sessions", "templates", "users", "quota", "groups", "resources", "lastActivity",
        "lastLogin", "region", "capacity", "lastHeartbeat", "metadata", "approvedAt", "approvedBy",
        "message", "podName",
    },
    "desktops": {"base_image", "base64_image", "output", "status"},
}  # fmt: skip
#: Fields that only some answers of their shape lack: an approval gives a key as well, and does not
#: say when it was made.
SOMETIMES = {
    ("agents.generate_key", "createdAt"),
    ("agents.rotate_key", "createdAt"),
    ("agents.command", "sessionId"),
    ("sessions.set_tags", "tags"),
    ("sessions.set_tags", "tags[]"),
}
#: Objects each key of which may be missing.
LOOSE = {
    "permissions", "texts", "metadata", "by_platform", "platform_metadata", "environment",
    "capacity", "total_capacity",
    "resources", "default_resources", "usage", "payload", "filters", "categories", "manifest",
}  # fmt: skip


def unread(kind: Any, path: str) -> bool:
    """Whether a spelling names the field as one that nothing reads.

    What a spelling demands is tested with each of them, in ``test_published_answers``.
    """
    names = {name for found in Spelled.__subclasses__() for name in _unread(found)}
    return is_spelled(kind) and path.rpartition(".")[2].rstrip("[]") in names


def _unread(kind: type[Spelled]) -> set[str]:
    return set(kind.unread).union(*map(_unread, kind.__subclasses__()))


@pytest.mark.parametrize("api", PROVIDERS)
def test_the_strict_codec_demands_every_field_that_the_document_always_shows(
    api: str, runner: asyncio.Runner
) -> None:
    strict = Codec(strict=True)
    demanded = 0
    for case, answer in successes(runner, api):
        kind = wire(runner, case, answer)
        if kind is None or case.operation in case.provider.drift:
            continue
        strict.decode(json.dumps(answer).encode(), kind)
        for path in {path for _, _, path in places(answer)} - {DIALECTS}:
            above = path.split(".")[:-1]
            if (case.operation, path) in SOMETIMES or unread(kind, path):
                continue
            if not LOOSE.isdisjoint(above) or f".{path}".endswith(
                tuple(f".{name}" for name in LEFT_OUT[api])
            ):
                continue
            body = json.dumps(without(answer, {path: "absent"})).encode()
            with pytest.raises(DecodeError, match=path.rpartition(".")[2].rstrip("[]")):
                strict.decode(body, kind)
            demanded += 1
    assert (
        demanded
        >= {
            "computers": 50,
            "streams": 60,
            "streamspace": 80,
            "streamspace-published": 40,
            "desktops": 4,
        }[api]
    )
