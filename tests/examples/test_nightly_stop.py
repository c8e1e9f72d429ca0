"""`examples/nightly_stop.py` as a job runs it: planned, killed, run again, and read back."""

from __future__ import annotations

import asyncio
import csv
import os
import runpy
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from vcloud import Journal
from vcloud.emulator import Emulator, Fault

EXAMPLE = Path(__file__).parents[2] / "examples" / "nightly_stop.py"
NINE_HOURS = 9 * 3600
twenty_idle_machines = pytest.mark.vcloud_emulator(machines=20, status="ready", idle=NINE_HOURS)


class Ended(NamedTuple):
    """How a run ended, and what it printed."""

    status: object
    lines: list[str]
    errors: str


class Job:
    """The job of one night."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.journal, self.csv = folder / "monday.journal", folder / "monday.csv"
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def arguments(self) -> list[str]:
        return [str(EXAMPLE), "--journal", str(self.journal), "--csv", str(self.csv)]

    def run(self, *more: str) -> Ended:
        """Run the program in this process, as a process would."""
        self._monkeypatch.setattr(sys, "argv", [*self.arguments(), *more])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(EXAMPLE), run_name="__main__")
        said, code = self._capsys.readouterr(), ended.value.code
        if isinstance(code, str):  # as the interpreter ends with such an error
            return Ended(1, said.out.splitlines(), said.err + code)
        return Ended(code, said.out.splitlines(), said.err)

    def begin(self) -> subprocess.Popen[bytes]:
        """Begin a process, which can be killed."""
        return subprocess.Popen(
            [sys.executable, "-W", "error", *self.arguments()],
            env=os.environ | {"PYTHONPATH": str(EXAMPLE.parents[1])},
            stdout=subprocess.DEVNULL,
        )

    def report(self) -> dict[str, tuple[str, str]]:
        """The status and the result of each row of the CSV file."""
        with self.csv.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        found = {row["key"]: (row["status"], row["recorded"]) for row in rows}
        assert len(found) == len(rows)
        return found


@pytest.fixture
def job(
    tmp_path: Path,
    vcloud_env: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Job:
    assert vcloud_env.items() <= os.environ.items()
    return Job(tmp_path, monkeypatch, capsys)


def keys(emulator: Emulator) -> set[str]:
    return {f"computers/{id}" for id in emulator.computers.machines}


def stops(emulator: Emulator) -> Counter[str]:
    """How often the service carried out the stop of each machine."""
    found = emulator.calls.matching("POST */machines/*/stop")
    return Counter(call.path.split("/")[-2] for call in found if call.processed)


def changes(emulator: Emulator) -> list[str]:
    """What was asked for, other than reading and logging in."""
    sent = [f"{call.method} {call.path}" for call in emulator.calls if call.method != "GET"]
    return [one for one in sent if "/auth/" not in one]


@pytest.mark.vcloud_emulator(machines=2, status="ready", idle=NINE_HOURS, sessions=3)
def test_what_is_idle_on_each_provider_is_stopped_and_nothing_else(
    vcloud_emulator: Emulator, job: Job
) -> None:
    for status in ("available", "assigned", "connected"):
        vcloud_emulator.streams.add_machine(1381).status = status
    vcloud_emulator.advance(NINE_HOURS)
    free, *_ = vcloud_emulator.streams.machines
    vcloud_emulator.computers.machines["100"].status = "off"
    vcloud_emulator.computers.add_machine(status="ready")
    idle, used, hibernated = vcloud_emulator.streamspace.sessions.values()
    for session in (idle, used):
        session.state, session.idle_timeout = "running", "24h"
    idle.idle, used.idle, hibernated.state = 2 * NINE_HOURS, 0, "hibernated"

    ended = job.run()

    assert (ended.status, ended.errors) == (0, "")
    assert job.report() == {
        "computers/101": ("done", "stopped"),
        f"streams/{free}": ("done", "stopped"),
        f"streamspace/{idle.id}": ("done", "hibernated"),
    }
    assert len(changes(vcloud_emulator)) == 3
    assert (idle.state, used.state) == ("hibernated", "running")


@pytest.mark.vcloud_emulator(streamspace="published", sessions=2)
def test_an_idle_session_of_a_published_streamspace_is_hibernated(
    vcloud_emulator: Emulator, job: Job
) -> None:
    idle, used = vcloud_emulator.published_streamspace.sessions.values()
    idle.idle = NINE_HOURS

    ended = job.run()

    assert (ended.status, ended.errors) == (0, "")
    assert job.report() == {f"streamspace/{idle.id}": ("done", "hibernated")}
    vcloud_emulator.advance(60)
    assert (idle.state, used.state) == ("hibernated", "running")


@twenty_idle_machines
def test_what_is_unknown_is_settled_by_the_next_run_although_it_is_off_the_list(
    vcloud_emulator: Emulator, job: Job
) -> None:
    vcloud_emulator.faults.add("POST */101/stop", Fault.reset_after())
    vcloud_emulator.faults.add("POST */102/stop", Fault.reset_before())
    first = job.run()
    assert first.status == 1
    assert {key for key, (status, _) in job.report().items() if status == "unknown"} == {
        "computers/101",
        "computers/102",
    }
    second = job.run()
    assert (second.status, second.errors) == (0, "")
    assert len(second.lines) == 22
    assert "20 done, 0 failed, 0 unknown, 0 undone" in second.lines[-2]
    assert job.report() == dict.fromkeys(keys(vcloud_emulator), ("done", "stopped"))
    assert stops(vcloud_emulator) == dict.fromkeys(vcloud_emulator.computers.machines, 1)


@pytest.mark.parametrize("planned", [False, True])
@twenty_idle_machines
def test_a_killed_run_is_continued_and_the_report_has_no_holes(
    vcloud_emulator: Emulator, job: Job, *, planned: bool
) -> None:
    if planned:
        assert job.run("--dry-run").status == 0
    slow = vcloud_emulator.faults.add("POST */stop", Fault.delay(0.1), times=None)
    for stopped in (1, 8):
        process = job.begin()
        while len(stops(vcloud_emulator)) < stopped:
            time.sleep(0.002)
            assert process.poll() is None
        process.kill()
        process.wait()
    slow.remove()
    ended = job.run()
    assert (ended.status, ended.errors) == (0, "")
    assert job.report() == dict.fromkeys(keys(vcloud_emulator), ("done", "stopped"))
    assert stops(vcloud_emulator) == dict.fromkeys(vcloud_emulator.computers.machines, 1)
    again = job.run()
    assert again.lines[:-2] == sorted(f"{key} done: stopped" for key in keys(vcloud_emulator))
    assert stops(vcloud_emulator).total() == 20


@pytest.mark.vcloud_emulator(machines=4, status="ready", idle=NINE_HOURS)
def test_a_dry_run_prints_its_plan_and_the_run_works_off_just_that(
    vcloud_emulator: Emulator, job: Job
) -> None:
    machines = vcloud_emulator.computers.machines
    machines["103"].status = "off"
    dry = job.run("--dry-run")
    planned = ["computers/100", "computers/101", "computers/102"]
    assert (dry.status, dry.errors) == (0, "")
    assert dry.lines[:3] == [f"{key} is undone" for key in planned]
    assert job.report() == dict.fromkeys(planned, ("undone", ""))
    assert changes(vcloud_emulator) == []

    machines["103"].status = "ready"
    machines["103"].idle = NINE_HOURS
    machines["102"].status = "off"
    ended = job.run()
    assert (ended.status, ended.errors) == (0, "")
    assert [job.report()[key] for key in planned] == [
        ("done", "stopped"),
        ("done", "stopped"),
        ("done", "left alone"),
    ]
    assert stops(vcloud_emulator) == {"100": 1, "101": 1}


@twenty_idle_machines
def test_a_provider_that_fails_does_not_keep_the_others_from_being_stopped(
    vcloud_emulator: Emulator, job: Job
) -> None:
    broken = vcloud_emulator.faults.add("GET *sessions*", Fault.server_error(500), times=None)
    dry = job.run("--dry-run")
    assert dry.status == 1
    assert dry.errors.startswith("streamspace: GET ")
    assert changes(vcloud_emulator) == []
    first = job.run()
    assert first.status == 1
    assert first.lines[-1].startswith("streamspace did not answer: ")
    assert stops(vcloud_emulator).total() == len(job.report()) == 20
    broken.remove()
    assert job.run().status == 0


@pytest.mark.vcloud_emulator(machines=2, status="ready", idle=NINE_HOURS)
def test_what_fails_is_done_by_the_next_run(vcloud_emulator: Emulator, job: Job) -> None:
    refusal = {"client_code": 4204, "message": "Machine is not running"}
    vcloud_emulator.faults.add("POST */100/stop", Fault.reply(400, refusal))
    first = job.run()
    assert (first.status, first.errors) == (1, "")
    assert job.report() == {"computers/100": ("failed", ""), "computers/101": ("done", "stopped")}
    assert job.run().status == 0
    assert job.report() == dict.fromkeys(keys(vcloud_emulator), ("done", "stopped"))


@pytest.mark.vcloud_emulator(machines=2, status="ready", idle=NINE_HOURS)
def test_a_process_has_the_same_exit_status(vcloud_emulator: Emulator, job: Job) -> None:
    vcloud_emulator.faults.add("POST */100/stop", Fault.reset_after())
    assert job.begin().wait() == 1
    assert job.begin().wait() == 0


@twenty_idle_machines
def test_what_cannot_be_used_is_told_before_anything_is_stopped(
    vcloud_emulator: Emulator, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, job.csv = job.csv, tmp_path / "no such folder" / "report.csv"
    wrong = job.run("--dry-run")
    assert (wrong.status, "No such file or directory" in wrong.errors) == (2, True)
    job.csv = path
    assert job.run("--dryrun").status == 2
    with monkeypatch.context() as patch:
        patch.delenv("VCLOUD_COMPUTERS_SECRET")
        wrong = job.run()
    assert (wrong.status, "VCLOUD_COMPUTERS_SECRET must be set" in wrong.errors) == (2, True)
    job.journal = tmp_path / "start.journal"
    asyncio.run(Journal(job.journal, job="start").plan(["100"]).write())
    wrong = job.run()
    assert (wrong.status, "start" in wrong.errors) == (2, True)
    assert changes(vcloud_emulator) == []
