"""The command that the desktop-action service runs, and a program that records its arguments."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

#: Writes each argument with a NUL after it, and one more NUL.
_STUB = """#!/bin/sh
printf '%s\\0' "$@" '' >> "$RECORD"
"""


def command(path: str, body: Mapping[str, Any]) -> str:
    """The command that the service builds, with its bugs (from its published source)."""
    if path.endswith("/bash-action"):
        return str(body["command"])
    if body["type"] == "type":
        text = body["text"].replace("'", "'''")
        return f"xdotool type --clearmodifiers --delay 50 '{text}'"
    if body["type"] in ("move_mouse", "click_mouse"):
        move = f"xdotool mousemove {body['x']} {body['y']}" if "x" in body else ""
        click = f"xdotool click --repeat {body['num_of_clicks']} 1" if "button" in body else ""
        return " && ".join(filter(None, (move, click)))
    assert body["type"] == "press_keys", body
    keys = body["keys"] if isinstance(body["keys"], str) else "+".join(body["keys"])
    verb = {"press": "key", "down": "keydown", "up": "keyup"}[body.get("key_action_type", "press")]
    return f"xdotool {verb} --clearmodifiers {keys}"


@frozen
class StubDesktop:
    """Runs commands in a real shell with only one program, which records its arguments."""

    folder: Path

    @classmethod
    def at(cls, folder: Path) -> StubDesktop:
        (folder / "bin").mkdir()
        stub = folder / "bin" / "xdotool"
        stub.write_text(_STUB)
        stub.chmod(0o755)
        (folder / "work").mkdir()
        return cls(folder)

    def run(self, line: str) -> tuple[int, bytes, bytes]:
        """Run a command as the service does; returns its exit status, output and errors."""
        ran = subprocess.run(
            ["/bin/bash", "-c", line],
            cwd=self.folder / "work",
            env={
                "PATH": str(self.folder / "bin"),
                "RECORD": str(self.folder / "record"),
                "LANG": "C.UTF-8",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=60,
        )
        return ran.returncode, ran.stdout, ran.stderr

    def recorded(self) -> list[list[str]]:
        """The arguments of each call since the last time."""
        record = self.folder / "record"
        if not record.exists():
            return []
        calls = os.fsdecode(record.read_bytes()).split("\0\0")
        record.unlink()
        return [call.split("\0") for call in calls if call]

    def left_behind(self) -> list[str]:
        """The files that commands made."""
        return sorted(file.name for file in (self.folder / "work").iterdir())


def entered(calls: Sequence[Sequence[str]]) -> str:
    """The text that a keyboard enters for these calls of xdotool."""
    return "".join(_entered(call) for call in calls)


def _entered(call: Sequence[str]) -> str:
    if call[0] == "type":
        assert list(call[1:-1]) == ["--clearmodifiers", "--delay", "50"], call
        # xdotool takes a text that begins like this for an option.
        assert not call[-1].startswith("-"), call
        return call[-1]
    assert list(call[:-1]) == ["key", "--clearmodifiers"], call
    names = {"apostrophe": "'", "minus": "-", "Return": "\n"}
    if call[-1] in names:
        return names[call[-1]]
    shift, _, small = call[-1].partition("+U")
    assert shift == "shift", call
    return chr(int(small, 16)).upper()
