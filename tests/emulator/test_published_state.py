"""The state of an emulated published StreamSpace, which tests read and set; its command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.emulator.published_raw import HOST, PREFIX, Api, published
from tests.seeded import SEED
from vcloud.emulator import Clock, Credentials, Emulator
from vcloud.emulator.streamspace import catalog as documented
from vcloud.emulator.streamspace.published import catalog
from vcloud.emulator.streamspace.published.catalog import STATES, streaming
from vcloud.emulator.streamspace.published.service import PublishedStreamSpace
from vcloud.providers import streamspace

START = 1_770_000_000.0
FINAL = {"pending": "running", "starting": "running", "hibernating": "hibernated",
         "waking": "running", "terminating": "terminated"}  # fmt: skip


def serving(port: int) -> dict[str, Any]:
    """A manifest without a known image."""
    return {"spec": {"baseImage": "x", "ports": [{"containerPort": port}]}}


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with published(Clock.stopped(START), sessions=2, seed=SEED) as found:
        yield found


async def test_sessions_are_there_at_the_start(api: Api) -> None:
    assert len(api.space.sessions) == 2
    found = (await api("GET", "/sessions")).json["sessions"]
    assert [one["state"] for one in found] == ["running", "running"]
    assert {one["createdAt"] for one in found} == {"2026-02-02T02:40:00Z"}


@pytest.mark.parametrize("word", STATES)
async def test_a_session_is_in_the_state_that_was_set_and_goes_on(api: Api, word: str) -> None:
    name, session = next(iter(api.space.sessions.items()))
    session.state = word
    found = (await api("GET", f"/sessions/{name}")).json
    assert (found["state"], found["status"]["phase"]) == (word, word.capitalize())
    assert session.id == session.name == name
    api.emu.advance(86_400)
    assert session.state == FINAL.get(word, word)


async def test_a_session_is_left_idle_for_as_long_as_is_set(api: Api) -> None:
    name, session = next(iter(api.space.sessions.items()))
    assert session.idle == 0
    session.idle = timedelta(hours=9)
    found = (await api("GET", f"/sessions/{name}")).json
    assert found["status"]["lastActivity"] == found["createdAt"] == "2026-02-01T17:40:00Z"
    api.emu.advance(60)
    assert session.idle == 9 * 3600 + 60
    session.state = "terminated"
    assert session.idle == 0
    mistaken: Any = session
    with pytest.raises(AttributeError, match="idle"):
        mistaken.last_activity = 5
    with pytest.raises(ValueError, match="idle"):
        session.idle = -1


async def test_without_its_agent_a_session_stays_on_its_way(api: Api) -> None:
    agent(api.space).status = "offline"
    session = one(api.space)
    session.state = "hibernating"
    assert (await api("DELETE", f"/sessions/{session.name}")).status == 202
    api.emu.advance(86_400)
    assert session.state == "terminating"


@pytest.mark.parametrize(
    ("words", "known"),
    [
        # A documented one has fewer.
        ((*catalog.STATES, *documented.ALL_STATES), streamspace.SessionState),
        ((*catalog.ROLES, *documented.ROLES), streamspace.UserRole),
        (catalog.APPROVALS, streamspace.ApprovalStatus),
        (catalog.ACTIONS, streamspace.AgentAction),
        (catalog.AGENT_STATUSES, streamspace.AgentStatus),
    ],
)
def test_the_words_of_both_installations_are_those_that_clients_know(
    words: tuple[str, ...], known: Any
) -> None:
    assert set(words) == set(known)


async def test_any_word_may_be_set(api: Api) -> None:
    name = next(iter(api.space.sessions))
    api.space.set_state(name, "melting")
    assert (await api("GET", f"/sessions/{name}")).json["status"]["phase"] == "Melting"


async def test_what_is_set_is_seen(api: Api) -> None:
    session = api.session(idle_timeout="30m", tags=["a"], resources={})
    session.protocol, session.port, session.user = "guacamole", 8080, "ann"
    found = (await api("GET", f"/sessions/{session.name}")).json
    assert (found["streamingProtocol"], found["user"]) == ("guacamole", "ann")
    assert "resources" not in found
    api.space.templates["gimp-editor"].manifest = None
    assert (await api("GET", "/templates/gimp-editor")).json["manifest"] is None
    api.space.users["admin"].full_name = "Ann"
    assert (await api("GET", "/users/me")).json["fullName"] == "Ann"


@pytest.mark.parametrize(
    ("said", "mistake"),
    [
        (r"state must be .*hibernated\?", lambda space: setattr(one(space), "state", "hibernate")),
        (r"state must be .*running\?", lambda space: space.add_session(state="runing")),
        ("status must be one of online", lambda space: setattr(agent(space), "status", "up")),
        ("approval must be one of", lambda space: setattr(agent(space), "approval", "yes")),
        ("role must be one of", lambda space: setattr(space.users["admin"], "role", "boss")),
    ],
)
async def test_a_wrong_word_is_refused_with_those_that_there_are(
    said: str, mistake: Callable[[PublishedStreamSpace], object]
) -> None:
    space = Emulator(streamspace="published", sessions=1).published_streamspace
    with pytest.raises(ValueError, match=said):
        mistake(space)


@pytest.mark.parametrize(
    ("said", "mistake"),
    [
        (r"\(it is 'state' here\)", lambda space: one(space).status),
        (r"\(it is 'protocol' here\)", lambda space: one(space).streaming_protocol),
        (r"\(it is 'approval' here\)", lambda space: agent(space).approvalStatus),
        (r"did you mean idle_timeout\?", lambda space: setattr(one(space), "idle_timout", "1h")),
    ],
)
async def test_a_wrong_name_is_refused_with_the_right_one(
    said: str, mistake: Callable[[PublishedStreamSpace], object]
) -> None:
    space = Emulator(streamspace="published", sessions=1).published_streamspace
    with pytest.raises(AttributeError, match=said):
        mistake(space)


async def test_what_is_not_there_is_named_with_what_is() -> None:
    space = Emulator(streamspace="published").published_streamspace
    with pytest.raises(KeyError, match="there are only firefox-browser, chromium-browser"):
        space.add_session(template="firefox")
    unknown: dict[str, Any] = {"idle": 1}
    with pytest.raises(TypeError, match="unexpected keyword argument 'idle'"):
        space.add_session(**unknown)


async def test_equal_seeds_give_equal_names_and_tokens() -> None:
    async def drawn() -> tuple[list[str], str]:
        async with published(Clock.stopped(START), sessions=3, seed=SEED) as api:
            return list(api.space.sessions), api.space.bootstrap_key

    assert await drawn() == await drawn()
    other = Emulator(streamspace="published", sessions=3).published_streamspace
    assert other.bootstrap_key != (await drawn())[1]


async def test_passwords_and_keys_are_not_shown(api: Api) -> None:
    await api.register()
    key = (await api("POST", f"/admin/agents/{HOST}/approve")).json["apiKey"]
    shown = f"{api.space.users['admin']!r} {api.space.agents[HOST]!r}"
    assert key not in shown
    assert api.emu.credentials.streamspace_password not in shown


async def test_given_credentials_are_taken() -> None:
    given = {
        "VCLOUD_STREAMSPACE_USERNAME": "root",
        "VCLOUD_STREAMSPACE_PASSWORD": "secret",
        "VCLOUD_STREAMSPACE_TOKEN": "a.b.c",
        "VCLOUD_STREAMSPACE_BOOTSTRAP_KEY": "ab" * 32,
    }
    credentials, _ = Credentials.drawn(SEED).given(given)
    async with published(credentials=credentials) as api:
        assert api.emu.env()["VCLOUD_STREAMSPACE_BOOTSTRAP_KEY"] == "ab" * 32
        assert "ab" * 32 not in repr(credentials)
        api.token = (await api.login("root", "secret")).json["token"]
        assert (await api.register()).status == 202
        body = {"user": "root", "template": "firefox-browser"}
        assert (await api("POST", "/sessions", body)).status == 202
        api.token = "a.b.c"
        assert (await api("GET", "/users/me")).json["username"] == "root"
    async with Emulator(credentials=credentials) as emu:
        assert "VCLOUD_STREAMSPACE_BOOTSTRAP_KEY" not in emu.env()


@pytest.mark.parametrize(
    ("manifest", "found"),
    [
        (None, ("vnc", 5900, "")),
        ({}, ("vnc", 5900, "")),
        ({"spec": {}}, ("vnc", 5900, "")),
        ({"spec": {"baseImage": "x", "ports": []}}, ("vnc", 5900, "")),
        (serving(3000), ("selkies", 3000, "/websockify")),
        (serving(6901), ("selkies", 6901, "/websockify")),
        (serving(8080), ("guacamole", 8080, "")),
        ({"spec": {"baseImage": "LinuxServer/x"}}, ("selkies", 3000, "/websockify")),
        ({"spec": {"baseImage": "kasmweb/x"}}, ("selkies", 6901, "/websockify")),
        ({"spec": {"baseImage": "guacamole/x"}}, ("guacamole", 8080, "/guacamole")),
        ({"spec": {"baseImage": "a/x2go"}}, ("x2go", 22, "")),
    ],
)
async def test_protocols_are_read_from_manifests(
    manifest: object, found: tuple[str, int, str]
) -> None:
    assert streaming(manifest) == found


def test_state_may_be_set_from_any_thread() -> None:
    with Emulator(streamspace="published", sessions=1) as emulator:
        space = emulator.published_streamspace
        one(space).state = "failed"
        space.add_user("ann", "x")
        added = space.add_session()
        with urllib.request.urlopen(f"{emulator.url}/version", timeout=10) as answer:
            assert json.load(answer)["phase"] == "2.2"
        assert added.state == "running"


def test_the_command_line_serves_it_and_prints_the_bootstrap_key() -> None:
    command = [sys.executable, "-m", "vcloud.emulator", "--port", "0", "--streamspace", "published"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("VCLOUD_")}
    with subprocess.Popen(command, env=plain, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            variables: dict[str, str] = {}
            while "VCLOUD_STREAMSPACE_BOOTSTRAP_KEY" not in variables:
                name, _, value = process.stdout.readline().removeprefix("export ").partition("=")
                variables[name] = value.strip()
            url = variables["VCLOUD_STREAMSPACE_URL"].removesuffix(PREFIX)
            with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
                assert json.load(answer)["service"] == "streamspace-api"
        finally:
            process.terminate()


def one(space: PublishedStreamSpace) -> Any:
    return next(iter(space.sessions.values()))


def agent(space: PublishedStreamSpace) -> Any:
    return next(iter(space.agents.values()))
