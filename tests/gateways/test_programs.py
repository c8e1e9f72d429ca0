"""The gateways of the tests: a missing one is reported, and none is left running."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from attrs import evolve

from tests.gateways import programs
from tests.gateways.programs import PROGRAMS, require, running
from tests.gateways.setups import Setup

ROOT = Path(__file__).parents[2]
#: Starts a gateway, prints its address, and waits to be killed.
SCRIPT = """
import sys, time
from tests.gateways.programs import running
with running(sys.argv[1], 9) as gateway:
    print(next(iter(gateway.urls.values())), flush=True)
    time.sleep(60)
"""


def listens(url: str) -> bool:
    host, _, port = url.removeprefix("https://").partition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_missing_program_skips_with_a_reason_and_fails_in_ci(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = {**PROGRAMS, name: evolve(PROGRAMS[name], find=lambda: None)}
    monkeypatch.setattr(programs, "PROGRAMS", missing)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"NOT TESTED: there is no {name}"):
        require(name)
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match=f"NOT TESTED: there is no {name}"):
        require(name)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_gateway_listens_on_loopback_while_it_is_used_and_leaves_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(name)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with running(name, 9) as gateway:
        assert all(listens(url) for url in gateway.urls.values())
        assert set(gateway.urls) == set(Setup)
        assert list(tmp_path.iterdir())
    assert not any(listens(url) for url in gateway.urls.values())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_gateway_ends_when_the_tests_are_killed(name: str, tmp_path: Path) -> None:
    require(name)
    tests = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, name],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with tests:
        assert tests.stdout is not None
        url = tests.stdout.readline().strip()
        assert listens(url)
        tests.send_signal(signal.SIGKILL)
    while listens(url):
        time.sleep(0.02)
