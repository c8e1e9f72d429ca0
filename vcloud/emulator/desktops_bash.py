"""A shell that knows a dozen commands and runs none: every answer is made here, from text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from posixpath import join, normpath
from typing import Final

from attrs import evolve, frozen

USER: Final = "user"
HOME: Final = "/home/user"
HOST: Final = "desktop"
HOME_FILES: Final[Mapping[str, str]] = {
    f"{HOME}/welcome.txt": "Welcome to your desktop.\n",
    "/etc/hostname": f"{HOST}\n",
}
_UNAME: Final = {
    "": "Linux",
    "-s": "Linux",
    "-n": HOST,
    "-m": "x86_64",
    "-a": f"Linux {HOST} 6.1.0 x86_64 GNU/Linux",
}
_JOINTS: Final = ("|", ";", "&&", "||")

#: A word with its quotes, or a run of the characters that have a meaning of their own outside of quotes.
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<word>(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^\s;&|<>()'"\\])+)|(?P<operator>[;&|<>()]+))"""
)


@frozen(kw_only=True)
class Ran:
    """What a command came to; `seconds` is how long it says it took."""

    stdout: str = ""
    stderr: str = ""
    code: int = 0
    seconds: float = 0.0

    def after(self, other: Ran) -> Ran:
        """Return both as one: what was printed in order, and the later exit code."""
        return Ran(
            stdout=other.stdout + self.stdout,
            stderr=other.stderr + self.stderr,
            code=self.code,
            seconds=other.seconds + self.seconds,
        )


@frozen
class Shell:
    """Answers commands from a table, files from a mapping, the date from the emulator's clock."""

    files: Mapping[str, str]
    now: datetime

    def run(self, command: str) -> Ran:
        """Answer a line of commands joined with `|`, `;`, `&&` and `||`; there are no variables and no redirections."""
        try:
            steps = _parse(command)
        except ValueError as error:
            return Ran(stderr=f"bash: {error}\n", code=2)
        total = Ran()
        for joint, pipeline in steps:
            if (joint == "&&" and total.code) or (joint == "||" and not total.code):
                continue
            ran = Ran()
            for words in pipeline:
                # What a command printed is eaten by the one that it is piped into.
                ran = self._call(words, ran.stdout).after(evolve(ran, stdout=""))
            total = ran.after(total)
        return total

    def _call(self, words: Sequence[str], stdin: str) -> Ran:
        name, *arguments = words
        commands: Mapping[str, Callable[[Sequence[str], str], Ran]] = {
            "cat": self._cat,
            "date": lambda arguments, stdin: Ran(
                stdout=self.now.strftime("%a %b %e %H:%M:%S UTC %Y\n")
            ),
            "echo": _echo,
            "false": lambda arguments, stdin: Ran(code=1),
            "ls": self._ls,
            "pwd": lambda arguments, stdin: Ran(stdout=f"{HOME}\n"),
            "sleep": _sleep,
            "true": lambda arguments, stdin: Ran(),
            "uname": _uname,
            "whoami": lambda arguments, stdin: Ran(stdout=f"{USER}\n"),
        }
        if name not in commands:
            return Ran(stderr=f"bash: {name}: command not found\n", code=127)
        return commands[name](arguments, stdin)

    def _cat(self, paths: Sequence[str], stdin: str) -> Ran:
        if not paths:
            return Ran(stdout=stdin)
        total = Ran()
        for path in paths:
            text = self.files.get(_absolute(path))
            missing = Ran(stderr=f"cat: {path}: No such file or directory\n", code=1)
            total = (missing if text is None else Ran(stdout=text, code=total.code)).after(total)
        return total

    def _ls(self, arguments: Sequence[str], _: str) -> Ran:
        total = Ran()
        for path in [argument for argument in arguments if not argument.startswith("-")] or [HOME]:
            where = _absolute(path)
            below = where.rstrip("/") + "/"
            names = {
                file.removeprefix(below).partition("/")[0]
                for file in self.files
                if file.startswith(below)
            }
            if where in self.files:
                names = {path}
            missing = Ran(stderr=f"ls: cannot access '{path}': No such file or directory\n", code=2)
            total = (
                Ran(stdout="".join(f"{name}\n" for name in sorted(names))) if names else missing
            ).after(total)
        return total


def _parse(command: str) -> list[tuple[str, list[list[str]]]]:
    """Cut a line into pipelines of commands, each with what joins it to the one before."""
    steps: list[tuple[str, list[list[str]]]] = [("", [[]])]
    at = 0
    text = command.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError("unexpected EOF while looking for matching quote")
        at = found.end()
        if (operator := found["operator"]) is None:
            steps[-1][1][-1].extend(shlex.split(found["word"]))
        elif operator not in _JOINTS:
            raise ValueError(f"{operator}: not supported by the emulator")
        elif not steps[-1][1][-1]:
            raise ValueError(f"syntax error near unexpected token `{operator}'")
        elif operator == "|":
            steps[-1][1].append([])
        else:
            steps.append((operator, [[]]))
    if not steps[-1][1][-1]:
        joint, pipeline = steps.pop()
        if joint not in ("", ";") or len(pipeline) > 1:
            raise ValueError("syntax error: unexpected end of file")
    return steps


def _absolute(path: str) -> str:
    return normpath(join(HOME, path.replace("~", HOME, 1) if path.startswith("~") else path))


def _echo(arguments: Sequence[str], _: str) -> Ran:
    bare = arguments[:1] == ["-n"]
    return Ran(stdout=" ".join(arguments[1:]) if bare else " ".join(arguments) + "\n")


def _sleep(arguments: Sequence[str], _: str) -> Ran:
    try:
        duration = sum(float(argument) for argument in arguments)
    except ValueError:
        duration = -1.0
    if not arguments or not 0 <= duration < float("inf"):
        return Ran(stderr="sleep: invalid time interval\n", code=1)
    return Ran(seconds=duration)


def _uname(arguments: Sequence[str], _: str) -> Ran:
    answer = _UNAME.get(" ".join(arguments))
    if answer is None:
        return Ran(stderr=f"uname: invalid option {' '.join(arguments)}\n", code=1)
    return Ran(stdout=f"{answer}\n")
