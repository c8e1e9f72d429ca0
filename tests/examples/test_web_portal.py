"""The web portal: in this process with FastAPI's TestClient, and once as two workers serve it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient

from examples import web_portal
from vcloud.emulator import Emulator, Fault

HEADERS = {"X-Portal-Key": "the key of this test"}
KEY = HEADERS["X-Portal-Key"]

pytestmark = pytest.mark.vcloud_emulator(machines=2, sessions=1)


@pytest.fixture
def portal(vcloud_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("PORTAL_KEY", KEY)
    with TestClient(web_portal.app, headers=HEADERS) as visitor:
        yield visitor


def test_the_machines_of_all_providers_are_listed(
    portal: TestClient, vcloud_emulator: Emulator
) -> None:
    rented = vcloud_emulator.streams.add_machine(1381)
    session = next(iter(vcloud_emulator.streamspace.sessions))
    answer = portal.get("/machines").json()
    listed = {f"{one['provider']}/{one['id']}": one for one in answer["machines"]}
    assert listed.keys() == {
        "computers/100",
        "computers/101",
        f"streams/{rented.id}",
        f"streamspace/{session}",
    }
    assert listed["computers/100"]["state"] == "stopped"
    assert listed["computers/100"]["can"]["start"] is True
    assert listed[f"streams/{rented.id}"]["can"]["start"] is False
    assert listed[f"streamspace/{session}"]["can"]["hibernate"] is True
    assert answer["missing"] == {}


def test_a_provider_that_fails_is_named_in_words_for_people(
    portal: TestClient, vcloud_emulator: Emulator
) -> None:
    vcloud_emulator.faults.add("GET /api/v1/sessions*", Fault.invalid_json())
    answer = portal.get("/machines").json()
    assert {one["provider"] for one in answer["machines"]} == {"computers"}
    assert answer["missing"] == {
        "streamspace": "The service gave an answer that cannot be used.",
    }


def test_a_machine_is_started_shown_and_stopped(
    portal: TestClient, vcloud_emulator: Emulator
) -> None:
    answer = portal.post("/machines/computers/100/start")
    assert (answer.status_code, answer.json()) == (202, {"accepted": "start computers/100"})
    assert portal.get("/machines/computers/100").json()["state"] == "starting"
    vcloud_emulator.advance(60)
    shown = portal.get("/machines/computers/100").json()
    assert (shown["state"], shown["details"]["friendly_status"]) == ("running", "ready")
    assert portal.post("/machines/computers/100/stop").status_code == 202
    assert len(vcloud_emulator.calls.matching("POST */machines/100/stop")) == 1


def test_a_session_is_hibernated_and_woken(portal: TestClient, vcloud_emulator: Emulator) -> None:
    ((name, session),) = vcloud_emulator.streamspace.sessions.items()
    for verb, state in (("hibernate", "hibernated"), ("wake", "running")):
        assert portal.post(f"/machines/streamspace/{name}/{verb}").status_code == 202
        vcloud_emulator.advance(60)
        assert session.state == state


def test_a_link_is_a_secret_of_the_visitor_and_holds_none_of_the_portal(
    portal: TestClient, vcloud_emulator: Emulator
) -> None:
    answer = portal.post("/machines/computers/100/connect")
    assert answer.json()["url"].startswith("https://")
    assert answer.headers["Cache-Control"] == "no-store"
    session = next(iter(vcloud_emulator.streamspace.sessions))
    refused = portal.post(f"/machines/streamspace/{session}/connect")
    assert (refused.status_code, "token=" in refused.text) == (501, False)
    rented = vcloud_emulator.streams.add_machine(1381)
    refused = portal.post(f"/machines/streams/{rented.id}/connect")
    assert refused.status_code == 501
    assert refused.json()["message"] == "This is not possible with this kind of machine."


@pytest.mark.parametrize(
    ("request_line", "status", "message"),
    [
        ("POST /machines/computers/100/stop", 409, "Machine is not running (off)."),
        ("GET /machines/computers/7", 404, "Machine not found."),
        ("GET /machines/streams/7", 404, None),
        ("GET /machines/clouds/7", 400, None),
        ("POST /machines/computers/100/hibernate", 501, None),
        ("POST /machines/computers/100/explode", 422, None),
    ],
)
def test_what_cannot_be_done_is_said_to_the_visitor_and_logged_in_full(
    portal: TestClient,
    caplog: pytest.LogCaptureFixture,
    request_line: str,
    status: int,
    message: str | None,
) -> None:
    answer = portal.request(*request_line.split())
    assert answer.status_code == status
    if status == 422:  # FastAPI's own: there is no such verb
        return
    said = answer.json()
    assert said["message"] == (message or said["message"])
    assert "http" not in said["message"]
    logged = [json.loads(one.getMessage()) for one in caplog.records if one.name == "portal"]
    assert [one["user_message"] for one in logged] == [said["message"]]


def test_a_lost_answer_is_told_as_unknown(portal: TestClient, vcloud_emulator: Emulator) -> None:
    vcloud_emulator.faults.add("POST */machines/100/start", Fault.reset_after())
    answer = portal.post("/machines/computers/100/start")
    assert (answer.status_code, answer.json()["outcome_unknown"]) == (502, True)
    assert "look before you try again" in answer.json()["message"]
    assert vcloud_emulator.computers.machines["100"].status == "turning_on"


def test_a_provider_that_is_not_configured_is_not_found(
    vcloud_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTAL_KEY", KEY)
    for name in vcloud_env:
        if name.startswith("VCLOUD_STREAMS_"):
            monkeypatch.delenv(name)
    with TestClient(web_portal.app, headers=HEADERS) as portal:
        assert portal.get("/machines/streams/7").status_code == 404


def test_health_is_of_each_provider_and_fails_if_none_answers(
    portal: TestClient, vcloud_emulator: Emulator
) -> None:
    answer = portal.get("/health")
    assert answer.status_code == 200
    assert {name: one["status"] for name, one in answer.json().items()} == dict.fromkeys(
        ["streams", "computers", "streamspace", "desktops"], "done"
    )
    assert answer.json()["computers"]["in_flight"] == 0

    vcloud_emulator.faults.add("GET */machines*", Fault.server_error(500), times=None)
    answer = portal.get("/health")
    assert answer.status_code == 200
    assert answer.json()["computers"]["message"].startswith("The service has a problem")
    assert answer.json()["desktops"]["message"] is None

    vcloud_emulator.faults.add("GET *", Fault.server_error(500), times=None)
    assert portal.get("/health").status_code == 503


@pytest.mark.parametrize("key", [None, "", "another key", "schlüssel"])
def test_without_the_key_nothing_is_told_and_nothing_sent(
    portal: TestClient, vcloud_emulator: Emulator, key: str | None
) -> None:
    del portal.headers["X-Portal-Key"]
    headers = {} if key is None else {b"X-Portal-Key": key.encode()}
    for path in ("GET /machines", "GET /health", "POST /machines/computers/100/start"):
        answer = portal.request(*path.split(), headers=headers)
        assert answer.status_code in {401, 403}
    assert len(vcloud_emulator.calls) == 0


@asynccontextmanager
async def served(environment: dict[str, str]) -> AsyncIterator[tuple[Process, str]]:
    """Two workers on a port of loopback: their parent, and where they are. None is left over."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("VCLOUD_")}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd, port = listener.fileno(), listener.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "uvicorn", "--app-dir", str(Path(web_portal.__file__).parent)),
            *("web_portal:app", "--workers", "2", "--timeout-graceful-shutdown", "10"),
            *("--fd", str(fd)),
            env={**others, **environment, "PORTAL_KEY": KEY},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            pass_fds=[fd],
        )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def test_two_workers_log_in_once_and_end_with_their_clients_closed(
    vcloud_emulator: Emulator, tmp_path: Path
) -> None:
    store = {"VCLOUD_STREAMSPACE_TOKEN_STORE": str(tmp_path / "tokens.json")}
    async with served({**vcloud_emulator.env(), **store}) as (process, where):
        workers: set[str] = set()
        while len(workers) < 2:  # the first to be ready takes all
            async with httpx2.AsyncClient(base_url=where, headers=HEADERS, timeout=60) as visitor:
                answers = await asyncio.gather(*[visitor.get("/health") for _ in range(8)])
            for answer in answers:
                assert answer.json()["streamspace"]["status"] == "done"
                workers.add(answer.headers["X-Worker"])
        assert len(vcloud_emulator.calls.matching("POST */auth/login")) == 1

        process.terminate()
        assert process.stderr is not None
        output = (await process.stderr.read()).decode()
        assert await process.wait() == 0, output
        assert output.count("Application shutdown complete.") == 2
        assert "Traceback" not in output
