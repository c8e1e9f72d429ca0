"""Forks a process for each program. This process has imported everything already.

It reads specifications from its input, one JSON object a line, and ends with its input.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import uvloop  # noqa: F401 - imported here once, for all forks

import vcloud.bulk
import vcloud.providers.computers
import vcloud.providers.desktops
import vcloud.providers.streams
import vcloud.providers.streamspace  # noqa: F401 - as above
from tests.ends import mutants, user_programs
from tests.ends.cells import GUARD
from tests.ends.scene import Scene


def _become(spec: dict[str, Any]) -> None:
    """Run the program in this process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # A shell's background job ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    output = os.open(Path(spec["folder"]) / "output", os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # The test may have ended: this process must not outlive it. The trace shows where it hung.
    faulthandler.dump_traceback_later(GUARD, exit=True)
    if spec["mutant"] is not None:
        mutants.MUTANTS[spec["mutant"]]()
    user_programs.run(Scene(spec))


def main() -> None:
    """Fork for each specification. In the fork, return when the program has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no one waits for the forks
    while line := sys.stdin.buffer.readline():
        if os.fork() == 0:
            _become(json.loads(line))
            return


if __name__ == "__main__":
    main()
