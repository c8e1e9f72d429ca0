"""A simulated shell with a dozen commands. It runs no programs."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from posixpath import join, normpath
from typing import Final

from attrs import evolve, field, frozen

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
_LINE: Final = 76
"""Characters of a line that `base64` prints."""

#: White space between words, a part of a word, and an operator.
_BLANK: Final = re.compile(r"(?:[^\S\n]|\\\n)*(?:#[^\n]*)?")
_PART: Final = re.compile(
    r"""(?P<joined>\\\n)|\\(?P<escaped>.)|'(?P<single>[^']*)'|"(?P<double>(?:\\.|[^"\\])*)"|(?P<plain>[^\s;&|<>()`'"\\]+)""",
    re.DOTALL,
)
_OPERATOR: Final = re.compile(r"\n|[;&|<>()`]+")
_ESCAPED: Final = re.compile(r"\\([$`\"\\])")
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))")
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


@frozen(kw_only=True)
class Ran:
    """The result of a command; `seconds` is its simulated duration."""

    stdout: str = ""
    stderr: str = ""
    code: int = 0
    seconds: float = 0.0

    def after(self, other: Ran) -> Ran:
        """Both results as one: the outputs in order, and this exit status."""
        return Ran(
            stdout=other.stdout + self.stdout,
            stderr=other.stderr + self.stderr,
            code=self.code,
            seconds=other.seconds + self.seconds,
        )


@frozen(kw_only=True)
class Call:
    """A call of a command: arguments, input, variables, and the seconds since the line began."""

    arguments: Sequence[str]
    stdin: str = ""
    environment: Mapping[str, str] = field(factory=dict)
    elapsed: float = 0.0


Program = Callable[[Call], Ran]


@frozen
class _Piece:
    """Part of a word. Variables are replaced unless it was in single quotes or escaped."""

    text: str
    expands: bool
    quoted: bool


_Word = list[_Piece]


@frozen
class _Step:
    """Commands joined by pipes, each a list of words, and the operator before them."""

    joint: str
    pipeline: list[list[_Word]]


@frozen
class Shell:
    """Runs commands from a table, on files in a mapping, at the emulator's time.

    Attributes:
        files: the files, by absolute path.
        now: the time that `date` prints.
        programs: more commands, by name.
        variables: the environment; `export` changes it.
    """

    files: dict[str, str]
    now: datetime
    programs: Mapping[str, Program] = field(factory=dict)
    variables: dict[str, str] = field(factory=dict)

    def run(self, command: str) -> Ran:
        """Run lines of commands joined with `|`, `;`, `&&` and `||`, without redirections."""
        try:
            steps = _parse(command)
        except ValueError as error:
            return Ran(stderr=f"bash: {error}\n", code=2)
        total = Ran()
        for step in steps:
            if (step.joint == "&&" and total.code) or (step.joint == "||" and not total.code):
                continue
            ran = Ran()
            for words in step.pipeline:
                # The output of a command is the input of the next in its pipeline.
                called = self._call(words, ran.stdout, total.seconds + ran.seconds)
                ran = called.after(evolve(ran, stdout=""))
            total = ran.after(total)
        return total

    def _call(self, words: Sequence[_Word], stdin: str, elapsed: float) -> Ran:
        local: dict[str, str] = {}
        rest = list(words)
        # A quoted name is not an assignment.
        while rest and (found := _ASSIGNMENT.match(rest[0][0].text)) and not rest[0][0].quoted:
            value = self._expanded(rest.pop(0)) or ""
            local[found[1]] = value.partition("=")[2]
        arguments = [text for word in rest if (text := self._expanded(word)) is not None]
        if not arguments:
            self.variables.update(local)
            return Ran()
        name = arguments.pop(0)
        program = self._commands().get(name) or self.programs.get(name)
        if program is None:
            return Ran(stderr=f"bash: line 1: {name}: command not found\n", code=127)
        environment = {**self.variables, **local}
        return program(
            Call(arguments=arguments, stdin=stdin, environment=environment, elapsed=elapsed)
        )

    def _expanded(self, word: _Word) -> str | None:
        """The text of a word; None if it consists of empty variables only."""
        text = "".join(
            _VARIABLE.sub(lambda found: self.variables.get(found[1] or found[2], ""), piece.text)
            if piece.expands
            else piece.text
            for piece in word
        )
        return text if text or any(piece.quoted for piece in word) else None

    def _commands(self) -> Mapping[str, Program]:
        return {
            "base64": self._base64,
            "cat": self._cat,
            "date": lambda _: Ran(stdout=self.now.strftime("%a %b %e %H:%M:%S UTC %Y\n")),
            "echo": _echo,
            "export": self._export,
            "false": lambda _: Ran(code=1),
            "ls": self._ls,
            "pwd": lambda _: Ran(stdout=f"{HOME}\n"),
            "rm": self._rm,
            "sleep": _sleep,
            "true": lambda _: Ran(),
            "uname": _uname,
            "whoami": lambda _: Ran(stdout=f"{USER}\n"),
        }

    def _export(self, call: Call) -> Ran:
        for argument in call.arguments:
            if found := _ASSIGNMENT.fullmatch(argument):
                self.variables[found[1]] = found[2]
        return Ran()

    def _cat(self, call: Call) -> Ran:
        if not call.arguments:
            return Ran(stdout=call.stdin)
        total = Ran()
        for path in call.arguments:
            text = self.files.get(absolute(path))
            missing = Ran(stderr=f"cat: {path}: No such file or directory\n", code=1)
            total = (missing if text is None else Ran(stdout=text, code=total.code)).after(total)
        return total

    def _base64(self, call: Call) -> Ran:
        ran = self._cat(call)
        if ran.code:
            return evolve(ran, stderr=ran.stderr.replace("cat:", "base64:"))
        # Binary files are kept with surrogates for their bytes.
        text = base64.b64encode(ran.stdout.encode(errors="surrogateescape")).decode()
        lines = [text[start : start + _LINE] + "\n" for start in range(0, len(text), _LINE)]
        return Ran(stdout="".join(lines))

    def _rm(self, call: Call) -> Ran:
        total = Ran()
        for path in call.arguments:
            removed = self.files.pop(absolute(path), None)
            missing = Ran(stderr=f"rm: cannot remove '{path}': No such file or directory\n", code=1)
            total = (missing if removed is None else Ran(code=total.code)).after(total)
        return total

    def _ls(self, call: Call) -> Ran:
        total = Ran()
        paths = [argument for argument in call.arguments if not argument.startswith("-")]
        for path in paths or [HOME]:
            where = absolute(path)
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


