"""The sizes of files and functions, and a reason in the docstring where a file is longer."""

from __future__ import annotations

import ast
import tokenize
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "vcloud"
MODULES = sorted(PACKAGE.rglob("*.py"))
MAX_FILE = 400
MAX_FUNCTION = 40
#: How a module's docstring says why it is longer.
REASON = f"More than {MAX_FILE} lines because "
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def lines_of_code(path: Path) -> set[int]:
    """The numbers of the lines that hold code: no comments, no blank lines."""
    with path.open("rb") as file:
        tokens = [token for token in tokenize.tokenize(file.readline) if token.type not in NO_CODE]
    return {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}


def docstring_lines(node: ast.AST) -> Iterator[int]:
    """The lines of the docstrings of a function and of everything in it."""
    for inner in ast.walk(node):
        if isinstance(inner, FunctionNode | ast.ClassDef) and ast.get_docstring(inner) is not None:
            docstring = inner.body[0]
            yield from range(docstring.lineno, (docstring.end_lineno or 0) + 1)


def long_functions(path: Path) -> dict[str, int]:
    """The functions that are too long, with their lines of code, docstrings not counted."""
    code, found = lines_of_code(path), {}
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, FunctionNode):
            own = code.intersection(range(node.lineno, (node.end_lineno or 0) + 1))
            length = len(own.difference(docstring_lines(node)))
            if length > MAX_FUNCTION:
                found[f"{node.name}, line {node.lineno}"] = length
    return found


def test_modules_and_functions_are_short() -> None:
    long_files, found = [], {}
    for path in MODULES:
        name = str(path.relative_to(PACKAGE))
        docstring = ast.get_docstring(ast.parse(path.read_bytes())) or ""
        if len(path.read_text().splitlines()) > MAX_FILE and REASON not in " ".join(
            docstring.split()
        ):
            long_files.append(name)
        found.update({f"{name}: {where}": length for where, length in long_functions(path).items()})
    assert long_files == []
    assert found == {}


def test_a_long_function_is_found(tmp_path: Path) -> None:
    body = '    """Say more.\n\n    In lines that do not count.\n    """\n' + "    x = 1\n\n" * 40
    path = tmp_path / "example.py"
    path.write_text(f"# No code.\ndef short(a):\n{body[:-7]}\n\ndef long(a):\n{body}")
    assert long_functions(path) == {"long, line 87": 41}


def test_no_two_test_files_share_a_name() -> None:
    shared = {"__init__.py", "__main__.py", "conftest.py"}
    names = [path.name for path in Path(__file__).parent.rglob("*.py") if path.name not in shared]
    assert sorted(names) == sorted(set(names))
