"""The emulator as a server for other clients: curl, Node, Go and Java."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.realtime_raw import token
from tests.lacking import untested
from tests.seeded import API_KEY, SEED
from vcloud.emulator import Emulator

HERE = Path(__file__).parent / "foreign"
PACKAGES = {"curl": "curl", "node": "nodejs", "go": "golang-go", "java": "default-jdk-headless"}
#: Without the compiler of a JDK, `java` runs no source file.
NEEDED = {"java": "javac"}
#: No module, and no C compiler, which Debian's Go only recommends.
GO_ALONE = {"GO111MODULE": "off", "CGO_ENABLED": "0"}
ASKED = {"status": 200, "asked": True}
UNASKED = {"status": 200, "asked": False}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    # The requests of a client that uses the emulator as its proxy.
    with Emulator(seed=SEED, allow_hosts=["api.cyberdesk.example"]) as running:
        yield running


def ran(tmp_path: Path, program: str, *arguments: str, **environment: str) -> str:
    """The output of a program; without the program, skip, and fail in CI."""
    found = shutil.which(program) if shutil.which(NEEDED.get(program, program)) else None
    if found is None:
        reason = (
            f"THE EMULATOR IS NOT TESTED WITH {program.upper()}: there is no {program} "
            f"(Debian: apt-get install {PACKAGES[program]})"
        )
        untested(reason)
    unproxied = {name: text for name, text in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        [found, *arguments],
        cwd=tmp_path,
        env={**unproxied, "API_KEY": API_KEY, **environment},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def paths(emulator: Emulator) -> set[tuple[str, int | None]]:
    return {(call.path, call.status) for call in emulator.calls}


def test_node(emulator: Emulator, tmp_path: Path) -> None:
    session = emulator.run(emulator.streamspace.add_session)
    viewer = f"{session.id}?token={token(emulator)}"
    # Older ones have no WebSocket, and do not know the flag.
    flag = "--experimental-websocket"
    known = ran(tmp_path, "node", "-p", f"process.allowedNodeEnvironmentFlags.has('{flag}')")
    flags = [flag] if "true" in known else []
    has_socket = "function" in ran(tmp_path, "node", *flags, "-p", "typeof WebSocket")
    node = [*flags, str(HERE / "client.mjs"), emulator.url, viewer]
    found: dict[str, Any] = json.loads(ran(tmp_path, "node", *node))
    greeting = {"protocol": "binary", "said": "RFB 003.008\n"} if has_socket else None
    assert found == {
        "sized": ASKED,
        "chunked": ASKED,
        "unknown": {"status": 417, "asked": False},
        "encoded": {"status": 415, "asked": False},
        "absolute": UNASKED,
        "fetched": 200,
        "upgraded": {"status": 101, "protocol": "binary"},
        "viewed": greeting,
        "viewed_by_older_ones": greeting,
    }
    assert len(emulator.desktops.desktops) == 4


@pytest.mark.timeout(600)  # the first run on a machine compiles net/http
def test_go(emulator: Emulator, tmp_path: Path) -> None:
    program = str(HERE / "client.go")
    found = json.loads(ran(tmp_path, "go", "run", program, emulator.url, **GO_ALONE))
    assert found == {
        "sized": ASKED,
        "chunked": ASKED,
        "again": UNASKED,
        "encoded": {"status": 415, "asked": False},
        "absolute": UNASKED,
        "half": "HTTP/1.1 200 OK",
    }
    assert paths(emulator) == {("/v1/desktop", 200), ("/v1/desktop", 415)}


def test_java(emulator: Emulator, tmp_path: Path) -> None:
    assert ran(tmp_path, "java", str(HERE / "Client.java"), emulator.url).split() == ["200"] * 4
    assert paths(emulator) == {("/v1/desktop", 200)}


def test_curl(emulator: Emulator, tmp_path: Path) -> None:
    def curl(*more: str, base: str = emulator.url) -> list[str]:
        """The statuses of one command, the interim ones too."""
        basics = ["-sS", "-o", os.devnull, "-D", "-", "-H", f"x-api-key: {API_KEY}"]
        typed = ["-H", "Content-Type: application/json", "-d", '{"timeout_ms": 3600000}']
        said = ran(tmp_path, "curl", *basics, *typed, *more, f"{base}/v1/desktop")
        return [line.split()[1] for line in said.splitlines() if line.startswith("HTTP/")]

    patient = ["-H", "Expect: 100-continue", "--expect100-timeout", "90"]
    chunked = ["-H", "Transfer-Encoding: chunked"]
    assert curl(*patient) == ["100", "200"]
    assert curl(*patient, *chunked) == ["100", "200"]
    assert curl(*chunked) == ["200"]
    assert curl("-H", "Expect: a-miracle") == ["417"]
    assert curl("-H", "Content-Encoding: gzip") == ["415"]
    assert curl("-H", "Transfer-Encoding: gzip, chunked") == ["501"]
    assert curl("-x", emulator.url, base="http://api.cyberdesk.example") == ["200"]
    assert len(emulator.desktops.desktops) == 4
