"""The words, pipelines and operators of a simulated shell's command.

Bash's grammar is larger. What is not read here is refused, and never taken for something else.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from vcloud.emulator.desktops.refusal import NotSimulatedError

#: White space between words, a part of a word, and an operator.
_BLANK: Final = re.compile(r"(?:[^\S\n]|\\\n)*(?:#[^\n]*)?")
_PART: Final = re.compile(
    r"""(?P<joined>\\\n)|\\(?P<escaped>.|\Z)|'(?P<single>[^']*)'|"(?P<double>(?:\\.|[^"\\])*)"|(?P<plain>[^\s;&|<>()`'"\\]+)""",
    re.DOTALL,
)
_OPERATOR: Final = re.compile(r"\n|;;&|;;|;&|;|&&|&|\|\||\|&|\||[<>()`]")
_ESCAPED: Final = re.compile(r"\\([$`\"\\])")
_JOINTS: Final = ("|", ";", "&&", "||")
_RESERVED: Final = frozenset(
    {
        *("!", "[[", "{", "}", "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for"),
        *("function", "if", "in", "select", "then", "time", "until", "while"),
    }
)
"""First words that begin, or end, several commands. Bash reads them even if they do not run."""
_CASES: Final = (";;", ";&", ";;&")
"""Operators that are syntax errors outside of a `case`."""

VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))")
ASSIGNMENT: Final = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_EXPANSION: Final = re.compile(r"\$(?:[{(\[?$!#*@\-0-9]|$)")
"""Other expansions that begin with a dollar; at the end of a part, one may begin there."""
_NUMBER: Final = re.compile(r"\$\{\d+\}")
_BRACES: Final = re.compile(r"\{[^{}]*(?:,|\.\.)[^{}]*\}")


@frozen
class Piece:
    """Part of a word. Variables are replaced unless it was in single quotes or escaped."""

    text: str
    expands: bool
    quoted: bool


Word = list[Piece]


@frozen
class Step:
    """Commands joined by pipes, each a list of words, and the operator before them."""

    joint: str
    pipeline: list[list[Word]]


def parse(command: str) -> list[Step]:
    """Split lines into pipelines of commands, each with the operator before it.

    Raises:
        ValueError: bash would report this syntax error.
        NotSimulatedError: bash would do something that the simulated shell does not.
    """
    try:
        return _parsed(command)
    except ValueError:
        # Bash reads line by line, and runs the lines before the one with the error.
        if "\n" in command.strip():
            raise NotSimulatedError("lines of commands, of which one has an error") from None
        if "$(" in command or "`" in command:
            raise NotSimulatedError("the output of a command as a word") from None
        raise


def _parsed(command: str) -> list[Step]:
    steps = [Step("", [[]])]
    at = _end_of_blank(command, 0)
    while at < len(command):
        if operator := _OPERATOR.match(command, at):
            at = operator.end()
            _join(steps, operator[0])
        else:
            word, at = _word(command, at)
            commands = steps[-1].pipeline[-1]
            if not commands and len(word) == 1 and _is_reserved(word[0]):
                raise NotSimulatedError(f"{word[0].text}, a word of the shell's grammar")
            commands.append(word)
        at = _end_of_blank(command, at)
    if not steps[-1].pipeline[-1]:
        last = steps.pop()
        if last.joint not in ("", ";") or len(last.pipeline) > 1:
            raise ValueError("syntax error: unexpected end of file")
    return steps


def _is_reserved(piece: Piece) -> bool:
    return not piece.quoted and piece.text in _RESERVED


def _end_of_blank(command: str, at: int) -> int:
    found = _BLANK.match(command, at)
    return found.end() if found else at


def _join(steps: list[Step], operator: str) -> None:
    empty = not steps[-1].pipeline[-1]
    if operator == "\n":
        # The end of an empty line, or after an operator, separates nothing.
        if not empty:
            steps.append(Step(";", [[]]))
    elif operator in _CASES or (operator in _JOINTS and empty):
        raise ValueError(f"syntax error near unexpected token `{operator}'")
    elif operator not in _JOINTS:
        raise NotSimulatedError(f"the operator {operator} of the shell")
    elif operator == "|":
        steps[-1].pipeline.append([])
    else:
        steps.append(Step(operator, [[]]))


def _word(command: str, at: int) -> tuple[Word, int]:
    word: Word = []
    start = at
    while found := _PART.match(command, at):
        at = found.end()
        if found["joined"]:
            continue
        if found["single"] is not None:
            word.append(Piece(found["single"], expands=False, quoted=True))
        elif found["double"] is not None:
            word += _double(found["double"])
        elif found["escaped"] is not None:
            # A backslash at the end is one.
            word.append(Piece(found["escaped"] or "\\", expands=False, quoted=True))
        else:
            _require_simple(found["plain"], then=command[at : at + 1])
            if "=~" in found["plain"] or ":~" in found["plain"]:
                raise NotSimulatedError("a home directory in an assignment")
            word.append(Piece(found["plain"], expands=True, quoted=False))
    if not word or command[at : at + 1] in ("'", '"', "\\"):
        raise ValueError("unexpected EOF while looking for matching quote")
    if _BRACES.search(command[start:at]) and any("{" in one.text for one in word if not one.quoted):
        raise NotSimulatedError("the expansion of braces")
    return word, at


def _double(text: str) -> Word:
    """The pieces of a text in double quotes."""
    # Split at the escaped characters, which are every second piece.
    parts = _ESCAPED.split(text.replace("\\\n", ""))
    for part in parts[::2]:
        _require_simple(part)
        if "`" in part:
            raise NotSimulatedError("the output of a command as a word")
    return [Piece(part, expands=number % 2 == 0, quoted=True) for number, part in enumerate(parts)]


def _require_simple(text: str, *, then: str = "") -> None:
    """Refuse expansions that are not `$NAME` or `${NAME}`; `then` is the character after them."""
    found = _NUMBER.search(text) or _EXPANSION.search(VARIABLE.sub("", text))
    # A dollar by itself is one.
    if found and not (found[0] == "$" and then not in ("'", '"', "(")):
        raise NotSimulatedError("an expansion of the shell other than $NAME and ${NAME}")
