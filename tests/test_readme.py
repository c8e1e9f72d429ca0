"""Every Python snippet of the README runs, and CI runs its shell commands."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import textwrap
from pathlib import Path

import pytest

from vcloud.emulator import Emulator

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
#: Each snippet runs against the documented StreamSpace, and those about it against both.
RUNS = [
    (number, dialect)
    for number, code in enumerate(PYTHON)
    for dialect in ("documented", "published")
    if dialect == "documented" or "cloud.streamspace" in code
]


def script(code: str) -> str:
    """A program from a snippet: one that is not a whole program runs in the block of a client."""
    if "asyncio.run" in code or "def test_" in code:
        return code
    imports = "\n".join(line for line in code.splitlines() if re.match(r"(from|import) ", line))
    body = "\n".join(line for line in code.splitlines() if not re.match(r"(from|import) ", line))
    return (
        f"import asyncio\nfrom vcloud import *\n{imports}\n"
        "async def main():\n    async with VCloud.from_env() as cloud:\n        pass\n"
        f"{textwrap.indent(body, ' ' * 8)}\nasyncio.run(main())\n"
    )


@pytest.mark.parametrize(("number", "dialect"), RUNS)
async def test_snippet_runs(number: int, dialect: str, tmp_path: Path) -> None:
    code = script(PYTHON[number])
    if "def test_" in code:
        (tmp_path / "test_snippet.py").write_text(code, encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-o",
            "asyncio_mode=auto",
            "test_snippet.py",
        ]
    else:
        (tmp_path / "snippet.py").write_text(code, encoding="utf-8")
        command = [sys.executable, "-W", "error", "snippet.py"]
    async with Emulator(machines=30, speed=200, streamspace=dialect) as emulator:
        environment = os.environ | emulator.env() | {"PYTHONPATH": str(ROOT)}
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=tmp_path,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, f"{code}\n{output.decode()}"


def test_ci_runs_the_two_commands_of_the_first_shell_block() -> None:
    first = next(code for language, code in BLOCKS if language == "sh").splitlines()
    assert len(first) == 2
    assert first[0].endswith("python examples/quickstart.py")
    assert first[1].endswith("pytest")
    assert "command_of_readme 1" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert "command_of_readme 2" in (ROOT / ".ci/run").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", ".github/CONTRIBUTING.md", ".github/SECURITY.md"])
def test_every_named_path_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    paths = re.findall(r"`((?:vcloud|tests|examples|\.ci|\.github)/[\w./]*)`", text)
    assert paths
    for path in paths:
        assert (ROOT / path).exists(), path
