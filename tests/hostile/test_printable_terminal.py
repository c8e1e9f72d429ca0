"""The output on a terminal, recorded by ``script``, has no escape from the service."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.texts import HALF, HOSTILE, answering, said
from vcloud.emulator import Emulator, Fault

ROOT = Path(__file__).parents[2]
#: What the service's text would do: clear the screen, set the title, change colours by C1, turn
#: the text around, end the line.
ACTS = (b"\x1b[2J", b"\x1b]0;", "\x9b".encode(), "\u202e".encode(), "\u2028".encode(), b"\0")
#: What rich sends to draw.
DRAWN = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]")

pytestmark = pytest.mark.skipif(
    shutil.which("script") is None and "CI" not in os.environ, reason="script is not installed"
)


async def recorded(
    arguments: list[str], folder: Path, environment: Mapping[str, str] | None = None
) -> tuple[int | None, bytes]:
    """Run a Python program on a terminal of its own: its status, and what reached the terminal."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("VCLOUD_")}
    typescript = folder / "typescript"
    process = await asyncio.create_subprocess_exec(
        "script",
        "--quiet",
        "--return",
        "--command",
        shlex.join([sys.executable, *arguments]),
        str(typescript),
        cwd=folder,
        env={
            **others, "PYTHONPATH": str(ROOT), "COLUMNS": "400", "TERM": "xterm",
            "LC_ALL": "C.UTF-8", **(environment or {}),
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    await process.wait()
    return process.returncode, typescript.read_bytes()


def assert_nothing_acts(shown: bytes) -> None:
    for act in ACTS:
        assert act not in shown, shown[max(0, shown.index(act) - 200) :][:400]
    lines = DRAWN.sub(b"", shown).replace(b"\r", b"\n").split(b"\n")
    assert not [line for line in lines if line.lstrip().startswith(b"INFO forged")]
    shown.decode()


async def test_nothing_that_a_service_says_acts_on_the_terminal(tmp_path: Path) -> None:
    machine = {
        "id": "1",
        "type": "machine",
        "attributes": {"name": HOSTILE, "friendly_status": HOSTILE},
    }
    answers = {
        "/machines": said(
            body={"client_code": 200, "message": "OK", "machines": [machine], "count": 1, "page": 1}
        ),
        "/machines/1/start": said(body={"client_code": 4201, "message": HOSTILE}),
        "/machines/2/start": said(body={"client_code": 4201, "message": HALF}),
        "/machines/3/start": said("302 Found", {}, "Location: http://x/\x1b[2J\x9b31m\u202e\r\n"),
    }
    async with answering(answers) as url:
        arguments = ["-m", "tests.hostile.printing", url, str(tmp_path / "journal")]
        status, shown = await recorded(arguments, tmp_path)
    assert status == 1, shown.decode(errors="replace")
    assert_nothing_acts(shown)
    text = DRAWN.sub(b"", shown).decode()
    assert r"Starting busy\x1b[2J\x1b]0;title\x07\r\nINFO forged" in text
    # Markup of rich is shown as it was said, and makes nothing bold.
    assert r"\x00[bold]x[/] end" in text
    assert "0 done, 2 failed, 1 unknown" in text
    assert "Failing.ended failed for" in text


#: Fields of answers that hold a person's words, and that no example compares with anything.
WORDS = frozenset(
    [
        "name",
        "display_name",
        "message",
        "category",
        "customer",
        "application_name",
        "output",
        "performance",
        "resolution",
        "machine_type",
        "description",
        "error",
    ]
)


def poisoned(value: Any) -> Any:
    """The answer of a service whose every free text is hostile."""
    if isinstance(value, dict):
        return {
            # Where a pointer is, an example reads.
            name: HOSTILE
            if name in WORDS and isinstance(inner, str) and not inner.startswith("X=")
            else poisoned(inner)
            for name, inner in value.items()
        }
    return [poisoned(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "example",
    ["bulk_start", "computers", "desktops", "fleet_report", "quickstart", "streams", "streamspace"],
)
async def test_an_example_shows_hostile_texts_harmlessly(example: str, tmp_path: Path) -> None:
    async with Emulator(speed=200, machines=3) as emulator:
        emulator.faults.add("*", Fault.edit(poisoned), times=None)
        if example == "streamspace":
            emulator.streamspace.add_session(tags=("example",))
        environment = emulator.env() | {"VCLOUD_EXAMPLE_BUY": "1"}
        arguments = {"bulk_start": ["--count", "3", "--patience", "0.1", "--poll", "0.1"]}
        _, shown = await recorded(
            [str(ROOT / "examples" / f"{example}.py"), *arguments.get(example, [])],
            tmp_path,
            environment,
        )
    assert rb"busy\x1b[2J" in shown or example in {"bulk_start", "fleet_report"}, shown.decode()
    assert b"Traceback" not in shown, shown.decode()
    assert_nothing_acts(shown)