def _parse(command: str) -> list[_Step]:
    """Split lines into pipelines of commands, each with the operator before it."""
    steps = [_Step("", [[]])]
    at = _end_of_blank(command, 0)
    while at < len(command):
        if operator := _OPERATOR.match(command, at):
            at = operator.end()
            _join(steps, operator[0])
        else:
            word, at = _word(command, at)
            steps[-1].pipeline[-1].append(word)
        at = _end_of_blank(command, at)
    if not steps[-1].pipeline[-1]:
        last = steps.pop()
        if last.joint not in ("", ";") or len(last.pipeline) > 1:
            raise ValueError("syntax error: unexpected end of file")
    return steps


def _end_of_blank(command: str, at: int) -> int:
    found = _BLANK.match(command, at)
    return found.end() if found else at


def _join(steps: list[_Step], operator: str) -> None:
    empty = not steps[-1].pipeline[-1]
    if operator == "\n":
        # The end of an empty line, or after an operator, separates nothing.
        if not empty:
            steps.append(_Step(";", [[]]))
    elif operator not in _JOINTS:
        raise ValueError(f"{operator}: not supported by the emulator")
    elif empty:
        raise ValueError(f"syntax error near unexpected token `{operator}'")
    elif operator == "|":
        steps[-1].pipeline.append([])
    else:
        steps.append(_Step(operator, [[]]))


def _word(command: str, at: int) -> tuple[_Word, int]:
    word: _Word = []
    while found := _PART.match(command, at):
        at = found.end()
        if found["joined"]:
            continue
        if found["single"] is not None:
            word.append(_Piece(found["single"], expands=False, quoted=True))
        elif found["double"] is not None:
            # Split at the escaped characters, which are every second piece.
            for number, text in enumerate(_ESCAPED.split(found["double"].replace("\\\n", ""))):
                word.append(_Piece(text, expands=number % 2 == 0, quoted=True))
        elif found["escaped"] is not None:
            word.append(_Piece(found["escaped"], expands=False, quoted=True))
        else:
            word.append(_Piece(found["plain"], expands=True, quoted=False))
    if not word or command[at : at + 1] in ("'", '"', "\\"):
        raise ValueError("unexpected EOF while looking for matching quote")
    return word, at


def absolute(path: str) -> str:
    """A path relative to the desktop's home directory, as an absolute one."""
    return normpath(join(HOME, path.replace("~", HOME, 1) if path.startswith("~") else path))


def _echo(call: Call) -> Ran:
    bare = call.arguments[:1] == ["-n"]
    return Ran(stdout=" ".join(call.arguments[1:]) if bare else " ".join(call.arguments) + "\n")


def _sleep(call: Call) -> Ran:
    try:
        duration = sum(float(argument) for argument in call.arguments)
    except ValueError:
        duration = -1.0
    if not call.arguments or not 0 <= duration < float("inf"):
        return Ran(stderr="sleep: invalid time interval\n", code=1)
    return Ran(seconds=duration)


def _uname(call: Call) -> Ran:
    answer = _UNAME.get(" ".join(call.arguments))
    if answer is None:
        return Ran(stderr=f"uname: invalid option {' '.join(call.arguments)}\n", code=1)
    return Ran(stdout=f"{answer}\n")
