"""A simulated shell with a dozen commands. It runs no programs.

What it does, it does as bash does. Anything else is a `NotSimulatedError`: a command may well be
installed on a real desktop, so "command not found" is only said of those that a test names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Final

from attrs import evolve, field, frozen

from vcloud.emulator.desktops.files import Files
from vcloud.emulator.desktops.programs import Call, Program, Programs, Ran
from vcloud.emulator.desktops.refusal import NotSimulatedError
from vcloud.emulator.desktops.words import ASSIGNMENT, VARIABLE, Piece, Word, parse

_SPECIAL: Final = re.compile(r"[\s*?\[]")
"""Characters for which the value of a variable is more than one word, or a pattern."""
_GLOB: Final = re.compile(r"[*?\[]")
_TILDE: Final = re.compile(r"~(?=/|$)")
_OF_THE_SHELL: Final = frozenset({"cd", "export"})
"""Commands that change the shell itself, which a part of a pipeline has a copy of."""


@frozen
class Shell:
    """Runs commands from a table, on files in a mapping, at the emulator's time.

    Attributes:
        files: the files, by absolute path.
        now: the time that `date` prints.
        programs: more commands, by name.
        variables: the environment; `export` changes it.
        absent: commands that the desktop lacks for certain.
    """

    files: dict[str, str]
    now: datetime
    programs: Mapping[str, Program] = field(factory=dict)
    variables: dict[str, str] = field(factory=dict)
    absent: AbstractSet[str] = frozenset()

    def run(self, command: str) -> Ran:
        """Run lines of commands joined with `|`, `;`, `&&` and `||`, without redirections.

        Raises:
            NotSimulatedError: it is more than that, or runs another command than there is.
        """
        try:
            steps = parse(command)
        except ValueError as error:
            return Ran(stderr=f"bash: {error}\n", code=2)
        total = Ran()
        for step in steps:
            if (step.joint == "&&" and total.code) or (step.joint == "||" and not total.code):
                continue
            ran = Ran()
            for words in step.pipeline:
                # The output of a command is the input of the next in its pipeline.
                elapsed = total.seconds + ran.seconds
                called = self._call(words, ran.stdout, elapsed, alone=len(step.pipeline) == 1)
                ran = called.after(evolve(ran, stdout=""))
            total = ran.after(total)
        return total

    def _call(self, words: Sequence[Word], stdin: str, elapsed: float, *, alone: bool) -> Ran:
        local: dict[str, str] = {}
        rest = list(words)
        # A quoted name is not an assignment.
        while rest and (found := ASSIGNMENT.match(rest[0][0].text)) and not rest[0][0].quoted:
            first, *others = rest.pop(0)
            value = Piece(first.text.partition("=")[2], expands=True, quoted=False)
            local[found[1]] = "".join(self._pieces([value, *others], splits=False))
        expanded = [text for word in rest for text in self._expanded(word)]
        if not alone and (not expanded or expanded[0] in _OF_THE_SHELL):
            raise NotSimulatedError("a change of the shell in a part of a pipeline")
        if not expanded:
            self.variables.update(local)
            return Ran()
        name, *arguments = expanded
        environment = {**self.variables, **local}
        return self._program(name)(
            Call(arguments=arguments, stdin=stdin, environment=environment, elapsed=elapsed)
        )

    def _program(self, name: str) -> Program:
        found = Programs(Files(self.files, self.variables), self.now, self.variables).named(name)
        program = found or self.programs.get(name)
        if program is not None:
            return program
        if name and name not in self.absent:
            raise NotSimulatedError(f"the command {name!r}")
        return lambda _: Ran(stderr=f"bash: line 1: {name}: command not found\n", code=127)

    def _expanded(self, word: Word) -> list[str]:
        """The words that a word becomes: none if it consists of empty variables only."""
        texts = self._pieces(word)
        text = "".join(texts)
        if not text and not any(piece.quoted for piece in word):
            return []
        if not any(
            piece.expands and not piece.quoted and _GLOB.search(piece.text) for piece in word
        ):
            return [text]
        parts = [(one, piece.quoted) for one, piece in zip(texts, word, strict=True)]
        return Files(self.files, self.variables).matching(parts) or [text]

    def _pieces(self, word: Word, *, splits: bool = True) -> list[str]:
        """The text of each piece, after the expansion of `~` and of variables."""
        texts = [self._text(piece, splits=splits) for piece in word]
        first = word[0]
        if not first.quoted and first.text.startswith("~"):
            if not _TILDE.match(first.text) or (first.text == "~" and len(word) > 1):
                raise NotSimulatedError("the home directory of another user")
            texts[0] = _TILDE.sub(lambda _: self._value("HOME"), texts[0])
        return texts

    def _text(self, piece: Piece, *, splits: bool) -> str:
        if not piece.expands:
            return piece.text

        def value(found: re.Match[str]) -> str:
            text = self._value(found[1] or found[2])
            if splits and not piece.quoted and _SPECIAL.search(text):
                raise NotSimulatedError("a variable without quotes that is not a single word")
            return text

        return VARIABLE.sub(value, piece.text)

    def _value(self, name: str) -> str:
        if name not in self.variables:
            raise NotSimulatedError(f"the variable {name}, which was not set before")
        return self.variables[name]


__all__ = ["Call", "Program", "Ran", "Shell"]
