"""The commands of a simulated shell, with the options that they take."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from datetime import datetime
from posixpath import dirname
from typing import Final

from attrs import field, frozen

from vcloud.emulator.desktops.files import HOME, HOST, USER, Files
from vcloud.emulator.desktops.refusal import NotSimulatedError
from vcloud.emulator.desktops.words import ASSIGNMENT

_UNAME: Final = {
    "": "Linux",
    "-s": "Linux",
    "-n": HOST,
    "-m": "x86_64",
    "-a": f"Linux {HOST} 6.1.0 x86_64 GNU/Linux",
}
_LINE: Final = 76
"""Characters of a line that `base64` prints."""
_INTERVAL: Final = re.compile(r"((?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?)([smhd]?)", re.ASCII)
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_FORMAT: Final = re.compile(r"(?:[^%]|%[YmdHMSFTjyIpaAbBZ%])*")
"""Formats of `date` that are equal in Python."""


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
class Programs:
    """The built-in commands, on these files, at this time, for a shell with these variables."""

    files: Files
    now: datetime
    variables: MutableMapping[str, str]

    def named(self, name: str) -> Program | None:
        """The command of this name; None if it is none of these."""
        return {
            "base64": self._base64,
            "cat": self._cat,
            "cd": self._cd,
            "date": self._date,
            "echo": _echo,
            "export": self._export,
            "false": lambda _: Ran(code=1),
            "ls": self._ls,
            "pwd": self._pwd,
            "rm": self._rm,
            "sleep": _sleep,
            "touch": self._touch,
            "true": lambda _: Ran(),
            "uname": _uname,
            "whoami": _whoami,
        }.get(name)

    def _date(self, call: Call) -> Ran:
        if not call.arguments:
            return Ran(stdout=self.now.strftime("%a %b %e %H:%M:%S UTC %Y\n"))
        (wanted, *others) = call.arguments
        if wanted == "+%s" and not others:
            return Ran(stdout=f"{int(self.now.timestamp())}\n")
        if others or not wanted.startswith("+") or not _FORMAT.fullmatch(wanted):
            raise NotSimulatedError("these arguments of date")
        return Ran(stdout=f"{self.now.strftime(wanted[1:])}\n")

    def _export(self, call: Call) -> Ran:
        for argument in call.arguments or ("",):
            if not (found := ASSIGNMENT.fullmatch(argument)):
                raise NotSimulatedError("export without NAME=VALUE")
            self.variables[found[1]] = found[2]
        return Ran()

    def _cd(self, call: Call) -> Ran:
        _, paths = _options("cd", call.arguments)
        if len(paths) > 1:
            raise NotSimulatedError("these arguments of cd")
        where = self.files.absolute(paths[0] if paths else self.variables.get("HOME", HOME))
        if not self.files.is_directory(where):
            why = "Not a directory" if where in self.files.files else "No such file or directory"
            return Ran(stderr=f"bash: line 1: cd: {paths[0]}: {why}\n", code=1)
        self.variables["PWD"] = where
        return Ran()

    def _pwd(self, call: Call) -> Ran:
        if call.arguments:
            raise NotSimulatedError("these arguments of pwd")
        return Ran(stdout=f"{self.files.here}\n")

    def _cat(self, call: Call) -> Ran:
        _, paths = _options("cat", call.arguments)
        if not paths:
            return Ran(stdout=call.stdin)
        total = Ran()
        for path in paths:
            text = self.files.read(path)
            ran = self._missing("cat", path) if text is None else Ran(stdout=text, code=total.code)
            total = ran.after(total)
        return total

    def _missing(self, name: str, path: str) -> Ran:
        there = self.files.is_directory(self.files.absolute(path))
        why = "Is a directory" if there else "No such file or directory"
        return Ran(stderr=f"{name}: {path}: {why}\n", code=1)

    def _base64(self, call: Call) -> Ran:
        arguments = [re.sub(r"^(?:-w|--wrap=)(?=\d)", "-w", one) for one in call.arguments]
        if "-w" in arguments[:-1]:
            at = arguments.index("-w")
            arguments[at : at + 2] = ["-w" + arguments[at + 1]]
        width = _LINE
        given, paths = _options("base64", arguments, r"-d|--decode|-w\d{1,6}")
        for option in given:
            width = int(option[2:]) if option.startswith("-w") else width
        if len(paths) > 1:
            raise NotSimulatedError("these arguments of base64")
        text = self.files.read(paths[0]) if paths else call.stdin
        if text is None:
            return self._missing("base64", paths[0])
        # Binary files are kept with surrogates for their bytes.
        data = text.encode(errors="surrogateescape")
        if {"-d", "--decode"} & set(given):
            return _decoded(data)
        encoded = base64.b64encode(data).decode()
        if not width:
            return Ran(stdout=encoded)
        lines = [encoded[start : start + width] + "\n" for start in range(0, len(encoded), width)]
        return Ran(stdout="".join(lines))

    def _rm(self, call: Call) -> Ran:
        given, paths = _options("rm", call.arguments, r"-[frR]+")
        options = "".join(given).lower()
        if not paths and "f" not in options:
            raise NotSimulatedError("rm without a file")
        total = Ran()
        for path in paths:
            where = self.files.absolute(path)
            below = [one for one in self.files.files if one.startswith(f"{where}/")]
            why = "No such file or directory"
            ran = Ran(code=total.code)
            if self.files.is_directory(where):
                why = "Is a directory"
                if "r" in options and where in (HOME, "/tmp", "/home"):  # noqa: S108 - not here
                    raise NotSimulatedError(f"the removal of {where}")
            if where in self.files.files:
                del self.files.files[where]
            elif below and "r" in options:
                for one in below:
                    del self.files.files[one]
            elif why == "Is a directory" or "f" not in options:
                ran = Ran(stderr=f"rm: cannot remove '{path}': {why}\n", code=1)
            total = ran.after(total)
        return total

    def _touch(self, call: Call) -> Ran:
        _, paths = _options("touch", call.arguments)
        if not paths:
            raise NotSimulatedError("touch without a file")
        total = Ran()
        for path in paths:
            where = self.files.absolute(path)
            ran = Ran(code=total.code)
            if self.files.is_directory(dirname(where)):
                if not self.files.is_directory(where):
                    self.files.files.setdefault(where, "")
            else:
                why = "No such file or directory"
                ran = Ran(stderr=f"touch: cannot touch '{path}': {why}\n", code=1)
            total = ran.after(total)
        return total

    def _ls(self, call: Call) -> Ran:
        _, paths = _options("ls", call.arguments, "-1")
        wanted = [(path, self.files.absolute(path)) for path in paths or [self.files.here]]
        folders = [where for _, where in wanted if where not in self.files.files]
        folders = [where for where in folders if self.files.is_directory(where)]
        if folders and len(wanted) > 1:
            raise NotSimulatedError("ls of several directories")
        total = Ran(code=0)
        for path, where in wanted:
            if where not in self.files.files and where not in folders:
                missing = f"ls: cannot access '{path}': No such file or directory\n"
                total = Ran(stderr=missing, code=2).after(total)
        names = sorted(path for path, where in wanted if where in self.files.files)
        for folder in folders:
            names += self.files.names(folder)
        return Ran(stdout="".join(f"{name}\n" for name in names), code=total.code).after(total)


def _options(
    name: str, arguments: Sequence[str], known: str = r"(?!)"
) -> tuple[list[str], list[str]]:
    """The options and the other arguments.

    Raises:
        NotSimulatedError: an option does not match `known`, a pattern; `-` counts as one.
    """
    if "--" in arguments:
        at = list(arguments).index("--")
        given, rest = _options(name, arguments[:at], known)
        return given, [*rest, *arguments[at + 1 :]]
    given = [one for one in arguments if one.startswith("-")]
    for option in given:
        if not re.fullmatch(known, option):
            raise NotSimulatedError(f"the option {option} of {name}")
    return given, [one for one in arguments if not one.startswith("-")]


def _decoded(data: bytes) -> Ran:
    try:
        decoded = base64.b64decode(data.replace(b"\n", b""), validate=True)
    except binascii.Error:
        raise NotSimulatedError("base64 -d of invalid text") from None
    return Ran(stdout=decoded.decode(errors="surrogateescape"))


def _echo(call: Call) -> Ran:
    bare = call.arguments[:1] == ["-n"]
    rest = call.arguments[bare:]
    if rest and re.fullmatch(r"-[neE]+", rest[0]):
        raise NotSimulatedError(f"the option {rest[0]} of echo")
    return Ran(stdout=" ".join(rest) + ("" if bare else "\n"))


def _sleep(call: Call) -> Ran:
    found = [_INTERVAL.fullmatch(argument) for argument in call.arguments]
    if not found or not all(found):
        if any(one.lstrip("+").lower().startswith(("inf", "0x", "nan")) for one in call.arguments):
            raise NotSimulatedError("an interval of sleep like this one")
        return Ran(stderr="sleep: invalid time interval\n", code=1)
    return Ran(seconds=sum(float(one[1]) * _UNITS[one[2]] for one in found if one))


def _uname(call: Call) -> Ran:
    answer = _UNAME.get(" ".join(call.arguments))
    if answer is None:
        raise NotSimulatedError("these arguments of uname")
    return Ran(stdout=f"{answer}\n")


def _whoami(call: Call) -> Ran:
    if call.arguments:
        raise NotSimulatedError("these arguments of whoami")
    return Ran(stdout=f"{USER}\n")
